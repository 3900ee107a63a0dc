/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "net/clock.h"
#include "net/digest.h"

#define LOAD_OPEN_TIMEOUT_NS 15000000000ull /* without one more stream becoming ready */
#define LOAD_OPENING_MAX     64             /* streams that negotiate at the same time */
#define LOAD_LINGER_NS       200000000ull
#define LOAD_TICK_NS         20000000ull
#define LOAD_WAIT_NS         1000000ull
#define LOAD_BATCH           64   /* sends of one turn, so that receiving keeps pace */
#define LOAD_RESEND_MS       500u /* T1 of RFC 3261 */
#define LOAD_RESEND_EVERY_NS 100000000ull

/* ---- events ---- */

static void load_on_accept(struct load *load, const struct ring_event *event)
{
    struct bench_stream *stream = calloc(1, sizeof(*stream));
    if (load->in_count == load->in_room) {
        load->in_room = load->in_room == 0 ? 64 : 2 * load->in_room;
        load->in = realloc(load->in, load->in_room * sizeof(struct bench_stream *));
    }
    if (stream == NULL || load->in == NULL)
        abort();
    bench_stream_accept(stream, load->ring, event->accepted);
    stream->context = load;
    load->in[load->in_count++] = stream;
}

/* The relay ended one of its streams to us: the last event of its socket has come. */
static void load_forget(struct load *load, struct bench_stream *stream)
{
    for (unsigned i = 0; i < load->in_count; i++) {
        if (load->in[i] != stream)
            continue;
        load->in[i] = load->in[--load->in_count];
        bench_stream_close(stream);
        free(stream);
        return;
    }
}

static void load_on_stream(struct load *load, const struct ring_event *event)
{
    struct bench_stream *stream = event->owner;
    if (event->kind == RING_GONE && stream->inbound) {
        load_forget(load, stream);
        return;
    }
    bool was_dead = stream->state == BENCH_STREAM_DEAD;
    bench_stream_event(stream, event, load->tls, load_on_stanza);
    if (stream->inbound && !was_dead && stream->state == BENCH_STREAM_DEAD)
        ring_drop(load->ring, stream->handle);
}

static void load_turn(struct load *load, uint64_t wait_ns)
{
    struct ring_event event;
    (void)ring_wait(load->ring, wait_ns);
    while (ring_next(load->ring, &event)) {
        if (bench_is_of(&event, BENCH_OWNER_XMPP_STREAM))
            load_on_stream(load, &event);
        else if (bench_is_of(&event, BENCH_OWNER_COMPONENT))
            component_event(&load->component, &event);
        else if (!sip_side_event(&load->sip, &event) && event.kind == RING_ACCEPTED)
            load_on_accept(load, &event);
    }
    sip_side_flush(&load->sip);
    for (unsigned i = 0; i < load->dirty_count; i++) {
        load->dirty[i]->dirty = false;
        bench_stream_flush(load->dirty[i]);
    }
    load->dirty_count = 0;
    load->now_ns = clock_now_ns();
    if (load->tick != NULL && load->now_ns >= load->tick_ns) {
        load->tick_ns = load->now_ns + LOAD_TICK_NS;
        load->tick(load->tick_context, load);
    }
}

/* ---- sending ---- */

/* When may the next message go? Open loop: at its time, from which its latency is counted
   however late it leaves (no coordinated omission); closed loop: now. UINT64_MAX: not until
   something comes back. */
static uint64_t load_due(const struct load *load, const struct ledger *ledger, uint32_t done)
{
    if (ledger->sent >= ledger->count || ledger->sent - done >= load->phase.window)
        return UINT64_MAX;
    if (load->phase.rate > 0)
        return ledger->first_ns + (uint64_t)(ledger->sent * 1e9 / load->phase.rate);
    return load->now_ns;
}

