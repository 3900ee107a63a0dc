/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/sip_peer.h"
#include "net/clock.h"
#include "proto/sip_guard.h"

#define LOAD_OPEN_TIMEOUT_NS 15000000000ull
#define LOAD_LINGER_NS       200000000ull
#define LOAD_BATCH           64 /* sends of one turn, so that receiving keeps pace */
#define LOAD_TEXT_MAX        8000

/* The stanza callback knows only its stream; the load is behind its context. */
static struct load *load_of(struct bench_stream *stream)
{
    return stream->context;
}

/* ---- ledger ---- */

static int load_ledger_open(struct load_ledger *ledger, uint32_t count)
{
    *ledger = (struct load_ledger){.count = count};
    size_t n = count > 0 ? count : 1;
    ledger->start_ns = calloc(n, sizeof(*ledger->start_ns));
    ledger->latency_ns = calloc(n, sizeof(*ledger->latency_ns));
    ledger->seen = calloc(n, 1);
    return ledger->start_ns != NULL && ledger->latency_ns != NULL && ledger->seen != NULL
               ? 0
               : -ENOMEM;
}

static void load_ledger_close(struct load_ledger *ledger)
{
    free(ledger->start_ns);
    free(ledger->latency_ns);
    free(ledger->seen);
}

static void load_arrived(struct load *load, struct load_ledger *ledger, uint32_t number)
{
    if (number >= ledger->count)
        return;
    load->progress_ns = clock_now_ns();
    if (ledger->seen[number]++ > 0) {
        ledger->duplicated++;
        return;
    }
    uint32_t *last = &ledger->last[number % load->options.users];
    if (number + 1 < *last)
        ledger->reordered++;
    else
        *last = number + 1;
    ledger->arrived++;
    ledger->end_ns = load->progress_ns;
    ledger->latency_ns[number] = load->progress_ns - ledger->start_ns[number] + 1;
}

/* May message `sent` go now? Open loop: when its time has come; closed: while the window has
   room. Its intended time is what latency is counted from (no coordinated omission). */
static bool load_may_send(const struct load *load, struct load_ledger *ledger, uint32_t done,
                          uint64_t now_ns)
{
    if (ledger->sent >= ledger->count)
        return false;
    if (ledger->first_ns == 0)
        ledger->first_ns = now_ns;
    uint64_t due_ns = now_ns;
    if (load->options.rate > 0)
        due_ns = ledger->first_ns + (uint64_t)(ledger->sent * 1e9 / load->options.rate);
    if (due_ns > now_ns || ledger->sent - done >= load->options.window)
        return false;
    ledger->start_ns[ledger->sent] = due_ns;
    return true;
}

/* ---- XMPP side ---- */

static void load_pong(struct bench_stream *stream, const struct xml_node *iq)
{
    /* Answers travel on our own stream to the relay: S2S streams carry one direction. */
    struct load *load = load_of(stream);
    char memory[1024];
    struct writer writer = writer_make(memory, sizeof(memory));
    writer_put_literal(&writer, "<iq type='result'");
    writer_put_attribute(&writer, SPAN("from"), xml_node_attribute(iq, SPAN("to")));
    writer_put_attribute(&writer, SPAN("to"), xml_node_attribute(iq, SPAN("from")));
    writer_put_attribute(&writer, SPAN("id"), xml_node_attribute(iq, SPAN("id")));
    writer_put_literal(&writer, "/>");
    for (unsigned i = 0; i < load->options.streams; i++) {
        struct bench_stream *out = &load->out[i];
        if (out->state != BENCH_STREAM_READY || strcmp(out->from, stream->from) != 0 ||
            strcmp(out->to, stream->to) != 0)
            continue;
        if (bench_stream_write(out, writer_span(&writer)))
            bench_stream_flush(out);
        return;
    }
}

static void load_on_stanza(struct bench_stream *stream, const struct xml_node *stanza)
{
    struct load *load = load_of(stream);
    uint32_t number = 0;
    struct span type = xml_node_attribute(stanza, SPAN("type"));
    if (span_equal(stanza->name, SPAN("iq"))) {
        if (span_equal(type, SPAN("get")))
            load_pong(stream, stanza);
        return;
    }
    if (!span_equal(stanza->name, SPAN("message")))
        return;
    if (span_equal(type, SPAN("error"))) {
        load->to_sip.failed++;
        load->progress_ns = clock_now_ns();
        return;
    }
    const struct xml_node *body = xml_node_child(stanza, SPAN(NS_SERVER), SPAN("body"));
    if (body != NULL && sip_peer_number(xml_node_text(body), &number))
        load_arrived(load, &load->to_xmpp, number);
}

/* "#n " padded to `size`. */
static void load_put_text(struct writer *writer, uint32_t number, size_t size)
{
    size_t start = writer->used;
    writer_put_char(writer, '#');
    writer_put_uint(writer, number);
    writer_put_char(writer, ' ');
    while (writer->used - start < size)
        writer_put_char(writer, 'x');
}

