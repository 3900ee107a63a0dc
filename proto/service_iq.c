/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/service_iq.h"

#include <assert.h>

#define NS_DISCO_INFO  "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"
#define NS_VERSION     "jabber:iq:version"
#define NS_TIME        "urn:xmpp:time"

enum service_request {
    SERVICE_REQUEST_PING,
    SERVICE_REQUEST_DISCO_INFO,
    SERVICE_REQUEST_DISCO_ITEMS,
    SERVICE_REQUEST_VERSION,
    SERVICE_REQUEST_TIME,
    SERVICE_REQUEST_OTHER
};

static enum service_request classify(const struct xml_node *payload)
{
    static const struct {
        struct span space, name;
        enum service_request request;
    } rows[] = {
        {SPAN(NS_PING), SPAN("ping"), SERVICE_REQUEST_PING},
        {SPAN(NS_DISCO_INFO), SPAN("query"), SERVICE_REQUEST_DISCO_INFO},
        {SPAN(NS_DISCO_ITEMS), SPAN("query"), SERVICE_REQUEST_DISCO_ITEMS},
        {SPAN(NS_VERSION), SPAN("query"), SERVICE_REQUEST_VERSION},
        {SPAN(NS_TIME), SPAN("time"), SERVICE_REQUEST_TIME},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (xml_node_is(payload, rows[i].space, rows[i].name))
            return rows[i].request;
    }
    return SERVICE_REQUEST_OTHER;
}

/* One field of XEP-0157; `uris` are separated by one space. */
static void put_contact_field(struct writer *writer, struct span name, struct span uris)
{
    if (uris.size == 0)
        return;
    writer_put_literal(writer, "<field type='list-multi'");
    writer_put_attribute(writer, SPAN("var"), name);
    writer_put_char(writer, '>');
    while (uris.size > 0) {
        size_t end = span_find(uris, ' ');
        writer_put_literal(writer, "<value>");
        writer_put_xml_text(writer, span_to(uris, end));
        writer_put_literal(writer, "</value>");
        uris = span_from(uris, end + 1);
    }
    writer_put_literal(writer, "</field>");
}

static void put_contacts(struct writer *writer, const struct service_identity *identity)
{
    if (identity->abuse.size + identity->admin.size + identity->support.size +
            identity->security.size == 0)
        return;
    writer_put_literal(writer, "<x xmlns='jabber:x:data' type='result'>"
                               "<field var='FORM_TYPE' type='hidden'>"
                               "<value>http://jabber.org/network/serverinfo</value></field>");
    put_contact_field(writer, SPAN("abuse-addresses"), identity->abuse);
    put_contact_field(writer, SPAN("admin-addresses"), identity->admin);
    put_contact_field(writer, SPAN("security-addresses"), identity->security);
    put_contact_field(writer, SPAN("support-addresses"), identity->support);
    writer_put_literal(writer, "</x>");
}

/* XEP-0030; gateway/simple is the registered identity of a SIP/SIMPLE gateway. */
static void put_disco_info(struct writer *writer, const struct service_identity *identity)
{
    static const struct span features[] = {SPAN(NS_DISCO_INFO), SPAN(NS_DISCO_ITEMS),
                                           SPAN(NS_PING), SPAN(NS_VERSION), SPAN(NS_TIME)};
    writer_put_literal(writer, "<query xmlns='" NS_DISCO_INFO "'>"
                               "<identity category='server' type='im'");
    writer_put_attribute(writer, SPAN("name"), identity->name);
    writer_put_literal(writer, "/><identity category='gateway' type='simple'");
    writer_put_attribute(writer, SPAN("name"), identity->name);
    writer_put_literal(writer, "/>");
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        writer_put_literal(writer, "<feature");
        writer_put_attribute(writer, SPAN("var"), features[i]);
        writer_put_literal(writer, "/>");
    }
    put_contacts(writer, identity);
    writer_put_literal(writer, "</query>");
}

