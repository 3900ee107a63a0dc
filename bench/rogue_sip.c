/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the rogues on the SIP side do, and what they hear. */
#include "bench/rogue_priv.h"

#include "bench/sip_peer.h"

#define ROGUE_FLOOD      10 /* requests at once */
#define ROGUE_DEAF_COUNT 20
#define ROGUE_LATE_NS    3400000000ull /* Timer E fires 3.5 s after the request at T1 500 ms */
#define ROGUE_BRANCH     "branch=z9hG4bKr"

struct rogue_request {
    struct span method, from_domain, to_domain;
};

static void rogue_put_id(struct writer *writer, const struct rogue *rogue)
{
    writer_put_uint(writer, rogue->all->load->run);
    writer_put_char(writer, '.');
    writer_put_uint(writer, rogue->attempt);
    writer_put_char(writer, '.');
    writer_put_uint(writer, rogue->steps);
}

static void rogue_put_request(struct writer *writer, const struct rogue *rogue,
                              const struct rogue_request *request)
{
    const struct load_options *options = &rogue->all->load->options;
    char sent_by[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&options->own_sip, sent_by);
    writer_put(writer, request->method);
    writer_put_literal(writer, " sip:rogue@");
    writer_put(writer, request->to_domain);
    writer_put_literal(writer, " SIP/2.0\r\nVia: SIP/2.0/");
    writer_put(writer, sip_transport_name(options->transport));
    writer_put_char(writer, ' ');
    writer_put(writer, span_of(sent_by));
    writer_put_literal(writer, ";rport;" ROGUE_BRANCH);
    rogue_put_id(writer, rogue);
    writer_put_literal(writer, "\r\nMax-Forwards: 70\r\nFrom: <sip:rogue@");
    writer_put(writer, request->from_domain);
    writer_put_literal(writer, ">;tag=r");
    rogue_put_id(writer, rogue);
    writer_put_literal(writer, "\r\nTo: <sip:rogue@");
    writer_put(writer, request->to_domain);
    writer_put_literal(writer, ">\r\nCall-ID: r");
    rogue_put_id(writer, rogue);
    writer_put_literal(writer, "@bench\r\nContact: <sip:rogue@");
    writer_put(writer, span_of(sent_by));
    writer_put_literal(writer, ">\r\nCSeq: 1 ");
    writer_put(writer, request->method);
    writer_put_literal(writer,
                       "\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nrogue");
}

/* Over UDP from the trunk's address, unless it has a socket of its own. */
static void rogue_send_sip(struct rogue *rogue, struct span message)
{
    struct load *load = rogue->all->load;
    if (load->options.transport != SIP_TRANSPORT_UDP)
        (void)rogue_send(rogue, message);
    else if (rogue->handle == 0)
        (void)sip_side_request(&load->sip, message);
    else if (ring_send_datagram(load->ring, rogue->handle, &load->options.relay_sip,
                                message.data, message.size) != 0)
        rogue_end(rogue, ROGUE_CLOSED);
}

