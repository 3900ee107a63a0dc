/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a server says and what it makes of what it is told. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/xmpp_server.h"

#define LETTER_MAX 20000u

static void on_answer(void *context, uint64_t number)
{
    struct xmpp_letter *letter = context;
    (void)number;
    if (letter->pair->server->is_over) {
        free(letter);
        return;
    }
    xmpp_server_post(letter);
}

/* In the order of the questions: the relay relies on it (RFC 6120 §10.1). */
static void answer(struct xmpp_pair *pair, struct span text)
{
    uint64_t at_ns = sim.now_ns + sim_below(pair->server->partner->answer_ns + 1);
    if (at_ns < pair->answer_at_ns)
        at_ns = pair->answer_at_ns;
    pair->answer_at_ns = at_ns;
    sim_after(at_ns - sim.now_ns, on_answer, xmpp_server_write(pair, NULL, text), 0);
}

static void write_reversed(struct writer *writer, const struct xml_node *node)
{
    writer_put_attribute(writer, SPAN("from"), xml_node_attribute(node, SPAN("to")));
    writer_put_attribute(writer, SPAN("to"), xml_node_attribute(node, SPAN("from")));
    writer_put_attribute(writer, SPAN("id"), xml_node_attribute(node, SPAN("id")));
}

static void on_ping(struct xmpp_pair *pair, const struct xml_node *node)
{
    char text[1024];
    struct writer writer = writer_make(text, sizeof(text));
    if (sim_chance(pair->server->partner->mute))
        return;
    writer_put_literal(&writer, "<iq type='result'");
    write_reversed(&writer, node);
    writer_put_literal(&writer, "/>");
    answer(pair, writer_span(&writer));
}

static void refuse(struct xmpp_pair *pair, const struct xml_node *node)
{
    static const struct span conditions[] = {
        SPAN("service-unavailable"), SPAN("item-not-found"), SPAN("resource-constraint"),
        SPAN("not-acceptable"), SPAN("recipient-unavailable")};
    char text[1024];
    struct writer writer = writer_make(text, sizeof(text));
    writer_put_literal(&writer, "<message type='error'");
    write_reversed(&writer, node);
    writer_put_literal(&writer, "><error type='cancel'><");
    writer_put(&writer, conditions[sim_below(5)]);
    writer_put_literal(&writer, " xmlns='" NS_STANZAS "'/></error></message>");
    answer(pair, writer_span(&writer));
}

/* An error for a message of ours: its id is its number. */
static void on_error(struct xmpp_stream *stream, const struct xml_node *node)
{
    struct span id = xml_node_attribute(node, SPAN("id"));
    struct ledger_message *message = ledger_find(id);
    const struct xml_node *error = xml_node_child(node, SPAN(NS_SERVER), SPAN("error"));
    const struct xml_node *condition = error != NULL ? xml_node_first_element(error) : NULL;
    const struct xml_node *text =
        error != NULL ? xml_node_child(error, SPAN(NS_STANZAS), SPAN("text")) : NULL;
    bool is_ours =
        message != NULL && message->to_sip && message->partner == stream->server->number;
    if (!is_ours || condition == NULL)
        sim_fail("%s: a strange error, id %.*s", stream->local, (int)id.size,
                 id.size > 0 ? id.data : "");
    else
        ledger_heard_error(message, condition->name,
                           text != NULL ? xml_node_text(text) : SPAN_NONE);
}

static void on_message(struct xmpp_stream *stream, struct xmpp_pair *pair,
                       const struct xml_node *node)
{
    const struct xml_node *body = xml_node_child(node, SPAN(NS_SERVER), SPAN("body"));
    struct ledger_message *message = body != NULL ? ledger_find(xml_node_text(body)) : NULL;
    if (message == NULL) {
        sim_fail("%s: a message without a number", stream->local);
        return;
    }
    ledger_arrived_xmpp(message, span_of(stream->remote), span_of(stream->local),
                        xml_node_attribute(node, SPAN("from")),
                        xml_node_attribute(node, SPAN("to")));
    message->was_refused = sim_chance(stream->server->partner->refuse);
    message->was_accepted = !message->was_refused;
    if (message->was_refused)
        refuse(pair, node);
}

