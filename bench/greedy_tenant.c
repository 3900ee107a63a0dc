/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/greedy_tenant.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "bench/load_priv.h"
#include "bench/random.h"
#include "bench/sip_peer.h"
#include "net/clock.h"

#define TENANT_TEXT    "greedy "
#define TENANT_USERS   64
#define TENANT_BATCH   64 /* sends of one turn */
#define TENANT_WAIT_S  5  /* of its quota: so many may be unanswered, as in TCP's buffers */
#define TENANT_STEP_NS 10000000ull   /* from one look at the socket to the next */
#define TENANT_FILL_NS 1200000000ull /* until an empty quota is whole again, and some */

struct greedy_tenant {
    struct load *load;
    enum greedy_pace pace;
    double due_ns;     /* when the next message goes … */
    double even_ns;    /* … which, at an even pace, is somewhere behind this */
    uint64_t chance;   /* the state of what is drawn */
    unsigned unproved; /* pairs of domains that are not proved yet */
    int policy;        /* of the generator: SCHED_… */
    uint32_t number;
    struct greedy_count counts[GREEDY_PACES];
    uint32_t sent, ended; /* of all paces */
    /* Of each message sent, by its number, how it ended: what the network brings twice, as
       retransmissions are when there was no core to answer in time, ends once. */
    uint8_t *ends; /* bits of enum tenant_end */
    uint32_t end_room;
};

enum tenant_end { TENANT_DELIVERED = 1, TENANT_REFUSED = 2 };

/* ---- what ends ---- */

/* False: it is no number of a message of ours. One that ends both ways is counted both ways. */
static bool tenant_ends(struct greedy_tenant *tenant, uint32_t number, enum tenant_end end)
{
    struct greedy_count *count = &tenant->counts[tenant->pace];
    if (number >= tenant->number)
        return false;
    if ((tenant->ends[number] & end) != 0)
        return true;
    count->delivered += end == TENANT_DELIVERED;
    count->refused += end == TENANT_REFUSED;
    tenant->ended += tenant->ends[number] == 0;
    tenant->ends[number] |= (uint8_t)end;
    return true;
}

/* The decimal number in front; UINT32_MAX: there is none. */
static uint32_t tenant_number(struct span text)
{
    uint32_t number = 0;
    size_t size = 0;
    for (; size < text.size && size < 9 && text.data[size] >= '0' && text.data[size] <= '9'; size++)
        number = number * 10 + (uint32_t)(text.data[size] - '0');
    return size > 0 ? number : UINT32_MAX;
}

bool greedy_tenant_on_error(struct greedy_tenant *tenant, struct span id)
{
    return span_starts(id, SPAN("g")) &&
           tenant_ends(tenant, tenant_number(span_from(id, 1)), TENANT_REFUSED);
}

bool greedy_tenant_on_text(struct greedy_tenant *tenant, struct span text)
{
    size_t size = sizeof(TENANT_TEXT) - 1;
    return span_starts(text, SPAN(TENANT_TEXT)) &&
           tenant_ends(tenant, tenant_number(span_from(text, size)), TENANT_DELIVERED);
}

bool greedy_tenant_on_response(struct greedy_tenant *tenant, uint32_t number, int status)
{
    return tenant_ends(tenant, number, status < 300 ? TENANT_DELIVERED : TENANT_REFUSED);
}

void greedy_tenant_on_proof(struct greedy_tenant *tenant, struct span type)
{
    tenant->unproved -= tenant->unproved > 0 && span_equal(type, SPAN("valid"));
}

/* ---- what is sent ---- */

static void tenant_put_text(struct writer *writer, uint32_t number)
{
    char text[180]; /* as long as a message of the load */
    memset(text, 'x', sizeof(text));
    writer_put_literal(writer, TENANT_TEXT);
    writer_put_uint(writer, number);
    writer_put_char(writer, ' ');
    writer_put(writer, span_make(text, sizeof(text)));
}

static bool tenant_send_xmpp(struct greedy_tenant *tenant)
{
    char memory[1024];
    struct bench_stream *stream = &tenant->load->out[0];
    unsigned pairs = tenant->load->options.greedy_by == GREEDY_BY_PAIRS ? GREEDY_PAIRS : 1;
    struct writer writer = writer_make(memory, sizeof(memory));
    writer_put_literal(&writer, "<message type='chat' id='g");
    writer_put_uint(&writer, tenant->number);
    writer_put_literal(&writer, "' from='u@" GREEDY_PREFIX "x");
    writer_put_uint(&writer, tenant->number % pairs);
    writer_put_literal(&writer, ".bench/bench' to='u");
    writer_put_uint(&writer, tenant->number % TENANT_USERS);
    writer_put_literal(&writer, "@" GREEDY_PREFIX "s0.bench'><body>");
    tenant_put_text(&writer, tenant->number);
    writer_put_literal(&writer, "</body></message>");
    assert(!writer.overflow);
    return stream->state == BENCH_STREAM_READY &&
           bench_stream_write(stream, writer_span(&writer));
}

