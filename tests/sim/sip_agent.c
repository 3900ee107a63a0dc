/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The server side of an agent, and its life. */
#include "tests/sim/sip_agent.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/heap.h"
#include "proto/sip_guard.h"
#include "tests/sim/certificates.h"

void sip_agent_output(struct sip_agent *agent, struct span bytes, uint64_t flow,
                      const union net_address *peer)
{
    if (!agent->is_up) {
        network_note_trouble(&agent->trunk->address);
        return;
    }
    if (flow == 0) {
        /* -EAGAIN is one more way to lose a datagram. */
        (void)!ring_send_datagram(agent->ring, agent->handle, peer, bytes.data, bytes.size);
        return;
    }
    struct sip_flow *found = sip_flow_find(agent, flow);
    if (found != NULL)
        sip_flow_write(found, bytes);
}

/* ---- answers ---- */

static void respond(struct sip_served *served, int status)
{
    char bytes[4096];
    struct writer writer = writer_make(bytes, sizeof(bytes));
    struct sip_message request = {.is_request = true,
                                  .raw = span_make(served->request, served->size)};
    char contact[] = "Contact: <sip:elsewhere@s9.example>\r\n";
    sip_write_response(
        &writer, &request,
        &(struct sip_response_parts){.status = status,
                                     .to_tag = SPAN("agent"),
                                     .extra = status == 302 ? span_of(contact) : SPAN("")});
    assert(!writer.overflow);
    sip_agent_output(served->agent, writer_span(&writer), served->flow, &served->peer);
}

static void on_answer(void *context, uint64_t status)
{
    struct sip_served *served = context;
    if (served->agent->is_over)
        return;
    bool is_lost = !served->agent->is_up ||
                   (served->flow != 0 && sip_flow_find(served->agent, served->flow) == NULL);
    if (status >= 200) {
        served->status = (int)status;
        if (served->message != NULL)
            ledger_judged_sip(served->message, (int)status);
        if (is_lost)
            network_note_trouble(&served->agent->trunk->address);
    }
    respond(served, (int)status);
}

static int draw_status(const struct plan_trunk *trunk)
{
    static const int refusals[] = {404, 486, 480, 500, 603, 415, 302, 420, 400, 600};
    if (sim_chance(trunk->unavailable))
        return 503;
    if (sim_chance(trunk->refuse))
        return refusals[sim_below(10)];
    return sim_chance(100) ? 202 : 200;
}

/* What is no SIP, or not whole: at most one answer each, and no harm but to its connection. */
static void send_rubbish(struct sip_agent *agent, uint64_t flow)
{
    static const char *const rubbish[] = {
        "",
        "\r\n\r\n",
        "hello",
        "MESSAGE sip:u0@x0.example SIP/2.0\r\n\r\n",
        "MESSAGE sip:u0@x0.example SIP/7.0\r\nContent-Length: 5\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK01\r\n\r\n",
        "ACK sip:u0@x0.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.2.0.1\r\nl: 0\r\n\r\n"};
    char bytes[512];
    struct sip_flow *found = flow != 0 ? sip_flow_find(agent, flow) : NULL;
    if (found != NULL && sim_chance(500)) {
        sip_flow_write(found, SPAN("\r\n\r\n")); /* a keep-alive, RFC 5626 §4.4.1 */
        return;
    }
    const char *text = rubbish[sim_below(sizeof(rubbish) / sizeof(rubbish[0]))];
    size_t size = strlen(text);
    memcpy(bytes, text, size);
    while (sim_chance(700) && size < sizeof(bytes))
        bytes[size++] = (char)sim_below(256);
    if (flow != 0)
        network_note_trouble(&agent->trunk->address); /* the relay closes it */
    if (size > 0)
        sip_agent_output(agent, span_make(bytes, size), flow, &agent->relay);
}

