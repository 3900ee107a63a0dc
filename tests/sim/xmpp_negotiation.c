/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/xmpp_negotiation.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/xmpp_server.h"

#define NS_FEATURE_DIALBACK "urn:xmpp:features:dialback"

void xmpp_negotiation_greet(struct xmpp_stream *stream)
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
    xmpp_stream_say(stream, writer_span(&writer));
}

void xmpp_negotiation_secure(struct xmpp_stream *stream)
{
    enum tls_protocol alpn = stream->direct ? TLS_ALPN_XMPP_SERVER : TLS_ALPN_NONE;
    /* <proceed/> goes out in clear: it is in the output already. */
    int rc = stream->accepted
                 ? tls_accept(&stream->tls, stream->server->context, NULL, NULL, alpn)
                 : tls_connect(&stream->tls, stream->server->context, stream->remote, alpn);
    if (rc != 0)
        abort();
    xml_stream_restart(stream->xml);
    xmpp_stream_set_state(stream, XMPP_STREAM_TLS);
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
    xmpp_stream_say(stream, SPAN("<stream:features>"));
    if (stream->tls == NULL && partner->knows_tls)
        xmpp_stream_say(stream,
                        is_clear_allowed(stream)
                            ? SPAN("<starttls xmlns='" NS_TLS "'/>")
                            : SPAN("<starttls xmlns='" NS_TLS "'><required/></starttls>"));
    if (stream->tls != NULL && !stream->authenticated &&
        (partner->proofs & S2S_PROOF_EXTERNAL) != 0)
        xmpp_stream_say(stream,
                        SPAN("<mechanisms xmlns='" NS_SASL "'><mechanism>EXTERNAL</mechanism>"
                             "</mechanisms>"));
    if (!stream->authenticated && partner->bidi)
        xmpp_stream_say(stream, SPAN("<bidi xmlns='urn:xmpp:features:bidi'/>"));
    if (!stream->authenticated && (partner->proofs & dialback_here(stream)) != 0)
        xmpp_stream_say(stream,
                        SPAN("<dialback xmlns='" NS_FEATURE_DIALBACK "'><errors/></dialback>"));
    if (stream->authenticated && stream->server->partner->managed)
        xmpp_stream_say(stream, SPAN("<sm xmlns='urn:xmpp:sm:3'/>"));
    xmpp_stream_say(stream, SPAN("</stream:features>"));
}

/* Has the relay as many streams for this pair as are taken of it? */
static bool is_full(const struct xmpp_stream *stream)
{
    unsigned count = 0;
    const struct xmpp_stream *other = stream->server->streams;
    for (; other != NULL; other = other->next)
        count += other->accepted && other->state == XMPP_STREAM_READY && !other->is_closing &&
                 strcmp(other->remote, stream->remote) == 0;
    return stream->server->partner->takes > 0 && count >= stream->server->partner->takes;
}

void xmpp_negotiation_open(struct xmpp_stream *stream, const struct xml_node *header)
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
    xmpp_negotiation_greet(stream);
    if (stream->state != XMPP_STREAM_DEAD && is_full(stream)) {
        sim_trace("%s: stream %u is one too many", stream->local, (unsigned)stream->number);
        /* It is the relay that ends the connection: that is no trouble, and no excuse. */
        xmpp_stream_say(stream,
                        SPAN("<stream:error><resource-constraint xmlns='" NS_STREAM_ERRORS
                             "'/></stream:error></stream:stream>"));
        stream->is_clean = true;
        return;
    }
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
    xmpp_stream_say(stream, writer_span(&writer));
}

static void on_last_features(struct xmpp_stream *stream, const struct xml_node *features)
{
    bool is_offered = xml_node_child(features, SPAN("urn:xmpp:sm:3"), SPAN("sm")) != NULL;
    if (!is_offered)
        sim_fail("%s: the relay offers no stream management", stream->local);
    if (!stream->server->partner->managed || !xmpp_managed_begin(stream))
        xmpp_stream_ready(stream);
}