static bool tenant_send_sip(struct greedy_tenant *tenant)
{
    char text[512], memory[2048], sent_by[NET_ADDRESS_TEXT_SIZE];
    const struct load_options *options = &tenant->load->options;
    struct writer body = writer_make(text, sizeof(text));
    struct writer writer = writer_make(memory, sizeof(memory));
    tenant_put_text(&body, tenant->number);
    net_address_format(&options->own_sip, sent_by);
    struct sip_peer_message message = {.run = tenant->load->run,
                                       .number = tenant->number,
                                       .user = tenant->number % TENANT_USERS,
                                       .transport = sip_transport_name(options->transport),
                                       .from_domain = SPAN(GREEDY_PREFIX "s0.bench"),
                                       .to_domain = SPAN(GREEDY_PREFIX "x0.bench"),
                                       .sent_by = span_of(sent_by),
                                       .body = writer_span(&body)};
    sip_peer_message(&writer, &message);
    return sip_side_request(&tenant->load->sip, writer_span(&writer));
}

/* Many users, each at a time of its own: not in step with the load. Within its quota one falls
   somewhere into each share of a second: never two much too near, so that nothing is refused.
 */
static void tenant_draw(struct greedy_tenant *tenant)
{
    double quota_ns = 1e9 / (double)tenant->load->options.greedy;
    while ((double)tenant->load->now_ns >= tenant->due_ns) {
        tenant->counts[tenant->pace].due++;
        if (tenant->pace == GREEDY_OVER) {
            tenant->due_ns -= log(1 - random_share(&tenant->chance)) * quota_ns / GREEDY_TIMES;
        } else {
            /* Late for want of a core: it does not make up for that. */
            if (tenant->even_ns + 2 * quota_ns < (double)tenant->load->now_ns)
                tenant->even_ns = (double)tenant->load->now_ns - quota_ns;
            tenant->even_ns += quota_ns;
            tenant->due_ns = tenant->even_ns + random_share(&tenant->chance) * quota_ns;
        }
    }
}

static bool tenant_may_send(const struct greedy_tenant *tenant)
{
    const struct greedy_count *count = &tenant->counts[tenant->pace];
    return count->sent < count->due &&
           tenant->sent - tenant->ended < TENANT_WAIT_S * tenant->load->options.greedy;
}

static bool tenant_has_room(struct greedy_tenant *tenant)
{
    if (tenant->number < tenant->end_room)
        return true;
    uint32_t room = tenant->end_room > 0 ? 2 * tenant->end_room : 4096;
    uint8_t *ends = realloc(tenant->ends, room);
    if (ends == NULL)
        return false;
    memset(ends + tenant->end_room, 0, room - tenant->end_room);
    tenant->ends = ends;
    tenant->end_room = room;
    return true;
}

static void tenant_turn(struct greedy_tenant *tenant)
{
    bool to_sip = tenant->load->options.drive == LOAD_XMPP_TO_SIP;
    bool sent = tenant->pace != GREEDY_REST;
    if (sent)
        tenant_draw(tenant);
    for (unsigned i = 0; i < TENANT_BATCH && sent; i++) {
        sent = tenant_may_send(tenant) && tenant_has_room(tenant) &&
               (to_sip ? tenant_send_xmpp(tenant) : tenant_send_sip(tenant));
        tenant->counts[tenant->pace].sent += sent;
        tenant->sent += sent;
        tenant->number += sent;
    }
    bench_stream_flush(&tenant->load->out[0]);
}

static uint64_t tenant_wait(const struct greedy_tenant *tenant)
{
    double now_ns = (double)tenant->load->now_ns;
    if (tenant->pace == GREEDY_REST || tenant->due_ns > now_ns + (double)TENANT_STEP_NS)
        return TENANT_STEP_NS;
    return tenant->due_ns > now_ns ? (uint64_t)(tenant->due_ns - now_ns) : LOAD_WAIT_NS;
}

/* ---- its life ---- */