static uint64_t load_due_to_sip(const struct load *load)
{
    const struct ledger *ledger = &load->to_sip;
    return load_due(load, ledger, ledger->sent - ledger_lost(ledger));
}

static uint64_t load_due_to_xmpp(const struct load *load)
{
    return load_due(load, &load->to_xmpp, load->to_xmpp.answered);
}

static bool load_send_one(struct load *load, struct ledger *ledger, uint64_t due_ns)
{
    if (due_ns > load->now_ns)
        return false;
    struct ledger_entry *entry = ledger_next(ledger, due_ns);
    uint32_t number = ledger->first + ledger->sent;
    if (entry == NULL ||
        !(ledger == &load->to_sip ? load_send_xmpp(load, number) : load_send_sip(load, number)))
        return false;
    entry->sent_ms = (uint32_t)(load->now_ns / 1000000);
    ledger->sent++;
    return true;
}

/* A SIP client over UDP sends again what is not answered (RFC 3261 §17.1.2.2). */
static void load_resend(struct load *load)
{
    uint32_t now_ms = (uint32_t)(load->now_ns / 1000000), number = load->to_xmpp.first;
    if (load->options.transport != SIP_TRANSPORT_UDP || load->now_ns < load->overdue_ns)
        return;
    load->overdue_ns = load->now_ns + LOAD_RESEND_EVERY_NS;
    while (ledger_overdue(&load->to_xmpp, now_ms - LOAD_RESEND_MS, &number) &&
           load_send_sip(load, number)) {
        ledger_find(&load->to_xmpp, number)->sent_ms = now_ms;
        load->to_xmpp.resent++;
        number++;
    }
}

/* Sends what may go; returns when to try again, in nanoseconds from now. */
static uint64_t load_send(struct load *load)
{
    bool sent = true;
    for (unsigned i = 0; i < LOAD_BATCH && sent; i++) {
        sent = load_send_one(load, &load->to_sip, load_due_to_sip(load));
        sent |= load_send_one(load, &load->to_xmpp, load_due_to_xmpp(load));
    }
    load_resend(load);
    if (load->phase.rate == 0)
        return sent ? 0 : LOAD_WAIT_NS;
    uint64_t sip_ns = load_due_to_sip(load), xmpp_ns = load_due_to_xmpp(load);
    uint64_t due_ns = sip_ns < xmpp_ns ? sip_ns : xmpp_ns;
    if (sent || due_ns <= load->now_ns)
        return 0;
    return due_ns - load->now_ns < LOAD_WAIT_NS ? due_ns - load->now_ns : LOAD_WAIT_NS;
}

/* ---- phases ---- */

static bool load_done(const struct load *load)
{
    const struct ledger *sip = &load->to_sip, *xmpp = &load->to_xmpp;
    return sip->sent >= sip->count && ledger_lost(sip) == 0 && xmpp->sent >= xmpp->count &&
           xmpp->answered >= xmpp->sent && ledger_lost(xmpp) == 0;
}

static int load_check(struct load *load)
{
    for (unsigned i = 0; i < load->opened; i++) {
        const struct bench_stream *stream = &load->out[i];
        if (stream->state != BENCH_STREAM_DEAD)
            continue;
        snprintf(load->problem, sizeof(load->problem), "the stream from %s to %s died: %s",
                 stream->from, stream->to, stream->problem);
        return -EPIPE;
    }
    const char *problem =
        load->sip.problem != NULL ? load->sip.problem : load->component.problem;
    if (problem != NULL) {
        snprintf(load->problem, sizeof(load->problem), "the far side died: %s", problem);
        return -EPIPE;
    }
    return 0;
}

