/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/xmpp_stream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/heap.h"
#include "tests/sim/xmpp_negotiation.h"
#include "tests/sim/xmpp_server.h"

#define BUFFER_MAX  (512 * 1024)
#define READ_SIZE   4096
#define PATIENCE_NS (20 * SIM_S) /* for connecting and negotiating */

static struct xmpp_stream *make(struct xmpp_server *server, bool accepted, bool direct)
{
    struct xmpp_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        abort();
    stream->kind = PEER_XMPP_STREAM;
    stream->server = server;
    stream->number = ++server->stream_count;
    stream->opened_ns = sim.now_ns;
    stream->accepted = accepted;
    stream->direct = direct;
    stream->xml = xml_stream_open(&heap_memory, NULL);
    if (stream->xml == NULL)
        abort();
    net_buffer_init(&stream->input, BUFFER_MAX);
    net_buffer_init(&stream->output, BUFFER_MAX);
    net_buffer_init(&stream->sending, BUFFER_MAX);
    snprintf(stream->local, sizeof(stream->local), "%s", server->partner->domain);
    stream->next = server->streams;
    server->streams = stream;
    return stream;
}

void xmpp_stream_free(struct xmpp_stream *stream)
{
    struct xmpp_stream **place = &stream->server->streams;
    while (*place != stream)
        place = &(*place)->next;
    *place = stream->next;
    if (stream->tls != NULL)
        tls_close(&stream->tls);
    xml_stream_close(&stream->xml);
    net_buffer_fini(&stream->input);
    net_buffer_fini(&stream->output);
    net_buffer_fini(&stream->sending);
    free(stream);
}

void xmpp_stream_set_state(struct xmpp_stream *stream, enum xmpp_stream_state state)
{
    static const char *const names[] = {"connecting", "plain", "tls",
                                        "secure",     "ready", "dead"};
    sim_trace("%s: stream %u %s %s: %s", stream->local, (unsigned)stream->number,
              stream->accepted ? "from" : "to", stream->remote, names[state]);
    assert(state > stream->state);
    stream->state = state;
}

/* ---- output ---- */

void xmpp_stream_kill(struct xmpp_stream *stream, const char *why)
{
    if (stream->state == XMPP_STREAM_DEAD)
        return;
    sim_trace("%s: stream %u ends: %s", stream->local, (unsigned)stream->number, why);
    xmpp_stream_set_state(stream, XMPP_STREAM_DEAD);
    ring_drop(stream->server->ring, stream->handle);
    xmpp_server_died(stream);
}

bool xmpp_stream_write(struct xmpp_stream *stream, struct span text)
{
    bool written = false;
    if (stream->state == XMPP_STREAM_DEAD || stream->is_closing)
        return false;
    if (stream->tls == NULL)
        written = net_buffer_add(&stream->output, text.data, text.size) == 0;
    else if (net_buffer_used(&stream->output) + tls_write_size(text.size) <= BUFFER_MAX)
        written = tls_write(stream->tls, text.data, text.size, &stream->output) == TLS_DONE;
    return written;
}

void xmpp_stream_say(struct xmpp_stream *stream, struct span text)
{
    if (!xmpp_stream_write(stream, text))
        xmpp_stream_kill(stream, "cannot write");
}

void xmpp_stream_flush(struct xmpp_stream *stream)
{
    if (stream->in_flight || stream->state == XMPP_STREAM_CONNECTING ||
        stream->state == XMPP_STREAM_DEAD)
        return;
    if (net_buffer_used(&stream->output) == 0) {
        if (stream->is_closing)
            xmpp_stream_kill(stream, "closed");
        return;
    }
    struct net_buffer ready = stream->output;
    stream->output = stream->sending;
    stream->sending = ready;
    if (ring_send(stream->server->ring, stream->handle, net_buffer_front(&stream->sending),
                  net_buffer_used(&stream->sending)) == 0)
        stream->in_flight = true;
    else
        xmpp_stream_kill(stream, "cannot send");
}

void xmpp_stream_end(struct xmpp_stream *stream)
{
    if (!xmpp_stream_write(stream, SPAN("</stream:stream>")))
        return;
    if (stream->tls != NULL)
        tls_shutdown(stream->tls, &stream->output);
    stream->is_closing = stream->is_clean = true;
    xmpp_stream_flush(stream);
}

void xmpp_stream_ready(struct xmpp_stream *stream)
{
    xmpp_stream_set_state(stream, XMPP_STREAM_READY);
    xml_stream_set_stanza_size_max(stream->xml, STANZA_SIZE_MAX);
    xmpp_server_ready(stream);
}

/* ---- input ---- */

static bool shake_hands(struct xmpp_stream *stream)
{
    size_t used = net_buffer_used(&stream->input);
    tls_set_input(stream->tls, used > 0 ? net_buffer_front(&stream->input) : NULL, used);
    enum tls_result result = tls_handshake(stream->tls, &stream->output);
    net_buffer_consume(&stream->input, used - tls_return_input(stream->tls));
    if (result == TLS_MORE)
        return false;
    if (result != TLS_DONE) {
        sim_fail("%s: TLS handshake: %s", stream->local, tls_error(stream->tls));
        xmpp_stream_kill(stream, "TLS handshake");
        return false;
    }
    xmpp_stream_set_state(stream, XMPP_STREAM_SECURE);
    if (!stream->accepted)
        xmpp_negotiation_greet(stream);
    return true;
}

