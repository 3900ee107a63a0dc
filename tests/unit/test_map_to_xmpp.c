/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages from SIP to XMPP (RFC 7572), their content types and message/cpim (RFC 3862). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "map_scene.h"
#include "proto/utf8.h"

static struct xmpp_draft xmpp;
static struct sip_fault sip_fault;

static enum map_result to_xmpp(const struct sip_message *request)
{
    static char between[PARCEL_SIZE];
    /* As much as a parcel has room for, beside its addresses. */
    struct writer memory = writer_make(space, TEXT_SIZE_MAX + 2000);
    struct writer scratch = writer_make(between, sizeof(between));
    return map_message_to_xmpp(request, &juliet, &romeo, SPAN("id1"), &scratch, &memory, &xmpp,
                               &sip_fault);
}

static void whole_message_to_xmpp(void **state)
{
    (void)state;
    struct sip_message request = {.content_type = SPAN("text/plain"),
                                  .charset = SPAN("UTF-8"),
                                  .content_language = SPAN("en"),
                                  .subject = SPAN("a<b"),
                                  .call_id = SPAN("c1@\"x\""),
                                  .body = SPAN("one\r\n<two> & \xC3\xBC")};
    assert_int_equal(to_xmpp(&request), MAP_OK);
    assert_span(xmpp.stanza,
                "<message from='juliet@example.com' to='romeo@example.net/orchard' id='id1'"
                " xml:lang='en'><subject>a&lt;b</subject><body>one\n&lt;two&gt; &amp; "
                "\xC3\xBC</body><thread>c1@\"x\"</thread></message>");
}

/* The text between <body> and </body>. */
static struct span body_of(struct span stanza)
{
    const char *open = memmem(stanza.data, stanza.size, "<body>", 6);
    const char *close = memmem(stanza.data, stanza.size, "</body>", 7);
    assert_non_null(open);
    assert_non_null(close);
    return span_make(open + 6, (size_t)(close - open - 6));
}

#define CPIM_HEAD                                                                              \
    "From: Juliet <im:juliet@example.com>\r\nTo: <im:romeo@example.net>\r\n"                   \
    "DateTime: 2026-01-02T03:04:05Z\r\n"
#define CPIM_PLAIN "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"