static void load_start(struct load *load, const struct load_phase *phase)
{
    bool to_sip = load->options.drive != LOAD_SIP_TO_XMPP;
    bool to_xmpp = load->options.drive != LOAD_XMPP_TO_SIP;
    load->phase = *phase;
    memset(load->failure, 0, sizeof(load->failure));
    load->answers_lost = 0;
    ledger_start(&load->to_sip, load->number_next, to_sip ? phase->count : 0,
                 load->options.users);
    ledger_start(&load->to_xmpp, load->number_next, to_xmpp ? phase->count : 0,
                 load->options.users);
    load->number_next += phase->count;
    load->now_ns = load->progress_ns = clock_now_ns();
    load->to_sip.first_ns = load->to_xmpp.first_ns = load->now_ns;
    load->send_end_ns =
        phase->seconds > 0 ? load->now_ns + (uint64_t)(phase->seconds * 1e9) : UINT64_MAX;
}

int load_run(struct load *load, const struct load_phase *phase)
{
    uint64_t check_ns = 0;
    load_start(load, phase);
    while (!load_done(load)) {
        if (load->now_ns >= load->send_end_ns) {
            load->to_sip.count = load->to_sip.sent;
            load->to_xmpp.count = load->to_xmpp.sent;
        }
        load_turn(load, load_send(load));
        if (load->now_ns < check_ns)
            continue;
        check_ns = load->now_ns + LOAD_TICK_NS;
        int status = load_check(load);
        if (status != 0)
            return status;
        if (load->now_ns - load->progress_ns > load->options.timeout_s * 1000000000ull &&
            load->now_ns > load->progress_ns) {
            snprintf(load->problem, sizeof(load->problem),
                     "nothing came for %u s: what is missing counts as lost",
                     load->options.timeout_s);
            return -ETIMEDOUT;
        }
    }
    /* The last answers must leave, and what comes twice must be seen. */
    load_rest(load, LOAD_LINGER_NS);
    return 0;
}

void load_rest(struct load *load, uint64_t ns)
{
    uint64_t end_ns = clock_now_ns() + ns;
    load->now_ns = clock_now_ns();
    while (load->now_ns < end_ns)
        load_turn(load,
                  end_ns - load->now_ns < LOAD_TICK_NS ? end_ns - load->now_ns : LOAD_TICK_NS);
}

/* ---- opening ---- */

/* Stream i joins an XMPP domain and a SIP domain; few streams are spread over many domains. */
static int load_open_stream(struct load *load, unsigned i)
{
    const struct load_options *options = &load->options;
    unsigned spread = options->sip_domains / options->streams;
    char from[64], to[64];
    snprintf(from, sizeof(from), "x%u.bench", i % options->xmpp_domains);
    snprintf(to, sizeof(to), "s%u.bench", i * (spread > 0 ? spread : 1) % options->sip_domains);
    if (options->sip_name != NULL)
        snprintf(to, sizeof(to), "%s", options->sip_name);
    int status =
        bench_stream_connect(&load->out[i], load->ring, &options->relay_xmpp, from, to);
    load->out[i].context = load;
    return status;
}

static unsigned load_ready(const struct load *load)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < load->opened; i++)
        ready += load->out[i].state == BENCH_STREAM_READY;
    return ready;
}

static bool load_far_ready(const struct load *load)
{
    return load->options.component_secret != NULL ? load->component.ready
                                                  : sip_side_ready(&load->sip);
}

int load_connect(struct load *load)
{
    unsigned ready = 0, streams = load->options.streams;
    load->now_ns = clock_now_ns();
    uint64_t end_ns = load->now_ns + LOAD_OPEN_TIMEOUT_NS;
    while (ready < streams) {
        /* An XMPP server knows a component's name only while it is there. */
        for (; load_far_ready(load) && load->opened < streams &&
               load->opened - ready < LOAD_OPENING_MAX;
             load->opened++) {
            int status = load_open_stream(load, load->opened);
            if (status != 0) {
                snprintf(load->problem, sizeof(load->problem), "stream %u: %s", load->opened,
                         strerror(-status));
                return status;
            }
        }
        load_turn(load, 10000000);
        int status = load_check(load);
        if (status != 0)
            return status;
        unsigned now_ready = load_ready(load);
        if (now_ready > ready)
            end_ns = load->now_ns + LOAD_OPEN_TIMEOUT_NS;
        ready = now_ready;
        if (load->now_ns > end_ns) {
            snprintf(load->problem, sizeof(load->problem), "%u of %u streams are ready%s",
                     ready, streams, load_far_ready(load) ? "" : "; SIP is not");
            return -ETIMEDOUT;
        }
    }
    return 0;
}

