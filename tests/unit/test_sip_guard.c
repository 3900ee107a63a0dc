/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/sip_guard.h"
#include "proto/writer.h"

#define VIA  "Via: SIP/2.0/TCP a.example;branch=z9hG4bK1\r\n"
#define FROM "From: <sip:a@a.example>;tag=1\r\n"
#define TO   "To: <sip:b@b.example>\r\n"
#define ID   "Call-ID: x\r\n"
#define CSEQ "CSeq: 1 MESSAGE\r\n"
#define REST FROM TO ID CSEQ
#define LINE "MESSAGE sip:b@b.example SIP/2.0\r\n"

/* A copy that ends at an unreadable page, so that reading past the end is a crash. */
struct guarded {
    char *map;
    size_t map_size;
    struct span text;
};

static struct guarded guarded_open(struct span text)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (text.size + page) / page * page;
    struct guarded out = {.map_size = room + page};
    out.map = mmap(NULL, out.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0);
    assert_ptr_not_equal(out.map, MAP_FAILED);
    assert_int_equal(mprotect(out.map + room, page, PROT_NONE), 0);
    char *data = out.map + room - text.size;
    if (text.size > 0)
        memcpy(data, text.data, text.size);
    out.text = span_make(data, text.size);
    return out;
}

static void guarded_close(struct guarded *guarded)
{
    munmap(guarded->map, guarded->map_size);
}

static enum sip_guard_result datagram(struct span text, struct sip_guard *out)
{
    struct guarded copy = guarded_open(text);
    enum sip_guard_result result = sip_guard_datagram(copy.text, out);
    guarded_close(&copy);
    return result;
}

static enum sip_guard_result stream(struct span text, struct sip_guard *out)
{
    struct guarded copy = guarded_open(text);
    enum sip_guard_result result = sip_guard_stream(copy.text, 0, out);
    guarded_close(&copy);
    return result;
}

static void rejects(struct span text, int status, bool fatal)
{
    struct sip_guard out;
    assert_int_equal(stream(text, &out), SIP_GUARD_REJECT);
    assert_int_equal(out.status, status);
    assert_int_equal(out.fatal, fatal);
    assert_true(out.reason.size > 0);
    assert_int_equal(datagram(text, &out), SIP_GUARD_REJECT);
    assert_int_equal(out.status, status);
}

#define GOOD LINE VIA REST "Content-Length: 5\r\n\r\nhello"

static void whole_messages(void **state)
{
    (void)state;
    struct sip_guard out;
    struct span good = SPAN(GOOD);
    assert_int_equal(stream(good, &out), SIP_GUARD_OK);
    assert_int_equal(out.size, good.size);
    assert_int_equal(out.header_size, good.size - 5);
    assert_true(out.is_request);
    assert_int_equal(datagram(good, &out), SIP_GUARD_OK);
    assert_int_equal(out.size, good.size);
    /* Octets behind the body: ignored in a datagram, the next message on a stream. */
    assert_int_equal(datagram(SPAN(GOOD "tail"), &out), SIP_GUARD_OK);
    assert_int_equal(out.size, good.size);
    assert_int_equal(stream(SPAN(GOOD GOOD), &out), SIP_GUARD_OK);
    assert_int_equal(out.size, good.size);
    /* A datagram may do without Content-Length, a stream may not (RFC 3261 §18.3). */
    assert_int_equal(datagram(SPAN(LINE VIA REST "\r\nhello"), &out), SIP_GUARD_OK);
    assert_int_equal(out.size - out.header_size, 5);
    assert_int_equal(stream(SPAN(LINE VIA REST "\r\n"), &out), SIP_GUARD_REJECT);
    assert_true(out.fatal);
    assert_int_equal(datagram(SPAN("SIP/2.0 200 OK\r\n" VIA REST "\r\n"), &out), SIP_GUARD_OK);
    assert_false(out.is_request);
}

