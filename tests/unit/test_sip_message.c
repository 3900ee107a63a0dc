/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/heap.h"
#include "proto/sip_guard.h"
#include "proto/sip_message.h"

static int open_parser(void **state)
{
    *state = sip_parser_open(&heap_memory);
    return *state == NULL;
}

static int close_parser(void **state)
{
    struct sip_parser *parser = *state;
    sip_parser_close(&parser);
    assert_null(parser);
    return 0;
}

static char torture_text[SIP_DATAGRAM_SIZE_MAX];

static struct span torture_read(const char *name)
{
    char path[512];
    int size = snprintf(path, sizeof(path), TEST_SOURCE_DIR "/tests/data/rfc4475/%s.dat", name);
    assert_true(size > 0 && (size_t)size < sizeof(path));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t used = fread(torture_text, 1, sizeof(torture_text), file);
    assert_true(feof(file));
    fclose(file);
    return span_make(torture_text, used);
}

enum outcome { ACCEPTED, REFUSED, DROPPED };

/* What guard and parser decide about each message of RFC 4475 in a datagram. Where a message
   is accepted here, its fault is one of the application's layer (chapter 3.3). */
static const struct {
    const char *name;
    enum outcome outcome;
    int status;
} torture[] = {
    /* 3.1.1: valid. longreq has 34 Vias, two more than our limit. */
    {"wsinv", ACCEPTED, 0}, {"intmeth", REFUSED, 501}, {"esc01", ACCEPTED, 0},
    {"escnull", ACCEPTED, 0}, {"esc02", ACCEPTED, 0}, {"lwsdisp", ACCEPTED, 0},
    {"longreq", REFUSED, 400}, {"dblreq", ACCEPTED, 0}, {"semiuri", ACCEPTED, 0},
    {"transports", ACCEPTED, 0}, {"mpart01", ACCEPTED, 0}, {"unreason", ACCEPTED, 0},
    {"noreason", ACCEPTED, 0},
    /* 3.1.2: invalid */
    {"badinv01", REFUSED, 400}, {"clerr", REFUSED, 400}, {"ncl", REFUSED, 400},
    {"scalar02", REFUSED, 400}, {"scalarlg", DROPPED, 0}, {"quotbal", REFUSED, 400},
    {"ltgtruri", REFUSED, 400}, {"lwsruri", REFUSED, 400}, {"lwsstart", REFUSED, 400},
    {"trws", REFUSED, 400}, {"escruri", REFUSED, 400}, {"baddate", ACCEPTED, 0},
    {"regbadct", REFUSED, 400}, {"badaspec", REFUSED, 400}, {"baddn", REFUSED, 400},
    {"badvers", REFUSED, 505}, {"mismatch01", REFUSED, 400}, {"mismatch02", REFUSED, 501},
    {"bigcode", DROPPED, 0},
    /* 3.2 */
    {"badbranch", REFUSED, 400},
    /* 3.3 */
    {"insuf", REFUSED, 400}, {"unkscm", REFUSED, 416}, {"novelsc", REFUSED, 416},
    {"unksm2", ACCEPTED, 0}, {"bext01", ACCEPTED, 0}, {"invut", ACCEPTED, 0},
    {"regaut01", ACCEPTED, 0}, {"multi01", REFUSED, 400}, {"mcl01", REFUSED, 400},
    {"bcast", DROPPED, 0}, {"zeromf", ACCEPTED, 0}, {"cparam01", ACCEPTED, 0},
    {"cparam02", ACCEPTED, 0}, {"regescrt", ACCEPTED, 0}, {"sdp01", ACCEPTED, 0},
    /* 3.4 */
    {"inv2543", ACCEPTED, 0},
};

