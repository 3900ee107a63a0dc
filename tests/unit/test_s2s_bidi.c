/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Streams that go both ways (XEP-0288), in the negotiation machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/s2s_bench.h"

#define OFFER                  "<bidi xmlns='urn:xmpp:features:bidi'/>"
#define ENABLED                "<bidi xmlns='urn:xmpp:bidi'/>"
#define SUCCESS                "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
#define SM_OFFER               "<sm xmlns='urn:xmpp:sm:3'/>"
#define SM_ENABLED             "<enabled xmlns='urn:xmpp:sm:3'/>"
#define REQUEST                "<r xmlns='urn:xmpp:sm:3'/>"
#define RESULT(from, to, rest) "<db:result from='" from "' to='" to "'" rest
#define VALID                  RESULT("xmpp.example", "sip.example", " type='valid'/>")

/* A stream of ours under TLS, which is to go both ways; the server offers `features`. */
static enum s2s_action_kind open_out(struct bench *bench, bool unmanaged, const char *features)
{
    bench_init(bench, S2S_PROOF_TLS, true, true);
    bench->out.bidi_wanted = true;
    bench->out.bidi_unmanaged = unmanaged;
    struct writer writer = writer_make(bench->written, sizeof(bench->written) - 1);
    s2s_out_start(&bench->out, true, &writer);
    feed(bench, OUR_HEADER, false);
    return feed(bench, features, false);
}

static void prove(struct bench *bench, const char *features)
{
    assert_int_equal(feed(bench, SUCCESS, false), S2S_RESTART);
    fresh(bench);
    feed(bench, OUR_HEADER, false);
    feed(bench, features, false);
}

static void check_early(struct bench *bench, bool inbound)
{
    assert_int_equal(feed(bench, MESSAGE, inbound), S2S_CLOSE);
    assert_int_equal(bench->action.error, STREAM_ERROR_NOT_AUTHORIZED);
    bench_fini(bench);
}

static void test_out_external(void **state)
{
    (void)state;
    struct bench bench;
    open_out(&bench, false, FEATURES(EXTERNAL OFFER));
    wrote(&bench, ENABLED "<auth ");
    check_early(&bench, false);
    open_out(&bench, false, FEATURES(EXTERNAL OFFER));
    assert_int_equal(feed(&bench, SUCCESS, false), S2S_RESTART);
    fresh(&bench);
    feed(&bench, OUR_HEADER, false);
    check_early(&bench, false);
    open_out(&bench, false, FEATURES(EXTERNAL OFFER));
    prove(&bench, FEATURES(""));
    wrote_not(&bench, "<bidi");
    assert_int_equal(bench.action.kind, S2S_READY);
    assert_int_equal(feed(&bench, MESSAGE, false), S2S_STANZA);
    bench_fini(&bench);
}

static void test_out_dialback(void **state)
{
    (void)state;
    struct bench bench;
    assert_int_equal(open_out(&bench, true, FEATURES(OFFER)), S2S_NEED_KEY);
    assert_string_equal(bench.written, ENABLED);
    check_early(&bench, false);
    open_out(&bench, true, FEATURES(OFFER));
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_out_send_key(&bench.out, SPAN("abc"), &writer);
    assert_int_equal(feed(&bench, VALID, false), S2S_READY);
    assert_int_equal(feed(&bench, MESSAGE, false), S2S_STANZA);
    bench_fini(&bench);
    /* Not where that costs acknowledgements. */
    assert_int_equal(open_out(&bench, false, FEATURES(OFFER)), S2S_NEED_KEY);
    assert_string_equal(bench.written, "");
    bench_fini(&bench);
}

/* Not offered, offered by the name of the other element, or not wanted: one way. */
static void test_out_one_way(void **state)
{
    (void)state;
    static const char *const features[] = {FEATURES(EXTERNAL), FEATURES(EXTERNAL ENABLED)};
    struct bench bench;
    for (unsigned i = 0; i < 2; i++) {
        open_out(&bench, true, features[i]);
        wrote_not(&bench, "<bidi");
        prove(&bench, FEATURES(OFFER));
        check_early(&bench, false);
    }
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_out_start(&bench.out, true, &writer);
    feed(&bench, OUR_HEADER, false);
    feed(&bench, FEATURES(EXTERNAL OFFER), false);
    wrote_not(&bench, "<bidi");
    bench_fini(&bench);
}

