/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/sip_line.h"

/* Every header by its long and compact form, in any case, and nothing else. */
static void headers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        char compact;
        enum sip_header header;
    } all[] = {
#define HEADER(name, text, compact, once) {text, compact, SIP_HEADER_##name},
#include "proto/sip_header.def"
#undef HEADER
    };
    assert_int_equal(sizeof(all) / sizeof(all[0]), SIP_HEADER_COUNT - 1);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char text[32] = "";
        assert_int_equal(sip_header_find(span_of(all[i].name)), all[i].header);
        for (size_t k = 0; all[i].name[k] != '\0'; k++)
            text[k] = (char)(all[i].name[k] ^ (all[i].name[k] != '-' && k % 2 ? 0x20 : 0));
        assert_int_equal(sip_header_find(span_of(text)), all[i].header);
        text[1] = '!';
        assert_int_equal(sip_header_find(span_of(text)), SIP_HEADER_OTHER);
        if (all[i].compact == '\0')
            continue;
        assert_int_equal(sip_header_find(span_make(&all[i].compact, 1)), all[i].header);
        const char upper = (char)(all[i].compact - 0x20);
        assert_int_equal(sip_header_find(span_make(&upper, 1)), all[i].header);
    }
    const char *const others[] = {"", "x", "Tos", "Vi", "Call_ID", "Content-Lengths", "Allow",
                                  "Content-Dispositions", "Date\r"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(sip_header_find(span_of(others[i])), SIP_HEADER_OTHER);
    assert_int_equal(sip_header_find(span_make("", 1)), SIP_HEADER_OTHER);
}

/* Folds, blanks before the colon, and no reading past the end wherever the text is cut. */
static void lines(void **state)
{
    (void)state;
    struct span text = SPAN("V : one\r\n\ttwo\r\n three \r\nnothing\r\nX:\r\n\r\nbody");
    struct span rest = text;
    struct sip_line line;
    assert_true(sip_line_next(&rest, &line));
    assert_int_equal(line.header, SIP_HEADER_VIA);
    assert_true(span_equal(line.value, SPAN("one\r\n\ttwo\r\n three")));
    assert_true(sip_line_next(&rest, &line));
    assert_int_equal(line.name.size, 0);
    assert_true(sip_line_next(&rest, &line));
    assert_int_equal(line.value.size, 0);
    assert_false(sip_line_next(&rest, &line));
    assert_true(span_equal(rest, SPAN("\r\nbody")));
    for (size_t size = 0; size <= text.size; size++) {
        size_t taken = 0;
        for (rest = span_to(text, size); sip_line_next(&rest, &line);)
            taken += line.text.size;
        assert_int_equal(taken + rest.size, size);
    }
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        struct span text, uri, parameters;
    } cases[] = {
        {SPAN("sip:a@b;tag=1"), SPAN("sip:a@b"), SPAN(";tag=1")},
        {SPAN("<sip:a@b;x=1>;tag=1"), SPAN("sip:a@b;x=1"), SPAN(";tag=1")},
        {SPAN("\"<sip:evil@x>\" <sip:a@b>"), SPAN("sip:a@b"), SPAN("")},
        {SPAN("\"q\\\"<\"<sip:a@b> ; tag=2"), SPAN("sip:a@b"), SPAN(" ; tag=2")},
        {SPAN("two words<sip:a@b>"), SPAN("sip:a@b"), SPAN("")},
    };
    static const struct span bad[] = {
        SPAN(""), SPAN("<>"), SPAN("<sip:a@b"), SPAN("\"open <sip:a@b>"), SPAN("a, b <sip:a@b>"),
        SPAN("<sip:a@b> tag=1"), SPAN("<sip:a@b>;;tag=1"), SPAN("<sip:a@b>;tag="),
        SPAN("sip:a@b?x=y"), SPAN("sip:a@b, sip:c@d"), SPAN("<sip:a@b>, <sip:c@d>"),
        SPAN("<sip:a@b>;tag=\"x"), SPAN("\"a\" b <sip:a@b>"),
    };
    struct span uri, parameters;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(sip_line_address(cases[i].text, &uri, &parameters));
        assert_true(span_equal(uri, cases[i].uri));
        assert_true(span_equal(parameters, cases[i].parameters));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (sip_line_address(bad[i], &uri, &parameters))
            fail_msg("accepted: %.*s", (int)bad[i].size, bad[i].data);
}

static void numbers(void **state)
{
    (void)state;
    uint64_t value;
    uint32_t number;
    struct span method;
    assert_true(sip_line_uint(SPAN("00000000000000000000000000000007"), 7, &value));
    assert_int_equal(value, 7);
    assert_false(sip_line_uint(SPAN("8"), 7, &value));
    assert_false(sip_line_uint(SPAN(""), 7, &value));
    assert_false(sip_line_uint(SPAN("36893488147419103232"), INT32_MAX, &value));
    assert_true(sip_line_cseq(SPAN("2147483647\r\n MESSAGE"), &number, &method));
    assert_true(span_equal(method, SPAN("MESSAGE")));
    assert_false(sip_line_cseq(SPAN("2147483648 MESSAGE"), &number, &method));
    assert_false(sip_line_cseq(SPAN("1"), &number, &method));
    assert_false(sip_line_cseq(SPAN("1 A B"), &number, &method));
}