/* At every split point the front gives MORE, with and without the hint of how much was seen. */
static void stream_is_cut_anywhere(void **state)
{
    (void)state;
    struct span text = SPAN("\r\n" GOOD);
    struct sip_guard out;
    for (size_t cut = 0; cut < text.size; cut++) {
        struct guarded front = guarded_open(span_to(text, cut));
        assert_int_equal(sip_guard_stream(front.text, 0, &out), SIP_GUARD_MORE);
        guarded_close(&front);
        struct guarded all = guarded_open(text);
        assert_int_equal(sip_guard_stream(all.text, cut, &out), SIP_GUARD_OK);
        assert_int_equal(out.skipped, 2);
        assert_int_equal(out.size, text.size - 2);
        guarded_close(&all);
    }
    size_t hint = 0;
    for (size_t size = 1; size <= text.size; size++) {
        enum sip_guard_result want = size < text.size ? SIP_GUARD_MORE : SIP_GUARD_OK;
        assert_int_equal(sip_guard_stream(span_to(text, size), hint, &out), want);
        hint = out.size;
        /* As soon as the header section is there, the size of the whole is known. */
        assert_int_equal(hint, size < text.size - 5 ? 0 : text.size - 2);
    }
    /* A body may have empty lines and lines of its own kind. */
    struct span odd = SPAN(LINE VIA REST "Content-Length: 7\r\n\r\n\n\r\n\r\n\r\n");
    for (size_t size = odd.size - 7; size <= odd.size; size++) {
        enum sip_guard_result want = size < odd.size ? SIP_GUARD_MORE : SIP_GUARD_OK;
        assert_int_equal(sip_guard_stream(span_to(odd, size), 0, &out), want);
        assert_int_equal(out.size, odd.size);
    }
}

static void keep_alives(void **state)
{
    (void)state;
    struct sip_guard out;
    assert_int_equal(stream(SPAN("\r\n\r\n" GOOD), &out), SIP_GUARD_PING);
    assert_int_equal(out.size, 4);
    assert_int_equal(stream(SPAN("\r\n\r\n"), &out), SIP_GUARD_PING);
    assert_int_equal(stream(SPAN("\r\n"), &out), SIP_GUARD_MORE);
    assert_int_equal(out.skipped, 2);
    assert_int_equal(stream(SPAN("\r\n\r"), &out), SIP_GUARD_MORE);
    assert_int_equal(stream(SPAN("\r\nM"), &out), SIP_GUARD_MORE);
    assert_int_equal(stream(SPAN("\rM"), &out), SIP_GUARD_REJECT);
    assert_true(out.fatal);
    assert_int_equal(datagram(SPAN("\r\n\r\n"), &out), SIP_GUARD_DROP);
    assert_int_equal(datagram(SPAN(""), &out), SIP_GUARD_DROP);
    assert_int_equal(datagram(SPAN("\r\n" GOOD), &out), SIP_GUARD_OK);
    assert_int_equal(out.skipped, 2);
}