void xmpp_server_stanza(struct xmpp_stream *stream, const struct xml_node *node)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    struct span type = xml_node_attribute(node, SPAN("type"));
    struct ledger_message *asked = ledger_find(xml_node_attribute(node, SPAN("id")));
    if (pair == NULL)
        sim_fail("%s: a stanza of %s", stream->local, stream->remote);
    else if (span_equal(node->name, SPAN("iq")) && span_equal(type, SPAN("get")))
        on_ping(pair, node);
    else if (span_equal(node->name, SPAN("iq")) && asked != NULL && asked->is_question &&
             asked->partner == stream->server->number)
        ledger_heard_answer(asked);
    else if (!span_equal(node->name, SPAN("message")))
        sim_fail("%s: unexpected <%.*s>", stream->local, (int)node->name.size, node->name.data);
    else if (span_equal(type, SPAN("error")))
        on_error(stream, node);
    else
        on_message(stream, pair, node);
    if (stream->state == XMPP_STREAM_READY && sim_chance(stream->server->partner->closes))
        xmpp_server_end(stream);
}

/* What a gateway is asked, known or not: each question has one answer (RFC 6120 §8.2.3). */
static void write_question(const struct ledger_message *message, struct writer *writer,
                           struct span from)
{
    static const struct span questions[] = {
        SPAN("<ping xmlns='urn:xmpp:ping'/>"),
        SPAN("<query xmlns='http://jabber.org/protocol/disco#info'/>"),
        SPAN("<query xmlns='http://jabber.org/protocol/disco#items'/>"),
        SPAN("<query xmlns='jabber:iq:version'/>"),
        SPAN("<time xmlns='urn:xmpp:time'/>"),
        SPAN("<query xmlns='urn:unknown'/>")};
    char id[16];
    snprintf(id, sizeof(id), "#%u", message->number);
    writer_put_literal(writer, "<iq type='get'");
    writer_put_attribute(writer, SPAN("from"), from);
    writer_put_attribute(writer, SPAN("to"),
                         span_of(ledger.plan->tenants[message->tenant].domain));
    writer_put_attribute(writer, SPAN("id"), span_of(id));
    writer_put_char(writer, '>');
    writer_put(writer, questions[message->number % 6]);
    writer_put_literal(writer, "</iq>");
}

void xmpp_server_send(struct xmpp_server *server, struct ledger_message *message)
{
    static const struct span types[] = {SPAN("chat"), SPAN("normal"), SPAN("headline")};
    char text[LETTER_MAX], from[128], to[128], id[16];
    struct writer writer = writer_make(from, sizeof(from));
    const struct plan *plan = server->plan;
    ledger_write_jid(message, &writer);
    struct span from_text = writer_span(&writer);
    if (message->is_forged) {
        unsigned other = (message->partner + 1) % PLAN_PARTNER_MAX;
        snprintf(from, sizeof(from), "u0@x%u.example", other);
        from_text = span_of(from);
    }
    writer = writer_make(to, sizeof(to));
    ledger_write_user(message, &writer);
    struct span to_text = writer_span(&writer);
    snprintf(id, sizeof(id), "#%u", message->number);
    writer = writer_make(text, sizeof(text));
    writer_put_literal(&writer, "<message");
    writer_put_attribute(&writer, SPAN("from"), from_text);
    writer_put_attribute(&writer, SPAN("to"), to_text);
    writer_put_attribute(&writer, SPAN("type"), types[message->type]);
    writer_put_attribute(&writer, SPAN("id"), span_of(id));
    writer_put_literal(&writer, "><body>");
    writer_put(&writer, span_of(id));
    size_t size = message->is_long ? 1500 : sim_below(200);
    writer_put_char(&writer, ' ');
    for (size_t i = 0; i < size; i++)
        writer_put_char(&writer, (char)('a' + i % 26));
    writer_put_literal(&writer, "</body></message>");
    assert(!writer.overflow);
    assert(message->tenant < plan->tenant_count);
    struct xmpp_pair *pair = &server->pairs[message->tenant];
    if (message->is_question) {
        writer = writer_make(text, sizeof(text));
        write_question(message, &writer, from_text);
    }
    xmpp_server_post(xmpp_server_write(pair, message, writer_span(&writer)));
}