/* Datagram, guard and parser as egress has them. */
static enum outcome take(struct sip_parser *parser, struct span datagram,
                         struct sip_message *message, int *status)
{
    struct sip_guard guard;
    struct span reason;
    *status = 0;
    switch (sip_guard_datagram(datagram, &guard)) {
    case SIP_GUARD_OK: break;
    case SIP_GUARD_REJECT: *status = guard.status; return REFUSED;
    case SIP_GUARD_DROP: return DROPPED;
    case SIP_GUARD_MORE:
    case SIP_GUARD_PING: fail_msg("not for a datagram");
    }
    struct span raw = span_to(span_from(datagram, guard.skipped), guard.size);
    switch (sip_message_parse(parser, raw, message, status, &reason)) {
    case SIP_PARSE_OK: return ACCEPTED;
    case SIP_PARSE_REJECT: assert_true(reason.size > 0); return REFUSED;
    case SIP_PARSE_DROP: *status = 0; return DROPPED;
    }
    return DROPPED;
}

static void torture_messages(void **state)
{
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof(torture) / sizeof(torture[0]); i++) {
        struct sip_message message;
        int status;
        enum outcome outcome = take(*state, torture_read(torture[i].name), &message, &status);
        if (outcome == torture[i].outcome && status == torture[i].status)
            continue;
        print_error("%s: outcome %d status %d\n", torture[i].name, (int)outcome, status);
        wrong++;
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(sizeof(torture) / sizeof(torture[0]), 49);
}

/* On a stream, in one piece and byte by byte: the same, or more bytes are wanted. */
static void torture_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(torture) / sizeof(torture[0]); i++) {
        struct span text = torture_read(torture[i].name);
        struct sip_guard whole, step;
        enum sip_guard_result want = sip_guard_stream(text, 0, &whole), got = SIP_GUARD_MORE;
        size_t hint = 0;
        for (size_t size = 1; size <= text.size && got == SIP_GUARD_MORE; size++) {
            got = sip_guard_stream(span_to(text, size), hint, &step);
            hint = step.size;
        }
        if (got != want || step.status != whole.status || step.size != whole.size)
            fail_msg("%s: %d %d, byte by byte %d %d", torture[i].name, (int)want, whole.status,
                     (int)got, step.status);
    }
}

static void torture_details(void **state)
{
    struct sip_message message;
    struct span value;
    int status;

    (void)take(*state, torture_read("wsinv"), &message, &status);
    assert_int_equal(message.method, SIP_METHOD_INVITE);
    assert_int_equal(message.via_count, 3);
    assert_true(span_equal(message.via.host, SPAN("192.0.2.2")));
    assert_true(span_equal(message.via.transport, SPAN("UDP")));
    assert_true(span_equal(message.to_tag, SPAN("1918181833n")));
    assert_true(span_equal(message.from_tag, SPAN("98asjd8")));
    assert_int_equal(message.max_forwards, 68);
    assert_int_equal(message.cseq, 9);
    assert_true(span_equal(message.content_type, SPAN("application/sdp")));
    assert_int_equal(message.body.size, 150);

    (void)take(*state, torture_read("semiuri"), &message, &status);
    assert_true(span_equal(message.request_uri.user, SPAN("user;par=u%40example.net")));
    (void)take(*state, torture_read("esc02"), &message, &status);
    assert_int_equal(message.method, SIP_METHOD_UNKNOWN);
    assert_true(span_equal(message.method_name, SPAN("RE%47IST%45R")));
    (void)take(*state, torture_read("dblreq"), &message, &status);
    assert_int_equal(message.body.size, 0);
    (void)take(*state, torture_read("bext01"), &message, &status);
    assert_true(message.require.size > 0);
    assert_true(span_find(message.require, ',') < message.require.size);
    (void)take(*state, torture_read("zeromf"), &message, &status);
    assert_int_equal(message.max_forwards, 0);
    (void)take(*state, torture_read("transports"), &message, &status);
    assert_int_equal(message.via_count, 5);
    (void)take(*state, torture_read("mpart01"), &message, &status);
    assert_true(span_find(message.body, '\0') < message.body.size);
    (void)take(*state, torture_read("noreason"), &message, &status);
    assert_int_equal(message.status, 100);
    assert_int_equal(message.reason.size, 0);
    (void)take(*state, torture_read("inv2543"), &message, &status);
    assert_int_equal(message.via.branch.size, 0);
    assert_false(sip_uri_parameter(&message.request_uri, SPAN("x"), &value));
}