/* The content of the result. */
static void put_result(struct writer *writer, enum service_request request,
                       const struct service_identity *identity, struct span utc)
{
    switch (request) {
    case SERVICE_REQUEST_PING:
        break;
    case SERVICE_REQUEST_DISCO_INFO:
        put_disco_info(writer, identity);
        break;
    case SERVICE_REQUEST_DISCO_ITEMS:
        writer_put_literal(writer, "<query xmlns='" NS_DISCO_ITEMS "'/>");
        break;
    case SERVICE_REQUEST_VERSION: /* XEP-0092 §3: both elements are required */
        writer_put_literal(writer, "<query xmlns='" NS_VERSION "'><name>");
        writer_put_xml_text(writer, identity->name);
        writer_put_literal(writer, "</name><version>");
        writer_put_xml_text(writer, identity->version);
        writer_put_literal(writer, "</version></query>");
        break;
    case SERVICE_REQUEST_TIME: /* XEP-0202 §3 */
        writer_put_literal(writer, "<time xmlns='" NS_TIME "'><tzo>+00:00</tzo><utc>");
        writer_put_xml_text(writer, utc);
        writer_put_literal(writer, "</utc></time>");
        break;
    case SERVICE_REQUEST_OTHER:
        assert(false); /* an unknown request has no result */
        break;
    }
}

/* What is wrong with the request, NONE when it gets a result. */
static enum stanza_error find_fault(const struct xml_node *iq, const struct jid *to,
                                    enum service_request *request)
{
    struct span type = xml_node_attribute(iq, SPAN("type"));
    bool is_get = span_equal(type, SPAN("get"));
    /* RFC 6120 §8.2.3: an id, a known type and exactly one child. */
    const struct xml_node *payload = xml_node_first_element(iq);
    if (xml_node_attribute(iq, SPAN("id")).size == 0)
        return STANZA_ERROR_BAD_REQUEST;
    if (!is_get && !span_equal(type, SPAN("set")))
        return STANZA_ERROR_BAD_REQUEST;
    if (payload == NULL || xml_node_next_element(payload) != NULL)
        return STANZA_ERROR_BAD_REQUEST;
    *request = classify(payload);
    if (!is_get || *request == SERVICE_REQUEST_OTHER)
        return STANZA_ERROR_SERVICE_UNAVAILABLE;
    /* For a user nothing may tell whether he exists (RFC 6121 §8.5.2.1.3, XEP-0030 §8): his
       bare address has no items, and that is all. */
    bool is_items = *request == SERVICE_REQUEST_DISCO_ITEMS;
    if (to->local.size > 0 && (!is_items || to->resource.size > 0))
        return STANZA_ERROR_SERVICE_UNAVAILABLE;
    bool is_disco = is_items || *request == SERVICE_REQUEST_DISCO_INFO;
    if (is_disco && to->local.size == 0 && xml_node_attribute(payload, SPAN("node")).size > 0)
        return STANZA_ERROR_ITEM_NOT_FOUND;
    return STANZA_ERROR_NONE;
}

void service_iq_answer(struct writer *writer, const struct xml_node *iq, const struct jid *from,
                       const struct jid *to, const struct service_identity *identity,
                       struct span utc)
{
    assert(to->domain.size > 0);
    struct span type = xml_node_attribute(iq, SPAN("type"));
    if (span_equal(type, SPAN("result")) || span_equal(type, SPAN("error")))
        return;
    char from_text[JID_SIZE_MAX], to_text[JID_SIZE_MAX];
    struct writer asker = writer_make(from_text, sizeof(from_text));
    struct writer asked = writer_make(to_text, sizeof(to_text));
    jid_write(&asker, from);
    jid_write(&asked, to);
    assert(!asker.overflow);
    assert(!asked.overflow);

    struct span id = xml_node_attribute(iq, SPAN("id"));
    enum service_request request = SERVICE_REQUEST_OTHER;
    struct stanza_fault fault = {.error = find_fault(iq, to, &request)};
    if (fault.error != STANZA_ERROR_NONE) {
        stanza_error_write_stanza(writer, SPAN("iq"), writer_span(&asked), writer_span(&asker),
                                  id, &fault);
        return;
    }
    writer_put_literal(writer, "<iq type='result'");
    writer_put_attribute(writer, SPAN("id"), id);
    writer_put_attribute(writer, SPAN("from"), writer_span(&asked));
    writer_put_attribute(writer, SPAN("to"), writer_span(&asker));
    writer_put_char(writer, '>');
    put_result(writer, request, identity, utc);
    writer_put_literal(writer, "</iq>");
}
