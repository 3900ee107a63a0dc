/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/stream.h"

#include <assert.h>
#include <stdlib.h>

#include "core/heap.h"
#include "proto/limits.h"
#include "proto/writer.h"

#define BENCH_OUTPUT_MAX (256 * 1024)
#define BENCH_READ_SIZE  16384

static void bench_stream_init(struct bench_stream *stream, struct ring *ring)
{
    *stream = (struct bench_stream){.owner = BENCH_OWNER_XMPP_STREAM, .ring = ring};
    net_buffer_init(&stream->output[0], BENCH_OUTPUT_MAX);
    net_buffer_init(&stream->output[1], BENCH_OUTPUT_MAX);
    stream->xml = xml_stream_open(&heap_memory, NULL);
    if (stream->xml == NULL)
        abort();
}

static void bench_stream_die(struct bench_stream *stream, const char *problem)
{
    if (stream->state != BENCH_STREAM_DEAD)
        stream->problem = problem;
    stream->state = BENCH_STREAM_DEAD;
}

/* Plaintext to the peer: encrypted once TLS is up. */
static void bench_stream_say(struct bench_stream *stream, struct span text)
{
    bool failed;
    if (stream->tls != NULL)
        failed = tls_write(stream->tls, text.data, text.size, &stream->output[0]) != TLS_DONE;
    else
        failed = net_buffer_add(&stream->output[0], text.data, text.size) != 0;
    if (failed)
        bench_stream_die(stream, "output buffer full or TLS write failed");
}

static void bench_stream_say_header(struct bench_stream *stream)
{
    char memory[1024];
    struct writer writer = writer_make(memory, sizeof(memory));
    writer_put_literal(&writer,
                       "<?xml version='1.0'?><stream:stream xmlns='jabber:server'"
                       " xmlns:stream='http://etherx.jabber.org/streams'"
                       " xmlns:db='jabber:server:dialback' version='1.0' xml:lang='en'");
    writer_put_attribute(&writer, SPAN("from"), span_of(stream->from));
    writer_put_attribute(&writer, SPAN("to"), span_of(stream->to));
    if (stream->inbound) {
        writer_put_literal(&writer, " id='bench");
        writer_put_uint(&writer, (uint64_t)(uintptr_t)stream + ++stream->ids);
        writer_put_char(&writer, '\'');
    }
    writer_put_char(&writer, '>');
    bench_stream_say(stream, writer_span(&writer));
}

