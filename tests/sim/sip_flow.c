/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The connections of an agent. */
#include <assert.h>
#include <stdlib.h>

#include "proto/sip_guard.h"
#include "tests/sim/sip_agent.h"

#define BUFFER_MAX  (512 * 1024)
#define PATIENCE_NS (10 * SIM_S) /* for connecting and the handshake */
#define READ_SIZE   4096

static struct sip_flow *make(struct sip_agent *agent, bool is_own)
{
    struct sip_flow *flow = calloc(1, sizeof(*flow));
    if (flow == NULL)
        abort();
    flow->kind = PEER_SIP_FLOW;
    flow->agent = agent;
    flow->number = ++agent->flow_count;
    flow->is_own = is_own;
    net_buffer_init(&flow->cipher, BUFFER_MAX);
    net_buffer_init(&flow->input, BUFFER_MAX);
    net_buffer_init(&flow->waiting, BUFFER_MAX);
    net_buffer_init(&flow->output, BUFFER_MAX);
    net_buffer_init(&flow->sending, BUFFER_MAX);
    flow->next = agent->flows;
    agent->flows = flow;
    return flow;
}

void sip_flow_free(struct sip_flow *flow)
{
    struct sip_flow **place = &flow->agent->flows;
    while (*place != flow)
        place = &(*place)->next;
    *place = flow->next;
    if (flow->tls != NULL)
        tls_close(&flow->tls);
    net_buffer_fini(&flow->cipher);
    net_buffer_fini(&flow->input);
    net_buffer_fini(&flow->waiting);
    net_buffer_fini(&flow->output);
    net_buffer_fini(&flow->sending);
    free(flow);
}

struct sip_flow *sip_flow_find(struct sip_agent *agent, uint64_t number)
{
    struct sip_flow *flow = agent->flows;
    while (flow != NULL && (flow->number != number || flow->is_dead))
        flow = flow->next;
    return flow;
}

static void on_late(void *context, uint64_t number)
{
    struct sip_agent *agent = context;
    struct sip_flow *flow = sip_flow_find(agent, number);
    if (flow != NULL && !flow->is_open && !agent->is_over)
        sip_flow_kill(flow, "it takes too long");
}

struct sip_flow *sip_flow_own(struct sip_agent *agent)
{
    struct sip_flow *flow = agent->flows;
    while (flow != NULL && (!flow->is_own || flow->is_dead))
        flow = flow->next;
    if (flow != NULL)
        return flow;
    union net_address source = agent->trunk->address;
    net_address_set_port(&source, 0);
    flow = make(agent, true);
    if (ring_connect(agent->ring, &agent->relay, &source, flow, &flow->handle) == 0) {
        sim_after(PATIENCE_NS, on_late, agent, flow->number);
        return flow;
    }
    sip_flow_free(flow);
    return NULL;
}

void sip_flow_kill(struct sip_flow *flow, const char *why)
{
    if (flow->is_dead)
        return;
    sim_trace("agent %u.%u: flow %u ends: %s", flow->agent->tenant, flow->agent->number,
              (unsigned)flow->number, why);
    network_note_trouble(&flow->agent->trunk->address);
    flow->is_dead = true;
    ring_drop(flow->agent->ring, flow->handle);
    sip_call_lost(flow->agent, flow->number);
}

static void flush(struct sip_flow *flow)
{
    if (flow->in_flight || !flow->is_connected || flow->is_dead ||
        net_buffer_used(&flow->output) == 0)
        return;
    struct net_buffer ready = flow->output;
    flow->output = flow->sending;
    flow->sending = ready;
    flow->in_flight =
        ring_send(flow->agent->ring, flow->handle, net_buffer_front(&flow->sending),
                  net_buffer_used(&flow->sending)) == 0;
    if (!flow->in_flight)
        sip_flow_kill(flow, "cannot send");
}

void sip_flow_write(struct sip_flow *flow, struct span bytes)
{
    bool written;
    if (!flow->is_open)
        written = net_buffer_add(&flow->waiting, bytes.data, bytes.size) == 0;
    else if (flow->tls == NULL)
        written = net_buffer_add(&flow->output, bytes.data, bytes.size) == 0;
    else
        written = tls_write(flow->tls, bytes.data, bytes.size, &flow->output) == TLS_DONE;
    if (!written)
        abort();
    flush(flow);
}

