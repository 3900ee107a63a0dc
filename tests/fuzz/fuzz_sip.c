/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SIP as it comes from the net: the guard measures alike however the stream is torn, the parser
 * takes what the guard lets through, and what we answer passes our own guard and parser and
 * says what the request said.
 */
#include "fuzz.h"
#include "proto/address_map.h"
#include "proto/sip_guard.h"

static const struct memory *heap(void)
{
    static struct account account = {0, -1};
    static struct memory memory;
    memory = account_memory(&account);
    return &memory;
}

static void check_inside(struct span part, struct span whole)
{
    if (part.size > 0)
        CHECK(part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

static void check_answer(const struct sip_message *request, unsigned choice)
{
    char memory[2 * SIP_MESSAGE_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    const struct sip_response_parts parts = {.status = choice % 2 == 0 ? 200 : 403,
                                             .to_tag = SPAN("answertag"),
                                             .received =
                                                 choice % 4 == 0 ? SPAN("192.0.2.1") : SPAN(""),
                                             .rport = (uint16_t)(choice % 8 == 0 ? 5060 : 0),
                                             .server = SPAN("passerelle"),
                                             .extra = SPAN("Retry-After: 10\r\n")};
    struct sip_message answer;
    struct sip_guard guard;
    sip_write_response(&writer, request, &parts);
    struct span bytes = writer_span(&writer);
    CHECK(!writer.overflow);
    CHECK(span_starts(bytes, SPAN("SIP/2.0 ")));
    /* Copied fields may make it longer than what the guard takes. */
    if (bytes.size > SIP_DATAGRAM_SIZE_MAX)
        return;
    CHECK(sip_guard_datagram(bytes, &guard) == SIP_GUARD_OK);
    CHECK(guard.size == bytes.size && guard.header_size == bytes.size && !guard.is_request);
    if (request->via_count != 1 || sip_message_parse_response(bytes, &answer) != SIP_PARSE_OK)
        return;
    CHECK(answer.status == parts.status);
    CHECK(span_equal(answer.call_id, request->call_id));
    CHECK(answer.cseq == request->cseq);
    CHECK(span_equal(answer.via.branch, request->via.branch));
    CHECK(answer.retry_after == 10);
    CHECK(span_equal(answer.to_tag,
                     request->to_tag.size > 0 ? request->to_tag : SPAN("answertag")));
}

static void check_addresses(const struct sip_message *message)
{
    const struct sip_uri *const uris[] = {&message->request_uri, &message->from, &message->to};
    for (size_t i = 0; i < 3; i++) {
        char memory[2 * JID_SIZE_MAX + SIP_URI_SIZE_MAX];
        struct writer writer = writer_make(memory, sizeof(memory));
        struct jid jid;
        if (uris[i]->text.size == 0 ||
            address_to_jid(uris[i], SPAN("phone.example"), &writer, &jid) != ADDRESS_OK)
            continue;
        CHECK(utf8_xml_legal(jid.local) && utf8_xml_legal(jid.domain));
        CHECK(utf8_xml_legal(jid.resource) && jid.domain.size > 0);
    }
}

static void check_message(struct sip_parser *parser, struct span raw, unsigned choice)
{
    struct sip_message message, quick;
    struct span reason;
    int status = 0;
    enum sip_parse_result result = sip_message_parse(parser, raw, &message, &status, &reason);
    if (result == SIP_PARSE_REJECT)
        CHECK(status >= 400 && status < 700);
    if (result != SIP_PARSE_OK)
        return;
    CHECK(fuzz_one_line(message.call_id) && fuzz_one_line(message.from_tag));
    CHECK(fuzz_one_line(message.request_uri.text));
    CHECK(fuzz_one_line(message.via.branch) && fuzz_one_line(message.require));
    check_inside(message.body, raw);
    check_addresses(&message);
    if (message.is_request) {
        check_answer(&message, choice);
    } else if (sip_message_parse_response(raw, &quick) == SIP_PARSE_OK) {
        CHECK(quick.status == message.status);
        CHECK(span_equal(quick.call_id, message.call_id));
        CHECK(span_equal(quick.via.branch, message.via.branch));
        CHECK(quick.cseq == message.cseq);
        CHECK(span_equal(quick.to_tag, message.to_tag));
    }
}

/* The stream, byte by byte with the hint of the last try, comes to the same end as at once. */
static void check_torn(struct span input)
{
    struct sip_guard whole = {0}, torn = {0};
    enum sip_guard_result at_once = sip_guard_stream(input, 0, &whole);
    enum sip_guard_result result = SIP_GUARD_MORE;
    size_t from = 0, size = 0;
    while (result == SIP_GUARD_MORE && size < input.size) {
        result = sip_guard_stream(span_to(input, ++size), from, &torn);
        from = result == SIP_GUARD_MORE ? torn.size : 0;
    }
    /* What cannot be saved may be told before all of it is there. */
    if (result == SIP_GUARD_OK || at_once == SIP_GUARD_OK) {
        CHECK(result == at_once);
        CHECK(whole.size == torn.size && whole.skipped == torn.skipped);
        CHECK(whole.header_size == torn.header_size && whole.is_request == torn.is_request);
    }
    if (at_once == SIP_GUARD_OK || at_once == SIP_GUARD_PING)
        CHECK(whole.skipped + whole.size <= input.size && whole.size > 0);
    if (at_once == SIP_GUARD_REJECT || at_once == SIP_GUARD_DROP)
        CHECK(whole.fatal || whole.skipped + whole.size > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_make(data, size);
    unsigned choice = fuzz_choice(&input);
    struct sip_guard guard = {0};
    struct sip_parser *parser = sip_parser_open(heap());
    CHECK(parser != NULL);
    enum sip_guard_result result = sip_guard_datagram(input, &guard);
    if (result == SIP_GUARD_REJECT)
        CHECK(guard.status >= 400 && guard.reason.size > 0);
    if (result == SIP_GUARD_OK) {
        struct span raw = fuzz_copy(span_to(span_from(input, guard.skipped), guard.size));
        CHECK(guard.skipped + guard.size <= input.size);
        CHECK(guard.header_size <= guard.size);
        (void)sip_guard_sdp(span_from(raw, guard.header_size));
        check_message(parser, raw, choice);
        fuzz_free(raw);
    }
    if (input.size <= 2048)
        check_torn(input);
    sip_parser_close(&parser);
    return 0;
}