static bool load_send_xmpp(struct load *load, uint32_t number)
{
    char memory[LOAD_TEXT_MAX + 1024];
    const struct load_options *options = &load->options;
    unsigned user = number % options->users;
    struct bench_stream *stream = &load->out[user % options->streams];
    struct writer writer = writer_make(memory, sizeof(memory));
    writer_put_literal(&writer, "<message type='chat' id='m");
    writer_put_uint(&writer, number);
    writer_put_literal(&writer, "' from='u");
    writer_put_uint(&writer, user);
    writer_put_char(&writer, '@');
    writer_put(&writer, span_of(stream->from));
    writer_put_literal(&writer, "/bench' to='u");
    writer_put_uint(&writer, user);
    writer_put_char(&writer, '@');
    writer_put(&writer, span_of(stream->to));
    writer_put_literal(&writer, "'><body>");
    size_t frame = writer.used + sizeof("</body></message>") - 1;
    load_put_text(&writer, number, options->size > frame ? options->size - frame : 1);
    writer_put_literal(&writer, "</body></message>");
    return stream->state == BENCH_STREAM_READY &&
           bench_stream_write(stream, writer_span(&writer));
}

/* ---- SIP side ---- */

static void load_on_datagram(struct load *load, const struct ring_event *event)
{
    struct span datagram = span_make(event->data, event->size);
    char memory[2048];
    uint32_t number = 0;
    int status = sip_peer_response(datagram, &number);
    if (status != 0) {
        load->to_xmpp.answered++;
        if (status >= 300)
            load->to_xmpp.failed++;
        load->progress_ns = clock_now_ns();
        return;
    }
    struct writer answer = writer_make(memory, sizeof(memory));
    if (!sip_peer_answer(datagram, &answer))
        return;
    if (ring_send_datagram(load->ring, load->udp, &event->peer, answer.data, answer.used) != 0)
        load->answers_lost++;
    const char *end = memmem(datagram.data, datagram.size, "\r\n\r\n", 4);
    if (span_starts(datagram, SPAN("MESSAGE ")) && end != NULL &&
        sip_peer_number(span_from(datagram, (size_t)(end - datagram.data) + 4), &number))
        load_arrived(load, &load->to_sip, number);
}

static bool load_send_sip(struct load *load, uint32_t number)
{
    char text[LOAD_TEXT_MAX], memory[LOAD_TEXT_MAX + 1024], sent_by[NET_ADDRESS_TEXT_SIZE];
    const struct load_options *options = &load->options;
    unsigned user = number % options->users;
    const struct bench_stream *stream = &load->out[user % options->streams];
    struct writer body = writer_make(text, sizeof(text));
    load_put_text(&body, number, options->size);
    net_address_format(&options->own_sip, sent_by);
    struct sip_peer_message message = {.number = number,
                                       .user = user,
                                       .from_domain = span_of(stream->to),
                                       .to_domain = span_of(stream->from),
                                       .sent_by = span_of(sent_by),
                                       .body = writer_span(&body)};
    struct writer writer = writer_make(memory, sizeof(memory));
    sip_peer_message(&writer, &message);
    return ring_send_datagram(load->ring, load->udp, &options->relay_sip, writer.data,
                              writer.used) == 0;
}

/* ---- the loop ---- */

static void load_on_accept(struct load *load, const struct ring_event *event)
{
    struct bench_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL || load->in_count == LOAD_STREAM_MAX) {
        free(stream);
        ring_drop(load->ring, event->accepted);
        return;
    }
    bench_stream_accept(stream, load->ring, event->accepted);
    stream->context = load;
    load->in[load->in_count++] = stream;
}

static void load_turn(struct load *load, uint64_t wait_ns)
{
    struct ring_event event;
    (void)ring_wait(load->ring, wait_ns);
    while (ring_next(load->ring, &event)) {
        if (event.kind == RING_ACCEPTED)
            load_on_accept(load, &event);
        else if (event.kind == RING_DATAGRAM)
            load_on_datagram(load, &event);
        else if (event.owner != NULL && event.owner != load)
            bench_stream_event(event.owner, &event, load->tls, load_on_stanza);
    }
}

static void load_send(struct load *load)
{
    for (unsigned i = 0; i < LOAD_BATCH; i++) {
        uint64_t now_ns = clock_now_ns();
        struct load_ledger *sip = &load->to_sip, *xmpp = &load->to_xmpp;
        bool sent = false;
        if (load_may_send(load, sip, sip->arrived + sip->failed, now_ns) &&
            load_send_xmpp(load, sip->sent)) {
            sip->sent++;
            sent = true;
        }
        if (load_may_send(load, xmpp, xmpp->answered, now_ns) &&
            load_send_sip(load, xmpp->sent)) {
            xmpp->sent++;
            sent = true;
        }
        if (!sent)
            break;
    }
    for (unsigned i = 0; i < load->options.streams; i++)
        bench_stream_flush(&load->out[i]);
}