static void bodies_become_text(void **state)
{
    (void)state;
    static const struct {
        const char *type, *charset, *bytes, *text;
    } cases[] = {
        {"", "", "x", "x"},
        {"TEXT/Plain", "us-ascii", "x", "x"},
        {"text/plain", "ISO-8859-1", "f\xFC", "f\xC3\xBC"},
        {"text/plain", "", "a\rb\r\nc\n", "a\nb\nc\n"},
        {"text/html", "",
         "<html><head><title>t</title><style>p{}</style></head><body>"
         "<p>Hello  &amp;\r\n <b>you</b></p><p>two<br/>three</p></body></html>",
         "Hello &amp; you\ntwo\nthree"},
        {"text/html", "", "a<script>alert('<b>')</script>b<!-- c > d -->c", "abc"},
        {"text/html", "", "1 < 2 &lt;&#65;&#x42;&nbsp;&bogus;",
         "1 &lt; 2 &lt;AB\xC2\xA0&amp;bogus;"},
        {"text/html", "", "<a title=\"x>y\">z</a>", "z"},
        {"text/html", "", "a<unclosed", "a"},
        {"message/cpim", "", CPIM_HEAD CPIM_PLAIN "Hello\r\nWorld", "Hello\nWorld"},
        {"message/cpim", "", CPIM_HEAD "\r\nContent-Type:\r\n text/html\r\n\r\n<b>x</b>", "x"},
        {"message/cpim", "",
         CPIM_HEAD "NS: i <urn:ietf:params:imdn>\r\ni.Message-ID: 3\r\n" CPIM_PLAIN "x", "x"},
        {"message/cpim", "", CPIM_HEAD "Require: Subject, DateTime\r\n" CPIM_PLAIN "x", "x"},
        {"message/cpim", "", CPIM_HEAD "from: unknown\r\n" CPIM_PLAIN "x", "x"},
        {"multipart/mixed", "",
         "--b\r\n\r\none\r\n--b \r\nContent-Type: text/html\r\n\r\n<i>two</i>\r\n--b--\r\n",
         "one\ntwo"},
        {"multipart/alternative", "",
         "--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n"
         "\r\n<i>rich</i>\r\n--b--",
         "plain"},
        {"multipart/alternative", "",
         "--b\r\nContent-Type: image/png\r\n\r\n!\r\n--b\r\nContent-Type: text/html\r\n\r\n"
         "<i>rich</i>\r\n--b--",
         "rich"},
        {"message/cpim", "",
         CPIM_HEAD "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--",
         "x"},
        /* In another default namespace Require is an unknown header like any other. */
        {"message/cpim", "", CPIM_HEAD "NS: <urn:x>\r\nRequire: y\r\n" CPIM_PLAIN "x", "x"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sip_message request = {.content_type = span_of(cases[i].type),
                                      .charset = span_of(cases[i].charset),
                                      .body = span_of(cases[i].bytes)};
        if (to_xmpp(&request) != MAP_OK)
            fail_msg("case %zu: %d", i, sip_fault.status);
        assert_span(body_of(xmpp.stanza), cases[i].text);
    }
}

static void cpim_subject_wins(void **state)
{
    (void)state;
    struct sip_message request = {
        .content_type = SPAN("message/cpim"), .subject = SPAN("outer"),
        .body = SPAN(CPIM_HEAD "Subject:;lang=en a\\\\b\\u00fc\\x\\\r\n" CPIM_PLAIN "x")};
    assert_int_equal(to_xmpp(&request), MAP_OK);
    assert_non_null(memmem(xmpp.stanza.data, xmpp.stanza.size,
                           "<subject>a\\b\xC3\xBCx</subject>", 25));
    /* An escape cannot bring in what XML cannot hold. */
    request.body = SPAN(CPIM_HEAD "Subject: a\\u0001b\r\n" CPIM_PLAIN "x");
    assert_int_equal(to_xmpp(&request), MAP_FAULT);
    assert_int_equal(sip_fault.status, 400);
}

/* A fold is one space (RFC 3261 §7.3.1). */
static void folded_subject_is_one_line(void **state)
{
    (void)state;
    struct sip_message request = {.content_type = SPAN("text/plain"),
                                  .subject = SPAN("a \r\n\tb <c>"),
                                  .body = SPAN("x")};
    assert_int_equal(to_xmpp(&request), MAP_OK);
    assert_non_null(
        memmem(xmpp.stanza.data, xmpp.stanza.size, "<subject>a b &lt;c&gt;</subject>", 32));
}

static void silent_bodies_are_ignored(void **state)
{
    (void)state;
    static const char *const types[] = {"application/im-iscomposing+xml", "message/imdn+xml"};
    for (size_t i = 0; i < 2; i++) {
        struct sip_message request = {.content_type = span_of(types[i]), .body = SPAN("<x/>")};
        assert_int_equal(to_xmpp(&request), MAP_IGNORE);
    }
    struct sip_message request = {.content_type = SPAN("text/plain")};
    assert_int_equal(to_xmpp(&request), MAP_IGNORE);
    request.content_type = SPAN("text/html");
    request.body = SPAN("<p> </p>");
    assert_int_equal(to_xmpp(&request), MAP_IGNORE);
    request.content_type = SPAN("message/cpim");
    request.body = SPAN(CPIM_HEAD "\r\nContent-Type: message/imdn+xml\r\n\r\n<imdn/>");
    assert_int_equal(to_xmpp(&request), MAP_IGNORE);
}

static void bad_bodies_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *charset, *encoding;
        struct span bytes;
        int status;
        const char *extra;
    } cases[] = {
        {"text/plain", "", "", SPAN("a\xFF"), 400, ""},
        {"text/plain", "", "", SPAN("a\0b"), 400, ""},
        {"text/plain", "", "", SPAN("a\x01"), 400, ""},
        {"text/plain", "", "", SPAN("\xEF\xBF\xBF"), 400, ""},
        {"text/html", "", "", SPAN("&#1;"), 400, ""},
        {"text/plain", "utf-16", "", SPAN("ab"), 415, "Accept: text/plain"},
        {"text/plain", "", "gzip", SPAN("ab"), 415, "Accept-Encoding: identity\r\n"},
        {"application/sdp", "", "", SPAN("v=0"), 415, "Accept: text/plain"},
        {"multipart/signed", "", "", SPAN("--b\r\n\r\nx\r\n--b--"), 415, "Accept: text/plain"},
        {"multipart/mixed", "", "", SPAN("x"), 400, ""},
        {"multipart/mixed", "", "", SPAN("--b\r\n\r\nx\r\n"), 400, ""},
        {"multipart/mixed", "", "", SPAN("--b\r\n--b--"), 400, ""},
        {"multipart/mixed", "", "", SPAN("--b\r\n\r\nx\r\n--bc\r\n\r\ny\r\n--b--"), 400, ""},
        {"multipart/mixed", "", "",
         SPAN("--b\r\n\r\nx\r\n--b\r\nContent-Type: image/png\r\n\r\n!\r\n--b--"), 415,
         "Accept: text/plain"},
        {"multipart/alternative", "", "",
         SPAN("--b\r\nContent-Type: image/png\r\n\r\n!\r\n--b--"), 415, "Accept: text/plain"},
        {"message/cpim", "", "", SPAN("x"), 400, ""},
        {"message/cpim", "", "", SPAN(CPIM_HEAD "\r\nX: y\r\n\r\nx"), 400, ""},
        {"message/cpim", "", "", SPAN(CPIM_HEAD " folded\r\n" CPIM_PLAIN "x"), 400, ""},
        {"message/cpim", "", "", SPAN("From: a\n\nContent-Type: text/plain\n\nx"), 400, ""},
        {"message/cpim", "", "", SPAN(CPIM_HEAD "Require: Shred\r\n" CPIM_PLAIN "x"), 415,
         "Accept: "},
        {"message/cpim", "", "", SPAN(CPIM_HEAD "\r\nContent-Type: message/cpim\r\n\r\n"
                                      CPIM_HEAD CPIM_PLAIN "x"), 415, "Accept: "},
        {"message/cpim", "", "", SPAN(CPIM_HEAD "\r\nContent-Type: text/plain\r\n"
                                      "Content-Transfer-Encoding: base64\r\n\r\neA=="),
         415, "Accept-Encoding: "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sip_message request = {.content_type = span_of(cases[i].type),
                                      .charset = span_of(cases[i].charset),
                                      .content_encoding = span_of(cases[i].encoding),
                                      .body = cases[i].bytes};
        if (to_xmpp(&request) != MAP_FAULT || sip_fault.status != cases[i].status)
            fail_msg("case %zu: %d", i, sip_fault.status);
        assert_true(span_starts(sip_fault.extra, span_of(cases[i].extra)));
    }
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    static char text[TEXT_SIZE_MAX + 1];
    memset(text, 'a', sizeof(text));
    struct sip_message request = {.content_type = SPAN("text/plain"),
                                  .body = {text, TEXT_SIZE_MAX}};
    assert_int_equal(to_xmpp(&request), MAP_OK);
    request.body.size++;
    assert_int_equal(to_xmpp(&request), MAP_FAULT);
    assert_int_equal(sip_fault.status, 413);
    /* Too little memory at any point is a fault, never half a stanza. */
    request.body.size = 50;
    request.content_type = SPAN("text/html");
    for (size_t size = 0; size < 360; size++) {
        char between[180];
        struct writer memory = writer_make(space, size < 180 ? size : 180);
        struct writer scratch = writer_make(between, size < 180 ? 180 : size - 180);
        enum map_result result = map_message_to_xmpp(&request, &juliet, &romeo, SPAN("id1"),
                                                     &scratch, &memory, &xmpp, &sip_fault);
        assert_int_equal(result == MAP_OK, !memory.overflow && !scratch.overflow);
    }
}