/* Proves further pairs of domains on the stream; our certificate is for all of them (XEP-0344).
 */
static int tenant_prove(struct greedy_tenant *tenant)
{
    struct load *load = tenant->load;
    uint64_t end_ns = clock_now_ns() + load->options.timeout_s * 1000000000ull;
    for (unsigned i = 1; i < GREEDY_PAIRS; i++) {
        char memory[512];
        struct writer writer = writer_make(memory, sizeof(memory));
        writer_put_literal(&writer, "<db:result from='" GREEDY_PREFIX "x");
        writer_put_uint(&writer, i);
        writer_put_literal(&writer, ".bench' to='" GREEDY_PREFIX "s0.bench'>key</db:result>");
        if (!bench_stream_write(&load->out[0], writer_span(&writer)))
            return -EPIPE;
        tenant->unproved++;
    }
    bench_stream_flush(&load->out[0]);
    while (tenant->unproved > 0 && load_check(load) == 0 && clock_now_ns() < end_ns)
        load_turn(load, TENANT_STEP_NS);
    if (tenant->unproved > 0 && load->problem[0] == '\0')
        snprintf(load->problem, sizeof(load->problem),
                 "the relay does not take further domains on its stream");
    return tenant->unproved == 0 ? 0 : -EPROTO;
}

/* Until all is answered, and then until its quota is whole again. */
static void tenant_settle(struct greedy_tenant *tenant)
{
    struct load *load = tenant->load;
    uint64_t end_ns = clock_now_ns() + load->options.timeout_s * 1000000000ull;
    load->now_ns = clock_now_ns();
    if (tenant->pace == GREEDY_OVER)
        tenant_turn(tenant); /* where it had no core, it has not been greedy yet */
    while (tenant->ended < tenant->sent && clock_now_ns() < end_ns && load_check(load) == 0)
        load_rest(load, TENANT_STEP_NS);
    load_rest(load, TENANT_FILL_NS);
    tenant->pace = GREEDY_REST;
}

static void tenant_report(const struct greedy_tenant *tenant, int status, int socket)
{
    struct greedy_report report = {.status = status};
    memcpy(report.counts, tenant->counts, sizeof(report.counts));
    snprintf(report.problem, sizeof(report.problem), "%.*s", (int)sizeof(report.problem) - 1,
             tenant->load->problem);
    (void)send(socket, &report, sizeof(report), MSG_NOSIGNAL);
}

/* Beside the load that is measured it has a core only when the generator wants none: of two at
   real-time priority it is the one that is not. */
static void tenant_step_back(const struct greedy_tenant *tenant, bool back)
{
    struct sched_param none = {.sched_priority = 0};
    bool is_behind = tenant->policy == SCHED_FIFO || tenant->policy == SCHED_RR;
    (void)sched_setscheduler(0, back && !is_behind ? SCHED_IDLE : SCHED_OTHER, &none);
}

static void tenant_obey(struct greedy_tenant *tenant, const struct greedy_order *order,
                        int socket)
{
    tenant_step_back(tenant, order->pace != GREEDY_REST);
    if (order->pace == GREEDY_REST) {
        tenant_settle(tenant);
        tenant_report(tenant, load_check(tenant->load), socket);
        return;
    }
    tenant->pace = order->pace;
    tenant->even_ns = tenant->due_ns = (double)clock_now_ns();
}

static void tenant_play(struct greedy_tenant *tenant, int socket)
{
    struct greedy_order order;
    for (;;) {
        ssize_t size = recv(socket, &order, sizeof(order), MSG_DONTWAIT);
        if (size == (ssize_t)sizeof(order))
            tenant_obey(tenant, &order, socket);
        else if (size >= 0 || errno != EAGAIN)
            return;
        tenant_turn(tenant);
        load_turn(tenant->load, tenant_wait(tenant));
    }
}

void greedy_tenant_run(const struct load_options *options, int socket)
{
    static struct load load; /* large */
    static struct greedy_tenant tenant;
    tenant.load = &load;
    tenant.chance = options->choice.seed;
    tenant.policy = sched_getscheduler(0);
    tenant_step_back(&tenant, false);
    int status = load_open(&load, options);
    load.tenant = &tenant;
    if (status == 0)
        status = load_connect(&load);
    if (status == 0 && options->greedy_by == GREEDY_BY_PAIRS)
        status = tenant_prove(&tenant);
    tenant_report(&tenant, status, socket);
    if (status == 0)
        tenant_play(&tenant, socket);
}
