/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stream management: counters at their edges, and both machines, fed whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/s2s_bench.h"

#define SM      "xmlns='urn:xmpp:sm:3'"
#define SUCCESS "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"

/* ---- counters ---- */

static void test_sender(void **state)
{
    (void)state;
    struct sm_sender sender = {.sent = 3, .acked = 0};
    assert_true(sm_acknowledge(&sender, 0));
    assert_true(sm_acknowledge(&sender, 2));
    assert_int_equal(sm_unacked(&sender), 1);
    assert_true(sm_is_acked(&sender, 1));
    assert_false(sm_is_acked(&sender, 2));
    assert_false(sm_acknowledge(&sender, 4)); /* never sent */
    assert_false(sm_acknowledge(&sender, 1)); /* taken back */
    assert_int_equal(sender.acked, 2);
    /* 2^32 - 1 is followed by 0. */
    sender = (struct sm_sender){.sent = UINT32_MAX, .acked = UINT32_MAX - 1};
    sender.sent += 2;
    assert_int_equal(sender.sent, 1);
    assert_false(sm_acknowledge(&sender, 2));
    assert_true(sm_acknowledge(&sender, UINT32_MAX));
    assert_true(sm_is_acked(&sender, UINT32_MAX - 1));
    assert_false(sm_is_acked(&sender, UINT32_MAX));
    assert_false(sm_is_acked(&sender, 0));
    assert_true(sm_acknowledge(&sender, 0));
    assert_true(sm_is_acked(&sender, UINT32_MAX));
    assert_true(sm_acknowledge(&sender, 1));
    assert_int_equal(sm_unacked(&sender), 0);
    assert_true(sm_is_before(UINT32_MAX, 0));
    assert_false(sm_is_before(0, UINT32_MAX));
    assert_false(sm_is_before(7, 7));
}

/* Outcomes come in any order; h is the number of the first one that is open. Also over 2^32. */
static void check_receiver(uint32_t start)
{
    struct sm_receiver receiver = {.received = start, .handled = start};
    bool settled[3 * SM_WINDOW] = {false};
    uint32_t received = 0, lowest = 0;
    srand(start);
    while (lowest < 3 * SM_WINDOW) {
        uint32_t open = received - lowest;
        assert_int_equal(sm_has_room(&receiver), open < SM_WINDOW);
        if (received < 3 * SM_WINDOW && open < SM_WINDOW && rand() % 3 != 0) {
            assert_int_equal(sm_receive(&receiver), (uint32_t)(start + received));
            received++;
            continue;
        }
        uint32_t one = open > 0 ? lowest + (uint32_t)rand() % open : received;
        while (one < received && settled[one])
            one++;
        if (one == received)
            continue;
        settled[one] = true;
        sm_settle(&receiver, start + one);
        while (lowest < received && settled[lowest])
            lowest++;
        assert_int_equal(receiver.handled, (uint32_t)(start + lowest));
    }
}

static void test_receiver(void **state)
{
    (void)state;
    check_receiver(0);
    check_receiver(UINT32_MAX - SM_WINDOW);
    check_receiver(UINT32_MAX);
}

/* ---- machines ---- */

static bool torn; /* elements come byte by byte */

static void begin(struct bench *bench, bool wanted, const char *previous)
{
    bench_init(bench, S2S_PROOF_TLS, true, true);
    bench->policy.stream_management = wanted;
    bench->out.sm_wanted = wanted;
    bench->out.sm_previous = span_of(previous);
    struct writer writer = writer_make(bench->written, sizeof(bench->written) - 1);
    s2s_out_start(&bench->out, true, &writer);
}

static void put(struct bench *bench, const char *text, size_t size)
{
    void *room = xml_stream_room(bench->xml, size);
    assert_non_null(room);
    memcpy(room, text, size);
    xml_stream_commit(bench->xml, size);
}

/* One element, in one piece or byte by byte. */
static enum s2s_action_kind take(struct bench *bench, const char *text, bool inbound)
{
    struct writer writer = writer_make(bench->written, sizeof(bench->written) - 1);
    struct xml_event event = {.kind = XML_EVENT_NONE};
    size_t size = strlen(text), piece = torn ? 1 : size;
    for (size_t i = 0; i < size && event.kind == XML_EVENT_NONE; i += piece) {
        (void)xml_stream_next(bench->xml, &event);
        put(bench, text + i, piece);
        (void)xml_stream_next(bench->xml, &event);
    }
    assert_int_not_equal(event.kind, XML_EVENT_NONE);
    if (inbound && event.kind == XML_EVENT_OPEN)
        s2s_in_set_id(&bench->in, SPAN("id1"));
    if (inbound)
        s2s_in_event(&bench->in, &event, &writer, &bench->action);
    else
        s2s_out_event(&bench->out, &event, &writer, &bench->action);
    assert_false(writer.overflow);
    bench->written[writer.used] = '\0';
    if (bench->action.kind == S2S_RESTART)
        xml_stream_restart(bench->xml);
    return bench->action.kind;
}

