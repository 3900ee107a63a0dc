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

/* A stream that comes in under TLS, and may go both ways; what the relay offers is `written`. */
static void open_in(struct bench *bench, unsigned proofs, bool certificate)
{
    bench_init(bench, proofs, certificate, true);
    bench->facts.both_ways = true;
    bench->policy.stream_management = true;
    feed(bench, HEADER, true);
}

static void close_in(struct bench *bench, enum stream_error error)
{
    assert_int_equal(bench->action.kind, S2S_CLOSE);
    assert_int_equal(bench->action.error, error);
    assert_false(s2s_in_is_both_ways(&bench->in));
    bench_fini(bench);
}

static void prove_in(struct bench *bench)
{
    assert_int_equal(feed(bench, AUTH("="), true), S2S_RESTART);
    fresh(bench);
    feed(bench, HEADER, true);
}

/* Offered under TLS, before the proof, where the rule allows it; ours go when the proof is done. */
static void test_in_external(void **state)
{
    (void)state;
    struct bench bench;
    open_in(&bench, S2S_PROOF_TLS, true);
    wrote(&bench, OFFER);
    assert_int_equal(feed(&bench, ENABLED, true), S2S_NOTHING);
    assert_string_equal(bench.written, "");
    assert_false(s2s_in_is_both_ways(&bench.in));
    assert_int_equal(feed(&bench, AUTH("="), true), S2S_RESTART);
    assert_false(s2s_in_is_both_ways(&bench.in)); /* a header of the peer's comes first */
    fresh(&bench);
    feed(&bench, HEADER, true);
    wrote_not(&bench, "<bidi");
    assert_true(s2s_in_is_both_ways(&bench.in));
    assert_int_equal(feed(&bench, MESSAGE, true), S2S_STANZA);
    bench_fini(&bench);
}

static void test_in_dialback(void **state)
{
    (void)state;
    struct bench bench;
    open_in(&bench, S2S_PROOF_DIALBACK, false);
    wrote(&bench, OFFER);
    feed(&bench,
         "<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'>"
         "<max-bytes>20000</max-bytes><idle-seconds>60</idle-seconds></limits></bidi>",
         true);
    assert_int_equal(bench.in.max_bytes, 20000);
    assert_int_equal(bench.in.idle_seconds, 60);
    const char *claim = RESULT("xmpp.example", "sip.example", ">k</db:result>");
    assert_int_equal(feed(&bench, claim, true), S2S_VERIFY);
    assert_false(s2s_in_is_both_ways(&bench.in));
    struct s2s_action answer = bench.action, action;
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    answer.verdict = S2S_VALID;
    s2s_in_verified(&bench.in, &answer, &writer, &action);
    assert_int_equal(action.kind, S2S_PAIR_AUTHORISED);
    assert_true(s2s_in_is_both_ways(&bench.in));
    assert_false(s2s_in_sm_may_come(&bench.in));
    bench_fini(&bench);
    /* Another pair than the one in the header is heard, and gets nothing of ours. */
    open_in(&bench, S2S_PROOF_TLS, true);
    feed(&bench, ENABLED, true);
    assert_int_equal(feed(&bench, RESULT("xmpp.example", "two.example", ">k</db:result>"), true),
                     S2S_PAIR_AUTHORISED);
    assert_false(s2s_in_is_both_ways(&bench.in));
    bench_fini(&bench);
}

/* Not offered, or offered and enabled twice, too late, or by the feature's name. */
static void test_in_out_of_order(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    feed(&bench, HEADER, true);
    wrote_not(&bench, "<bidi");
    feed(&bench, ENABLED, true);
    close_in(&bench, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE);
    open_in(&bench, S2S_PROOF_TLS, true);
    feed(&bench, OFFER, true);
    close_in(&bench, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE);
    open_in(&bench, S2S_PROOF_TLS, true);
    feed(&bench, ENABLED, true);
    feed(&bench, ENABLED, true);
    close_in(&bench, STREAM_ERROR_POLICY_VIOLATION);
    open_in(&bench, S2S_PROOF_TLS, true);
    prove_in(&bench);
    feed(&bench, ENABLED, true);
    close_in(&bench, STREAM_ERROR_POLICY_VIOLATION);
    open_in(&bench, S2S_PROOF_DIALBACK, false);
    feed(&bench, RESULT("xmpp.example", "sip.example", ">k</db:result>"), true);
    feed(&bench, ENABLED, true);
    close_in(&bench, STREAM_ERROR_POLICY_VIOLATION);
}

/* In clear, and to who has not said its name, it is not offered. */
static void test_in_clear(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_ALL, true, false);
    bench.facts.both_ways = true;
    feed(&bench, HEADER, true);
    wrote(&bench, "<starttls ");
    wrote_not(&bench, "<bidi");
    feed(&bench, ENABLED, true);
    close_in(&bench, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE);
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    bench.facts.both_ways = true;
    feed(&bench,
         "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
         "to='sip.example' version='1.0'>",
         true);
    wrote_not(&bench, "<bidi");
    bench_fini(&bench);
}

/* Each direction is counted; what the peer acknowledges is for the owner to judge. */
static void test_in_managed(void **state)
{
    (void)state;
    struct bench bench;
    open_in(&bench, S2S_PROOF_TLS, true);
    feed(&bench, ENABLED, true);
    prove_in(&bench);
    assert_true(s2s_in_sm_may_come(&bench.in));
    assert_int_equal(feed(&bench, "<enable xmlns='urn:xmpp:sm:3'/>", true), S2S_SM_ENABLE);
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_in_sm_enabled(&bench.in, &writer, SPAN_NONE, 0);
    assert_false(s2s_in_sm_may_come(&bench.in));
    assert_int_equal(feed(&bench, "<a xmlns='urn:xmpp:sm:3' h='7'/>", true), S2S_SM_ACKED);
    assert_int_equal(bench.action.sm.h, 7);
    bench_fini(&bench);
    open_in(&bench, S2S_PROOF_TLS, true);
    feed(&bench, ENABLED, true);
    prove_in(&bench);
    assert_int_equal(feed(&bench, "<resume xmlns='urn:xmpp:sm:3' h='7' previd='x'/>", true),
                     S2S_SM_RESUME);
    bench.in.is_uncounted = true; /* stanzas of ours have gone */
    assert_int_equal(feed(&bench, "<enable xmlns='urn:xmpp:sm:3'/>", true), S2S_NOTHING);
    wrote(&bench, "<unexpected-request");
    bench_fini(&bench);
    /* One way there is nothing to acknowledge, and nothing to go on behind. */
    open_in(&bench, S2S_PROOF_TLS, true);
    prove_in(&bench);
    assert_int_equal(feed(&bench, "<resume xmlns='urn:xmpp:sm:3' h='7' previd='x'/>", true),
                     S2S_CLOSE);
    bench_fini(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_external),  cmocka_unit_test(test_out_dialback),
        cmocka_unit_test(test_out_one_way),   cmocka_unit_test(test_out_clear),
        cmocka_unit_test(test_out_questions), cmocka_unit_test(test_out_managed),
        cmocka_unit_test(test_in_external),   cmocka_unit_test(test_in_dialback),
        cmocka_unit_test(test_in_out_of_order), cmocka_unit_test(test_in_clear),
        cmocka_unit_test(test_in_managed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
