/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every cell of the negotiation matrix against every kind of peer, in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/matrix.h"
#include "tests/unit/s2s_bench.h"

#define RESULT           "<db:result from='xmpp.example' to='sip.example'>key</db:result>"
#define VERIFY           "<db:verify from='xmpp.example' to='sip.example' id='z'>key</db:verify>"
#define DIALBACK_FEATURE "urn:xmpp:features:dialback"
#define OLD_HEADER                                                                             \
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "    \
    "xmlns:db='jabber:server:dialback' id='r1' from='xmpp.example' to='sip.example'>"

static void wrote_if(const struct bench *bench, bool is_wanted, const char *part)
{
    if (is_wanted)
        wrote(bench, part);
    else
        wrote_not(bench, part);
}

/* ---- the relay is called ---- */

static void check_in_clear(unsigned proofs)
{
    struct bench bench;
    bool has_clear = (proofs & TCP_DB) != 0;
    bench_init(&bench, proofs, true, false);
    assert_int_equal(feed(&bench, HEADER, true), S2S_NOTHING);
    wrote_if(&bench, proofs != TCP_DB, "<starttls");
    wrote_if(&bench, !has_clear, "<required/>");
    wrote_if(&bench, has_clear, DIALBACK_FEATURE);
    wrote_not(&bench, "EXTERNAL");
    feed(&bench, AUTH("="), true);
    wrote(&bench, "<encryption-required/>");
    assert_int_equal(feed(&bench, VERIFY, true), has_clear ? S2S_ANSWER_VERIFY : S2S_CLOSE);
    bench_fini(&bench);
    bench_init(&bench, proofs, true, false);
    feed(&bench, HEADER, true);
    assert_int_equal(feed(&bench, RESULT, true), has_clear ? S2S_VERIFY : S2S_CLOSE);
    if (!has_clear)
        assert_int_equal(bench.action.error, STREAM_ERROR_POLICY_VIOLATION);
    bench_fini(&bench);
    /* Without a version nothing but dialback is known to the peer. */
    bench_init(&bench, proofs, true, false);
    assert_int_equal(feed(&bench, OLD_HEADER, true), has_clear ? S2S_NOTHING : S2S_CLOSE);
    bench_fini(&bench);
}

static void check_in_starttls(unsigned proofs)
{
    struct bench bench;
    bench_init(&bench, proofs, true, false);
    feed(&bench, HEADER, true);
    if (proofs == TCP_DB) {
        assert_int_equal(feed(&bench, STARTTLS, true), S2S_CLOSE);
        wrote(&bench, "<failure");
    } else {
        assert_int_equal(feed(&bench, STARTTLS, true), S2S_START_TLS);
        wrote(&bench, "<proceed");
    }
    bench_fini(&bench);
}

static void check_in_secure(unsigned proofs, bool has_certificate)
{
    struct bench bench;
    bool may_external = (proofs & SASL) != 0 && has_certificate;
    bool may_dialback = (proofs & TLS_DB) != 0;
    bench_init(&bench, proofs, has_certificate, true);
    if (!may_external && !may_dialback) {
        assert_int_equal(feed(&bench, HEADER, true), S2S_CLOSE);
        assert_int_equal(bench.action.error, proofs == SASL ? STREAM_ERROR_NOT_AUTHORIZED
                                                            : STREAM_ERROR_POLICY_VIOLATION);
        bench_fini(&bench);
        return;
    }
    assert_int_equal(feed(&bench, HEADER, true), S2S_NOTHING);
    wrote_if(&bench, may_external, "<mechanism>EXTERNAL</mechanism>");
    wrote_if(&bench, may_dialback, DIALBACK_FEATURE);
    assert_int_equal(feed(&bench, RESULT, true),
                     may_external ? S2S_PAIR_AUTHORISED : S2S_VERIFY);
    bench_fini(&bench);
    bench_init(&bench, proofs, has_certificate, true);
    feed(&bench, HEADER, true);
    assert_int_equal(feed(&bench, AUTH("="), true), may_external ? S2S_RESTART : S2S_NOTHING);
    bench_fini(&bench);
}

static void test_called(void **state)
{
    (void)state;
    for (size_t i = 0; i < MATRIX_SIZE; i++) {
        check_in_clear(matrix[i].proofs);
        check_in_starttls(matrix[i].proofs);
        check_in_secure(matrix[i].proofs, true);
        check_in_secure(matrix[i].proofs, false);
    }
}

/* ---- the relay calls ---- */

/* What it makes of these features: S2S_NOTHING with something written, S2S_NEED_KEY or a close.
 */
static void offered(struct bench *bench, unsigned proofs, bool secure, const char *features)
{
    char memory[1000];
    struct writer writer = writer_make(memory, sizeof(memory));
    bench_init(bench, proofs, true, false);
    s2s_out_start(&bench->out, secure, &writer);
    assert_int_equal(feed(bench, OUR_HEADER, false), S2S_NOTHING);
    feed(bench, features, false);
}

static void check_offered(unsigned proofs, bool secure, const char *features,
                          enum s2s_action_kind kind, const char *written)
{
    struct bench bench;
    offered(&bench, proofs, secure, features);
    assert_int_equal(bench.action.kind, kind);
    if (written != NULL)
        wrote(&bench, written);
    else
        assert_int_equal(bench.written[0], '\0');
    bench_fini(&bench);
}

#define OFFER_TLS  "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define DEMAND_TLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
#define OFFER_DB   "<dialback xmlns='urn:xmpp:features:dialback'/>"