static void wrote_just(const struct bench *bench, const char *text)
{
    assert_string_equal(bench->written, text);
}

static void end(struct bench *bench, bool inbound)
{
    struct writer writer = writer_make(bench->written, sizeof(bench->written) - 1);
    assert_int_equal(bench->action.kind, S2S_CLOSE);
    if (inbound)
        s2s_in_write_close(&bench->in, &writer, bench->action.error, bench->action.text);
    else
        s2s_out_write_close(&bench->out, &writer, bench->action.error, bench->action.text);
    bench->written[writer.used] = '\0';
}

static void authenticate(struct bench *bench, bool wanted)
{
    begin(bench, wanted, NULL);
    take(bench, HEADER, true);
    wrote_not(bench, NS_SM); /* not before the authentication */
    assert_int_equal(take(bench, AUTH("="), true), S2S_RESTART);
    take(bench, HEADER, true);
    assert_int_equal(strstr(bench->written, "<sm " SM "/>") != NULL, wanted);
}

static void check_in(void)
{
    struct bench bench;
    struct writer writer;
    authenticate(&bench, true);
    assert_int_equal(take(&bench, "<r " SM "/>", true), S2S_NOTHING);
    assert_int_equal(take(&bench, "<enable " SM " resume='1'/>", true), S2S_SM_ENABLE);
    assert_true(bench.action.sm.resume);
    writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_in_sm_enabled(&bench.in, &writer, SPAN("a'b"), 60);
    bench.written[writer.used] = '\0';
    wrote_just(&bench, "<enabled " SM " id='a&apos;b' resume='true' max='60'/>");
    assert_int_equal(take(&bench, MESSAGE, true), S2S_STANZA);
    assert_int_equal(take(&bench, "<r " SM "/>", true), S2S_SM_REQUEST);
    assert_int_equal(take(&bench, "<a " SM " h='0'/>", true), S2S_NOTHING);
    take(&bench, "<a " SM " h='1'/>", true);
    assert_int_equal(bench.action.error, STREAM_ERROR_UNDEFINED_CONDITION);
    end(&bench, true);
    assert_non_null(strstr(bench.written, "<handled-count-too-high " SM
                                          " h='1' send-count='0'/>"));
    bench_fini(&bench);
    /* Once on a stream; and what an initiating entity never says. */
    const char *const wrong[] = {"<enable " SM "/>", "<resume " SM " previd='x' h='0'/>",
                                 "<enabled " SM "/>", "<resumed " SM " previd='x' h='0'/>",
                                 "<failed " SM "/>", "<a " SM "/>", "<a " SM " h='-1'/>",
                                 "<a " SM " h='4294967296'/>", "<resume " SM " h='0'/>",
                                 "<resume " SM " previd='x'/>", "<other " SM "/>"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        authenticate(&bench, true);
        assert_int_equal(take(&bench, "<enable " SM "/>", true), S2S_SM_ENABLE);
        writer = writer_make(bench.written, sizeof(bench.written) - 1);
        s2s_in_sm_enabled(&bench.in, &writer, SPAN_NONE, 0);
        bench.written[writer.used] = '\0';
        wrote_just(&bench, "<enabled " SM "/>");
        assert_int_equal(take(&bench, wrong[i], true), S2S_CLOSE);
        bench_fini(&bench);
    }
}

static void check_in_resume(void)
{
    struct bench bench;
    authenticate(&bench, true);
    assert_int_equal(take(&bench, "<resume " SM " h='0' previd='a&apos;b'/>", true),
                     S2S_SM_RESUME);
    assert_true(span_equal(bench.action.sm.id, SPAN("a'b")));
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_in_sm_resumed(&bench.in, &writer, bench.action.sm.id, 4294967295u);
    bench.written[writer.used] = '\0';
    wrote_just(&bench, "<resumed " SM " h='4294967295' previd='a&apos;b'/>");
    assert_int_equal(take(&bench, "<r " SM "/>", true), S2S_SM_REQUEST);
    bench_fini(&bench);
    authenticate(&bench, true);
    take(&bench, "<resume " SM " h='3' previd='x'/>", true);
    assert_int_equal(bench.action.error, STREAM_ERROR_UNDEFINED_CONDITION);
    bench_fini(&bench);
    /* Switched off, and too early. */
    authenticate(&bench, false);
    assert_int_equal(take(&bench, "<enable " SM "/>", true), S2S_NOTHING);
    assert_non_null(strstr(bench.written, "<failed " SM "><feature-not-implemented "));
    assert_int_equal(take(&bench, MESSAGE, true), S2S_STANZA);
    bench_fini(&bench);
    begin(&bench, true, NULL);
    take(&bench, HEADER, true);
    assert_int_equal(take(&bench, "<resume " SM " h='0' previd='x'/>", true), S2S_NOTHING);
    assert_non_null(strstr(bench.written, "<failed " SM "><unexpected-request "));
    bench_fini(&bench);
}