#define HEAD \
    "MESSAGE sip:juliet@example.com;transport=tls SIP/2.0\r\n" \
    "v: SIP/2.0/UDP [2001:db8::9]:5070 ;rport;branch=z9hG4bKtop , SIP/2.0/TCP two.example\r\n" \
    "X-Other: 1\r\n" \
    "Via: SIP/2.0/TLS three.example;\r\n branch=z9hG4bK3\r\n" \
    "f: \"Ro, <me>\" <sip:romeo@example.net;gr=a;b>;tag=t1\r\n" \
    "To: Juliet\r\n <sip:juliet@example.com> \r\n" \
    "i: abc@example.net\r\n" \
    "CSeq: 007 MESSAGE\r\n"

static void request_fields(void **state)
{
    struct sip_message message;
    int status;
    struct span text = SPAN(HEAD "Max-Forwards: 70\r\n"
                                 "c: text/plain ; charset=\"UTF-8\"\r\n"
                                 "Content-Language: de, en\r\n"
                                 "Content-Disposition: render;handling=optional\r\n"
                                 "Require: a, b\r\nRequire: c\r\n"
                                 "Subject: Hi there\r\n"
                                 "Expires: 60\r\n"
                                 "User-Agent: test\r\n"
                                 "l: 5\r\n\r\nhello");
    assert_int_equal(take(*state, text, &message, &status), ACCEPTED);
    assert_true(message.is_request);
    assert_int_equal(message.method, SIP_METHOD_MESSAGE);
    assert_true(span_equal(message.request_uri.host, SPAN("example.com")));
    assert_int_equal(message.via_count, 3);
    assert_true(span_equal(message.via.host, SPAN("[2001:db8::9]")));
    assert_int_equal(message.via.port, 5070);
    assert_true(message.via.rport_present);
    assert_true(span_equal(message.via.branch, SPAN("z9hG4bKtop")));
    assert_true(span_equal(message.from.text, SPAN("sip:romeo@example.net;gr=a;b")));
    assert_true(span_equal(message.from_tag, SPAN("t1")));
    assert_true(span_equal(message.to.user, SPAN("juliet")));
    assert_int_equal(message.to_tag.size, 0);
    assert_true(span_equal(message.call_id, SPAN("abc@example.net")));
    assert_int_equal(message.cseq, 7);
    assert_true(span_equal(message.content_type, SPAN("text/plain")));
    assert_true(span_equal(message.charset, SPAN("UTF-8")));
    assert_true(span_equal(message.content_language, SPAN("de")));
    assert_true(span_equal(message.content_disposition, SPAN("render")));
    assert_true(span_equal(message.require, SPAN("a, b, c")));
    assert_true(span_equal(message.subject, SPAN("Hi there")));
    assert_true(span_equal(message.expires, SPAN("60")));
    assert_true(span_equal(message.user_agent, SPAN("test")));
    assert_true(span_equal(message.body, SPAN("hello")));
    assert_int_equal(message.retry_after, -1);
    assert_ptr_equal(message.raw.data, text.data);
}

static void refusals(void **state)
{
    struct sip_message message;
    int status;
    static const struct {
        struct span text;
        int status;
    } cases[] = {
        {SPAN(HEAD "Max-Forwards: 256\r\n\r\n"), 400},
        {SPAN(HEAD "Max-Forwards: -1\r\n\r\n"), 400},
        {SPAN(HEAD "Contact: <sip:a@b>;;\r\n\r\n"), 400},
        {SPAN(HEAD "c: text\r\n\r\n"), 400},
        {SPAN("MESSAGE sip:a@2001:db8::1 SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\n"
              "From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\n"
              "CSeq: 1 MESSAGE\r\n\r\n"),
         400},
        {SPAN("MESSAGE sip:a@a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\n"
              "From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"),
         400},
        {SPAN("MESSAGE sip:a@a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\n"
              "From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\n"
              "CSeq: 2147483648 MESSAGE\r\n\r\n"),
         400},
        {SPAN("MESSAGE http://a/ SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\n"
              "From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\n"
              "CSeq: 1 MESSAGE\r\n\r\n"),
         416},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum outcome outcome = take(*state, cases[i].text, &message, &status);
        if (outcome != REFUSED || status != cases[i].status)
            fail_msg("case %zu: outcome %d status %d", i, (int)outcome, status);
    }
}

