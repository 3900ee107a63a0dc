/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/stanza_error.h"

#include <assert.h>

#include "proto/xml_stream.h"

struct row {
    struct span name;
    struct span type;
};

#define ROW(name, type)                                                                        \
    {                                                                                          \
        SPAN(name), SPAN(type)                                                                 \
    }

/* RFC 6120 §8.3.3, with the type each condition SHOULD have. */
static const struct row rows[STANZA_ERROR_COUNT] = {
    [STANZA_ERROR_NONE] = ROW("", ""),
    [STANZA_ERROR_BAD_REQUEST] = ROW("bad-request", "modify"),
    [STANZA_ERROR_CONFLICT] = ROW("conflict", "cancel"),
    [STANZA_ERROR_FEATURE_NOT_IMPLEMENTED] = ROW("feature-not-implemented", "cancel"),
    [STANZA_ERROR_FORBIDDEN] = ROW("forbidden", "auth"),
    [STANZA_ERROR_GONE] = ROW("gone", "cancel"),
    [STANZA_ERROR_INTERNAL_SERVER_ERROR] = ROW("internal-server-error", "cancel"),
    [STANZA_ERROR_ITEM_NOT_FOUND] = ROW("item-not-found", "cancel"),
    [STANZA_ERROR_JID_MALFORMED] = ROW("jid-malformed", "modify"),
    [STANZA_ERROR_NOT_ACCEPTABLE] = ROW("not-acceptable", "modify"),
    [STANZA_ERROR_NOT_ALLOWED] = ROW("not-allowed", "cancel"),
    [STANZA_ERROR_NOT_AUTHORIZED] = ROW("not-authorized", "auth"),
    [STANZA_ERROR_POLICY_VIOLATION] = ROW("policy-violation", "modify"),
    [STANZA_ERROR_RECIPIENT_UNAVAILABLE] = ROW("recipient-unavailable", "wait"),
    [STANZA_ERROR_REDIRECT] = ROW("redirect", "modify"),
    [STANZA_ERROR_REGISTRATION_REQUIRED] = ROW("registration-required", "auth"),
    [STANZA_ERROR_REMOTE_CONNECTION_FAILED] = ROW("remote-connection-failed", "cancel"),
    [STANZA_ERROR_REMOTE_SERVER_NOT_FOUND] = ROW("remote-server-not-found", "cancel"),
    [STANZA_ERROR_REMOTE_SERVER_TIMEOUT] = ROW("remote-server-timeout", "wait"),
    [STANZA_ERROR_RESOURCE_CONSTRAINT] = ROW("resource-constraint", "wait"),
    [STANZA_ERROR_SERVICE_UNAVAILABLE] = ROW("service-unavailable", "cancel"),
    [STANZA_ERROR_SUBSCRIPTION_REQUIRED] = ROW("subscription-required", "auth"),
    [STANZA_ERROR_UNDEFINED_CONDITION] = ROW("undefined-condition", "cancel"),
    [STANZA_ERROR_UNEXPECTED_REQUEST] = ROW("unexpected-request", "wait"),
};

struct span stanza_error_name(enum stanza_error error)
{
    assert((unsigned)error < STANZA_ERROR_COUNT);
    return rows[error].name;
}

struct span stanza_error_type(enum stanza_error error)
{
    assert((unsigned)error < STANZA_ERROR_COUNT);
    return rows[error].type;
}

enum stanza_error stanza_error_find(struct span name)
{
    for (unsigned i = STANZA_ERROR_NONE + 1; i < STANZA_ERROR_COUNT; i++)
        if (span_equal(rows[i].name, name))
            return (enum stanza_error)i;
    return STANZA_ERROR_UNDEFINED_CONDITION;
}

/* The condition element; gone and redirect carry an address (RFC 6120 §8.3.3.5, §8.3.3.14). */
static void write_condition(struct writer *writer, const struct stanza_fault *fault)
{
    struct span name = stanza_error_name(fault->error);
    writer_put_char(writer, '<');
    writer_put(writer, name);
    writer_put_literal(writer, " xmlns='" NS_STANZAS "'");
    if (fault->address.size == 0) {
        writer_put_literal(writer, "/>");
        return;
    }
    writer_put_char(writer, '>');
    writer_put_xml_text(writer, fault->address);
    writer_put_literal(writer, "</");
    writer_put(writer, name);
    writer_put_char(writer, '>');
}

void stanza_error_write(struct writer *writer, const struct stanza_fault *fault)
{
    assert(fault->error != STANZA_ERROR_NONE);
    writer_put_literal(writer, "<error");
    if (fault->by.size > 0)
        writer_put_attribute(writer, SPAN("by"), fault->by);
    writer_put_attribute(writer, SPAN("type"),
                         fault->type.size > 0 ? fault->type : stanza_error_type(fault->error));
    writer_put_char(writer, '>');
    write_condition(writer, fault);
    if (fault->text.size > 0) {
        writer_put_literal(writer, "<text xmlns='" NS_STANZAS "' xml:lang='en'>");
        writer_put_xml_text(writer, fault->text);
        writer_put_literal(writer, "</text>");
    }
    writer_put_literal(writer, "</error>");
}

void stanza_error_write_stanza(struct writer *writer, struct span kind, struct span from,
                               struct span to, struct span id, const struct stanza_fault *fault)
{
    assert(kind.size > 0);
    writer_put_char(writer, '<');
    writer_put(writer, kind);
    writer_put_attribute(writer, SPAN("from"), from);
    writer_put_attribute(writer, SPAN("to"), to);
    if (id.size > 0)
        writer_put_attribute(writer, SPAN("id"), id);
    writer_put_literal(writer, " type='error'>");
    stanza_error_write(writer, fault);
    writer_put_literal(writer, "</");
    writer_put(writer, kind);
    writer_put_char(writer, '>');
}

/* The <error/> child is in the content namespace, which is the stanza's own. */
struct stanza_fault stanza_error_read(const struct xml_node *stanza)
{
    struct stanza_fault fault = {.error = STANZA_ERROR_NONE};
    const struct xml_node *error = xml_node_child(stanza, stanza->space, SPAN("error"));
    if (error == NULL)
        return fault;
    fault.error = STANZA_ERROR_UNDEFINED_CONDITION;
    fault.type = xml_node_attribute(error, SPAN("type"));
    fault.by = xml_node_attribute(error, SPAN("by"));
    const struct xml_node *child = xml_node_first_element(error);
    for (; child != NULL; child = xml_node_next_element(child)) {
        if (!span_equal(child->space, SPAN(NS_STANZAS)))
            continue;
        if (span_equal(child->name, SPAN("text"))) {
            fault.text = xml_node_text(child);
            continue;
        }
        fault.error = stanza_error_find(child->name);
        if (fault.error == STANZA_ERROR_GONE || fault.error == STANZA_ERROR_REDIRECT)
            fault.address = span_trim(xml_node_text(child));
    }
    return fault;
}
