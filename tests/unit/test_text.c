/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The arena, the writer, UTF-8 and the two error writers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "proto/scan.h"
#include "proto/stanza_error.h"
#include "proto/stream_error.h"
#include "proto/utf8.h"
#include "proto/writer.h"
#include "proto/xml_stream.h"
#include "tests/unit/account.h"

static void assert_text(struct span actual, const char *expected)
{
    assert_int_equal(actual.size, strlen(expected));
    assert_memory_equal(actual.data, expected, actual.size);
}

static void test_arena(void **state)
{
    (void)state;
    struct account account = {0, -1};
    struct memory memory = account_memory(&account);
    struct arena arena;
    arena_init(&arena, &memory, 20000);
    assert_int_equal(account.blocks, 0);
    char *first = arena_alloc(&arena, 3);
    char *second = arena_alloc(&arena, 3);
    assert_non_null(first);
    assert_int_equal((uintptr_t)first % 8, 0);
    assert_ptr_equal(second, first + 8);
    struct span copy = arena_copy(&arena, SPAN("hello"));
    assert_text(copy, "hello");
    assert_int_equal(copy.data[5], 0);
    assert_non_null(arena_alloc(&arena, 6000));
    assert_int_equal(account.blocks, 2);
    assert_true(arena.reserved <= 20000);
    arena_reset(&arena, true);
    assert_int_equal(account.blocks, 1);
    assert_int_equal(arena.reserved, ARENA_CHUNK_SIZE);
    arena_reset(&arena, false);
    assert_int_equal(account.blocks, 0);
    assert_int_equal(arena.reserved, 0);
    arena_fini(&arena);
}

static void test_arena_limit(void **state)
{
    (void)state;
    struct account account = {0, -1};
    struct memory memory = account_memory(&account);
    struct arena arena;
    arena_init(&arena, &memory, 10000);
    size_t got = 0;
    while (arena_alloc(&arena, 100) != NULL)
        got += 100;
    assert_true(got > 9000 && got <= 10000);
    assert_true(arena.exhausted);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, 9990));
    arena_reset(&arena, false);
    assert_false(arena.exhausted);
    account.left = 0;
    assert_null(arena_copy(&arena, SPAN("x")).data);
    assert_true(arena.exhausted);
    arena_fini(&arena);
    assert_int_equal(account.blocks, 0);
}

static void test_writer(void **state)
{
    (void)state;
    char memory[200];
    struct writer writer = writer_make(memory, sizeof memory);
    writer_put_literal(&writer, "n=");
    writer_put_uint(&writer, UINT64_MAX);
    writer_put_char(&writer, ' ');
    writer_put_uint(&writer, 0);
    writer_put_hex(&writer, "\x00\xaf", 2);
    assert_text(writer_span(&writer), "n=18446744073709551615 000af");
    size_t start = writer.used;
    writer_put_xml_text(&writer, SPAN("a<b>&'\"\r\n]]>"));
    assert_text(writer_since(&writer, start), "a&lt;b&gt;&amp;'\"&#13;\n]]&gt;");
    start = writer.used;
    writer_put_attribute(&writer, SPAN("a"), SPAN("'<\">&\t\n\r"));
    writer_put_attribute(&writer, SPAN("b"), SPAN_NONE);
    writer_put_attribute(&writer, SPAN("c"), SPAN(""));
    assert_text(writer_since(&writer, start),
                " a='&apos;&lt;&quot;&gt;&amp;&#9;&#10;&#13;' c=''");
    assert_false(writer.overflow);
}

/* Every size, every place of a hit, from every offset, right before an unreadable page. */
static void test_scan(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *block =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(block != MAP_FAILED);
    assert_int_equal(mprotect(block + page, page, PROT_NONE), 0);
    for (size_t size = 0; size <= 50; size++) {
        char *text = block + page - size;
        for (size_t hit = 0; hit <= size; hit++) {
            for (size_t from = 0; from <= size; from++) {
                memset(text, 'x', size);
                if (hit < size)
                    text[hit] = hit % 2 ? '\r' : '\xff';
                size_t expected = hit >= from ? hit : size;
                assert_int_equal(scan_any(span_make(text, size), from, "\r\xff"), expected);
                assert_int_equal(scan_any(span_make(text, size), from, "ab"), size);
            }
        }
    }
    munmap(block, 2 * page);
}

static void test_writer_overflow(void **state)
{
    (void)state;
    char memory[4] = "....";
    struct writer writer = writer_make(memory, 3);
    writer_put_literal(&writer, "ab");
    writer_put_literal(&writer, "cd");
    assert_true(writer.overflow);
    writer_put_char(&writer, 'e');
    assert_text(writer_span(&writer), "ab");
    assert_int_equal(memory[3], '.');
}

static void test_utf8_round_trip(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= 0x10FFFF; i++) {
        char bytes[4];
        uint32_t back = 0;
        if (i >= 0xD800 && i <= 0xDFFF)
            continue;
        size_t size = utf8_encode(i, bytes);
        assert_int_equal(utf8_decode(span_make(bytes, size), &back), size);
        assert_int_equal(back, i);
        assert_int_equal(utf8_decode(span_make(bytes, size - 1), &back), 0);
    }
}