static bool load_done(const struct load *load)
{
    const struct load_ledger *sip = &load->to_sip, *xmpp = &load->to_xmpp;
    return sip->arrived + sip->failed >= sip->count && xmpp->answered >= xmpp->count &&
           xmpp->arrived + xmpp->failed >= xmpp->count;
}

int load_run(struct load *load)
{
    load->progress_ns = clock_now_ns();
    while (!load_done(load)) {
        load_send(load);
        load_turn(load, load->options.rate > 0 ? 200000 : 1000000);
        for (unsigned i = 0; i < load->options.streams; i++) {
            if (load->out[i].state != BENCH_STREAM_DEAD)
                continue;
            snprintf(load->problem, sizeof(load->problem), "stream %u of %s died: %s", i,
                     load->out[i].from, load->out[i].problem);
            return -EPIPE;
        }
        if (clock_now_ns() - load->progress_ns > load->options.timeout_s * 1000000000ull)
            return -ETIMEDOUT;
    }
    /* The last answers must leave, and what comes twice must be seen. */
    uint64_t end_ns = clock_now_ns() + LOAD_LINGER_NS;
    while (clock_now_ns() < end_ns)
        load_turn(load, LOAD_LINGER_NS / 10);
    return 0;
}

static int load_open_streams(struct load *load)
{
    const struct load_options *options = &load->options;
    load->out = calloc(options->streams, sizeof(*load->out));
    if (load->out == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < options->streams; i++) {
        char from[64], to[64];
        snprintf(from, sizeof(from), "x%u.bench", i % options->xmpp_domains);
        snprintf(to, sizeof(to), "s%u.bench", i % options->sip_domains);
        int status =
            bench_stream_connect(&load->out[i], load->ring, &options->relay_xmpp, from, to);
        load->out[i].context = load;
        if (status != 0)
            return status;
    }
    uint64_t end_ns = clock_now_ns() + LOAD_OPEN_TIMEOUT_NS;
    for (unsigned ready = 0; ready < options->streams && clock_now_ns() < end_ns;) {
        load_turn(load, 10000000);
        ready = 0;
        for (unsigned i = 0; i < options->streams; i++) {
            if (load->out[i].state == BENCH_STREAM_DEAD) {
                snprintf(load->problem, sizeof(load->problem), "%s: %s", load->out[i].from,
                         load->out[i].problem);
                return -EPROTO;
            }
            ready += load->out[i].state == BENCH_STREAM_READY;
        }
        if (ready == options->streams)
            return 0;
    }
    snprintf(load->problem, sizeof(load->problem), "streams did not become ready in time");
    return -ETIMEDOUT;
}

int load_open(struct load *load, const struct load_options *options)
{
    const char *cause = "";
    *load = (struct load){.options = *options};
    struct ring_options ring = {.socket_max = 2 * LOAD_STREAM_MAX + 16,
                                .receive_buffer_count = 512,
                                .error_text = &cause};
    struct tls_context_options tls = {options->certificate, options->key, options->ca, NULL};
    int status = ring_open(&load->ring, &ring);
    if (status != 0) {
        snprintf(load->problem, sizeof(load->problem), "io_uring: %s", cause);
        return status;
    }
    status = tls_context_open(&load->tls, &tls, load->problem, sizeof(load->problem));
    if (status != 0)
        return status;
    status = ring_listen_stream(load->ring, &options->own_xmpp, load, &load->listener);
    if (status == 0)
        status = ring_listen_datagram(load->ring, &options->own_sip, load, &load->udp);
    if (status != 0) {
        snprintf(load->problem, sizeof(load->problem), "cannot listen: %s", strerror(-status));
        return status;
    }
    bool to_sip = options->drive != LOAD_SIP_TO_XMPP;
    bool to_xmpp = options->drive != LOAD_XMPP_TO_SIP;
    status = load_ledger_open(&load->to_sip, to_sip ? options->count : 0);
    if (status == 0)
        status = load_ledger_open(&load->to_xmpp, to_xmpp ? options->count : 0);
    return status != 0 ? status : load_open_streams(load);
}

void load_close(struct load *load)
{
    if (load->ring != NULL)
        ring_close(&load->ring);
    for (unsigned i = 0; load->out != NULL && i < load->options.streams; i++)
        bench_stream_close(&load->out[i]);
    for (unsigned i = 0; i < load->in_count; i++) {
        bench_stream_close(load->in[i]);
        free(load->in[i]);
    }
    free(load->out);
    if (load->tls != NULL)
        tls_context_close(&load->tls);
    load_ledger_close(&load->to_sip);
    load_ledger_close(&load->to_xmpp);
}