static void response_is_built_from_raw(void **state)
{
    struct sip_message message;
    int status;
    char data[2048];
    struct writer writer = writer_make(data, sizeof(data));
    const struct sip_response_parts parts = {.status = 403,
                                             .to_tag = SPAN("us"),
                                             .received = SPAN("2001:db8::1"),
                                             .rport = 4444,
                                             .server = SPAN("Passerelle"),
                                             .extra = SPAN("Allow: OPTIONS\r\n")};
    struct span want = SPAN("SIP/2.0 403 Forbidden\r\n"
        "v: SIP/2.0/UDP [2001:db8::9]:5070 ;rport=4444;branch=z9hG4bKtop;received=2001:db8::1"
        " , SIP/2.0/TCP two.example\r\n"
        "Via: SIP/2.0/TLS three.example;\r\n branch=z9hG4bK3\r\n"
        "f: \"Ro, <me>\" <sip:romeo@example.net;gr=a;b>;tag=t1\r\n"
        "To: Juliet\r\n <sip:juliet@example.com>;tag=us \r\n"
        "i: abc@example.net\r\n"
        "CSeq: 007 MESSAGE\r\n"
        "Server: Passerelle\r\n"
        "Allow: OPTIONS\r\n"
        "Content-Length: 0\r\n\r\n");
    assert_int_equal(take(*state, SPAN(HEAD "l: 0\r\n\r\n"), &message, &status), ACCEPTED);
    sip_write_response(&writer, &message, &parts);
    assert_int_equal(writer.used, want.size);
    assert_memory_equal(writer.data, want.data, want.size);

    /* 100 gets no tag, and without received and rport every Via is the same bytes. */
    writer = writer_make(data, sizeof(data));
    sip_write_response(&writer, &message, &(struct sip_response_parts){.status = 100,
                                                                       .to_tag = SPAN("us")});
    assert_null(memmem(data, writer.used, "tag=us", 6));
    struct span line = SPAN("v: SIP/2.0/UDP [2001:db8::9]:5070 ;rport;branch=z9hG4bKtop ,");
    assert_non_null(memmem(data, writer.used, line.data, line.size));
    for (size_t size = 0; size < 300; size++) {
        writer = writer_make(data, size);
        sip_write_response(&writer, &message, &parts);
        assert_true(writer.overflow);
    }
}

/* Blanks bring what goes over UDP to a few sizes; it reads the same. */
static void step(void **state)
{
    char data[4096], answer[4096], text[2000];
    memset(text, 'x', sizeof(text));
    for (size_t size = 0; size < sizeof(text); size += 7) {
        struct sip_request_parts parts = {
            .method = SIP_METHOD_MESSAGE, .request_uri = SPAN("sip:juliet@example.com"),
            .transport = SIP_TRANSPORT_UDP, .sent_by = SPAN("relay.example"),
            .branch = SPAN("z9hG4bKabc"), .from_uri = SPAN("sip:romeo@example.net"),
            .from_tag = SPAN("f1"), .to_uri = SPAN("sip:juliet@example.com"),
            .call_id = SPAN("id1"), .cseq = 1, .max_forwards = 70,
            .content_type = SPAN("text/plain"), .body = span_make(text, size),
            .user_agent = SPAN("Passerelle"),
        };
        struct sip_message message;
        int status;
        struct writer writer = writer_make(data, sizeof(data));
        sip_write_request(&writer, &parts);
        size_t plain = writer.used;
        writer.used = 0;
        parts.step = SIP_DATAGRAM_STEP;
        sip_write_request(&writer, &parts);
        size_t whole = (plain + SIP_DATAGRAM_STEP - 1) / SIP_DATAGRAM_STEP * SIP_DATAGRAM_STEP;
        /* No request becomes too long for UDP by it. */
        assert_int_equal(writer.used, whole <= SIP_UDP_REQUEST_SIZE_MAX ? whole : plain);
        assert_int_equal(take(*state, writer_span(&writer), &message, &status), ACCEPTED);
        assert_true(span_equal(message.body, parts.body));
        writer = writer_make(answer, sizeof(answer));
        sip_write_response(&writer, &message,
                           &(struct sip_response_parts){
                               .status = 200, .server = SPAN("Passerelle"), .step = 64});
        assert_int_equal(writer.used % 64, 0);
        assert_int_equal(sip_message_parse_response(writer_span(&writer), &message),
                         SIP_PARSE_OK);
    }
}

