/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A stanza goes to SIP: the request passes our own guard and parser, says what the stanza said,
 * has no header field that the stanza smuggled in, and comes back as the same text.
 */
#include "fuzz_xml.h"
#include "proto/map_message.h"
#include "proto/sip_guard.h"

static char request_memory[65536], back_memory[65536], text_memory[65536];

static struct span without_cr(struct span text, char *memory, bool lone)
{
    size_t used = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool pair = text.data[i] == '\r' && i + 1 < text.size && text.data[i + 1] == '\n';
        if (pair)
            continue;
        memory[used++] = lone && text.data[i] == '\r' ? '\n' : text.data[i];
    }
    return span_make(memory, used);
}

static struct span request_of(const struct sip_draft *draft)
{
    struct writer writer = writer_make(request_memory, sizeof(request_memory));
    const struct sip_request_parts parts = {
        .method = SIP_METHOD_MESSAGE,
        .request_uri = draft->request_uri,
        .transport = SIP_TRANSPORT_UDP,
        .sent_by = SPAN("relay.example:5060"),
        .branch = SPAN("z9hG4bKfuzz"),
        .from_uri = draft->from_uri,
        .from_tag = SPAN("tag"),
        .to_uri = draft->request_uri,
        .call_id = draft->call_id.size > 0 ? draft->call_id : SPAN("made@relay.example"),
        .cseq = 1,
        .max_forwards = 70,
        .subject = draft->subject,
        .content_language = draft->language,
        .content_type = draft->content_type,
        .date = draft->date,
        .user_agent = SPAN("passerelle"),
        .body = draft->body};
    sip_write_request(&writer, &parts);
    CHECK(!writer.overflow);
    return writer_span(&writer);
}

static void check_back(const struct sip_message *message, const struct jid *from,
                       const struct jid *to, struct span text)
{
    static char plain[65536];
    static char between[PARCEL_SIZE];
    struct writer writer = writer_make(back_memory, sizeof(back_memory));
    struct writer scratch = writer_make(between, sizeof(between));
    struct account account = {0, -1};
    const struct memory heap = account_memory(&account);
    struct xmpp_draft draft;
    struct sip_fault fault;
    struct xml_event event;
    CHECK(map_message_to_xmpp(message, from, to, SPAN("id'<&"), &scratch, &writer, &draft,
                              &fault) == MAP_OK);
    struct xml_stream *xml = fuzz_xml_open(&heap);
    CHECK(fuzz_xml_feed(xml, draft.stanza, &event) == XML_EVENT_STANZA);
    const struct xml_node *body = xml_node_child(event.node, SPAN(NS_SERVER), SPAN("body"));
    CHECK(body != NULL);
    CHECK(span_equal(xml_node_text(body), without_cr(text, plain, true)));
    CHECK(xml_stream_next(xml, &event) == XML_EVENT_NONE);
    xml_stream_close(&xml);
    CHECK(account.blocks == 0);
}

static void check_draft(const struct sip_draft *draft, const struct jid *from,
                        const struct jid *to, struct span text)
{
    struct sip_guard guard;
    struct sip_message message;
    struct span reason, bytes = request_of(draft);
    int status;
    struct account account = {0, -1};
    const struct memory heap = account_memory(&account);
    CHECK(fuzz_one_line(draft->subject) && fuzz_one_line(draft->call_id));
    CHECK(fuzz_one_line(draft->language) && fuzz_one_line(draft->date));
    /* A stream, as the text may be longer than a datagram. */
    CHECK(sip_guard_stream(bytes, 0, &guard) == SIP_GUARD_OK);
    CHECK(guard.size == bytes.size && guard.is_request);
    CHECK(guard.header_size == bytes.size - draft->body.size);
    struct sip_parser *parser = sip_parser_open(&heap);
    CHECK(parser != NULL);
    CHECK(sip_message_parse(parser, bytes, &message, &status, &reason) == SIP_PARSE_OK);
    CHECK(message.method == SIP_METHOD_MESSAGE && message.via_count == 1);
    CHECK(span_equal(message.request_uri.text, draft->request_uri));
    CHECK(span_equal(message.from.text, draft->from_uri));
    CHECK(span_equal(message.to.text, draft->request_uri));
    CHECK(span_equal(message.body, draft->body));
    CHECK(span_equal(message.subject, draft->subject));
    CHECK(span_equal(message.content_type, SPAN("text/plain")));
    CHECK(span_equal(message.content_language, draft->language));
    CHECK(message.require.size == 0 && message.contact.size == 0);
    check_back(&message, from, to, text);
    sip_parser_close(&parser);
    CHECK(account.blocks == 0);
}

static void check_stanza(const struct xml_node *stanza, unsigned room)
{
    static char memory[PARCEL_SIZE];
    char from_memory[JID_SIZE_MAX], to_memory[JID_SIZE_MAX];
    struct writer from_writer = writer_make(from_memory, sizeof(from_memory));
    struct writer to_writer = writer_make(to_memory, sizeof(to_memory));
    struct writer writer = writer_make(memory, room % 4 == 1 ? 600 : sizeof(memory));
    struct jid from, to;
    struct sip_draft draft;
    struct stanza_fault fault = {.error = STANZA_ERROR_NONE};
    if (jid_parse(xml_node_attribute(stanza, SPAN("from")), &from_writer, &from) != JID_OK ||
        jid_parse(xml_node_attribute(stanza, SPAN("to")), &to_writer, &to) != JID_OK)
        return;
    enum map_result result =
        map_message_to_sip(stanza, &from, &to, SPAN("en"), &writer, &draft, &fault);
    CHECK((result == MAP_FAULT) == (fault.error != STANZA_ERROR_NONE));
    if (result != MAP_OK || writer.overflow)
        return;
    const struct jid bare_to = {to.local, to.domain, SPAN("")};
    struct writer text = writer_make(text_memory, sizeof(text_memory));
    writer_put(&text, draft.body);
    CHECK(utf8_xml_legal(draft.body));
    /* The body with LF alone: what the other side is to read. */
    static char plain[65536];
    check_draft(&draft, &from, &bare_to, without_cr(writer_span(&text), plain, false));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_make(data, size);
    unsigned room = fuzz_choice(&input);
    struct account account = {0, -1};
    const struct memory heap = account_memory(&account);
    struct xml_stream *xml = fuzz_xml_open(&heap);
    struct xml_event event;
    enum xml_event_kind kind = fuzz_xml_feed(xml, input, &event);
    while (kind != XML_EVENT_NONE) {
        if (kind == XML_EVENT_STANZA &&
            xml_node_is(event.node, SPAN(NS_SERVER), SPAN("message")))
            check_stanza(event.node, room);
        kind = xml_stream_next(xml, &event);
    }
    xml_stream_close(&xml);
    CHECK(account.blocks == 0);
    return 0;
}
