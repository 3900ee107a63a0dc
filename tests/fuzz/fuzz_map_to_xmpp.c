/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A SIP MESSAGE goes to XMPP: what is written is exactly one stanza with the addresses, the
 * subject and the text of the request, whatever these hold.
 */
#include "fuzz_xml.h"
#include "proto/map_message.h"
#include "proto/sip_guard.h"

static void check_stanza(const struct xmpp_draft *draft, const struct jid *from,
                         const struct jid *to)
{
    struct account account = {0, -1};
    const struct memory heap = account_memory(&account);
    struct xml_stream *xml = fuzz_xml_open(&heap);
    struct xml_event event;
    char memory[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    CHECK(fuzz_xml_feed(xml, draft->stanza, &event) == XML_EVENT_STANZA);
    const struct xml_node *stanza = event.node;
    CHECK(xml_node_is(stanza, SPAN(NS_SERVER), SPAN("message")));
    jid_write(&writer, from);
    CHECK(span_equal(xml_node_attribute(stanza, SPAN("from")), writer_span(&writer)));
    writer = writer_make(memory, sizeof(memory));
    jid_write(&writer, to);
    CHECK(span_equal(xml_node_attribute(stanza, SPAN("to")), writer_span(&writer)));
    CHECK(span_equal(xml_node_attribute(stanza, SPAN("id")), SPAN("i'd<")));
    CHECK(xml_node_attribute(stanza, SPAN("type")).data == NULL);
    const struct xml_node *body = xml_node_child(stanza, SPAN(NS_SERVER), SPAN("body"));
    CHECK(body != NULL && xml_node_text(body).size > 0);
    for (const struct xml_node *child = stanza->first_child; child != NULL; child = child->next)
        CHECK(child->name.data != NULL && span_equal(child->space, SPAN(NS_SERVER)) &&
              xml_node_first_element(child) == NULL);
    CHECK(xml_stream_next(xml, &event) == XML_EVENT_NONE);
    xml_stream_close(&xml);
    CHECK(account.blocks == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char memory[PARCEL_SIZE];
    struct span input = span_make(data, size);
    bool tight = fuzz_choice(&input) % 4 == 1;
    struct account account = {0, -1};
    const struct memory heap = account_memory(&account);
    struct sip_parser *parser = sip_parser_open(&heap);
    struct writer writer = writer_make(memory, tight ? 400 : sizeof(memory));
    static char between[PARCEL_SIZE];
    struct writer scratch = writer_make(between, sizeof(between));
    char address_memory[2 * (2 * JID_SIZE_MAX + SIP_URI_SIZE_MAX)];
    struct writer addresses = writer_make(address_memory, sizeof(address_memory));
    struct sip_guard guard = {0};
    struct sip_message message;
    struct span reason;
    int status;
    struct jid from, to;
    struct xmpp_draft draft;
    struct sip_fault fault = {0};
    CHECK(parser != NULL);
    if (sip_guard_datagram(input, &guard) == SIP_GUARD_OK &&
        sip_message_parse(parser, span_to(span_from(input, guard.skipped), guard.size),
                          &message, &status, &reason) == SIP_PARSE_OK &&
        message.is_request &&
        address_to_jid(&message.from, SPAN_NONE, &addresses, &from) == ADDRESS_OK &&
        address_to_jid(&message.request_uri, SPAN_NONE, &addresses, &to) == ADDRESS_OK) {
        enum map_result result = map_message_to_xmpp(&message, &from, &to, SPAN("i'd<"),
                                                     &scratch, &writer, &draft, &fault);
        if (result == MAP_OK)
            check_stanza(&draft, &from, &to);
        else if (result == MAP_FAULT)
            CHECK(fault.status >= 400 && fault.status < 700);
    }
    sip_parser_close(&parser);
    CHECK(account.blocks == 0);
    return 0;
}