static void rogue_ask(struct rogue *rogue, const struct rogue_request *request)
{
    char memory[ROGUE_REQUEST_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    rogue_put_request(&writer, rogue, request);
    rogue_send_sip(rogue, writer_span(&writer));
}

/* A request of its own tenant. */
static void rogue_ask_for(struct rogue *rogue, struct span method, struct span to_domain)
{
    char memory[256];
    struct writer domain = writer_make(memory, sizeof(memory));
    rogue_put_domain(&domain, rogue, false);
    struct rogue_request request = {method, writer_span(&domain), to_domain};
    rogue_ask(rogue, &request);
}

void rogue_step_deaf(struct rogue *rogue)
{
    if (rogue->steps < ROGUE_DEAF_COUNT)
        rogue_ask_for(rogue, SPAN("MESSAGE"), SPAN(ROGUE_DEAF_DOMAIN));
}

void rogue_step_sip_drip(struct rogue *rogue)
{
    char memory[ROGUE_REQUEST_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct rogue_request request = {SPAN("MESSAGE"), SPAN("s0.bench"), SPAN("x0.bench")};
    unsigned steps = rogue->steps;
    rogue->steps = 0; /* one request, however many steps it takes */
    rogue_put_request(&writer, rogue, &request);
    rogue->steps = steps;
    if (steps + 1 < writer.used)
        (void)rogue_send(rogue, span_to(span_from(writer_span(&writer), steps), 1));
}

void rogue_step_sip_deaf(struct rogue *rogue)
{
    ring_pause(rogue->all->load->ring, rogue->handle);
    rogue_ask_for(rogue, SPAN("OPTIONS"), SPAN("x0.bench"));
}

void rogue_step_sip_junk(struct rogue *rogue)
{
    char bytes[300];
    if (rogue->steps >= ROGUE_FLOOD)
        return;
    rogue_random(rogue, bytes, sizeof(bytes));
    rogue_send_sip(rogue, span_make(bytes, sizeof(bytes)));
}

/* One datagram can only be long; a connection goes on. */
void rogue_step_sip_endless(struct rogue *rogue)
{
    bool is_datagram = rogue->all->load->options.transport == SIP_TRANSPORT_UDP;
    char bytes[ROGUE_OUTPUT_MAX];
    static const char start[] = "MESSAGE sip:rogue@x0.bench SIP/2.0\r\nSubject: ";
    if (is_datagram && rogue->steps > 0)
        return;
    memset(bytes, 'e', sizeof(bytes));
    if (rogue->steps == 0)
        memcpy(bytes, start, sizeof(start) - 1);
    rogue_send_sip(rogue, span_make(bytes, sizeof(bytes)));
}

void rogue_step_sip_tenant(struct rogue *rogue)
{
    struct rogue_request request = {SPAN("MESSAGE"), SPAN("nobody.example"), SPAN("x0.bench")};
    if (rogue->steps == 0)
        rogue_ask(rogue, &request);
}

void rogue_step_sip_source(struct rogue *rogue)
{
    if (rogue->steps == 0)
        rogue_ask_for(rogue, SPAN("MESSAGE"), SPAN("x0.bench"));
}

void rogue_step_sip_invite(struct rogue *rogue)
{
    if (rogue->steps < ROGUE_FLOOD)
        rogue_ask_for(rogue, SPAN("INVITE"), SPAN("x0.bench"));
}

void rogue_step_sip_register(struct rogue *rogue)
{
    if (rogue->steps < ROGUE_FLOOD)
        rogue_ask_for(rogue, SPAN("REGISTER"), SPAN("x0.bench"));
}

/* ---- what comes back ---- */

void rogue_heard(struct rogue *rogue, struct span bytes)
{
    uint32_t status = 0;
    if (span_starts(bytes, SPAN("SIP/2.0 ")) && sip_peer_digits(span_from(bytes, 8), &status)) {
        rogue->refused |= status >= 300;
        rogue->answered |= status >= 200 && status < 300;
    } else if (memmem(bytes.data, bytes.size, "<stream:error", 13) != NULL) {
        rogue->refused = true;
    }
}

/* The attempt that a response is for; 0: of no rogue. */
static uint32_t rogue_attempt_of(struct span response)
{
    uint32_t attempt = 0;
    const char *hit =
        memmem(response.data, response.size, ROGUE_BRANCH, sizeof(ROGUE_BRANCH) - 1);
    if (!span_starts(response, SPAN("SIP/2.0 ")) || hit == NULL)
        return 0;
    struct span id =
        span_from(response, (size_t)(hit - response.data) + sizeof(ROGUE_BRANCH) - 1);
    return sip_peer_digits(span_from(id, span_find(id, '.') + 1), &attempt) ? attempt : 0;
}

/* The place of the late user whom a request is for; `count` when it is for nobody who waits. */
static unsigned rogue_late_place(const struct rogues *rogues, struct span request)
{
    uint32_t place;
    if (!span_starts(request, SPAN("MESSAGE sip:late")) ||
        !sip_peer_digits(span_from(request, sizeof("MESSAGE sip:late") - 1), &place) ||
        place >= rogues->count)
        return rogues->count;
    const struct rogue *rogue = &rogues->places[place];
    return rogue->kind == ROGUE_SIP_LATE && rogue->state == ROGUE_OPEN ? place : rogues->count;
}

bool rogues_on_sip(struct rogues *rogues, struct span message, const struct sip_flow *flow)
{
    uint32_t attempt = rogue_attempt_of(message);
    for (unsigned i = 0; attempt != 0 && i < rogues->count; i++) {
        struct rogue *rogue = &rogues->places[i];
        if (rogue->attempt == attempt && rogue->state == ROGUE_OPEN)
            rogue_heard(rogue, message);
    }
    unsigned place = rogue_late_place(rogues, message);
    if (attempt != 0 || place == rogues->count)
        return attempt != 0;
    struct rogue *late = &rogues->places[place];
    if (late->request_size == 0 && message.size <= sizeof(late->request)) {
        memcpy(late->request, message.data, message.size);
        late->request_size = message.size;
        late->flow = *flow;
        late->end_ns = rogues->load->now_ns + ROGUE_LATE_NS;
    }
    return true;
}

void rogue_answer_late(struct rogue *rogue)
{
    struct load *load = rogue->all->load;
    char memory[ROGUE_REQUEST_MAX];
    struct writer answer = writer_make(memory, sizeof(memory));
    struct span request = span_make(rogue->request, rogue->request_size);
    if (rogue->request_size > 0 && sip_side_has(&load->sip, &rogue->flow) &&
        sip_peer_answer(request, SPAN("200 OK"), &answer))
        (void)sip_side_answer(&load->sip, &rogue->flow, writer_span(&answer));
    rogue->request_size = 0;
}