/* Moves plaintext to the parser; false when there is none. */
static bool feed(struct xmpp_stream *stream)
{
    size_t used = net_buffer_used(&stream->input), size = 0;
    uint8_t *room = xml_stream_room(stream->xml, READ_SIZE);
    if (room == NULL)
        return false;
    const uint8_t *data = used > 0 ? net_buffer_front(&stream->input) : NULL;
    if (stream->tls == NULL) {
        size = used < READ_SIZE ? used : READ_SIZE;
        if (size > 0)
            memcpy(room, data, size);
        net_buffer_consume(&stream->input, size);
    } else {
        tls_set_input(stream->tls, data, used);
        enum tls_result result = tls_read(stream->tls, room, READ_SIZE, &size, &stream->output);
        net_buffer_consume(&stream->input, used - tls_return_input(stream->tls));
        if (result == TLS_FAILED)
            sim_fail("%s: TLS: %s", stream->local, tls_error(stream->tls));
        if (result != TLS_DONE && result != TLS_MORE)
            xmpp_stream_kill(stream, "TLS ended");
    }
    if (size > 0)
        xml_stream_commit(stream->xml, size);
    return size > 0;
}

static void pull(struct xmpp_stream *stream)
{
    struct xml_event event;
    while (stream->state != XMPP_STREAM_DEAD) {
        if (stream->state == XMPP_STREAM_TLS) {
            if (!shake_hands(stream))
                return;
            continue;
        }
        switch (xml_stream_next(stream->xml, &event)) {
        case XML_EVENT_NONE:
            if (!feed(stream))
                return;
            break;
        case XML_EVENT_OPEN: xmpp_negotiation_open(stream, event.node); break;
        case XML_EVENT_STANZA: xmpp_negotiation_element(stream, event.node); break;
        case XML_EVENT_CLOSE:
            stream->is_clean = true;
            xmpp_stream_kill(stream, "the relay closed it");
            break;
        case XML_EVENT_ERROR:
            sim_fail("%s: XML of the relay: %.*s", stream->local, (int)event.detail.size,
                     event.detail.data);
            xmpp_stream_kill(stream, "bad XML");
            break;
        }
    }
}

static struct xmpp_stream *find(struct xmpp_server *server, uint64_t number)
{
    struct xmpp_stream *stream = server->streams;
    while (stream != NULL && stream->number != number)
        stream = stream->next;
    return stream;
}

static void on_rested(void *context, uint64_t number)
{
    struct xmpp_server *server = context;
    struct xmpp_stream *stream = find(server, number);
    if (stream != NULL && stream->state != XMPP_STREAM_DEAD)
        ring_resume(server->ring, stream->handle);
}

/* It reads no further for as long as what it has read may take. */
static void rest(struct xmpp_stream *stream, size_t size)
{
    unsigned reads = stream->server->partner->reads;
    if (reads == 0 || (!stream->accepted && !stream->is_bidi) || stream->state == XMPP_STREAM_DEAD)
        return;
    ring_pause(stream->server->ring, stream->handle);
    sim_after(size * SIM_S / reads, on_rested, stream->server, stream->number);
}

/* ---- life ---- */

static void on_late(void *context, uint64_t number)
{
    struct xmpp_server *server = context;
    struct xmpp_stream *stream = find(server, number);
    if (stream != NULL && stream->state < XMPP_STREAM_READY && !server->is_over)
        xmpp_stream_kill(stream, "it takes too long");
}

struct xmpp_stream *xmpp_stream_connect(struct xmpp_server *server, const char *remote,
                                        const union net_address *target)
{
    union net_address source = server->partner->address;
    struct xmpp_stream *stream = make(server, false, server->partner->direct_tls);
    net_address_set_port(&source, 0);
    snprintf(stream->remote, sizeof(stream->remote), "%s", remote);
    if (ring_connect(server->ring, target, &source, stream, &stream->handle) == 0) {
        sim_after(PATIENCE_NS, on_late, server, stream->number);
        return stream;
    }
    xmpp_stream_free(stream);
    return NULL;
}

struct xmpp_stream *xmpp_stream_accept(struct xmpp_server *server, ring_handle handle,
                                       bool direct)
{
    struct xmpp_stream *stream = make(server, true, direct);
    stream->handle = handle;
    ring_set_owner(server->ring, handle, stream);
    xmpp_stream_set_state(stream, XMPP_STREAM_PLAIN);
    if (direct)
        xmpp_negotiation_secure(stream);
    return stream;
}

static void on_connected(struct xmpp_stream *stream, int result)
{
    if (result != 0) {
        xmpp_stream_kill(stream, "cannot connect");
        return;
    }
    xmpp_stream_set_state(stream, XMPP_STREAM_PLAIN);
    if (stream->direct)
        xmpp_negotiation_secure(stream);
    else
        xmpp_negotiation_greet(stream);
    pull(stream);
}

void xmpp_stream_event(struct xmpp_stream *stream, const struct ring_event *event)
{
    switch (event->kind) {
    case RING_CONNECTED: on_connected(stream, event->result); break;
    case RING_RECEIVED:
        if (net_buffer_add(&stream->input, event->data, event->size) != 0)
            abort();
        pull(stream);
        rest(stream, event->size);
        break;
    case RING_SENT:
        stream->in_flight = false;
        net_buffer_consume(&stream->sending, net_buffer_used(&stream->sending));
        if (event->result != 0)
            xmpp_stream_kill(stream, "sending broke");
        else
            xmpp_server_writable(stream);
        break;
    case RING_END: xmpp_stream_kill(stream, "the connection ended"); break;
    case RING_GONE: xmpp_stream_free(stream); return;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_WOKEN: break;
    }
    xmpp_stream_flush(stream);
}