static void request_round_trip(void **state)
{
    struct sip_message message;
    int status;
    char data[2048];
    struct writer writer = writer_make(data, sizeof(data));
    const struct sip_request_parts parts = {
        .method = SIP_METHOD_MESSAGE, .request_uri = SPAN("sip:juliet@example.com"),
        .route = SPAN("<sip:proxy.example;lr>"), .transport = SIP_TRANSPORT_TLS,
        .sent_by = SPAN("relay.example:5061"), .branch = SPAN("z9hG4bKabc"), .alias = true,
        .from_uri = SPAN("sip:romeo@example.net;gr=orchard"), .from_tag = SPAN("f1"),
        .to_uri = SPAN("sip:juliet@example.com"), .call_id = SPAN("id1"), .cseq = 1,
        .max_forwards = 70, .subject = SPAN("Hello"), .content_language = SPAN("en"),
        .content_type = SPAN("text/plain;charset=UTF-8"),
        .date = SPAN("Sat, 13 Nov 2010 23:29:00 GMT"), .user_agent = SPAN("Passerelle"),
        .body = SPAN("Neither, fair saint"),
    };
    sip_write_request(&writer, &parts);
    assert_false(writer.overflow);
    assert_int_equal(take(*state, writer_span(&writer), &message, &status), ACCEPTED);
    assert_true(span_equal(message.via.text,
                           SPAN("SIP/2.0/TLS relay.example:5061;branch=z9hG4bKabc;alias")));
    assert_true(span_equal(message.from.text, parts.from_uri));
    assert_true(span_equal(message.to.text, parts.to_uri));
    assert_true(span_equal(message.body, parts.body));
    assert_true(span_equal(message.charset, SPAN("UTF-8")));
    assert_true(span_equal(message.date, parts.date));
    assert_true(span_equal(message.subject, parts.subject));
    assert_int_equal(message.max_forwards, 70);
}

static void response_fast_path(void **state)
{
    struct sip_message fast, full;
    int status;
    struct span text = SPAN("SIP/2.0 503 Service  Unavailable\r\n"
                            "Via: SIP/2.0/TCP relay.example;branch=z9hG4bKabc\r\n"
                            "f: <sip:a@a.example>;tag=1\r\nt: <sip:b@b.example>;tag=2\r\n"
                            "i: x\r\nCSeq: 5 MESSAGE\r\n"
                            "Retry-After: 18000 (in a meeting);duration=3600\r\n"
                            "m: \"a,b\" <sip:c@c.example;x=1>;q=1, <sip:d@d.example>\r\n"
                            "l: 0\r\n\r\n");
    assert_int_equal(sip_message_parse_response(text, &fast), SIP_PARSE_OK);
    assert_int_equal(take(*state, text, &full, &status), ACCEPTED);
    const struct sip_message *both[] = {&fast, &full};
    for (size_t i = 0; i < 2; i++) {
        assert_false(both[i]->is_request);
        assert_int_equal(both[i]->status, 503);
        assert_true(span_equal(both[i]->reason, SPAN("Service  Unavailable")));
        assert_int_equal(both[i]->method, SIP_METHOD_MESSAGE);
        assert_int_equal(both[i]->cseq, 5);
        assert_int_equal(both[i]->retry_after, 18000);
        assert_true(span_equal(both[i]->to_tag, SPAN("2")));
        assert_true(span_equal(both[i]->call_id, SPAN("x")));
        assert_true(span_equal(both[i]->via.branch, SPAN("z9hG4bKabc")));
        assert_true(span_equal(both[i]->contact, SPAN("sip:c@c.example;x=1")));
    }
    /* Any cut is refused or read, never over-read. */
    for (size_t size = 0; size < text.size; size++) {
        char *copy = malloc(size + 1);
        memcpy(copy, text.data, size);
        (void)sip_message_parse_response(span_make(copy, size), &fast);
        free(copy);
    }
    assert_int_equal(sip_message_parse_response(torture_read("bcast"), &fast), SIP_PARSE_DROP);
    assert_int_equal(sip_message_parse_response(torture_read("scalarlg"), &fast),
                     SIP_PARSE_DROP);
    assert_int_equal(sip_message_parse_response(torture_read("unreason"), &fast), SIP_PARSE_OK);
    assert_int_equal(sip_message_parse_response(torture_read("noreason"), &fast), SIP_PARSE_OK);
    assert_int_equal(sip_message_parse_response(torture_read("badvers"), &fast),
                     SIP_PARSE_DROP);
}

