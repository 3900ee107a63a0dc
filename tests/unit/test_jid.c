/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/jid.h"

/* The prepared form of `text`, or "-" when it is malformed; in `out` with a NUL. */
static void prepare(struct span text, char out[4096])
{
    char memory[JID_SIZE_MAX];
    struct writer space = writer_make(memory, sizeof memory);
    struct writer writer = writer_make(out, 4096);
    struct jid jid;
    if (jid_parse(text, &space, &jid) == JID_OK)
        jid_write(&writer, &jid);
    else
        writer_put_char(&writer, '-');
    writer_put_char(&writer, '\0');
    assert_false(writer.overflow);
}

static void check(const char *text, const char *expected)
{
    char out[4096], again[4096];
    prepare(span_of(text), out);
    assert_string_equal(out, expected);
    if (expected[0] == '-')
        return;
    prepare(span_of(out), again);
    assert_string_equal(again, expected);
}

static void legal(const char *text)
{
    check(text, text);
}

static void illegal(const char *text)
{
    check(text, "-");
}

/* RFC 7622 §3.5. */
static void test_rfc_legal(void **state)
{
    (void)state;
    legal("juliet@example.com");
    legal("juliet@example.com/foo");
    legal("juliet@example.com/foo bar");
    legal("juliet@example.com/foo@bar");
    legal("foo\\20bar@example.com");
    legal("fussball@example.com");
    legal("fu\u00DFball@example.com");
    legal("\u03C0@example.com");
    check("\u03A3@example.com/foo", "\u03C3@example.com/foo");
    legal("\u03C3@example.com/foo");
    legal("\u03C2@example.com/foo");
    legal("king@example.com/\u265A");
    legal("example.com");
    legal("example.com/foobar");
    legal("a.example.com/b@example.net");
}

static void test_rfc_illegal(void **state)
{
    (void)state;
    illegal("\"juliet\"@example.com");
    illegal("foo bar@example.com");
    illegal("@example.com/");
    illegal("@example.com");
    illegal("example.com/");
    illegal("henry\u2163@example.com");
    illegal("\u265A@example.com");
    illegal("juliet@");
    illegal("/foobar");
    illegal("");
    illegal("a@b@c.example");
}

static void test_local(void **state)
{
    (void)state;
    check("JuLiet@Example.COM./Foo", "juliet@example.com/Foo");
    check("\uFF21\uFF22@example.com", "ab@example.com");
    illegal("a\uFF20b@example.com"); /* a full-width @ becomes one */
    check("e\u0301@example.com", "\u00E9@example.com");
    check("\u00C9@example.com", "\u00E9@example.com");
    check("\u039F\u0394\u039F\u03A3@example.com", "\u03BF\u03B4\u03BF\u03C3@example.com");
    illegal("a&b@example.com");
    illegal("a:b@example.com");
    illegal("a<b@example.com");
    illegal("a'b@example.com");
    illegal("a\x7F@example.com");
    illegal("a\xC3@example.com");
    illegal("a\u00A0@example.com");
    illegal("a\u200B@example.com");
    illegal("\u0640@example.com");
    illegal("\u1100@example.com");
    illegal("\uFDD0@example.com");
    char out[4096];
    prepare(SPAN("a\0b@example.com"), out);
    assert_string_equal(out, "-");
}

static void test_context(void **state)
{
    (void)state;
    legal("l\u00B7l@example.com");
    illegal("a\u00B7l@example.com");
    legal("\u0375\u03B1@example.com");
    illegal("\u0375a@example.com");
    legal("\u05D0\u05F3@example.com");
    legal("\u30A2\u30FB\u30A2@example.com");
    illegal("a\u30FBb@example.com");
    legal("\u0915\u094D\u200D\u0937@example.com");
    illegal("a\u200Db@example.com");
    legal("\u0628\u200C\u0628@example.com");
    illegal("a\u200Cb@example.com");
    legal("\u0627\u0661@example.com");
    illegal("\u0627\u0661\u06F1@example.com");
}

static void test_bidi(void **state)
{
    (void)state;
    legal("\u05D0\u05D1@example.com");
    legal("\u05D01@example.com");
    illegal("1\u05D0@example.com");
    illegal("a\u05D0@example.com");
    illegal("\u05D0a@example.com");
    illegal("\u05D0-@example.com");
    illegal("\u06271\u0661@example.com");
}

static void test_resource(void **state)
{
    (void)state;
    check("a.example/x\u3000y", "a.example/x y");
    check("a.example/e\u0301", "a.example/\u00E9");
    legal("a.example/ foo");
    legal("a.example/\uFF21");
    legal("a.example/A/b@c\"&'<>");
    legal("a.example/\u2163");
    legal("a.example/\U0001F600");
    illegal("a.example/\n");
    illegal("a.example/\u200B");
    illegal("a.example/\xFF");
}