/* Random bytes in every type: the answer is a stanza of legal XML text or a fault. */
static void random_bodies(void **state)
{
    (void)state;
    static const char *const types[] = {"text/plain", "text/html", "message/cpim",
                                        "multipart/mixed", "multipart/alternative"};
    static const char *const pieces[] = {
        "<", ">", "&", "&#", ";", "x", "\r\n", "\r", "\n", " ", ":", "\"", "<!--", "-->",
        "<script>", "</script>", "\xC3", "\xBC", "NS: a <", "Content-Type: text/html", "\\u",
        "0041", "Subject: ", CPIM_HEAD, CPIM_PLAIN, "<br>", "/", "\t", "65", "Require: ",
        "--b\r\n", "--b\r\n\r\n", "\r\n--b--", "--b"};
    const char *wanted = getenv("TEST_SEED");
    unsigned seed = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : 20260102;
    print_message("seed %u\n", seed);
    for (unsigned round = 0; round < 30000; round++) {
        /* Of its very size, so that a sanitizer sees a read beyond it. */
        char text[2048];
        struct writer writer = writer_make(text, sizeof(text));
        if (round % 5 > 2)
            writer_put_literal(&writer, "--b\r\n");
        for (unsigned n = (unsigned)rand_r(&seed) % 12; n > 0; n--) {
            size_t pick = (size_t)rand_r(&seed) % (sizeof(pieces) / sizeof(pieces[0]));
            writer_put(&writer, span_of(pieces[pick]));
        }
        assert_false(writer.overflow);
        char *exact = malloc(writer.used + 1);
        assert_non_null(exact);
        memcpy(exact + 1, text, writer.used);
        struct sip_message request = {.content_type = span_of(types[round % 5]),
                                      .body = {exact + 1, writer.used}};
        enum map_result result = to_xmpp(&request);
        if (result == MAP_OK)
            assert_true(utf8_xml_legal(xmpp.stanza));
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_message_to_xmpp),
        cmocka_unit_test(bodies_become_text),
        cmocka_unit_test(cpim_subject_wins),
        cmocka_unit_test(folded_subject_is_one_line),
        cmocka_unit_test(silent_bodies_are_ignored),
        cmocka_unit_test(bad_bodies_are_refused),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(random_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