static void become_open(struct sip_flow *flow)
{
    struct net_buffer *waiting = &flow->waiting;
    flow->is_open = true;
    if (net_buffer_used(waiting) > 0)
        sip_flow_write(flow, span_make(net_buffer_front(waiting), net_buffer_used(waiting)));
    net_buffer_consume(waiting, net_buffer_used(waiting));
}

static void begin_tls(struct sip_flow *flow)
{
    struct sip_agent *agent = flow->agent;
    const char *name = agent->plan->tenants[agent->tenant].domain;
    int rc = flow->is_own ? tls_connect(&flow->tls, agent->context, name, TLS_ALPN_NONE)
                          : tls_accept(&flow->tls, agent->context, NULL, NULL, TLS_ALPN_NONE);
    assert(rc == 0);
    (void)rc;
}

static void connected(struct sip_flow *flow)
{
    flow->is_connected = true;
    if (flow->agent->trunk->transport != SIP_TRANSPORT_TLS) {
        become_open(flow);
        return;
    }
    begin_tls(flow);
    if (flow->is_own && tls_handshake(flow->tls, &flow->output) != TLS_MORE)
        abort();
}

void sip_flow_accept(struct sip_agent *agent, ring_handle handle)
{
    struct sip_flow *flow = make(agent, false);
    flow->handle = handle;
    ring_set_owner(agent->ring, handle, flow);
    connected(flow);
}

/* Moves what was received to the plain text; false when the connection is at its end. */
static bool decrypt(struct sip_flow *flow)
{
    size_t used = net_buffer_used(&flow->cipher), size = 0;
    enum tls_result result = TLS_DONE;
    tls_set_input(flow->tls, net_buffer_front(&flow->cipher), used);
    if (!flow->is_open) {
        result = tls_handshake(flow->tls, &flow->output);
        if (result == TLS_DONE)
            become_open(flow);
    }
    while (result == TLS_DONE) {
        uint8_t *room = net_buffer_reserve(&flow->input, READ_SIZE);
        if (room == NULL)
            abort();
        result = tls_read(flow->tls, room, READ_SIZE, &size, &flow->output);
        net_buffer_commit(&flow->input, size);
    }
    net_buffer_consume(&flow->cipher, used - tls_return_input(flow->tls));
    if (result == TLS_FAILED)
        sim_fail("agent %u.%u: TLS: %s", flow->agent->tenant, flow->agent->number,
                 tls_error(flow->tls));
    return result == TLS_MORE;
}

static void frame(struct sip_flow *flow)
{
    while (!flow->is_dead && net_buffer_used(&flow->input) > 0) {
        struct sip_guard guard = {0};
        struct span all =
            span_make(net_buffer_front(&flow->input), net_buffer_used(&flow->input));
        enum sip_guard_result result = sip_guard_stream(all, 0, &guard);
        if (result == SIP_GUARD_MORE)
            return;
        size_t size = guard.skipped + guard.size;
        if (result == SIP_GUARD_OK) {
            sip_agent_input(flow->agent, span_to(span_from(all, guard.skipped), guard.size),
                            flow->number, NULL);
        } else if (result != SIP_GUARD_PING && flow->agent->trunk->rubbish > 0) {
            sip_flow_kill(flow, "an answer to rubbish");
            return;
        } else if (result != SIP_GUARD_PING)
            sim_fail("agent %u.%u: the relay's stream cannot be read", flow->agent->tenant,
                     flow->agent->number);
        assert(size > 0);
        net_buffer_consume(&flow->input, size);
    }
}

static void received(struct sip_flow *flow, const struct ring_event *event)
{
    struct net_buffer *buffer = flow->tls != NULL ? &flow->cipher : &flow->input;
    if (net_buffer_add(buffer, event->data, event->size) != 0)
        abort();
    bool goes_on = flow->tls == NULL || decrypt(flow);
    frame(flow);
    if (!goes_on)
        sip_flow_kill(flow, "TLS ended");
}

void sip_flow_event(struct sip_flow *flow, const struct ring_event *event)
{
    switch (event->kind) {
    case RING_CONNECTED:
        if (event->result == 0)
            connected(flow);
        else
            sip_flow_kill(flow, "cannot connect");
        break;
    case RING_RECEIVED: received(flow, event); break;
    case RING_SENT:
        flow->in_flight = false;
        net_buffer_consume(&flow->sending, net_buffer_used(&flow->sending));
        if (event->result != 0)
            sip_flow_kill(flow, "sending broke");
        break;
    case RING_END: sip_flow_kill(flow, "the connection ended"); break;
    case RING_GONE: sip_flow_free(flow); return;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_WOKEN: break;
    }
    flush(flow);
}
