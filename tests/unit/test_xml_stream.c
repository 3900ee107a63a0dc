/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every sample is fed whole, at every split point and byte by byte; the transcript of events
   must be the same each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "tests/unit/xml_transcript.h"

/* Splits `input` after `first` bytes, and the rest into pieces of `step` bytes. */
static void check_split(struct span input, const char *expected, size_t first, size_t step)
{
    char text[4096];
    struct writer writer = writer_make(text, sizeof text);
    struct account account = {0, -1};
    struct memory memory;
    struct xml_stream *stream = open_stream(&account, &memory);
    bool alive = feed(stream, span_to(input, first), &writer);
    for (size_t at = first; alive && at < input.size; at += step)
        alive = feed(stream, span_to(span_from(input, at), step), &writer);
    writer_put_char(&writer, '\0');
    assert_false(writer.overflow);
    assert_string_equal(text, expected);
    xml_stream_close(&stream);
    assert_null(stream);
    assert_int_equal(account.blocks, 0);
}

static void check(struct span input, const char *expected)
{
    check_split(input, expected, input.size, 1);
    check_split(input, expected, 0, 1);
    for (size_t i = 1; i < input.size; i++)
        check_split(input, expected, i, input.size);
}

#define CHECK(input, expected) check(SPAN(input), expected)

static void test_stanzas(void **state)
{
    (void)state;
    CHECK(HEADER "<message a='1' xml:lang='de'><body>a&lt;b&#x20AC;\n<![CDATA[c&]]></body>"
                 "<x xmlns='urn:x' y='&quot;'/></message> \n<iq/><db:result>k</db:result>"
                 "</stream:stream>",
          OPENED "message a=1 {X}lang=de[body[a<b\xE2\x82\xAC\nc&]][{urn:x}x y=\"]\n"
                 "iq\n{D}result[k]\nCLOSE\n");
    CHECK(HEADER "<a>1<b/>2<c>3</c></a>", OPENED "a[1][b][2][c[3]]\n");
    CHECK(HEADER "<stream:error/>", OPENED "{S}error\n");
    CHECK(" \r\n" HEADER "</stream:stream>rubbish", OPENED "CLOSE\n");
    CHECK("<stream xmlns='http://etherx.jabber.org/streams'><iq xmlns='jabber:server'/>",
          "OPEN {S}stream\niq\n");
    CHECK("<stream xmlns='http://etherx.jabber.org/streams'/>", "OPEN {S}stream\nCLOSE\n");
}