/* In clear it is not enabled, whatever is offered. */
static void test_out_clear(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_CLEAR, true, false);
    bench.out.bidi_wanted = bench.out.bidi_unmanaged = true;
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_out_start(&bench.out, false, &writer);
    feed(&bench, OUR_HEADER, false);
    assert_int_equal(feed(&bench, FEATURES(OFFER), false), S2S_NEED_KEY);
    wrote_not(&bench, "<bidi");
    bench_fini(&bench);
}

/* What the other side may ask on such a stream, and only there. */
static void test_out_questions(void **state)
{
    (void)state;
    struct bench bench;
    open_out(&bench, false, FEATURES(EXTERNAL OFFER));
    const char *pair = RESULT("xmpp.example", "sip.example", ">k</db:result>");
    feed(&bench, pair, false);
    wrote(&bench, "<resource-constraint");
    prove(&bench, FEATURES(""));
    assert_int_equal(feed(&bench, pair, false), S2S_NOTHING);
    wrote(&bench, RESULT("sip.example", "xmpp.example", " type='valid'/>"));
    feed(&bench, RESULT("muc.xmpp.example", "sip.example", ">k</db:result>"), false);
    wrote(&bench, RESULT("sip.example", "muc.xmpp.example", " type='error'>"));
    wrote(&bench, "<resource-constraint");
    feed(&bench, RESULT("xmpp.example", "nobody.example", ">k</db:result>"), false);
    wrote(&bench, "<item-not-found");
    feed(&bench, "<db:verify from='xmpp.example' to='nobody.example' id='z'>k</db:verify>",
         false);
    wrote(&bench, "<item-not-found");
    assert_int_equal(
        feed(&bench, "<db:verify from='xmpp.example' to='sip.example' id='z'> k </db:verify>",
             false),
        S2S_ANSWER_VERIFY);
    assert_true(span_equal(bench.action.id, SPAN("z")));
    assert_true(span_equal(bench.action.key, SPAN("k")));
    assert_true(span_equal(bench.action.local, SPAN("sip.example")));
    /* A verdict that nobody asked for says nothing. */
    assert_int_equal(
        feed(&bench, RESULT("muc.xmpp.example", "sip.example", " type='valid'/>"), false),
        S2S_UNSOLICITED);
    bench_fini(&bench);
    open_out(&bench, false, FEATURES(EXTERNAL));
    prove(&bench, FEATURES(""));
    assert_int_equal(feed(&bench, pair, false), S2S_UNSOLICITED);
    bench_fini(&bench);
}

/* Each direction is counted; a stream is resumed as what it was. */
static void test_out_managed(void **state)
{
    (void)state;
    struct bench bench;
    open_out(&bench, false, FEATURES(EXTERNAL OFFER));
    bench.out.sm_wanted = true;
    prove(&bench, FEATURES(SM_OFFER));
    feed(&bench, REQUEST, false);
    wrote(&bench, "h='0'");
    assert_int_equal(feed(&bench, SM_ENABLED, false), S2S_SM_ENABLED);
    assert_int_equal(feed(&bench, REQUEST, false), S2S_SM_REQUEST);
    assert_string_equal(bench.written, "");
    bench_fini(&bench);
    for (unsigned was_bidi = 0; was_bidi < 2; was_bidi++) {
        open_out(&bench, false, FEATURES(EXTERNAL OFFER));
        bench.out.sm_wanted = true;
        bench.out.sm_previous = SPAN("former");
        bench.out.sm_previous_bidi = was_bidi != 0;
        bench.out.sm_handled = 7;
        prove(&bench, FEATURES(SM_OFFER));
        if (was_bidi != 0)
            wrote(&bench, "<resume xmlns='urn:xmpp:sm:3' h='7' previd='former'/>");
        else
            wrote(&bench, "<enable ");
        assert_int_equal(feed(&bench, MESSAGE, false), S2S_STANZA);
        bench_fini(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_external),  cmocka_unit_test(test_out_dialback),
        cmocka_unit_test(test_out_one_way),   cmocka_unit_test(test_out_clear),
        cmocka_unit_test(test_out_questions), cmocka_unit_test(test_out_managed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