static void log_in(struct bench *bench, const char *previous)
{
    begin(bench, true, previous);
    take(bench, OUR_HEADER, false);
    take(bench, FEATURES(EXTERNAL "<sm " SM "/>"), false);
    wrote_not(bench, NS_SM);
    assert_int_equal(take(bench, SUCCESS, false), S2S_RESTART);
    take(bench, OUR_HEADER, false);
}

static void check_out(void)
{
    struct bench bench;
    log_in(&bench, NULL);
    assert_int_equal(take(&bench, FEATURES("<sm " SM "><optional/></sm>"), false), S2S_READY);
    wrote_just(&bench, "<enable " SM " resume='true'/>");
    assert_int_equal(bench.out.sm, S2S_OUT_SM_ASKED);
    take(&bench, "<enabled " SM " resume='true' id='some id' max='30'/>", false);
    assert_int_equal(bench.action.kind, S2S_SM_ENABLED);
    assert_true(bench.action.sm.resume && span_equal(bench.action.sm.id, SPAN("some id")));
    assert_int_equal(bench.action.sm.max_s, 30);
    assert_int_equal(take(&bench, "<a " SM " h='4294967295'/>", false), S2S_SM_ACKED);
    assert_int_equal(bench.action.sm.h, 4294967295u);
    assert_int_equal(take(&bench, "<r " SM "/>", false), S2S_NOTHING);
    wrote_just(&bench, "<a " SM " h='0'/>");
    assert_int_equal(take(&bench, "<enabled " SM "/>", false), S2S_CLOSE);
    bench_fini(&bench);
    /* Refused, not offered, not wanted: the stream serves all the same. */
    log_in(&bench, NULL);
    take(&bench, FEATURES("<sm " SM "/>"), false);
    assert_int_equal(take(&bench, "<failed " SM "/>", false), S2S_SM_FAILED);
    assert_int_equal(take(&bench, "<a " SM " h='7'/>", false), S2S_NOTHING);
    bench_fini(&bench);
    log_in(&bench, NULL);
    assert_int_equal(take(&bench, FEATURES("<sm xmlns='urn:xmpp:sm:2'/>"), false), S2S_READY);
    wrote_just(&bench, "");
    bench_fini(&bench);
    log_in(&bench, NULL);
    bench.out.sm_wanted = false;
    assert_int_equal(take(&bench, FEATURES("<sm " SM "/>"), false), S2S_READY);
    wrote_just(&bench, "");
    bench_fini(&bench);
}

static void check_out_resume(void)
{
    struct bench bench;
    log_in(&bench, "a'b");
    /* Nothing is ready before it is known what the peer has. */
    assert_int_equal(take(&bench, FEATURES("<sm " SM "/>"), false), S2S_NOTHING);
    wrote_just(&bench, "<resume " SM " h='0' previd='a&apos;b'/>");
    assert_int_equal(take(&bench, "<resumed " SM " h='5' previd=\"a'b\"/>", false),
                     S2S_SM_RESUMED);
    assert_int_equal(bench.action.sm.h, 5);
    assert_int_equal(bench.out.state, S2S_OUT_READY);
    bench_fini(&bench);
    log_in(&bench, "id");
    take(&bench, FEATURES("<sm " SM "/>"), false);
    assert_int_equal(take(&bench, "<failed " SM " h='3'/>", false), S2S_SM_REFUSED);
    assert_true(bench.action.sm.has_h && bench.action.sm.h == 3);
    wrote_just(&bench, "<enable " SM " resume='true'/>");
    assert_int_equal(bench.out.state, S2S_OUT_READY);
    bench_fini(&bench);
    log_in(&bench, "id");
    take(&bench, FEATURES("<sm " SM "/>"), false);
    assert_int_equal(take(&bench, "<resumed " SM " h='5' previd='other'/>", false), S2S_CLOSE);
    assert_int_not_equal(bench.out.state, S2S_OUT_READY);
    bench_fini(&bench);
    /* A server that does not know stream management any more. */
    log_in(&bench, "id");
    assert_int_equal(take(&bench, FEATURES(""), false), S2S_READY);
    bench_fini(&bench);
    log_in(&bench, NULL);
    assert_int_equal(take(&bench, "<resumed " SM " h='0' previd='x'/>", false), S2S_CLOSE);
    assert_int_not_equal(bench.out.state, S2S_OUT_READY);
    bench_fini(&bench);
}

static void test_whole(void **state)
{
    (void)state;
    check_in();
    check_in_resume();
    check_out();
    check_out_resume();
}

static void test_torn(void **state)
{
    torn = true;
    test_whole(state);
    torn = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sender), cmocka_unit_test(test_receiver),
        cmocka_unit_test(test_whole),  cmocka_unit_test(test_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