/* RFC 5118: addresses of IPv6 in Via, and what must not pass for one. */
static void vias(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        bool good;
        struct span host;
        uint16_t port;
    } cases[] = {
        {SPAN("SIP/2.0/UDP [2001:db8::9:1]:5070;branch=z9hG4bK1"), true,
         SPAN("[2001:db8::9:1]"), 5070},
        {SPAN("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bK1"), true,
         SPAN("[2001:db8::9:1]"), 0},
        {SPAN("SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255"), true,
         SPAN("[2001:db8::9:1]"), 0},
        {SPAN("SIP / 2.0 / TLS a.example : 5061 ; branch = x"), true, SPAN("a.example"), 5061},
        {SPAN("SIP/2.0/UDP 2001:db8::9:1"), false, SPAN(""), 0},
        {SPAN("SIP/2.0/UDP [2001:db8::9:1"), false, SPAN(""), 0},
        {SPAN("SIP/2.0/UDP a:70000"), false, SPAN(""), 0},
        {SPAN("SIP/2.0/UDP a;;branch=x"), false, SPAN(""), 0},
        {SPAN("SIP/2.0/UDP a;branch="), false, SPAN(""), 0},
        {SPAN("SIP/3.0/UDP a"), false, SPAN(""), 0},
        {SPAN("SIP/2.0/UDP"), false, SPAN(""), 0},
        {SPAN("SIP/2.0/UDP a;x=\"y"), false, SPAN(""), 0},
        {SPAN(""), false, SPAN(""), 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sip_via via;
        struct span rest;
        bool good = sip_line_via(cases[i].text, &via, &rest);
        if (good != cases[i].good)
            fail_msg("%.*s", (int)cases[i].text.size, cases[i].text.data);
        if (!good)
            continue;
        assert_true(span_equal(via.host, cases[i].host));
        assert_int_equal(via.port, cases[i].port);
        assert_null(rest.data);
    }
}

static void uris(void **state)
{
    (void)state;
    struct sip_uri uri;
    struct span value;
    struct span text = SPAN("sips:a%40b:pw@[2001:db8::10:5070]:5061;lr;gr=x?s=1");
    assert_true(sip_uri_parse(text, &uri));
    assert_int_equal(uri.scheme, SIP_SCHEME_SIPS);
    assert_true(span_equal(uri.user, SPAN("a%40b")));
    assert_true(span_equal(uri.host, SPAN("[2001:db8::10:5070]")));
    assert_int_equal(uri.port, 5061);
    assert_true(span_equal(uri.headers, SPAN("s=1")));
    assert_true(sip_uri_parameter(&uri, SPAN("GR"), &value));
    assert_true(span_equal(value, SPAN("x")));
    assert_true(sip_uri_parameter(&uri, SPAN("lr"), &value));
    assert_int_equal(value.size, 0);
    assert_false(sip_uri_parameter(&uri, SPAN("l"), &value));
    assert_true(sip_uri_parse(SPAN("sip:example.com"), &uri));
    assert_int_equal(uri.user.size, 0);
    assert_true(sip_uri_parse(SPAN("tel:+1-201-555-0123;ext=5"), &uri));
    assert_true(span_equal(uri.user, SPAN("+1-201-555-0123")));
    assert_true(sip_uri_parse(SPAN("im:juliet@example.com"), &uri));
    assert_int_equal(uri.scheme, SIP_SCHEME_IM);
    assert_true(sip_uri_parse(SPAN("soap.beep://192.0.2.103:3002"), &uri));
    assert_int_equal(uri.scheme, SIP_SCHEME_OTHER);
    assert_true(sip_uri_parse(SPAN("sip:[2001:db8:::192.0.2.1]"), &uri));
    static const struct span bad[] = {
        SPAN(""), SPAN("sip"), SPAN("sip:"), SPAN(":a@b"), SPAN("sip:@b"), SPAN("sip:a@"),
        SPAN("sip:a@b@c"), SPAN("sip:a b@c"), SPAN("sip:a@b:0"), SPAN("sip:a@b:65536"),
        SPAN("sip:a@b:"), SPAN("sip:a%4@b"), SPAN("sip:a%zz@b"), SPAN("sip:a@[::1"),
        SPAN("sip:a@[::1]x"), SPAN("sip:a@2001:db8::1"), SPAN("sip:a\r\n@b"),
        SPAN("sip:a@b;x=\"y\""), SPAN("sip:a@b?"), SPAN("<sip:a@b>"), SPAN("sip:a@b/c"),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (sip_uri_parse(bad[i], &uri))
            fail_msg("accepted: %.*s", (int)bad[i].size, bad[i].data);
}

static void header_text(void **state)
{
    (void)state;
    char data[64];
    struct writer writer = writer_make(data, sizeof(data));
    sip_header_text(&writer, SPAN(" a\r\nVia: x\t\x01\x7f z\xff\xc3\xa4 "), 60);
    assert_true(span_equal(writer_span(&writer), SPAN("a Via: x z\xc3\xa4")));
    writer = writer_make(data, sizeof(data));
    sip_header_text(&writer, SPAN("ab\xc3\xa4"), 3);
    assert_true(span_equal(writer_span(&writer), SPAN("ab")));
    writer = writer_make(data, sizeof(data));
    sip_header_text(&writer, SPAN("a\xe2\x80\xa8\xc2\x85z"), 9);
    assert_true(span_equal(writer_span(&writer), SPAN("a z")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(lines), cmocka_unit_test(addresses), cmocka_unit_test(numbers),
        cmocka_unit_test(vias),  cmocka_unit_test(uris),      cmocka_unit_test(header_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