static void bench_copy_name(char *out, size_t size, struct span text)
{
    text = span_to(text, size - 1);
    if (text.size > 0)
        memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

int bench_stream_connect(struct bench_stream *stream, struct ring *ring,
                         const union net_address *target, const char *from, const char *to)
{
    bench_stream_init(stream, ring);
    bench_copy_name(stream->from, sizeof(stream->from), span_of(from));
    bench_copy_name(stream->to, sizeof(stream->to), span_of(to));
    return ring_connect(ring, target, NULL, stream, &stream->handle);
}

void bench_stream_accept(struct bench_stream *stream, struct ring *ring, ring_handle handle)
{
    bench_stream_init(stream, ring);
    stream->inbound = true;
    stream->handle = handle;
    stream->state = BENCH_STREAM_HEADER;
    ring_set_owner(ring, handle, stream);
}

/* The relay's header to us: answer with ours and the features of the moment. */
static void bench_stream_opened(struct bench_stream *stream, const struct xml_node *header)
{
    if (!stream->inbound)
        return;
    if (stream->from[0] == '\0') {
        struct span to = xml_node_attribute(header, SPAN("to"));
        struct span from = xml_node_attribute(header, SPAN("from"));
        bench_copy_name(stream->from, sizeof(stream->from), to);
        bench_copy_name(stream->to, sizeof(stream->to), from);
    }
    bench_stream_say_header(stream);
    if (stream->tls == NULL)
        bench_stream_say(stream, SPAN("<stream:features><starttls xmlns='" NS_TLS
                                      "'><required/></starttls></stream:features>"));
    else if (!stream->authenticated)
        bench_stream_say(stream, SPAN("<stream:features><mechanisms xmlns='" NS_SASL
                                      "'><mechanism>EXTERNAL</mechanism></mechanisms>"
                                      "</stream:features>"));
    else
        bench_stream_say(stream, stream->managed
                                     ? SPAN("<stream:features>" SM_FEATURE "</stream:features>")
                                     : SPAN("<stream:features/>"));
    if (stream->authenticated && stream->state != BENCH_STREAM_DEAD) {
        stream->state = BENCH_STREAM_READY;
        xml_stream_set_stanza_size_max(stream->xml, STANZA_SIZE_MAX);
    }
}

static void bench_stream_start_tls(struct bench_stream *stream, struct tls_context *context)
{
    int status = stream->inbound
                     ? tls_accept(&stream->tls, context, NULL, NULL, TLS_ALPN_NONE)
                     : tls_connect(&stream->tls, context, stream->to, TLS_ALPN_NONE);
    if (status != 0) {
        bench_stream_die(stream, "TLS session refused");
        return;
    }
    xml_stream_restart(stream->xml);
    stream->state = BENCH_STREAM_TLS;
    if (!stream->inbound && tls_handshake(stream->tls, &stream->output[0]) == TLS_FAILED)
        bench_stream_die(stream, "TLS handshake failed");
}

/* ---- stream management ---- */

static void bench_stream_enable(struct bench_stream *stream, const struct xml_node *features)
{
    if (!stream->managed)
        return;
    if (xml_node_child(features, SPAN(NS_SM), SPAN("sm")) == NULL)
        bench_stream_die(stream, "the relay offers no stream management");
    bench_stream_say(stream, SPAN("<enable xmlns='" NS_SM "'/>"));
    stream->sm.is_on = true;
}

static void bench_stream_managed(struct bench_stream *stream, const struct xml_node *node)
{
    char memory[96];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct sm_element element = sm_read(node);
    if (element.kind == SM_ENABLE && stream->managed && stream->inbound) {
        sm_write_enabled(&writer, SPAN_NONE, 0);
        stream->sm.is_on = true;
    } else if (element.kind == SM_REQUEST) {
        sm_write_answer(&writer, stream->sm.received);
    } else if (element.kind == SM_ANSWER) {
        stream->sm.is_asked = false;
        if (!sm_acknowledge(&stream->sm.sender, element.h))
            bench_stream_die(stream, "the relay acknowledges what was not sent");
    } else if (element.kind != SM_ENABLED) {
        bench_stream_die(stream, "the relay refuses stream management");
    }
    if (writer.used > 0)
        bench_stream_say(stream, writer_span(&writer));
}

static void bench_stream_ask(struct bench_stream *stream)
{
    bool is_new = stream->sm.asked_at != stream->sm.sender.sent;
    if (!stream->sm.is_on || stream->sm.is_asked || !is_new || stream->ending)
        return;
    stream->sm.is_asked = true;
    stream->sm.asked_at = stream->sm.sender.sent;
    bench_stream_say(stream, SPAN("<r xmlns='" NS_SM "'/>"));
}

/* Features decide what an initiator does next. */
static void bench_stream_features(struct bench_stream *stream, const struct xml_node *features)
{
    if (stream->tls == NULL) {
        bench_stream_say(stream, SPAN("<starttls xmlns='" NS_TLS "'/>"));
    } else if (stream->authenticated) {
        stream->state = BENCH_STREAM_READY;
        xml_stream_set_stanza_size_max(stream->xml, STANZA_SIZE_MAX);
        bench_stream_enable(stream, features);
    } else if (xml_node_child(features, SPAN(NS_SASL), SPAN("mechanisms")) != NULL) {
        bench_stream_say(stream,
                         SPAN("<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>=</auth>"));
    } else {
        bench_stream_die(stream, "the relay does not offer SASL EXTERNAL to our certificate");
    }
}

static void bench_stream_authenticated(struct bench_stream *stream)
{
    stream->authenticated = true;
    xml_stream_restart(stream->xml);
    if (!stream->inbound)
        bench_stream_say_header(stream);
}

static void bench_stream_element(struct bench_stream *stream, const struct xml_node *node,
                                 struct tls_context *context, bench_stanza_fn stanza)
{
    if (xml_node_is(node, SPAN(NS_STREAMS), SPAN("features"))) {
        bench_stream_features(stream, node);
    } else if (span_equal(node->space, SPAN(NS_STREAMS))) {
        const struct xml_node *condition = xml_node_first_element(node);
        struct span name = condition != NULL ? condition->name : SPAN("");
        bench_copy_name(stream->error, sizeof(stream->error), name);
        bench_stream_die(stream, stream->error);
    } else if (xml_node_is(node, SPAN(NS_TLS), SPAN("starttls")) && stream->inbound) {
        bench_stream_say(stream, SPAN("<proceed xmlns='" NS_TLS "'/>"));
        bench_stream_start_tls(stream, context);
    } else if (xml_node_is(node, SPAN(NS_TLS), SPAN("proceed")) && !stream->inbound) {
        bench_stream_start_tls(stream, context);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("auth")) && stream->inbound) {
        bench_stream_say(stream, SPAN("<success xmlns='" NS_SASL "'/>"));
        bench_stream_authenticated(stream);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("success")) && !stream->inbound) {
        bench_stream_authenticated(stream);
    } else if (stream->state == BENCH_STREAM_READY && span_equal(node->space, SPAN(NS_SM))) {
        bench_stream_managed(stream, node);
    } else if (stream->state == BENCH_STREAM_READY) {
        stream->sm.received += stream->sm.is_on;
        stanza(stream, node);
    } else {
        bench_stream_die(stream, "unexpected element during negotiation");
    }
}