static void answer(struct sip_served *served)
{
    const struct plan_trunk *trunk = served->agent->trunk;
    uint64_t delay_ns = sim_below(trunk->answer_ns + 1);
    if (sim_chance(trunk->rubbish))
        send_rubbish(served->agent, served->flow);
    if (sim_chance(trunk->silent)) {
        if (served->message != NULL)
            ledger_judged_sip(served->message, 0);
        return;
    }
    if (served->message != NULL && sim_chance(trunk->provisional))
        sim_after(delay_ns / 2, on_answer, served, 100);
    sim_after(delay_ns, on_answer, served,
              served->message != NULL ? (uint64_t)draw_status(trunk) : 200);
}

/* ---- requests ---- */

static struct sip_served *find_served(struct sip_agent *agent, struct span branch)
{
    struct sip_served *served = agent->served;
    while (served != NULL && !span_equal(branch, span_of(served->branch)))
        served = served->next;
    return served;
}

static void check_again(const struct sip_served *served, struct span bytes)
{
    if (!span_equal(bytes, span_make(served->request, served->size)))
        sim_fail("agent %u.%u: a retransmission differs", served->agent->tenant,
                 served->agent->number);
    if (served->flow != 0)
        sim_fail("agent %u.%u: a retransmission over TCP", served->agent->tenant,
                 served->agent->number);
}

static void on_request(struct sip_agent *agent, const struct sip_message *request,
                       struct span bytes, struct sip_served *way)
{
    struct sip_served *served = find_served(agent, request->via.branch);
    if (served != NULL) {
        check_again(served, bytes);
        if (served->status != 0)
            respond(served, served->status);
        return;
    }
    served = calloc(1, sizeof(*served) + bytes.size);
    if (served == NULL || request->via.branch.size >= SIP_BRANCH_TEXT_SIZE)
        abort();
    served->agent = agent;
    served->flow = way->flow;
    served->peer = way->peer;
    served->size = bytes.size;
    memcpy(served->branch, request->via.branch.data, request->via.branch.size);
    memcpy(served->request, bytes.data, bytes.size);
    served->next = agent->served;
    agent->served = served;
    if (request->method == SIP_METHOD_MESSAGE) {
        served->message = ledger_find(request->body);
        if (served->message == NULL) {
            sim_fail("agent %u.%u: a message without a number", agent->tenant, agent->number);
            return;
        }
        if (served->message->is_long && way->flow == 0)
            sim_fail("#%u: too long for UDP and sent by it", served->message->number);
        ledger_arrived_sip(served->message, agent->tenant, request->from.text,
                           request->to.text);
    } else if (request->method != SIP_METHOD_OPTIONS) {
        sim_fail("agent %u.%u: an unknown method", agent->tenant, agent->number);
    }
    answer(served);
}

void sip_agent_input(struct sip_agent *agent, struct span bytes, uint64_t flow,
                     const union net_address *peer)
{
    struct sip_message message;
    struct sip_served way = {.flow = flow};
    int status = 0;
    struct span reason = SPAN_NONE;
    enum sip_parse_result result;
    bool is_response = span_starts(bytes, SPAN("SIP/"));
    if (agent->is_over)
        return;
    if (peer != NULL)
        way.peer = *peer;
    if (is_response)
        result = sip_message_parse_response(bytes, &message);
    else
        result = sip_message_parse(agent->parser, bytes, &message, &status, &reason);
    bool is_unclear =
        is_response && agent->trunk->rubbish > 0 &&
        (result != SIP_PARSE_OK || message.status == 400 || message.status == 505);
    if (is_unclear)
        sim_trace("agent %u.%u: an answer to rubbish", agent->tenant, agent->number);
    else if (result != SIP_PARSE_OK)
        sim_fail("agent %u.%u: the relay sends what cannot be parsed: %.*s", agent->tenant,
                 agent->number, (int)span_find(bytes, '\r'), bytes.data);
    else if (is_response)
        sip_call_response(agent, &message);
    else
        on_request(agent, &message, bytes, &way);
}

/* ---- life ---- */

static void bring_up(struct sip_agent *agent)
{
    int rc =
        agent->trunk->transport == SIP_TRANSPORT_UDP
            ? ring_listen_datagram(agent->ring, &agent->trunk->address, agent, &agent->handle)
            : ring_listen_stream(agent->ring, &agent->trunk->address, agent, &agent->handle);
    assert(rc == 0);
    (void)rc;
    agent->is_up = true;
}