static void test_restricted(void **state)
{
    (void)state;
    CHECK("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "restricted-xml\n");
    CHECK("<!DOCTYPE a SYSTEM 'b'><a/>", "restricted-xml\n");
    CHECK(HEADER "<!DOCTYPE a>", OPENED "restricted-xml\n");
    CHECK(HEADER "<a><!ENTITY b 'c'></a>", OPENED "restricted-xml\n");
    CHECK(HEADER "<a><!b></a>", OPENED "not-well-formed\n");
    CHECK("<!-- a --><a/>", "restricted-xml\n");
    CHECK("<?a b?><a/>", "restricted-xml\n");
    CHECK(HEADER "<iq/><!-- a -->", OPENED "iq\nrestricted-xml\n");
    CHECK(HEADER "<iq><?a?></iq>", OPENED "restricted-xml\n");
}

static void test_encoding(void **state)
{
    (void)state;
    CHECK("\xFE\xFF\0<", "unsupported-encoding\n");
    CHECK("\xFF\xFE<\0", "unsupported-encoding\n");
    CHECK("\0<\0?", "unsupported-encoding\n");
    CHECK("<\0?\0", "unsupported-encoding\n");
    CHECK("\xEF\xBB\xBF<a/>", "not-well-formed\n");
    CHECK("<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "unsupported-encoding\n");
    CHECK("<?xml version='1.0' encoding='UTF-16'?><a/>", "unsupported-encoding\n");
    CHECK("<?xml version='1.0' encoding='utf-8'?><a/>", "invalid-namespace\n");
    CHECK(HEADER "<a>\xC3<", OPENED "not-well-formed\n");
    CHECK(HEADER "<a>\xE2\x82</a>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a>\xED\xA0\x80</a>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a>\xEF\xBF\xBF</a>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a>&#0;</a>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a>\0</a>", OPENED "not-well-formed\n");
}

static void test_not_well_formed(void **state)
{
    (void)state;
    CHECK("GET / HTTP/1.1\r\n", "not-well-formed\n");
    CHECK(HEADER "<a>&b;</a>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a b='&c;'/>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a></b>", OPENED "not-well-formed\n");
    CHECK(HEADER "<p:a/>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a b='1' b='2'/>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a xmlns:xml='urn:b'/>", OPENED "not-well-formed\n");
    CHECK(HEADER "<iq/>text", OPENED "iq\nnot-well-formed\n");
    CHECK(HEADER "<a xmlns='urn:b&#10;c'/>", OPENED "not-well-formed\n");
    CHECK(HEADER "<a xmlns:p='jabber:server&#10;iq'/>", OPENED "not-well-formed\n");
}

static void test_namespaces(void **state)
{
    (void)state;
    CHECK("<stream:stream xmlns:stream='urn:a' xmlns='jabber:server'>", "invalid-namespace\n");
    CHECK("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
          "xmlns='jabber:client'>",
          "invalid-namespace\n");
    CHECK("<stream:foo xmlns:stream='http://etherx.jabber.org/streams'>", "bad-format\n");
    CHECK(HEADER "<message xmlns='jabber:client'/>", OPENED "invalid-namespace\n");
    CHECK("<s:stream xmlns:s='http://etherx.jabber.org/streams'><iq/>",
          "OPEN {S}stream\ninvalid-namespace\n");
    CHECK(
        "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:c='jabber:server'><c:iq/>",
        "OPEN {S}stream\nbad-namespace-prefix\n");
    CHECK(HEADER "<iq><stream:features/></iq>", OPENED "unsupported-stanza-type\n");
    CHECK(HEADER "<iq xmlns=''/>", OPENED "invalid-namespace\n");
    /* Attack 7: glued together, space and name of the child read like another element. */
    CHECK(HEADER "<iq><x xmlns='jabber:serverm'/></iq>", OPENED "iq[{jabber:serverm}x]\n");
}

/* `head`, then `unit` `count` times, then `tail`. */
static struct span repeat(const char *head, const char *unit, size_t count, const char *tail)
{
    size_t size = strlen(head) + count * strlen(unit) + strlen(tail);
    char *data = malloc(size);
    assert_non_null(data);
    struct writer writer = writer_make(data, size);
    writer_put(&writer, span_of(head));
    for (size_t i = 0; i < count; i++)
        writer_put(&writer, span_of(unit));
    writer_put(&writer, span_of(tail));
    return writer_span(&writer);
}

static void check_ends(struct span input, size_t size_max, const char *expected, size_t step)
{
    char *text = malloc(2 * STANZA_SIZE_MAX);
    struct writer writer = writer_make(text, 2 * STANZA_SIZE_MAX);
    struct account account = {0, -1};
    struct memory memory;
    struct xml_stream *stream = open_stream(&account, &memory);
    xml_stream_set_stanza_size_max(stream, size_max);
    for (size_t at = 0; at < input.size; at += step) {
        if (!feed(stream, span_to(span_from(input, at), step), &writer))
            break;
        assert_true(xml_stream_memory(stream) <= XML_PARSER_MEMORY_MAX);
    }
    writer_put_char(&writer, '\0');
    assert_false(writer.overflow);
    size_t size = strlen(expected);
    assert_true(writer.used > size);
    assert_string_equal(text + writer.used - 1 - size, expected);
    xml_stream_close(&stream);
    assert_int_equal(account.blocks, 0);
    free(text);
}

static void check_big(struct span input, size_t size_max, const char *expected)
{
    check_ends(input, size_max, expected, 16384);
    check_ends(input, size_max, expected, 1000);
    if (input.size < 20000)
        check_ends(input, size_max, expected, 1);
    free((char *)input.data);
}

static void test_size_cap(void **state)
{
    (void)state;
    size_t frame = strlen("<a></a>");
    check_big(repeat(HEADER "<a>", "x", 10240 - frame, "</a><b/>"), 10240, "]\nb\n");
    check_big(repeat(HEADER "<a>", "x", 10241 - frame, "</a>"), 10240,
              "policy-violation too-big\n");
    /* A start tag that never ends. */
    check_big(repeat(HEADER "<a b='", "x", 100000, ""), 65536, "policy-violation too-big\n");
    check_big(repeat("<a b='", "x", 20000, ""), 10240, "policy-violation too-big\n");
    check_big(repeat(" ", " ", 20000, ""), 10240, "policy-violation too-big\n");
    /* Keepalives never add up, and what came before does not count. */
    check_big(repeat(HEADER, " \n", 30000, "<b/>"), 10240, OPENED "b\n");
    check_big(repeat(HEADER, "<b>12345</b>", 3000, "<c/>"), 10240, "b[12345]\nc\n");
    /* The largest stanzas that may be configured, as text, attribute and many lines. */
    check_big(repeat(HEADER "<a>", "x", 262144 - frame, "</a><b/>"), 262144, "]\nb\n");
    check_big(repeat(HEADER "<a>", "y\n", 131000, "</a><b/>"), 262144, "]\nb\n");
    check_big(repeat(HEADER "<a b='", "x", 65500, "'/><b/>"), 65536, "\nb\n");
}

/* Expat reads an unfinished tag again for every piece; a peer that dribbles a long one is
   stopped, one that sends it in segments is not. */
static void test_dribble(void **state)
{
    (void)state;
    struct span tag = repeat(HEADER "<a b='", ">", 65000, "'/><b/>");
    check_ends(tag, 65536, OPENED "policy-violation\n", 1);
    check_ends(tag, 65536, "\nb\n", 536);
    free((char *)tag.data);
    struct span text = repeat(HEADER "<a>", "&lt;x\n", 10000, "</a><b/>");
    check_ends(text, 65536, "]\nb\n", 1);
    free((char *)text.data);
    struct span largest = repeat(HEADER "<a b='", "x", 200000, "'/><b/>");
    check_ends(largest, 262144, "\nb\n", 1400);
    free((char *)largest.data);
}

static void test_shape_caps(void **state)
{
    (void)state;
    check_big(repeat(HEADER "<a>", "<b>", 63, "</b>"), 65536, OPENED);
    check_big(repeat(HEADER "<a>", "<b>", 64, ""), 65536, "policy-violation\n");
    char tag[20000], declarations[20000];
    for (unsigned count = 64; count <= 65; count++) {
        struct writer writer = writer_make(tag, sizeof tag);
        for (unsigned i = 0; i < count; i++) {
            writer_put_literal(&writer, " a");
            writer_put_uint(&writer, i);
            writer_put_literal(&writer, "=''");
        }
        writer_put_char(&writer, '\0');
        check_big(repeat(HEADER "<a", tag, 1, "/>"), 65536,
                  count == 64 ? " a63=\n" : OPENED "policy-violation\n");
    }
    struct writer writer = writer_make(declarations, sizeof declarations);
    for (unsigned i = 0; i < 70; i++) {
        writer_put_literal(&writer, " xmlns:p");
        writer_put_uint(&writer, i);
        writer_put_literal(&writer, "='u'");
    }
    writer_put_char(&writer, '\0');
    check_big(repeat(HEADER "<a", declarations, 1, "/>"), 65536, OPENED "policy-violation\n");
    /* More nodes than the memory budget holds. */
    check_big(repeat(HEADER "<a>", "<b/>", 65000, "</a>"), 262144,
              "policy-violation too-big\n");
}

/* A stream that never stops inventing names runs into the budget, not into the machine's. */
static void test_name_hoard(void **state)
{
    (void)state;
    struct account account = {0, -1};
    struct memory memory;
    struct xml_stream *stream = open_stream(&account, &memory);
    char text[65536];
    struct writer writer = writer_make(text, sizeof text);
    assert_true(feed(stream, SPAN(HEADER), &writer));
    unsigned i = 0;
    for (bool alive = true; alive && i < 200000; i++) {
        char stanza[100];
        struct writer maker = writer_make(stanza, sizeof stanza);
        writer_put_literal(&maker, "<x xmlns:prefix");
        writer_put_uint(&maker, i);
        writer_put_literal(&maker, "='urn:x'/>");
        writer.used = 0;
        alive = feed(stream, writer_span(&maker), &writer);
        assert_true(xml_stream_memory(stream) <= XML_PARSER_MEMORY_MAX);
    }
    assert_true(i < 200000);
    xml_stream_close(&stream);
    assert_int_equal(account.blocks, 0);
}

/* Damaged streams: the verdict may not depend on how the bytes arrive. */
static void test_mutations(void **state)
{
    (void)state;
    static const char sample[] = HEADER
        "<message a='1' xml:lang='de'><body>a&lt;b&#x20AC;\xE2\x82\xAC<![CDATA[c&]]></body>"
        "<x xmlns='urn:x' xmlns:p='urn:p' p:y='&quot;'/></message> \n<iq/></stream:stream>";
    static const char palette[] = "<>/'\"&;![]?=: -xmlns\n\xC3\xFF\0";
    static char input[sizeof sample], whole[4096], split[4096];
    uint32_t seed = 20261123, random = seed;
    for (int round = 0; round < 5000; round++) {
        memcpy(input, sample, sizeof sample);
        size_t count = 1 + next_random(&random) % 3;
        for (size_t i = 0; i < count; i++)
            input[next_random(&random) % (sizeof sample - 1)] =
                palette[next_random(&random) % (sizeof palette - 1)];
        struct span damaged = span_make(input, sizeof sample - 1);
        transcribe(damaged, damaged.size, whole, sizeof whole);
        transcribe(damaged, 1 + next_random(&random) % 9, split, sizeof split);
        if (strcmp(whole, split) != 0)
            print_message("seed %u round %d: %s\n", seed, round, input);
        assert_string_equal(whole, split);
    }
}

static void test_pull(void **state)
{
    (void)state;
    struct account account = {0, -1};
    struct memory memory;
    struct xml_stream *stream = open_stream(&account, &memory);
    struct xml_event event;
    struct span input = SPAN(HEADER "<a/><b/>");
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_NONE);
    void *room = xml_stream_room(stream, input.size);
    memcpy(room, input.data, input.size);
    xml_stream_commit(stream, input.size);
    assert_null(xml_stream_room(stream, 1));
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_OPEN);
    assert_true(span_equal(xml_node_lang(event.node), SPAN("en")));
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_STANZA);
    assert_true(xml_node_is(event.node, SPAN(NS_SERVER), SPAN("a")));
    assert_false(xml_stream_idle(stream));
    assert_null(xml_stream_room(stream, 1));
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_STANZA);
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_NONE);
    assert_true(xml_stream_idle(stream));
    assert_non_null(xml_stream_room(stream, 16384));
    xml_stream_close(&stream);
    assert_int_equal(account.blocks, 0);
}