static void bench_stream_pull(struct bench_stream *stream, struct tls_context *context,
                              bench_stanza_fn stanza)
{
    struct xml_event event;
    while (stream->state != BENCH_STREAM_DEAD &&
           xml_stream_next(stream->xml, &event) != XML_EVENT_NONE) {
        switch (event.kind) {
        case XML_EVENT_OPEN: bench_stream_opened(stream, event.node); break;
        case XML_EVENT_STANZA: bench_stream_element(stream, event.node, context, stanza); break;
        case XML_EVENT_CLOSE:
            bench_stream_die(stream, stream->ending ? NULL : "the relay closed the stream");
            break;
        case XML_EVENT_ERROR: bench_stream_die(stream, "bad XML from the relay"); break;
        case XML_EVENT_NONE: break;
        }
        if (stream->state == BENCH_STREAM_TLS)
            return; /* What follows is ciphertext. */
    }
}

static void bench_stream_plain(struct bench_stream *stream, const struct ring_event *event,
                               struct tls_context *context, bench_stanza_fn stanza)
{
    const uint8_t *data = event->data;
    size_t size = event->size;
    while (size > 0 && stream->state != BENCH_STREAM_DEAD && stream->tls == NULL) {
        size_t part = size < BENCH_READ_SIZE ? size : BENCH_READ_SIZE;
        void *room = xml_stream_room(stream->xml, part);
        if (room == NULL) {
            bench_stream_die(stream, "no room for input");
            return;
        }
        memcpy(room, data, part);
        xml_stream_commit(stream->xml, part);
        data += part;
        size -= part;
        bench_stream_pull(stream, context, stanza);
    }
}

static bool bench_stream_shake(struct bench_stream *stream)
{
    switch (tls_handshake(stream->tls, &stream->output[0])) {
    case TLS_DONE: break;
    case TLS_MORE: return false;
    case TLS_CLOSED:
    case TLS_FAILED: bench_stream_die(stream, tls_error(stream->tls)); return false;
    }
    stream->state = BENCH_STREAM_SECURE;
    if (!stream->inbound)
        bench_stream_say_header(stream);
    return true;
}

static void bench_stream_cipher(struct bench_stream *stream, const struct ring_event *event,
                                struct tls_context *context, bench_stanza_fn stanza)
{
    tls_set_input(stream->tls, event->data, event->size);
    if (stream->state == BENCH_STREAM_TLS && !bench_stream_shake(stream))
        return;
    while (stream->state != BENCH_STREAM_DEAD) {
        size_t read_size = 0;
        void *room = xml_stream_room(stream->xml, BENCH_READ_SIZE);
        if (room == NULL) {
            bench_stream_die(stream, "no room for input");
            return;
        }
        enum tls_result result =
            tls_read(stream->tls, room, BENCH_READ_SIZE, &read_size, &stream->output[0]);
        xml_stream_commit(stream->xml, read_size);
        if (result != TLS_DONE) {
            if (result != TLS_MORE)
                bench_stream_die(stream, "TLS connection ended");
            return;
        }
        bench_stream_pull(stream, context, stanza);
    }
}