static int load_open_memory(struct load *load)
{
    const struct load_options *options = &load->options;
    assert(options->streams > 0 && options->streams <= LOAD_STREAM_MAX);
    load->out = calloc(options->streams, sizeof(*load->out));
    load->dirty = calloc(options->streams, sizeof(struct bench_stream *));
    load->text = malloc(options->size);
    if (load->out == NULL || load->dirty == NULL || load->text == NULL)
        return -ENOMEM;
    memset(load->text, 'x', options->size);
    digest_random(&load->run, sizeof(load->run));
    return 0;
}

static int load_open_ring(struct load *load)
{
    const char *cause = "";
    struct rlimit files;
    struct ring_options ring = {.socket_max = 2 * LOAD_STREAM_MAX + 64,
                                .receive_buffer_count = 512,
                                .datagram_send_max = 4096,
                                .error_text = &cause};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1000ul); /* an open loop is only as good as its clock */
    int status = ring_open(&load->ring, &ring);
    if (status != 0)
        snprintf(load->problem, sizeof(load->problem), "io_uring: %s", cause);
    return status;
}

/* Where messages to SIP end. */
static int load_open_far(struct load *load)
{
    const struct load_options *options = &load->options;
    struct component_options component = {.ring = load->ring,
                                          .server = options->component,
                                          .domain = options->sip_name,
                                          .secret = options->component_secret,
                                          .message = load_on_component,
                                          .context = load};
    struct sip_side_options sip = {.ring = load->ring,
                                   .tls = load->tls,
                                   .transport = options->transport,
                                   .own = options->own_sip,
                                   .relay = options->relay_sip,
                                   .sends = options->drive != LOAD_XMPP_TO_SIP,
                                   .message = load_on_sip,
                                   .context = load};
    return options->component_secret != NULL ? component_open(&load->component, &component)
                                             : sip_side_open(&load->sip, &sip);
}

int load_open(struct load *load, const struct load_options *options)
{
    *load = (struct load){.options = *options, .xmpp_owner = BENCH_OWNER_XMPP_LISTENER};
    int status = load_open_memory(load);
    if (status == 0)
        status = load_open_ring(load);
    if (status != 0)
        return status;
    struct tls_context_options tls = {.certificate_file = options->certificate,
                                      .key_file = options->key,
                                      .ca_file = options->ca};
    status = tls_context_open(&load->tls, &tls, load->problem, sizeof(load->problem));
    if (status != 0)
        return status;
    status =
        ring_listen_stream(load->ring, &options->own_xmpp, &load->xmpp_owner, &load->listener);
    if (status == 0)
        status = load_open_far(load);
    if (status != 0)
        snprintf(load->problem, sizeof(load->problem), "cannot listen: %s", strerror(-status));
    return status;
}

void load_close(struct load *load)
{
    if (load->ring != NULL)
        ring_close(&load->ring);
    for (unsigned i = 0; i < load->opened; i++)
        bench_stream_close(&load->out[i]);
    for (unsigned i = 0; i < load->in_count; i++) {
        bench_stream_close(load->in[i]);
        free(load->in[i]);
    }
    sip_side_close(&load->sip);
    component_close(&load->component);
    free(load->out);
    free(load->in);
    free(load->dirty);
    free(load->text);
    if (load->tls != NULL)
        tls_context_close(&load->tls);
    ledger_fini(&load->to_sip);
    ledger_fini(&load->to_xmpp);
}