static void test_utf8_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\xC3<",    "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
        "\xE2\x82", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFF",     "\xFE",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(utf8_valid(span_of(bad[i])));
        assert_false(utf8_xml_legal(span_of(bad[i])));
    }
    assert_true(utf8_valid(SPAN("\xEF\xBF\xBF")));
    assert_false(utf8_xml_legal(SPAN("\xEF\xBF\xBF")));
    assert_false(utf8_xml_legal(SPAN("\xEF\xBF\xBE")));
    assert_false(utf8_xml_legal(SPAN("a\0b")));
    assert_false(utf8_xml_legal(SPAN("\x1B")));
    assert_true(utf8_xml_legal(SPAN("\t\n\r \x7F\xF0\x9F\x98\x80")));
}

/* The text ends at an unreadable page. */
static void test_utf8_guard_page(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base + page, page, PROT_NONE), 0);
    static const char whole[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";
    for (size_t size = 0; size < sizeof whole; size++) {
        char *data = base + page - size;
        memcpy(data, whole, size);
        bool is_boundary = size <= 1 || size == 3 || size == 6 || size == 10;
        assert_int_equal(utf8_valid(span_make(data, size)), is_boundary);
        assert_int_equal(utf8_xml_legal(span_make(data, size)), is_boundary);
        assert_true(utf8_cut(span_make(data, size), size + 1).size == size);
    }
    munmap(base, 2 * page);
}

static void test_utf8_cut(void **state)
{
    (void)state;
    struct span text = SPAN("a\xE2\x82\xAC"
                            "b");
    static const size_t sizes[] = {0, 1, 1, 1, 4, 5, 5};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(utf8_cut(text, i).size, sizes[i]);
}

static void test_stream_error(void **state)
{
    (void)state;
    for (int i = 1; i < STREAM_ERROR_COUNT; i++) {
        struct span name = stream_error_name((enum stream_error)i);
        assert_true(name.size > 0);
        assert_int_equal(stream_error_find(name), i);
    }
    assert_int_equal(stream_error_find(SPAN("xml-not-well-formed")),
                     STREAM_ERROR_NOT_WELL_FORMED);
    assert_int_equal(stream_error_find(SPAN("")), STREAM_ERROR_UNDEFINED_CONDITION);
    char memory[512];
    struct writer writer = writer_make(memory, sizeof memory);
    stream_error_write(&writer, STREAM_ERROR_RESET, SPAN("a<b"), SPAN("<x/>"));
    assert_text(writer_span(&writer),
                "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a&lt;b</text>"
                "<x/></stream:error></stream:stream>");
}

static void test_stanza_error(void **state)
{
    (void)state;
    for (int i = 1; i < STANZA_ERROR_COUNT; i++) {
        struct span name = stanza_error_name((enum stanza_error)i);
        assert_true(name.size > 0 && stanza_error_type((enum stanza_error)i).size > 0);
        assert_int_equal(stanza_error_find(name), i);
    }
    assert_int_equal(stanza_error_find(SPAN("nope")), STANZA_ERROR_UNDEFINED_CONDITION);
    char memory[512];
    struct writer writer = writer_make(memory, sizeof memory);
    struct stanza_fault fault = {.error = STANZA_ERROR_GONE, .address = SPAN("xmpp:a@b")};
    stanza_error_write_stanza(&writer, SPAN("iq"), SPAN("a"), SPAN("b'"), SPAN("7"), &fault);
    assert_text(writer_span(&writer),
                "<iq from='a' to='b&apos;' id='7' type='error'><error type='cancel'>"
                "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:a@b</gone>"
                "</error></iq>");
}

static void test_stanza_error_read(void **state)
{
    (void)state;
    struct xml_node address = {.text = SPAN(" sip:x ")};
    struct xml_node words = {.text = SPAN("moved")};
    struct xml_node text = {
        .first_child = &words, .space = SPAN(NS_STANZAS), .name = SPAN("text")};
    struct xml_node gone = {.next = &text,
                            .first_child = &address,
                            .space = SPAN(NS_STANZAS),
                            .name = SPAN("redirect")};
    struct xml_attribute type = {
        .name = SPAN("type"), .value = SPAN("cancel"), .space = SPAN("")};
    struct xml_node error = {.first_child = &gone,
                             .attributes = &type,
                             .space = SPAN(NS_SERVER),
                             .name = SPAN("error")};
    struct xml_node stanza = {.space = SPAN(NS_SERVER), .name = SPAN("message")};
    assert_int_equal(stanza_error_read(&stanza).error, STANZA_ERROR_NONE);
    stanza.first_child = &error;
    struct stanza_fault fault = stanza_error_read(&stanza);
    assert_int_equal(fault.error, STANZA_ERROR_REDIRECT);
    assert_text(fault.type, "cancel");
    assert_text(fault.text, "moved");
    assert_text(fault.address, "sip:x");
    error.first_child = NULL;
    assert_int_equal(stanza_error_read(&stanza).error, STANZA_ERROR_UNDEFINED_CONDITION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_writer_overflow),
        cmocka_unit_test(test_utf8_round_trip),
        cmocka_unit_test(test_utf8_refuses),
        cmocka_unit_test(test_utf8_cut),
        cmocka_unit_test(test_utf8_guard_page),
        cmocka_unit_test(test_stream_error),
        cmocka_unit_test(test_stanza_error),
        cmocka_unit_test(test_stanza_error_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