static void *refuse_alloc(void *context, size_t size)
{
    (void)context;
    (void)size;
    return NULL;
}

static void no_memory(void **state)
{
    (void)state;
    const struct memory none = {refuse_alloc, heap_resize, heap_release, NULL};
    assert_null(sip_parser_open(&none));
    struct sip_parser *parser = NULL;
    sip_parser_close(&parser);
}

/* A request that the guard refused is answered from its bytes, with what it has. */
static void answer_to_the_refused(void **state)
{
    (void)state;
    char data[2048];
    struct sip_guard guard;
    struct span text = torture_read("insuf");
    assert_int_equal(sip_guard_datagram(text, &guard), SIP_GUARD_REJECT);
    struct sip_message message = {.raw = span_to(text, guard.size)};
    struct writer writer = writer_make(data, sizeof(data));
    sip_write_response(&writer, &message, &(struct sip_response_parts){
                                              .status = guard.status, .to_tag = SPAN("us")});
    struct span want = SPAN("SIP/2.0 400 Bad Request\r\n"
                            "Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\r\n"
                            "CSeq: 193942 INVITE\r\nContent-Length: 0\r\n\r\n");
    writer_put_char(&writer, '\0');
    assert_string_equal(writer.data, want.data);
}

/* Every message of the torture set with one byte changed, everywhere: no crash, and the views
   stay inside (the address sanitizer build watches). */
static void changed_bytes(void **state)
{
    static const char others[] = {'\0', '"', '<', '>', ',', ';', ' ', '\r', '\n', '\xff'};
    for (size_t i = 0; i < sizeof(torture) / sizeof(torture[0]); i++) {
        struct span text = torture_read(torture[i].name);
        for (size_t at = i % 7; at < text.size; at += 7) {
            struct sip_message message;
            int status;
            char kept = torture_text[at];
            torture_text[at] = others[(at / 7 + i) % sizeof(others)];
            (void)take(*state, text, &message, &status);
            torture_text[at] = kept;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(torture_messages, open_parser, close_parser),
        cmocka_unit_test(torture_streams),
        cmocka_unit_test_setup_teardown(torture_details, open_parser, close_parser),
        cmocka_unit_test_setup_teardown(request_fields, open_parser, close_parser),
        cmocka_unit_test_setup_teardown(refusals, open_parser, close_parser),
        cmocka_unit_test_setup_teardown(response_is_built_from_raw, open_parser, close_parser),
        cmocka_unit_test_setup_teardown(step, open_parser, close_parser),
        cmocka_unit_test_setup_teardown(request_round_trip, open_parser, close_parser),
        cmocka_unit_test_setup_teardown(response_fast_path, open_parser, close_parser),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(answer_to_the_refused),
        cmocka_unit_test_setup_teardown(changed_bytes, open_parser, close_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