static void on_down(void *context, uint64_t number)
{
    struct sip_agent *agent = context;
    (void)number;
    if (agent->is_over)
        return;
    sim_trace("agent %u.%u: goes down", agent->tenant, agent->number);
    network_note_trouble(&agent->trunk->address);
    agent->is_up = false;
    ring_drop(agent->ring, agent->handle);
    for (struct sip_flow *flow = agent->flows; flow != NULL; flow = flow->next)
        sip_flow_kill(flow, "the agent goes down");
}

static void on_up(void *context, uint64_t number)
{
    struct sip_agent *agent = context;
    (void)number;
    if (agent->is_over)
        return;
    sim_trace("agent %u.%u: is up again", agent->tenant, agent->number);
    bring_up(agent);
}

static void open_context(struct sip_agent *agent, const char *folder)
{
    char error[256] = "", name[16], certificate[256], key[256], authority[256];
    snprintf(name, sizeof(name), "t%u.pem", agent->tenant);
    certificates_path(folder, name, certificate);
    snprintf(name, sizeof(name), "t%u.key", agent->tenant);
    certificates_path(folder, name, key);
    certificates_path(folder, "ca.pem", authority);
    struct tls_context_options options = {
        .certificate_file = certificate, .key_file = key, .ca_file = authority};
    int rc = tls_context_open(&agent->context, &options, error, sizeof(error));
    assert(rc == 0);
    (void)rc;
}

void sip_agent_open(struct sip_agent *agent, const struct plan *plan, unsigned tenant,
                    unsigned number, struct ring *ring, const char *folder)
{
    *agent = (struct sip_agent){.kind = PEER_SIP_AGENT,
                                .plan = plan,
                                .trunk = &plan->tenants[tenant].trunks[number],
                                .tenant = tenant,
                                .number = number,
                                .ring = ring,
                                .parser = sip_parser_open(&heap_memory)};
    bool is_tls = agent->trunk->transport == SIP_TRANSPORT_TLS;
    int rc = net_address_parse_host(&agent->relay, PLAN_RELAY_HOST, is_tls ? 5061 : 5060);
    assert(rc == 0 && agent->parser != NULL);
    (void)rc;
    if (is_tls)
        open_context(agent, folder);
    bring_up(agent);
    if (agent->trunk->down_until_ns > 0) {
        sim_after(agent->trunk->down_from_ns, on_down, agent, 0);
        sim_after(agent->trunk->down_until_ns, on_up, agent, 0);
    }
}

void sip_agent_retire(struct sip_agent *agent)
{
    agent->is_over = true;
}

void sip_agent_event(struct sip_agent *agent, const struct ring_event *event)
{
    struct sip_guard guard = {0};
    if (event->kind == RING_ACCEPTED && agent->is_up) {
        sip_flow_accept(agent, event->accepted);
    } else if (event->kind == RING_ACCEPTED) {
        ring_drop(agent->ring, event->accepted);
    } else if (event->kind == RING_DATAGRAM && agent->is_up) {
        struct span bytes = span_make(event->data, event->size);
        if (sip_guard_datagram(bytes, &guard) == SIP_GUARD_OK)
            sip_agent_input(agent, bytes, 0, &event->peer);
        else if (agent->trunk->rubbish == 0 || !span_starts(bytes, SPAN("SIP/2.0 ")))
            sim_fail("agent %u.%u: the relay's datagram is refused", agent->tenant,
                     agent->number);
    }
}

void sip_agent_close(struct sip_agent *agent)
{
    agent->is_over = true;
    while (agent->flows != NULL)
        sip_flow_free(agent->flows);
    while (agent->served != NULL) {
        struct sip_served *served = agent->served;
        agent->served = served->next;
        free(served);
    }
    sip_call_free(agent);
    if (agent->context != NULL)
        tls_context_close(&agent->context);
    sip_parser_close(&agent->parser);
}