static void test_domain(void **state)
{
    (void)state;
    check("B\u00DCCHER.example", "b\u00FCcher.example");
    check("xn--bcher-kva.example", "b\u00FCcher.example");
    check("XN--BCHER-KVA.Example", "b\u00FCcher.example");
    legal("fa\u00DF.example");
    legal("localhost");
    illegal("xn--a.example"); /* no label of its own punycode */
    illegal("xn--abc-.example");
    illegal("ab--cd.example");
    illegal("-a.example");
    illegal("a-.example");
    illegal("a..example");
    illegal("a.example..");
    illegal(".");
    illegal(".example");
    illegal("a_b.example");
    illegal("192.0.2.1");
    illegal("[2001:db8::1]");
    illegal("a b.example");
    illegal("\u265A.example");
    illegal("\xC3.example");
    char name[80];
    memset(name, 'a', sizeof name);
    memcpy(name + 63, ".b", 3);
    legal(name);
    memcpy(name + 63, "a.b", 4);
    illegal(name);
}

static void test_domain_ascii(void **state)
{
    (void)state;
    char memory[JID_SIZE_MAX];
    struct writer space = writer_make(memory, sizeof memory);
    struct span out;
    assert_int_equal(jid_domain_to_ascii(SPAN("b\u00FCcher.example"), &space, &out), JID_OK);
    assert_true(span_equal(out, SPAN("xn--bcher-kva.example")));
    struct span plain = SPAN("a.example");
    assert_int_equal(jid_domain_to_ascii(plain, &space, &out), JID_OK);
    assert_ptr_equal(out.data, plain.data);
    assert_int_equal(jid_domain_to_ascii(SPAN("a..b"), &space, &out), JID_MALFORMED);
    assert_int_equal(jid_domain_to_ascii(SPAN("\xFF"), &space, &out), JID_MALFORMED);
}

static void test_sizes(void **state)
{
    (void)state;
    static char text[JID_SIZE_MAX + 2], out[4096];
    memset(text, 'a', sizeof text);
    memcpy(text + 1023, "@a.example/", 11);
    memset(text + 1034, 'R', 1023);
    prepare(span_make(text, 1034 + 1023), out);
    assert_int_equal(strlen(out), 1034 + 1023);
    prepare(span_make(text, 1034 + 1023 + 1), out);
    assert_string_equal(out, "-");
    memcpy(text + 1023, "a@a.example", 11);
    prepare(span_make(text, 1034), out);
    assert_string_equal(out, "-");
}

/* Unchanged parts are not copied; too little memory is a failure and no overrun. */
static void test_memory(void **state)
{
    (void)state;
    char memory[4] = "....";
    struct writer space = writer_make(memory, 0);
    struct jid jid;
    struct span text = SPAN("romeo@a.example/X");
    assert_int_equal(jid_parse(text, &space, &jid), JID_OK);
    assert_ptr_equal(jid.local.data, text.data);
    assert_ptr_equal(jid.domain.data, text.data + 6);
    assert_ptr_equal(jid.resource.data, text.data + 16);
    space = writer_make(memory, 2);
    assert_int_equal(jid_parse(SPAN("Romeo@a.example"), &space, &jid), JID_MALFORMED);
    assert_memory_equal(memory, "....", 4);
}

/* Random text ends at an unreadable page; what is prepared stays as it is when prepared again.
 */
static void test_random(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base + page, page, PROT_NONE), 0);
    static const char *const pieces[] = {
        "a",      "B",      "@",      "/",      ".",      "xn--",   "-",
        "\u00DF", "\u03A3", "\u0301", "\uFF21", "\u05D0", "\u0661", "\u200D",
        "\u094D", "\u0130", "\u212B", "\u3002", "\xC3",   "\xF0",   " ",
        "1",      "\u1E9E", "\u0345", "\uAC00", "\u1F88",
    };
    uint32_t seed = 7622, random = seed;
    int accepted = 0;
    for (int round = 0; round < 20000; round++) {
        char text[64], out[4096], again[4096];
        struct writer writer = writer_make(text, sizeof text);
        for (int i = 0; i < 8; i++) {
            random = random * 1664525 + 1013904223;
            writer_put(&writer,
                       span_of(pieces[(random >> 16) % (sizeof pieces / sizeof *pieces)]));
        }
        char *data = base + page - writer.used;
        memcpy(data, text, writer.used);
        prepare(span_make(data, writer.used), out);
        if (out[0] == '-')
            continue;
        accepted++;
        prepare(span_of(out), again);
        if (strcmp(out, again) != 0)
            print_message("seed %u round %d\n", seed, round);
        assert_string_equal(again, out);
    }
    assert_true(accepted > 100);
    munmap(base, 2 * page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_legal), cmocka_unit_test(test_rfc_illegal),
        cmocka_unit_test(test_local),     cmocka_unit_test(test_context),
        cmocka_unit_test(test_bidi),      cmocka_unit_test(test_resource),
        cmocka_unit_test(test_domain),    cmocka_unit_test(test_domain_ascii),
        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
