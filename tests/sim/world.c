/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdio.h>

#include "tests/sim/dns.h"

#define SOCKET_MAX 4096

bool world_is_settled(const struct world *world)
{
    bool settled = true;
    for (unsigned i = 0; i < world->plan->partner_count; i++)
        settled = settled && xmpp_server_is_settled(&world->servers[i]);
    for (unsigned i = 0; i < world->plan->tenant_count; i++)
        for (unsigned j = 0; j < world->plan->tenants[i].trunk_count; j++)
            settled = settled && sip_agent_is_settled(&world->agents[i][j]);
    return settled;
}

/* The peer that will send message `number`. */
static void on_send(void *context, uint64_t number)
{
    struct world *world = context;
    struct ledger_message *message = &ledger.messages[number];
    if (ledger.is_stopping)
        return;
    if (message->to_sip)
        xmpp_server_send(&world->servers[message->partner], message);
    else
        sip_agent_send(&world->agents[message->tenant][message->trunk], message);
}

/* The numbers of the book are in the order of sending. */
static void draw_messages(struct world *world)
{
    const struct plan *plan = world->plan;
    unsigned left[2] = {plan->to_xmpp, plan->to_sip + plan->questions};
    unsigned count = left[0] + left[1];
    uint64_t at_ns = 0, step_ns = plan->send_ns / count;
    while (left[0] + left[1] > 0) {
        bool to_sip = sim_below(left[0] + left[1]) < left[1];
        left[to_sip]--;
        struct ledger_message *message = ledger_add(to_sip);
        message->type = sim_chance(100)   ? LEDGER_HEADLINE
                        : sim_chance(200) ? LEDGER_NORMAL
                                          : LEDGER_CHAT;
        message->partner = (unsigned)sim_below(plan->partner_count);
        message->tenant = (unsigned)sim_below(plan->tenant_count);
        message->partner_user = (unsigned)sim_below(plan->users);
        message->tenant_user = (unsigned)sim_below(plan->users);
        const struct plan_tenant *tenant = &plan->tenants[message->tenant];
        /* One user is behind one trunk: order is kept on one way only. */
        message->trunk = message->tenant_user % tenant->trunk_count;
        message->is_long = to_sip && sim_chance(plan->long_text);
        message->is_question =
            to_sip && sim_below(plan->to_sip + plan->questions) < plan->questions;
        message->is_forged = !message->is_question &&
                             sim_chance(to_sip ? plan->partners[message->partner].misaddress
                                               : tenant->trunks[message->trunk].misaddress);
        /* In bursts as well as evenly. */
        at_ns += sim_chance(500) ? sim_below(2 * SIM_MS) : sim_below(3 * step_ns);
        sim_after(at_ns < plan->send_ns ? at_ns : plan->send_ns, on_send, world,
                  message->number);
    }
}

static void add_server(const struct plan_partner *partner, const union net_address *address)
{
    union net_address direct = *address;
    net_address_set_port(&direct, (uint16_t)(net_address_port(&direct) + 1));
    if (partner->direct_tls)
        dns_add(partner->domain, "_xmpps-server._tcp", &direct);
    dns_add(partner->domain, "_xmpp-server._tcp", address);
    dns_add(partner->domain, NULL, address);
}

static void draw_names(const struct plan *plan)
{
    char name[64];
    static const char *const services[] = {"_sip._udp", "_sip._tcp", "_sips._tcp"};
    for (unsigned i = 0; i < plan->partner_count; i++) {
        const struct plan_partner *partner = &plan->partners[i];
        if (partner->twin != TWIN_NONE)
            add_server(partner, &partner->twin_address);
        if (partner->twin == TWIN_LIVE || partner->twin == TWIN_DARK)
            network_add_alias(&partner->twin_address,
                              partner->twin == TWIN_LIVE ? &partner->address : NULL);
        add_server(partner, &partner->address);
    }
    for (unsigned i = 0; i < plan->tenant_count; i++) {
        for (unsigned j = 0; j < plan->tenants[i].trunk_count; j++) {
            const struct plan_trunk *trunk = &plan->tenants[i].trunks[j];
            snprintf(name, sizeof(name), "trunk%u.%s", j, plan->tenants[i].domain);
            dns_add(name, services[trunk->transport], &trunk->address);
        }
    }
}

void world_open(struct world *world, const struct plan *plan, const char *folder)
{
    struct ring_options options = {.socket_max = SOCKET_MAX};
    world->plan = plan;
    int rc = ring_open(&world->ring, &options);
    assert(rc == 0);
    (void)rc;
    draw_names(plan);
    for (unsigned i = 0; i < plan->partner_count; i++)
        xmpp_server_open(&world->servers[i], plan, i, world->ring, folder);
    for (unsigned i = 0; i < plan->tenant_count; i++)
        for (unsigned j = 0; j < plan->tenants[i].trunk_count; j++)
            sip_agent_open(&world->agents[i][j], plan, i, j, world->ring, folder);
    draw_messages(world);
}

static void on_event(const struct ring_event *event)
{
    enum peer_kind kind = *(const enum peer_kind *)event->owner;
    switch (kind) {
    case PEER_XMPP_SERVER: xmpp_server_event(event->owner, event); break;
    case PEER_XMPP_STREAM: xmpp_stream_event(event->owner, event); break;
    case PEER_SIP_AGENT: sip_agent_event(event->owner, event); break;
    case PEER_SIP_FLOW: sip_flow_event(event->owner, event); break;
    }
}

void world_turn(struct world *world)
{
    struct ring_event event;
    (void)!ring_wait(world->ring, UINT64_MAX);
    while (ring_next(world->ring, &event))
        if (event.owner != NULL)
            on_event(&event);
}

void world_retire(struct world *world)
{
    for (unsigned i = 0; i < world->plan->partner_count; i++)
        xmpp_server_retire(&world->servers[i]);
    for (unsigned i = 0; i < world->plan->tenant_count; i++)
        for (unsigned j = 0; j < world->plan->tenants[i].trunk_count; j++)
            sip_agent_retire(&world->agents[i][j]);
    ring_close(&world->ring);
}

void world_close(struct world *world)
{
    for (unsigned i = 0; i < world->plan->partner_count; i++)
        xmpp_server_close(&world->servers[i]);
    for (unsigned i = 0; i < world->plan->tenant_count; i++)
        for (unsigned j = 0; j < world->plan->tenants[i].trunk_count; j++)
            sip_agent_close(&world->agents[i][j]);
}