static void content_length_attacks(void **state)
{
    (void)state;
    struct sip_guard out;
    rejects(SPAN(LINE VIA REST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"), 400, true);
    rejects(SPAN(LINE VIA REST "Content-Length: 0\r\nl: 5\r\n\r\nhello"), 400, true);
    rejects(SPAN(LINE VIA REST "Content-Length: -1\r\n\r\n"), 400, true);
    rejects(SPAN(LINE VIA REST "Content-Length: +1\r\n\r\nx"), 400, true);
    rejects(SPAN(LINE VIA REST "Content-Length: 1 1\r\n\r\nx"), 400, true);
    rejects(SPAN(LINE VIA REST "Content-Length: 0x1\r\n\r\nx"), 400, true);
    rejects(SPAN(LINE VIA REST "Content-Length:\r\n\r\n"), 400, true);
    rejects(SPAN(LINE VIA REST "Content-Length: 4294967296\r\n\r\n"), 400, true);
    rejects(SPAN(LINE VIA REST "l: 18446744073709551617\r\n\r\nx"), 400, true);
    rejects(SPAN(LINE VIA REST "l: 4294967295\r\n\r\n"), 413, true);
    /* Longer than the datagram; on a stream the rest may still come. */
    struct span longer = SPAN(LINE VIA REST "Content-Length: 6\r\n\r\nhello");
    assert_int_equal(datagram(longer, &out), SIP_GUARD_REJECT);
    assert_int_equal(out.status, 400);
    assert_int_equal(stream(longer, &out), SIP_GUARD_MORE);
    /* A response with such a fault is dropped, not answered. */
    assert_int_equal(stream(SPAN("SIP/2.0 200 OK\r\n" VIA REST "l: -1\r\n\r\n"), &out),
                     SIP_GUARD_DROP);
    assert_true(out.fatal);
}

static void line_ends(void **state)
{
    (void)state;
    rejects(SPAN(LINE VIA FROM "To: <sip:b@b.example>\n" ID CSEQ "l: 0\r\n\r\n"), 400, true);
    rejects(SPAN(LINE VIA REST "l: 0\r\nX: a\rb\r\n\r\n"), 400, true);
    rejects(SPAN(LINE VIA REST "l: 0\n\r\n\r\n"), 400, true);
    rejects(SPAN("MESSAGE sip:b@b.example SIP/2.0\n" VIA REST "l: 0\r\n\r\n"), 400, true);
    rejects(SPAN(LINE VIA REST "l: 0\r\nX: a\0b\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA REST "l: 0\r\nX: a\x01\r\n\r\n"), 400, false);
}

static void repeated_and_missing(void **state)
{
    (void)state;
    rejects(SPAN(LINE VIA REST "f: <sip:c@c.example>\r\nl: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA REST "t: <sip:c@c.example>\r\nl: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA REST "i: y\r\nl: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA REST "cseq: 2 MESSAGE\r\nl: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE REST "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA TO ID CSEQ "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA FROM ID CSEQ "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA FROM TO CSEQ "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA FROM TO ID "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA REST "no colon here\r\nl: 0\r\n\r\n"), 400, false);
    rejects(SPAN(LINE VIA REST ": no name\r\nl: 0\r\n\r\n"), 400, false);
}

static void start_lines(void **state)
{
    (void)state;
    rejects(SPAN("MESSAGE sip:b@b.example SIP/7.0\r\n" VIA REST "l: 0\r\n\r\n"), 505, false);
    rejects(SPAN("MESSAGE sip:b@b.example SIP/2.0 \r\n" VIA REST "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN("MESSAGE  sip:b@b.example SIP/2.0\r\n" VIA REST "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN("MESSAGE sip:b@b.example\r\n" VIA REST "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN("GET / HTTP/1.1\r\n" VIA REST "l: 0\r\n\r\n"), 400, false);
    rejects(SPAN("MES(AGE sip:b@b.example SIP/2.0\r\n" VIA REST "l: 0\r\n\r\n"), 400, false);
    struct sip_guard out;
    assert_int_equal(datagram(SPAN("SIP/2.0 4294967301 x\r\n" VIA REST "\r\n"), &out),
                     SIP_GUARD_DROP);
    assert_int_equal(datagram(SPAN("SIP/2.0 099 x\r\n" VIA REST "\r\n"), &out), SIP_GUARD_DROP);
    assert_int_equal(datagram(SPAN("SIP/7.0 200 x\r\n" VIA REST "\r\n"), &out), SIP_GUARD_DROP);
    assert_int_equal(datagram(SPAN("noise"), &out), SIP_GUARD_REJECT);
}

/* Thousands of headers are refused by a scan, and the limits are exact. */
static void many_headers(void **state)
{
    (void)state;
    struct sip_guard out;
    static char data[2 * SIP_MESSAGE_SIZE_MAX];
    for (size_t count = 50; count < 8000; count += count < 70 ? 1 : 1500) {
        struct writer writer = writer_make(data, sizeof(data));
        writer_put_literal(&writer, LINE VIA REST "l: 0\r\n");
        for (size_t i = 6; i < count; i++)
            writer_put_literal(&writer, "X: y\r\n");
        writer_put_literal(&writer, "\r\n");
        assert_false(writer.overflow);
        enum sip_guard_result result = stream(writer_span(&writer), &out);
        assert_int_equal(result,
                         count <= SIP_HEADER_COUNT_MAX ? SIP_GUARD_OK : SIP_GUARD_REJECT);
        assert_int_equal(out.fatal, count > 4 * SIP_HEADER_COUNT_MAX);
        assert_int_equal(out.status, result == SIP_GUARD_OK ? 0 : 400);
    }
    for (size_t count = 30; count < 4000; count += count < 35 ? 1 : 800) {
        struct writer writer = writer_make(data, sizeof(data));
        writer_put_literal(&writer, LINE REST "l: 0\r\nv: SIP/2.0/TCP a");
        for (size_t i = 1; i < count; i++)
            writer_put_literal(&writer, ",SIP/2.0/TCP a");
        writer_put_literal(&writer, "\r\n\r\n");
        enum sip_guard_result result = stream(writer_span(&writer), &out);
        assert_int_equal(result, count <= SIP_VIA_COUNT_MAX ? SIP_GUARD_OK : SIP_GUARD_REJECT);
    }
    struct writer writer = writer_make(data, sizeof(data));
    writer_put_literal(&writer, LINE VIA REST "l: 0\r\nAccept: a");
    for (size_t i = 0; i < 20000; i++)
        writer_put_literal(&writer, ",b");
    writer_put_literal(&writer, "\r\n\r\n");
    assert_int_equal(stream(writer_span(&writer), &out), SIP_GUARD_REJECT);
}

static void sizes(void **state)
{
    (void)state;
    struct sip_guard out;
    static char data[SIP_MESSAGE_SIZE_MAX + 16];
    memset(data, 'a', sizeof(data));
    memcpy(data, LINE, sizeof(LINE) - 1);
    struct span text = span_make(data, sizeof(data));
    assert_int_equal(stream(span_to(text, SIP_MESSAGE_SIZE_MAX), &out), SIP_GUARD_MORE);
    assert_int_equal(stream(text, &out), SIP_GUARD_REJECT);
    assert_int_equal(out.status, 513);
    assert_true(out.fatal);
    text = span_to(text, SIP_DATAGRAM_SIZE_MAX + 1);
    assert_int_equal(datagram(text, &out), SIP_GUARD_REJECT);
    assert_int_equal(out.status, 513);
}

static void sdp(void **state)
{
    (void)state;
    assert_true(sip_guard_sdp(SPAN("v=0\r\nm=audio 49217/2 RTP/AVP 0 12\r\na=x:(y)\r\n")));
    assert_true(sip_guard_sdp(SPAN("m=message 9 TCP/TLS/MSRP *\r\n")));
    assert_true(sip_guard_sdp(SPAN("")));
    assert_false(sip_guard_sdp(SPAN("m=message 9 TCP/MSRP (\r\n")));
    assert_false(sip_guard_sdp(SPAN("m=message 9 TCP/MSRP * \"\r\n")));
    assert_false(sip_guard_sdp(SPAN("m=message 9 TCP/MSRP a/b\r\n")));
    assert_false(sip_guard_sdp(SPAN("s=x\rm=message 9 TCP/MSRP @\r\n")));
    assert_false(sip_guard_sdp(SPAN("m=message 9 TCP/MSRP \xc3\xa4\r\n")));
    assert_false(sip_guard_sdp(SPAN("m=audio 49217 RT=/AVP 0 12\r\n")));
    assert_false(sip_guard_sdp(SPAN("t=0 0\r m=message 9 TCP/MSRP \xef\r\n")));
    assert_false(sip_guard_sdp(SPAN("m=audi 4921* RTP/AVP 0 12\r\n")));
    assert_false(sip_guard_sdp(SPAN("m=audi 4921 RTP//VP 0 12\r\n")));
    assert_false(sip_guard_sdp(SPAN("s=a\0b\r\n")));
    assert_false(sip_guard_sdp(SPAN("s=a\x1b\r\n")));
}

static void one_header(void **state)
{
    (void)state;
    struct span text = SPAN(LINE "v : one\r\n two \r\nS:\r\nVia: three\r\n\r\nTo: body\r\n");
    assert_true(span_equal(sip_guard_header(text, SIP_HEADER_VIA), SPAN("one\r\n two")));
    assert_ptr_not_equal(sip_guard_header(text, SIP_HEADER_SUBJECT).data, NULL);
    assert_int_equal(sip_guard_header(text, SIP_HEADER_SUBJECT).size, 0);
    assert_ptr_equal(sip_guard_header(text, SIP_HEADER_TO).data, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_messages),       cmocka_unit_test(stream_is_cut_anywhere),
        cmocka_unit_test(keep_alives),          cmocka_unit_test(content_length_attacks),
        cmocka_unit_test(line_ends),            cmocka_unit_test(repeated_and_missing),
        cmocka_unit_test(start_lines),          cmocka_unit_test(many_headers),
        cmocka_unit_test(sizes),                cmocka_unit_test(sdp),
        cmocka_unit_test(one_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