static void test_restart(void **state)
{
    (void)state;
    struct account account = {0, -1};
    struct memory memory;
    struct xml_stream *stream = open_stream(&account, &memory);
    char text[2048];
    struct writer writer = writer_make(text, sizeof text);
    struct xml_event event;
    assert_true(feed(stream, SPAN(HEADER), &writer));
    struct span piped = SPAN("<proceed/><iq/>");
    memcpy(xml_stream_room(stream, piped.size), piped.data, piped.size);
    xml_stream_commit(stream, piped.size);
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_STANZA);
    /* The read-ahead <iq/> must be gone. */
    xml_stream_restart(stream);
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_NONE);
    writer.used = 0;
    assert_true(feed(stream, SPAN(HEADER "<b/>"), &writer));
    writer_put_char(&writer, '\0');
    assert_string_equal(text, OPENED "b\n");
    xml_stream_close(&stream);
    assert_int_equal(account.blocks, 0);
}

static void test_idle_memory(void **state)
{
    (void)state;
    struct account account = {0, -1};
    struct memory memory;
    struct xml_stream *stream = open_stream(&account, &memory);
    xml_stream_set_stanza_size_max(stream, 65536);
    char *text = malloc(100000);
    struct writer writer = writer_make(text, 100000);
    struct span big = repeat(HEADER "<a>", "some text\n", 6000, "</a>");
    assert_true(feed(stream, big, &writer));
    xml_stream_rest(stream);
    print_message("idle stream holds %zu bytes\n", xml_stream_memory(stream));
    assert_true(xml_stream_memory(stream) < 24576);
    xml_stream_close(&stream);
    free((char *)big.data);
    free(text);
}

