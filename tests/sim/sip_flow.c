/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <stdlib.h>

#include "proto/sip_guard.h"
#include "tests/sim/sip_agent.h"

#define BUFFER_MAX  (512 * 1024)
#define PATIENCE_NS (10 * SIM_S) /* for connecting */

static struct sip_flow *make(struct sip_agent *agent, bool is_own)
{
    struct sip_flow *flow = calloc(1, sizeof(*flow));
    if (flow == NULL)
        abort();
    flow->kind = PEER_SIP_FLOW;
    flow->agent = agent;
    flow->number = ++agent->flow_count;
    flow->is_own = is_own;
    net_buffer_init(&flow->input, BUFFER_MAX);
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
    net_buffer_fini(&flow->input);
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

void sip_flow_accept(struct sip_agent *agent, ring_handle handle)
{
    struct sip_flow *flow = make(agent, false);
    flow->handle = handle;
    flow->is_open = true;
    ring_set_owner(agent->ring, handle, flow);
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
    if (flow->in_flight || !flow->is_open || flow->is_dead ||
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
    if (net_buffer_add(&flow->output, bytes.data, bytes.size) != 0)
        abort();
    flush(flow);
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
        if (result == SIP_GUARD_OK)
            sip_agent_input(flow->agent, span_to(span_from(all, guard.skipped), guard.size),
                            flow->number, NULL);
        else if (result != SIP_GUARD_PING)
            sim_fail("agent %u.%u: the relay's stream cannot be read", flow->agent->tenant,
                     flow->agent->number);
        assert(size > 0);
        net_buffer_consume(&flow->input, size);
    }
}

void sip_flow_event(struct sip_flow *flow, const struct ring_event *event)
{
    switch (event->kind) {
    case RING_CONNECTED:
        flow->is_open = event->result == 0;
        if (event->result != 0)
            sip_flow_kill(flow, "cannot connect");
        break;
    case RING_RECEIVED:
        if (net_buffer_add(&flow->input, event->data, event->size) != 0)
            abort();
        frame(flow);
        break;
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
    case RING_WOKEN: break;
    }
    flush(flow);
}
