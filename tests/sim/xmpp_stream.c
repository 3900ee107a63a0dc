/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/xmpp_stream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/heap.h"
#include "tests/sim/xmpp_server.h"

#define BUFFER_MAX          (512 * 1024)
#define READ_SIZE           4096
#define PATIENCE_NS         (20 * SIM_S) /* for connecting and negotiating */
#define NS_FEATURE_DIALBACK "urn:xmpp:features:dialback"

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

static void set_state(struct xmpp_stream *stream, enum xmpp_stream_state state)
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
    set_state(stream, XMPP_STREAM_DEAD);
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

static void say(struct xmpp_stream *stream, struct span text)
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

static void say_header(struct xmpp_stream *stream)
{
    char text[1024];
    struct writer writer = writer_make(text, sizeof(text));
    writer_put_literal(&writer, "<?xml version='1.0'?><stream:stream xmlns='jabber:server'"
                                " xmlns:stream='http://etherx.jabber.org/streams'"
                                " xmlns:db='jabber:server:dialback' version='1.0'");
    writer_put_attribute(&writer, SPAN("from"), span_of(stream->local));
    writer_put_attribute(&writer, SPAN("to"), span_of(stream->remote));
    if (stream->accepted) {
        snprintf(stream->id, sizeof(stream->id), "id-%u-%u-%u", stream->server->number,
                 (unsigned)stream->number, ++stream->headers);
        writer_put_attribute(&writer, SPAN("id"), span_of(stream->id));
    }
    writer_put_char(&writer, '>');
    say(stream, writer_span(&writer));
}

/* ---- negotiation ---- */

static void begin_tls(struct xmpp_stream *stream)
{
    enum tls_protocol alpn = stream->direct ? TLS_ALPN_XMPP_SERVER : TLS_ALPN_NONE;
    /* <proceed/> goes out in clear: it is in the output already. */
    int rc = stream->accepted
                 ? tls_accept(&stream->tls, stream->server->context, NULL, NULL, alpn)
                 : tls_connect(&stream->tls, stream->server->context, stream->remote, alpn);
    if (rc != 0)
        abort();
    xml_stream_restart(stream->xml);
    set_state(stream, XMPP_STREAM_TLS);
}

void xmpp_stream_ready(struct xmpp_stream *stream)
{
    set_state(stream, XMPP_STREAM_READY);
    xml_stream_set_stanza_size_max(stream->xml, STANZA_SIZE_MAX);
    xmpp_server_ready(stream);
}

/* Dialback as it would be on this stream. */
static unsigned dialback_here(const struct xmpp_stream *stream)
{
    return stream->tls != NULL ? S2S_PROOF_DIALBACK : S2S_PROOF_CLEAR;
}

static bool is_clear_allowed(const struct xmpp_stream *stream)
{
    return (stream->server->partner->proofs & S2S_PROOF_CLEAR) != 0;
}

/* Open for dialback: under TLS, or in clear where the rules of the relay allow that. */
static bool takes_keys(const struct xmpp_stream *stream)
{
    return stream->state == XMPP_STREAM_SECURE ||
           (stream->state == XMPP_STREAM_PLAIN && is_clear_allowed(stream));
}

static void say_features(struct xmpp_stream *stream)
{
    const struct plan_partner *partner = stream->server->partner;
    say(stream, SPAN("<stream:features>"));
    if (stream->tls == NULL && partner->knows_tls)
        say(stream, is_clear_allowed(stream)
                        ? SPAN("<starttls xmlns='" NS_TLS "'/>")
                        : SPAN("<starttls xmlns='" NS_TLS "'><required/></starttls>"));
    if (stream->tls != NULL && !stream->authenticated &&
        (partner->proofs & S2S_PROOF_EXTERNAL) != 0)
        say(stream, SPAN("<mechanisms xmlns='" NS_SASL "'><mechanism>EXTERNAL</mechanism>"
                         "</mechanisms>"));
    if (!stream->authenticated && partner->bidi)
        say(stream, SPAN("<bidi xmlns='urn:xmpp:features:bidi'/>"));
    if (!stream->authenticated && (partner->proofs & dialback_here(stream)) != 0)
        say(stream, SPAN("<dialback xmlns='" NS_FEATURE_DIALBACK "'><errors/></dialback>"));
    if (stream->authenticated && stream->server->partner->managed)
        say(stream, SPAN("<sm xmlns='urn:xmpp:sm:3'/>"));
    say(stream, SPAN("</stream:features>"));
}