/* Fails the n-th allocation for every n: an error comes out, nothing leaks. */
static void test_no_memory(void **state)
{
    (void)state;
    struct span input =
        SPAN(HEADER "<message a='b'><body>text</body></message></stream:stream>");
    bool done = false;
    for (int n = 0; !done; n++) {
        assert_true(n < 1000);
        struct account account = {0, n};
        struct memory memory = account_memory(&account);
        struct xml_stream *stream = xml_stream_open(&memory, NULL);
        struct xml_event event = {0};
        void *room = stream != NULL ? xml_stream_room(stream, input.size) : NULL;
        if (room != NULL) {
            memcpy(room, input.data, input.size);
            xml_stream_commit(stream, input.size);
            enum xml_event_kind kind;
            while ((kind = xml_stream_next(stream, &event)) != XML_EVENT_NONE) {
                done = kind == XML_EVENT_CLOSE;
                if (kind == XML_EVENT_ERROR)
                    assert_int_equal(event.error, STREAM_ERROR_RESOURCE_CONSTRAINT);
            }
        }
        xml_stream_close(&stream);
        assert_int_equal(account.blocks, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stanzas),     cmocka_unit_test(test_restricted),
        cmocka_unit_test(test_encoding),    cmocka_unit_test(test_not_well_formed),
        cmocka_unit_test(test_namespaces),  cmocka_unit_test(test_size_cap),
        cmocka_unit_test(test_dribble),     cmocka_unit_test(test_shape_caps),
        cmocka_unit_test(test_name_hoard),  cmocka_unit_test(test_pull),
        cmocka_unit_test(test_mutations),   cmocka_unit_test(test_restart),
        cmocka_unit_test(test_idle_memory), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