void bench_stream_event(struct bench_stream *stream, const struct ring_event *event,
                        struct tls_context *tls, bench_stanza_fn stanza)
{
    switch (event->kind) {
    case RING_CONNECTED:
        if (event->result != 0) {
            bench_stream_die(stream, "cannot connect to the relay");
            break;
        }
        stream->state = BENCH_STREAM_HEADER;
        bench_stream_say_header(stream);
        break;
    case RING_RECEIVED:
        if (stream->tls == NULL)
            bench_stream_plain(stream, event, tls, stanza);
        else
            bench_stream_cipher(stream, event, tls, stanza);
        break;
    case RING_SENT:
        stream->sending = false;
        net_buffer_consume(&stream->output[1], net_buffer_used(&stream->output[1]));
        if (event->result != 0)
            bench_stream_die(stream, "send failed");
        break;
    case RING_END: bench_stream_die(stream, "connection ended"); break;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_WOKEN: break;
    case RING_GONE: stream->gone = true; break;
    }
    bench_stream_flush(stream);
}

void bench_stream_end(struct bench_stream *stream)
{
    assert(stream->state == BENCH_STREAM_READY && !stream->ending);
    stream->ending = true;
    bench_stream_say(stream, SPAN("</stream:stream>"));
    bench_stream_flush(stream);
}

bool bench_stream_write(struct bench_stream *stream, struct span stanza)
{
    assert(stream->state == BENCH_STREAM_READY);
    if (net_buffer_used(&stream->output[0]) + tls_write_size(stanza.size) > BENCH_OUTPUT_MAX)
        return false;
    bench_stream_say(stream, stanza);
    stream->sm.sender.sent += stream->sm.is_on;
    return stream->state == BENCH_STREAM_READY;
}

static bool bench_stream_may_send(const struct bench_stream *stream)
{
    return !stream->sending && stream->state != BENCH_STREAM_CONNECTING &&
           stream->state != BENCH_STREAM_DEAD;
}

/* What is in output[1] is on its way. */
static void bench_stream_send(struct bench_stream *stream)
{
    if (ring_send(stream->ring, stream->handle, net_buffer_front(&stream->output[1]),
                  net_buffer_used(&stream->output[1])) != 0)
        bench_stream_die(stream, "send refused");
    else
        stream->sending = true;
}

void bench_stream_flush(struct bench_stream *stream)
{
    if (stream->paced || !bench_stream_may_send(stream))
        return;
    bench_stream_ask(stream);
    if (stream->state == BENCH_STREAM_DEAD || net_buffer_used(&stream->output[0]) == 0)
        return;
    struct net_buffer ready = stream->output[0];
    stream->output[0] = stream->output[1];
    stream->output[1] = ready;
    bench_stream_send(stream);
}

void bench_stream_trickle(struct bench_stream *stream, size_t size)
{
    size_t used = net_buffer_used(&stream->output[0]);
    if (used == 0 || !bench_stream_may_send(stream))
        return;
    size = size < used ? size : used;
    if (net_buffer_add(&stream->output[1], net_buffer_front(&stream->output[0]), size) != 0) {
        bench_stream_die(stream, "output buffer full or TLS write failed");
        return;
    }
    net_buffer_consume(&stream->output[0], size);
    bench_stream_send(stream);
}

void bench_stream_drop(struct bench_stream *stream)
{
    ring_drop(stream->ring, stream->handle);
    bench_stream_die(stream, NULL);
}

void bench_stream_close(struct bench_stream *stream)
{
    if (stream->tls != NULL)
        tls_close(&stream->tls);
    if (stream->xml != NULL)
        xml_stream_close(&stream->xml);
    net_buffer_fini(&stream->output[0]);
    net_buffer_fini(&stream->output[1]);
    stream->state = BENCH_STREAM_DEAD;
}