static void on_open(struct xmpp_stream *stream, const struct xml_node *header)
{
    struct span id = xml_node_attribute(header, SPAN("id"));
    struct span from = xml_node_attribute(header, SPAN("from"));
    if (!stream->accepted) {
        snprintf(stream->id, sizeof(stream->id), "%.*s", (int)id.size,
                 id.size > 0 ? id.data : "");
        return;
    }
    snprintf(stream->remote, sizeof(stream->remote), "%.*s", (int)from.size,
             from.size > 0 ? from.data : "");
    say_header(stream);
    if (stream->state != XMPP_STREAM_DEAD)
        say_features(stream);
    if (stream->authenticated && stream->state == XMPP_STREAM_SECURE)
        xmpp_stream_ready(stream);
}

static void send_key(struct xmpp_stream *stream)
{
    char text[512];
    struct writer writer = writer_make(text, sizeof(text));
    writer_put_literal(&writer, "<db:result");
    writer_put_attribute(&writer, SPAN("from"), span_of(stream->local));
    writer_put_attribute(&writer, SPAN("to"), span_of(stream->remote));
    writer_put_char(&writer, '>');
    xmpp_server_write_key(stream, &writer);
    writer_put_literal(&writer, "</db:result>");
    say(stream, writer_span(&writer));
}

static void on_last_features(struct xmpp_stream *stream, const struct xml_node *features)
{
    bool is_offered = xml_node_child(features, SPAN("urn:xmpp:sm:3"), SPAN("sm")) != NULL;
    if (!is_offered)
        sim_fail("%s: the relay offers no stream management", stream->local);
    if (!stream->server->partner->managed || !xmpp_managed_begin(stream))
        xmpp_stream_ready(stream);
}

static void on_features(struct xmpp_stream *stream, const struct xml_node *features)
{
    const struct xml_node *mechanisms =
        xml_node_child(features, SPAN(NS_SASL), SPAN("mechanisms"));
    bool has_dialback =
        xml_node_child(features, SPAN(NS_FEATURE_DIALBACK), SPAN("dialback")) != NULL;
    bool has_tls = xml_node_child(features, SPAN(NS_TLS), SPAN("starttls")) != NULL &&
                   stream->server->partner->knows_tls;
    stream->may_verify = stream->tls != NULL || !has_tls;
    if (stream->tls == NULL && !is_clear_allowed(stream) && !has_tls)
        sim_fail("%s: the relay offers no TLS", stream->local);
    if (has_tls)
        say(stream, SPAN("<starttls xmlns='" NS_TLS "'/>"));
    else if (stream->authenticated)
        on_last_features(stream, features);
    else if (mechanisms != NULL)
        say(stream, SPAN("<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>=</auth>"));
    else if (has_dialback)
        send_key(stream);
    else if (stream->server->partner->is_impostor)
        xmpp_stream_kill(stream, "the relay offers nothing");
    else
        sim_fail("%s: the relay offers no way to authenticate", stream->local);
    if (stream->may_verify && takes_keys(stream))
        xmpp_server_ready(stream); /* good for questions, not yet for stanzas */
}

static void on_key(struct xmpp_stream *stream, const struct xml_node *node)
{
    struct span type = xml_node_attribute(node, SPAN("type"));
    if (stream->accepted)
        xmpp_server_verify(stream, xml_node_text(node));
    else if (span_equal(type, SPAN("valid")) && takes_keys(stream))
        xmpp_stream_ready(stream);
    else
        xmpp_stream_kill(stream, "the relay refused our key");
}

void xmpp_stream_verdict(struct xmpp_stream *stream, bool valid)
{
    char text[512];
    struct writer writer = writer_make(text, sizeof(text));
    writer_put_literal(&writer, "<db:result");
    writer_put_attribute(&writer, SPAN("from"), span_of(stream->local));
    writer_put_attribute(&writer, SPAN("to"), span_of(stream->remote));
    writer_put_attribute(&writer, SPAN("type"), valid ? SPAN("valid") : SPAN("invalid"));
    writer_put_literal(&writer, "/>");
    say(stream, writer_span(&writer));
    if (valid && takes_keys(stream))
        xmpp_stream_ready(stream);
    xmpp_stream_flush(stream);
}

/* Behind its features under TLS and before its proof, as it was offered (XEP-0288 §2.2). */
static void on_bidi(struct xmpp_stream *stream)
{
    if (!stream->accepted || stream->state != XMPP_STREAM_SECURE || stream->authenticated ||
        stream->is_bidi || !stream->server->partner->bidi)
        sim_fail("%s: the relay enables bidi at the wrong time", stream->local);
    stream->is_bidi = true;
}