static void check_out_clear(unsigned proofs)
{
    bool has_clear = (proofs & TCP_DB) != 0;
    bool takes_tls = proofs != TCP_DB;
    check_offered(proofs, false, FEATURES(OFFER_TLS), takes_tls ? S2S_NOTHING : S2S_NEED_KEY,
                  takes_tls ? "<starttls" : NULL);
    check_offered(proofs, false, FEATURES(DEMAND_TLS), takes_tls ? S2S_NOTHING : S2S_CLOSE,
                  takes_tls ? "<starttls" : NULL);
    /* Somebody on the way took STARTTLS out, or the server has no TLS: all the same. */
    check_offered(proofs, false, FEATURES(OFFER_DB), has_clear ? S2S_NEED_KEY : S2S_CLOSE,
                  NULL);
    check_offered(proofs, false, FEATURES(EXTERNAL OFFER_DB),
                  has_clear ? S2S_NEED_KEY : S2S_CLOSE, NULL);
    struct bench bench;
    char memory[1000];
    struct writer writer = writer_make(memory, sizeof(memory));
    bench_init(&bench, proofs, true, false);
    s2s_out_start(&bench.out, false, &writer);
    assert_int_equal(feed(&bench, OLD_HEADER, false), has_clear ? S2S_NEED_KEY : S2S_CLOSE);
    bench_fini(&bench);
}

static void check_out_secure(unsigned proofs)
{
    bool may_external = (proofs & SASL) != 0, may_dialback = (proofs & TLS_DB) != 0;
    enum s2s_action_kind else_kind = may_dialback ? S2S_NEED_KEY : S2S_CLOSE;
    check_offered(proofs, true, FEATURES(EXTERNAL OFFER_DB),
                  may_external ? S2S_NOTHING : else_kind, may_external ? "<auth" : NULL);
    check_offered(proofs, true, FEATURES(OFFER_DB), else_kind, NULL);
    /* The prefix that the header declares is an offer, too. */
    check_offered(proofs, true, FEATURES(""), else_kind, NULL);
    struct bench bench;
    offered(&bench, proofs, true, FEATURES(EXTERNAL OFFER_DB));
    if (may_external)
        assert_int_equal(feed(&bench,
                              "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                              "<not-authorized/></failure>",
                              false),
                         else_kind);
    bench_fini(&bench);
}

static void test_calls(void **state)
{
    (void)state;
    for (size_t i = 0; i < MATRIX_SIZE; i++) {
        check_out_clear(matrix[i].proofs);
        check_out_secure(matrix[i].proofs);
    }
}

/* ---- in clear ---- */

static void test_a_pair_in_clear(void **state)
{
    (void)state;
    struct bench bench;
    struct s2s_action answer = {.local = SPAN("sip.example"),
                                .remote = SPAN("xmpp.example"),
                                .id = SPAN("id1"),
                                .verdict = S2S_VALID};
    struct s2s_action action;
    bench_init(&bench, S2S_PROOF_ALL, true, false);
    feed(&bench, HEADER, true);
    assert_int_equal(feed(&bench, RESULT, true), S2S_VERIFY);
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_in_verified(&bench.in, &answer, &writer, &action);
    assert_int_equal(action.kind, S2S_PAIR_AUTHORISED);
    assert_int_equal(feed(&bench, MESSAGE, true), S2S_STANZA);
    /* Another pair that may not: its error, and the stream goes on. */
    feed(&bench, "<db:result from='banned.example' to='sip.example'>k</db:result>", true);
    wrote(&bench, "policy-violation");
    feed(&bench, "<db:verify from='banned.example' to='sip.example' id='z'>k</db:verify>",
         true);
    wrote(&bench, "policy-violation");
    assert_int_equal(feed(&bench, MESSAGE, true), S2S_STANZA);
    assert_int_equal(
        feed(&bench, "<db:result from='c.example' to='sip.example' type='valid'/>", true),
        S2S_UNSOLICITED);
    bench_fini(&bench);
}

/* What was said in clear does not become true under TLS: neither a proof nor a question. */
static void test_tls_behind_a_key(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_ALL, true, false);
    feed(&bench, HEADER, true);
    assert_int_equal(feed(&bench, RESULT, true), S2S_VERIFY);
    assert_int_equal(feed(&bench, STARTTLS, true), S2S_CLOSE);
    wrote(&bench, "<failure");
    bench_fini(&bench);
}

/* The key, and the answer to it, on an outgoing stream in clear. */
static void test_out_in_clear(void **state)
{
    (void)state;
    struct bench bench;
    offered(&bench, S2S_PROOF_ALL, false, FEATURES(OFFER_DB));
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_out_send_key(&bench.out, SPAN("abc"), &writer);
    assert_int_equal(
        feed(&bench, "<db:verify from='xmpp.example' to='sip.example' id='z' type='valid'/>",
             false),
        S2S_VERIFIED);
    assert_int_equal(
        feed(&bench, "<db:result from='xmpp.example' to='sip.example' type='valid'/>", false),
        S2S_READY);
    bench_fini(&bench);
    /* Where TLS is required nothing is taken for an answer before it. */
    offered(&bench, S2S_PROOF_TLS, false, FEATURES(OFFER_TLS));
    assert_int_equal(
        feed(&bench, "<db:verify from='xmpp.example' to='sip.example' id='z' type='valid'/>",
             false),
        S2S_UNSOLICITED);
    bench_fini(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_called),          cmocka_unit_test(test_calls),
        cmocka_unit_test(test_a_pair_in_clear), cmocka_unit_test(test_tls_behind_a_key),
        cmocka_unit_test(test_out_in_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
