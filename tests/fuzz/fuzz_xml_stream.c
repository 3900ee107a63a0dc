/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * XML as it comes from the net: however it is torn, the same events with the same trees come
 * out; a tree written by our writer reads back as itself; all memory comes home.
 */
#include "fuzz_xml.h"

#define INPUT_MAX  4096u /* below every cap that counts pieces */
#define OUTPUT_MAX (1u << 20)

static char whole[OUTPUT_MAX], torn[OUTPUT_MAX];

/* All events of `text`, fed in pieces of 1 to `piece` bytes, as text. */
static struct span events_of(struct span text, size_t piece, char *memory)
{
    struct account account = {0, -1};
    const struct memory heap = account_memory(&account);
    struct xml_stream *xml = xml_stream_open(&heap, NULL);
    struct xml_event event;
    struct writer writer = writer_make(memory, OUTPUT_MAX);
    CHECK(xml != NULL);
    for (size_t turn = 0; text.size > 0; turn++) {
        size_t part = piece < 2 ? 1 : 1 + turn * 7 % piece;
        part = part < text.size ? part : text.size;
        void *room = xml_stream_room(xml, part);
        if (room == NULL)
            break;
        memcpy(room, text.data, part);
        xml_stream_commit(xml, part);
        text = span_from(text, part);
        while (xml_stream_next(xml, &event) != XML_EVENT_NONE) {
            writer_put_uint(&writer, event.kind);
            writer_put_char(&writer, ' ');
            writer_put_uint(&writer, event.error);
            if (event.node != NULL)
                fuzz_xml_write(&writer, event.node);
        }
        CHECK(xml_stream_memory(xml) <= XML_PARSER_MEMORY_MAX);
    }
    xml_stream_close(&xml);
    CHECK(account.blocks == 0);
    CHECK(!writer.overflow);
    return writer_span(&writer);
}

/* Each stanza, written by us, reads back as the same stanza. */
static void read_back(struct span text)
{
    struct account account = {0, -1};
    const struct memory heap = account_memory(&account);
    struct xml_stream *xml = xml_stream_open(&heap, NULL), *mirror = fuzz_xml_open(&heap);
    struct xml_event event, again;
    CHECK(xml != NULL);
    enum xml_event_kind kind = fuzz_xml_feed(xml, text, &event);
    while (kind != XML_EVENT_NONE && kind != XML_EVENT_ERROR) {
        struct writer first = writer_make(whole, OUTPUT_MAX);
        struct writer second = writer_make(torn, OUTPUT_MAX);
        if (kind == XML_EVENT_STANZA) {
            fuzz_xml_write(&first, event.node);
            /* Each prefix is declared anew: only a stanza with very many has too many now. */
            if (fuzz_xml_feed(mirror, writer_span(&first), &again) != XML_EVENT_STANZA)
                break;
            fuzz_xml_write(&second, again.node);
            CHECK(span_equal(writer_span(&first), writer_span(&second)));
            CHECK(xml_stream_next(mirror, &again) == XML_EVENT_NONE);
        }
        kind = xml_stream_next(xml, &event);
    }
    xml_stream_close(&xml);
    xml_stream_close(&mirror);
    CHECK(account.blocks == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_to(span_make(data, size), INPUT_MAX);
    size_t piece = fuzz_choice(&input);
    struct span one = events_of(input, 16384, whole);
    struct span other = events_of(input, piece, torn);
    CHECK(span_equal(one, other));
    read_back(input);
    return 0;
}