/* The relay offers it under TLS where the rule says so, and takes it before the proof; where it
   may have several streams of its own it does not, and the rule may change. */
static void want_bidi(struct xmpp_stream *stream, const struct xml_node *features)
{
    const struct plan_partner *partner = stream->server->partner;
    bool is_offered =
        xml_node_child(features, SPAN("urn:xmpp:features:bidi"), SPAN("bidi")) != NULL;
    bool may_be = partner->bidi && stream->tls != NULL;
    bool must_be = may_be && partner->streams == 1;
    if ((is_offered ? !may_be : must_be) && !partner->is_impostor)
        sim_fail("%s: the relay offers bidi: %s", stream->local, is_offered ? "yes" : "no");
    stream->is_bidi = is_offered && partner->wants_bidi;
    if (stream->is_bidi)
        xmpp_stream_say(stream, SPAN("<bidi xmlns='urn:xmpp:bidi'/>"));
}

static void prove(struct xmpp_stream *stream, const struct xml_node *features)
{
    want_bidi(stream, features);
    if (xml_node_child(features, SPAN(NS_SASL), SPAN("mechanisms")) != NULL)
        xmpp_stream_say(stream,
                        SPAN("<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>=</auth>"));
    else if (xml_node_child(features, SPAN(NS_FEATURE_DIALBACK), SPAN("dialback")) != NULL)
        send_key(stream);
    else if (stream->server->partner->is_impostor)
        xmpp_stream_kill(stream, "the relay offers nothing");
    else
        sim_fail("%s: the relay offers no way to authenticate", stream->local);
}

static void on_features(struct xmpp_stream *stream, const struct xml_node *features)
{
    bool has_tls = xml_node_child(features, SPAN(NS_TLS), SPAN("starttls")) != NULL &&
                   stream->server->partner->knows_tls;
    stream->may_verify = stream->tls != NULL || !has_tls;
    if (stream->tls == NULL && !is_clear_allowed(stream) && !has_tls)
        sim_fail("%s: the relay offers no TLS", stream->local);
    if (has_tls)
        xmpp_stream_say(stream, SPAN("<starttls xmlns='" NS_TLS "'/>"));
    else if (stream->authenticated)
        on_last_features(stream, features);
    else
        prove(stream, features);
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

void xmpp_negotiation_verdict(struct xmpp_stream *stream, bool valid)
{
    char text[512];
    struct writer writer = writer_make(text, sizeof(text));
    writer_put_literal(&writer, "<db:result");
    writer_put_attribute(&writer, SPAN("from"), span_of(stream->local));
    writer_put_attribute(&writer, SPAN("to"), span_of(stream->remote));
    writer_put_attribute(&writer, SPAN("type"), valid ? SPAN("valid") : SPAN("invalid"));
    writer_put_literal(&writer, "/>");
    xmpp_stream_say(stream, writer_span(&writer));
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
    xmpp_stream_say(stream, writer_span(&writer));
}

static void on_success(struct xmpp_stream *stream)
{
    stream->authenticated = true;
    xml_stream_restart(stream->xml);
    if (!stream->accepted)
        xmpp_negotiation_greet(stream);
}

void xmpp_negotiation_element(struct xmpp_stream *stream, const struct xml_node *node)
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
        xmpp_stream_say(stream, SPAN("<proceed xmlns='" NS_TLS "'/>"));
        xmpp_negotiation_secure(stream);
    } else if (xml_node_is(node, SPAN(NS_TLS), SPAN("proceed"))) {
        xmpp_negotiation_secure(stream);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("auth"))) {
        xmpp_stream_say(stream, SPAN("<success xmlns='" NS_SASL "'/>"));
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
    } else if ((stream->accepted || stream->is_bidi) && stream->state == XMPP_STREAM_READY) {
        if (xmpp_managed_received(stream, node))
            xmpp_server_stanza(stream, node);
    } else {
        sim_fail("%s: the relay sends <%.*s> before it may", stream->local,
                 (int)node->name.size, node->name.data);
    }
}