/* The relay asks us, the authority, about a key of ours. */
static void on_verify(struct xmpp_stream *stream, const struct xml_node *node)
{
    char text[1024];
    struct writer writer = writer_make(text, sizeof(text));
    struct span from = xml_node_attribute(node, SPAN("from"));
    struct span to = xml_node_attribute(node, SPAN("to"));
    struct span id = xml_node_attribute(node, SPAN("id"));
    bool valid = span_equal(to, span_of(stream->local)) &&
                 xmpp_server_knows_key(stream->server, from, id, xml_node_text(node));
    writer_put_literal(&writer, "<db:verify");
    writer_put_attribute(&writer, SPAN("from"), to);
    writer_put_attribute(&writer, SPAN("to"), from);
    writer_put_attribute(&writer, SPAN("id"), id);
    writer_put_attribute(&writer, SPAN("type"), valid ? SPAN("valid") : SPAN("invalid"));
    writer_put_literal(&writer, "/>");
    say(stream, writer_span(&writer));
}

static void on_success(struct xmpp_stream *stream)
{
    stream->authenticated = true;
    xml_stream_restart(stream->xml);
    if (!stream->accepted)
        say_header(stream);
}

static void on_element(struct xmpp_stream *stream, const struct xml_node *node)
{
    bool verify = xml_node_is(node, SPAN(NS_DIALBACK), SPAN("verify"));
    if (stream->tls == NULL && !is_clear_allowed(stream) &&
        !span_equal(node->space, SPAN(NS_STREAMS)) && !span_equal(node->space, SPAN(NS_TLS)))
        sim_fail("%s: the relay sends <%.*s> in clear", stream->local, (int)node->name.size,
                 node->name.data);
    if (xml_node_is(node, SPAN(NS_STREAMS), SPAN("features"))) {
        on_features(stream, node);
    } else if (span_equal(node->space, SPAN(NS_STREAMS))) {
        const struct xml_node *condition = xml_node_first_element(node);
        struct span name = condition != NULL ? condition->name : SPAN("?");
        stream->is_clean = true;
        sim_trace("%s: stream error %.*s", stream->local, (int)name.size, name.data);
        network_note_trouble(&stream->server->partner->address);
        xmpp_stream_kill(stream, "the relay's stream error");
    } else if (span_equal(node->space, SPAN("urn:xmpp:sm:3"))) {
        xmpp_managed_element(stream, node);
    } else if (xml_node_is(node, SPAN("urn:xmpp:bidi"), SPAN("bidi"))) {
        on_bidi(stream);
    } else if (xml_node_is(node, SPAN(NS_TLS), SPAN("starttls"))) {
        say(stream, SPAN("<proceed xmlns='" NS_TLS "'/>"));
        begin_tls(stream);
    } else if (xml_node_is(node, SPAN(NS_TLS), SPAN("proceed"))) {
        begin_tls(stream);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("auth"))) {
        say(stream, SPAN("<success xmlns='" NS_SASL "'/>"));
        on_success(stream);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("success"))) {
        on_success(stream);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("failure")) &&
               stream->server->partner->is_impostor) {
        xmpp_stream_kill(stream, "the relay does not believe us");
    } else if (xml_node_is(node, SPAN(NS_DIALBACK), SPAN("result"))) {
        on_key(stream, node);
    } else if (verify && xml_node_attribute(node, SPAN("type")).data == NULL) {
        on_verify(stream, node);
    } else if (verify) {
        xmpp_server_verified(stream, node);
    } else if (stream->accepted && stream->state == XMPP_STREAM_READY) {
        if (xmpp_managed_received(stream, node))
            xmpp_server_stanza(stream, node);
    } else {
        sim_fail("%s: the relay sends <%.*s> before it may", stream->local,
                 (int)node->name.size, node->name.data);
    }
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
    set_state(stream, XMPP_STREAM_SECURE);
    if (!stream->accepted)
        say_header(stream);
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
        case XML_EVENT_OPEN: on_open(stream, event.node); break;
        case XML_EVENT_STANZA: on_element(stream, event.node); break;
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
    if (reads == 0 || !stream->accepted || stream->state == XMPP_STREAM_DEAD)
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
    set_state(stream, XMPP_STREAM_PLAIN);
    if (direct)
        begin_tls(stream);
    return stream;
}

static void on_connected(struct xmpp_stream *stream, int result)
{
    if (result != 0) {
        xmpp_stream_kill(stream, "cannot connect");
        return;
    }
    set_state(stream, XMPP_STREAM_PLAIN);
    if (stream->direct)
        begin_tls(stream);
    else
        say_header(stream);
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
