/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The client side of an agent. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sip_agent.h"

#define T1_NS      (500 * SIM_MS)
#define T2_NS      (4 * SIM_S)
#define TIMER_F_NS (64 * T1_NS)

static void start(struct sip_call *call);

static struct sip_call **lane_of(struct sip_agent *agent, const struct ledger_message *message)
{
    return &agent->lanes[message->tenant_user][message->partner][message->partner_user];
}

static void write_request(const struct sip_call *call, struct writer *writer)
{
    const struct ledger_message *message = call->message;
    const struct sip_agent *agent = call->agent;
    char from[128], to[128], sent_by[NET_ADDRESS_TEXT_SIZE], branch[64], body[2000];
    struct writer address = writer_make(from, sizeof(from));
    writer_put_literal(&address, "sip:");
    if (message->is_forged)
        writer_put_literal(&address, "v0@elsewhere.example");
    else
        ledger_write_user(message, &address);
    struct span from_uri = writer_span(&address);
    address = writer_make(to, sizeof(to));
    writer_put_literal(&address, "sip:");
    ledger_write_jid(message, &address);
    struct span to_uri = writer_span(&address);
    net_address_format(&agent->trunk->address, sent_by);
    snprintf(branch, sizeof(branch), "z9hG4bKagent%u", message->number);
    int size = snprintf(body, sizeof(body), "#%u %.*s", message->number,
                        (int)(message->number * 7 % 100),
                        "the quick brown fox jumps over the lazy dog, and over the lazy dog "
                        "the quick brown fox jumps again");
    char call_id[32];
    snprintf(call_id, sizeof(call_id), "call-%u@agent", message->number);
    sip_write_request(writer,
                      &(struct sip_request_parts){.method = SIP_METHOD_MESSAGE,
                                                  .request_uri = to_uri,
                                                  .transport = agent->trunk->transport,
                                                  .sent_by = span_of(sent_by),
                                                  .branch = span_of(branch),
                                                  .from_uri = from_uri,
                                                  .from_tag = span_of(branch + 7),
                                                  .to_uri = to_uri,
                                                  .call_id = span_of(call_id),
                                                  .cseq = 1,
                                                  .max_forwards = 70,
                                                  .content_type = SPAN("text/plain"),
                                                  .body = span_make(body, (size_t)size)});
}

static void transmit(struct sip_call *call)
{
    char bytes[4096];
    struct writer writer = writer_make(bytes, sizeof(bytes));
    write_request(call, &writer);
    assert(!writer.overflow);
    sip_agent_output(call->agent, writer_span(&writer), call->flow, &call->agent->relay);
}

/* The next one of the lane. */
static void next(struct sip_call *call)
{
    struct sip_call **lane = lane_of(call->agent, call->message);
    assert(*lane == call);
    *lane = call->next;
    if (*lane != NULL && !call->agent->is_over)
        start(*lane);
    free(call);
}

static void give_up(struct sip_call *call)
{
    sim_trace("agent: #%u gives up", call->message->number);
    call->message->gave_up = true;
    next(call);
}

static struct sip_call *find(struct sip_agent *agent, const struct ledger_message *message)
{
    struct sip_call *call = *lane_of(agent, message);
    return call != NULL && call->message == message && call->is_sent ? call : NULL;
}

/* Timers E and F. `number` is that of the message: the call may be long gone. */
static void on_timer(void *context, uint64_t number)
{
    struct sip_agent *agent = context;
    struct sip_call *call = find(agent, &ledger.messages[number]);
    if (call == NULL || agent->is_over)
        return;
    if (sim.now_ns >= call->ends_ns) {
        give_up(call);
        return;
    }
    if (call->flow == 0)
        transmit(call);
    call->interval_ns = call->interval_ns * 2 < T2_NS ? call->interval_ns * 2 : T2_NS;
    uint64_t left_ns = call->ends_ns - sim.now_ns;
    sim_after(call->interval_ns < left_ns ? call->interval_ns : left_ns, on_timer, agent,
              number);
}

static void start(struct sip_call *call)
{
    struct sip_agent *agent = call->agent;
    if (agent->trunk->transport != SIP_TRANSPORT_UDP) {
        struct sip_flow *flow = agent->is_up ? sip_flow_own(agent) : NULL;
        call->flow = flow != NULL ? flow->number : 0;
    }
    bool can_send = agent->trunk->transport == SIP_TRANSPORT_UDP || call->flow != 0;
    call->is_sent = true;
    call->interval_ns = T1_NS;
    call->ends_ns = sim.now_ns + TIMER_F_NS;
    ledger_sent(call->message);
    if (!can_send) {
        network_note_trouble(&agent->trunk->address);
        give_up(call);
        return;
    }
    sim_after(T1_NS, on_timer, agent, call->message->number);
    transmit(call);
}

void sip_agent_send(struct sip_agent *agent, struct ledger_message *message)
{
    struct sip_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        abort();
    call->agent = agent;
    call->message = message;
    struct sip_call **place = lane_of(agent, message);
    bool is_first = *place == NULL;
    while (*place != NULL)
        place = &(*place)->next;
    *place = call;
    if (is_first)
        start(call);
}

void sip_call_response(struct sip_agent *agent, const struct sip_message *response)
{
    struct span branch = response->via.branch;
    char name[16];
    if (!span_starts(branch, SPAN("z9hG4bKagent"))) {
        sim_fail("agent %u.%u: a response to nothing: %.*s", agent->tenant, agent->number,
                 (int)branch.size, branch.data);
        return;
    }
    branch = span_from(branch, strlen("z9hG4bKagent"));
    snprintf(name, sizeof(name), "#%.*s", (int)branch.size, branch.data);
    struct ledger_message *message = ledger_find(span_of(name));
    if (message == NULL || message->to_sip || message->tenant != agent->tenant ||
        message->trunk != agent->number) {
        sim_fail("agent %u.%u: a response for another: %s", agent->tenant, agent->number, name);
        return;
    }
    struct sip_call *call = find(agent, message);
    if (response->status < 200) {
        if (call != NULL)
            call->interval_ns = T2_NS / 2; /* RFC 3261 §17.1.2.2: from now on every T2 */
        return;
    }
    if (message->gave_up)
        return;
    ledger_heard_status(message, response->status, response->reason);
    if (call != NULL)
        next(call);
}

void sip_call_lost(struct sip_agent *agent, uint64_t flow)
{
    if (agent->is_over)
        return;
    for (unsigned i = 0; i < PLAN_USER_MAX * PLAN_PARTNER_MAX * PLAN_USER_MAX; i++) {
        struct sip_call *call = (&agent->lanes[0][0][0])[i];
        if (call != NULL && call->is_sent && call->flow == flow)
            give_up(call);
    }
}

bool sip_agent_is_settled(const struct sip_agent *agent)
{
    for (unsigned i = 0; i < PLAN_USER_MAX * PLAN_PARTNER_MAX * PLAN_USER_MAX; i++)
        if ((&agent->lanes[0][0][0])[i] != NULL)
            return false;
    return true;
}

void sip_call_free(struct sip_agent *agent)
{
    for (unsigned i = 0; i < PLAN_USER_MAX * PLAN_PARTNER_MAX * PLAN_USER_MAX; i++) {
        struct sip_call **lane = &(&agent->lanes[0][0][0])[i];
        while (*lane != NULL) {
            struct sip_call *call = *lane;
            *lane = call->next;
            free(call);
        }
    }
}
