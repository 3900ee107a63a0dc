/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The negotiation machines of server-to-server streams, fed through the real parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/dialback.h"
#include "tests/unit/s2s_bench.h"

static void test_in_external(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, true, false);
    assert_int_equal(feed(&bench, HEADER, true), S2S_NOTHING);
    wrote(&bench, "id='id1'");
    wrote(&bench, "<required/>");
    wrote_not(&bench, "EXTERNAL");
    assert_int_equal(feed(&bench, STARTTLS, true), S2S_START_TLS);
    wrote(&bench, "<proceed");
    s2s_in_tls_done(&bench.in);
    fresh(&bench);
    assert_int_equal(feed(&bench, HEADER, true), S2S_NOTHING);
    wrote(&bench, "<mechanism>EXTERNAL</mechanism>");
    wrote_not(&bench, "starttls");
    assert_int_equal(feed(&bench, AUTH("eG1wcC5leGFtcGxl"), true), S2S_RESTART);
    wrote(&bench, "<success");
    fresh(&bench);
    assert_int_equal(feed(&bench, HEADER, true), S2S_NOTHING);
    wrote_not(&bench, "EXTERNAL");
    assert_int_equal(feed(&bench, MESSAGE, true), S2S_STANZA);
    assert_true(s2s_in_authorised(&bench.in, SPAN("sip.example"), SPAN("xmpp.example")));
    assert_false(s2s_in_authorised(&bench.in, SPAN("two.example"), SPAN("xmpp.example")));
    bench_fini(&bench);
}

static void test_in_external_refused(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    feed(&bench, HEADER, true);
    assert_int_equal(feed(&bench, AUTH("b3RoZXIuZXhhbXBsZQ=="), true), S2S_NOTHING);
    wrote(&bench, "<invalid-authzid/>");
    assert_int_equal(feed(&bench, AUTH("*"), true), S2S_CLOSE);
    wrote(&bench, "<incorrect-encoding/>");
    bench_fini(&bench);
    /* Without a certificate EXTERNAL is neither offered nor taken. */
    bench_init(&bench, S2S_PROOF_TLS, false, true);
    feed(&bench, HEADER, true);
    wrote_not(&bench, "EXTERNAL");
    wrote(&bench, "urn:xmpp:features:dialback");
    feed(&bench, AUTH("="), true);
    wrote(&bench, "<not-authorized/>");
    bench_fini(&bench);
    /* RFC 6120 §6.4.4. */
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    feed(&bench, HEADER, true);
    assert_int_equal(
        feed(&bench, "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", true), S2S_NOTHING);
    wrote(&bench, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>");
    assert_int_equal(feed(&bench, AUTH("="), true), S2S_RESTART);
    bench_fini(&bench);
    bench_init(&bench, S2S_PROOF_DIALBACK, true, true);
    feed(&bench, HEADER, true);
    wrote_not(&bench, "EXTERNAL");
    bench_fini(&bench);
}

static void check_closes(const char *first, const char *second, bool secure,
                         enum stream_error error)
{
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, true, secure);
    enum s2s_action_kind kind = feed(&bench, first, true);
    if (second != NULL)
        kind = feed(&bench, second, true);
    assert_int_equal(kind, S2S_CLOSE);
    assert_int_equal(bench.action.error, error);
    bench_fini(&bench);
}

static void test_in_closes(void **state)
{
    (void)state;
    check_closes(HEADER_OF("xmpp.example", "nobody.example"), NULL, true,
                 STREAM_ERROR_HOST_UNKNOWN);
    check_closes(HEADER_OF("xmpp.example", ""), NULL, true, STREAM_ERROR_IMPROPER_ADDRESSING);
    check_closes(HEADER, MESSAGE, true, STREAM_ERROR_NOT_AUTHORIZED);
    check_closes(HEADER, MESSAGE, false, STREAM_ERROR_NOT_AUTHORIZED);
    check_closes(HEADER, "<db:result from='xmpp.example' to='sip.example'>k</db:result>", false,
                 STREAM_ERROR_POLICY_VIOLATION);
    check_closes(HEADER, "<foo xmlns='bar'/>", true, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE);
    check_closes(HEADER, STARTTLS, true, STREAM_ERROR_NONE);
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, true, false);
    feed(&bench, HEADER, true);
    feed(&bench, "<compress xmlns='http://jabber.org/protocol/compress'/>", true);
    wrote(&bench, "<unsupported-method/>");
    /* The domains may not change when the stream restarts. */
    feed(&bench, STARTTLS, true);
    s2s_in_tls_done(&bench.in);
    fresh(&bench);
    assert_int_equal(feed(&bench, HEADER_OF("evil.example", "sip.example"), true), S2S_CLOSE);
    assert_int_equal(bench.action.error, STREAM_ERROR_NOT_AUTHORIZED);
    bench_fini(&bench);
}

static void test_in_dialback(void **state)
{
    (void)state;
    struct bench bench;
    struct s2s_action answer, action;
    bench_init(&bench, S2S_PROOF_TLS, false, true);
    feed(&bench, HEADER, true);
    assert_int_equal(
        feed(&bench, "<db:result from='xmpp.example' to='sip.example'> key\n</db:result>", true),
        S2S_VERIFY);
    assert_true(span_equal(bench.action.key, SPAN("key")));
    assert_true(span_equal(bench.action.id, SPAN("id1")));
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    answer = (struct s2s_action){.local = SPAN("sip.example"),
                                 .remote = SPAN("xmpp.example"),
                                 .id = SPAN("other"),
                                 .verdict = S2S_VALID};
    s2s_in_verified(&bench.in, &answer, &writer, &action);
    assert_int_equal(action.kind, S2S_NOTHING);
    assert_false(s2s_in_authorised_any(&bench.in));
    answer.id = SPAN("id1");
    s2s_in_verified(&bench.in, &answer, &writer, &action);
    assert_int_equal(action.kind, S2S_PAIR_AUTHORISED);
    bench.written[writer.used] = '\0';
    wrote(&bench, "<db:result from='sip.example' to='xmpp.example' type='valid'/>");
    /* Errors leave the stream alone; answers nobody asked for do nothing. */
    feed(&bench, "<db:result from='xmpp.example' to='nobody.example'>k</db:result>", true);
    wrote(&bench, "item-not-found");
    feed(&bench, "<db:result from='banned.example' to='sip.example'>k</db:result>", true);
    wrote(&bench, "policy-violation");
    assert_int_equal(
        feed(&bench, "<db:result from='c.example' to='sip.example' type='valid'/>", true),
        S2S_UNSOLICITED);
    assert_false(s2s_in_authorised_remote(&bench.in, SPAN("c.example")));
    assert_int_equal(
        feed(&bench, "<db:verify from='xmpp.example' to='sip.example' id='z'>k</db:verify>", true),
        S2S_ANSWER_VERIFY);
    assert_true(span_equal(bench.action.id, SPAN("z")));
    assert_int_equal(feed(&bench, MESSAGE, true), S2S_STANZA);
    bench_fini(&bench);
}

static void test_in_dialback_invalid(void **state)
{
    (void)state;
    struct bench bench;
    struct s2s_action answer, action;
    bench_init(&bench, S2S_PROOF_TLS, false, true);
    feed(&bench, HEADER, true);
    feed(&bench, "<db:result from='xmpp.example' to='sip.example'>key</db:result>", true);
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    answer = (struct s2s_action){.local = SPAN("sip.example"),
                                 .remote = SPAN("xmpp.example"),
                                 .id = SPAN("id1"),
                                 .verdict = S2S_INVALID};
    s2s_in_verified(&bench.in, &answer, &writer, &action);
    assert_int_equal(action.kind, S2S_CLOSE);
    assert_false(s2s_in_authorised_any(&bench.in));
    bench_fini(&bench);
    /* A good certificate spares the call back; where EXTERNAL is wanted it is needed. */
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    feed(&bench, HEADER, true);
    assert_int_equal(
        feed(&bench, "<db:result from='xmpp.example' to='two.example'>k</db:result>", true),
        S2S_PAIR_AUTHORISED);
    bench_fini(&bench);
    bench_init(&bench, S2S_PROOF_EXTERNAL, true, true);
    feed(&bench, HEADER, true);
    feed(&bench, "<db:result from='other.example' to='sip.example'>k</db:result>", true);
    wrote(&bench, "not-authorized");
    bench_fini(&bench);
}

/* Who can prove nothing that would do is told so, instead of being shown no way in; but not
   before TLS, and a partner that names itself only later is not guessed at. */
static void test_in_hopeless(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_EXTERNAL, false, false);
    assert_int_equal(feed(&bench, HEADER, true), S2S_NOTHING);
    bench_fini(&bench);
    bench_init(&bench, S2S_PROOF_EXTERNAL, false, true);
    assert_int_equal(feed(&bench, HEADER, true), S2S_CLOSE);
    assert_int_equal(bench.action.error, STREAM_ERROR_NOT_AUTHORIZED);
    assert_true(bench.action.text.size > 0);
    bench_fini(&bench);
    bench_init(&bench, S2S_PROOF_NONE, true, true);
    assert_int_equal(feed(&bench, HEADER, true), S2S_CLOSE);
    assert_int_equal(bench.action.error, STREAM_ERROR_POLICY_VIOLATION);
    bench_fini(&bench);
}

static void test_in_pair_limit(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, false, true);
    feed(&bench, HEADER, true);
    for (unsigned i = 0; i <= PAIRS_PER_STREAM; i++) {
        char text[200];
        struct writer writer = writer_make(text, sizeof(text) - 1);
        writer_put_literal(&writer, "<db:result to='sip.example' from='d");
        writer_put_uint(&writer, i);
        writer_put_literal(&writer, ".example'>k</db:result>");
        text[writer.used] = '\0';
        assert_int_equal(feed(&bench, text, true),
                         i < PAIRS_PER_STREAM ? S2S_VERIFY : S2S_PAIR_REFUSED);
    }
    wrote(&bench, "resource-constraint");
    bench_fini(&bench);
}

/* A stream of ours that has TLS; the server offered `features` before. */
static void open_out(struct bench *bench, const char *features)
{
    bench_init(bench, S2S_PROOF_TLS, true, false);
    struct writer writer = writer_make(bench->written, sizeof(bench->written) - 1);
    s2s_out_start(&bench->out, false, &writer);
    feed(bench, OUR_HEADER, false);
    feed(bench, features, false);
    wrote(bench, "<starttls");
    assert_int_equal(feed(bench, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", false),
                     S2S_START_TLS);
    s2s_out_tls_done(&bench->out, &writer);
    fresh(bench);
    feed(bench, OUR_HEADER, false);
}

static void test_out_external(void **state)
{
    (void)state;
    struct bench bench;
    open_out(&bench, FEATURES(STARTTLS));
    feed(&bench, FEATURES(EXTERNAL), false);
    wrote(&bench, ">c2lwLmV4YW1wbGU=</auth>");
    assert_int_equal(feed(&bench, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", false),
                     S2S_RESTART);
    wrote(&bench, "<stream:stream");
    fresh(&bench);
    feed(&bench, OUR_HEADER, false);
    assert_int_equal(feed(&bench, FEATURES(""), false), S2S_READY);
    bench_fini(&bench);
    /* Without STARTTLS nothing more is sent. */
    bench_init(&bench, S2S_PROOF_TLS, true, false);
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_out_start(&bench.out, false, &writer);
    feed(&bench, OUR_HEADER, false);
    assert_int_equal(feed(&bench, FEATURES(EXTERNAL), false), S2S_CLOSE);
    assert_string_equal(bench.written, "");
    bench_fini(&bench);
}

static void test_out_dialback(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    struct writer writer = writer_make(bench.written, sizeof(bench.written) - 1);
    s2s_out_start(&bench.out, true, &writer);
    feed(&bench, OUR_HEADER, false);
    assert_int_equal(feed(&bench, FEATURES(""), false), S2S_NEED_KEY);
    assert_true(span_equal(bench.action.id, SPAN("r1")));
    s2s_out_send_key(&bench.out, SPAN("abc"), &writer);
    assert_int_equal(
        feed(&bench, "<db:result from='evil.example' to='sip.example' type='valid'/>", false),
        S2S_UNSOLICITED);
    assert_int_equal(
        feed(&bench, "<db:result from='xmpp.example' to='sip.example' type='valid'/>", false),
        S2S_READY);
    assert_int_equal(
        feed(&bench, "<db:result from='xmpp.example' to='sip.example' type='valid'/>", false),
        S2S_UNSOLICITED);
    assert_int_equal(feed(&bench, MESSAGE, false), S2S_CLOSE);
    bench_fini(&bench);
    bench_init(&bench, S2S_PROOF_EXTERNAL, true, true);
    s2s_out_start(&bench.out, true, &writer);
    feed(&bench, OUR_HEADER, false);
    assert_int_equal(feed(&bench, FEATURES(""), false), S2S_CLOSE);
    bench_fini(&bench);
}

#define LIMITS(bytes, seconds)                                                                   \
    "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>" bytes                                 \
    "</max-bytes><idle-seconds>" seconds "</idle-seconds></limits>"

/* XEP-0478: what the peer told last counts; in clear anybody could have told it. */
static void test_out_limits(void **state)
{
    (void)state;
    struct bench bench;
    open_out(&bench, FEATURES(STARTTLS LIMITS("20000", "9")));
    assert_int_equal(bench.out.max_bytes, 0);
    assert_int_equal(bench.out.idle_seconds, 0);
    feed(&bench, FEATURES(EXTERNAL LIMITS("15000", "60")), false);
    assert_int_equal(bench.out.max_bytes, 15000);
    assert_int_equal(bench.out.idle_seconds, 60);
    feed(&bench, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", false);
    fresh(&bench);
    feed(&bench, OUR_HEADER, false);
    assert_int_equal(feed(&bench, FEATURES(LIMITS("1", "0")), false), S2S_READY);
    assert_int_equal(bench.out.max_bytes, STANZA_SIZE_MIN);
    assert_int_equal(bench.out.idle_seconds, 60);
    bench_fini(&bench);
}

static uint32_t ten_minutes(void *context)
{
    (void)context;
    return 600;
}

static void test_in_limits(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, S2S_PROOF_TLS, true, true);
    feed(&bench, HEADER, true);
    wrote_not(&bench, "limits"); /* the owner did not set them */
    bench_fini(&bench);
    for (unsigned is_secure = 0; is_secure < 2; is_secure++) {
        bench_init(&bench, S2S_PROOF_TLS, true, is_secure);
        bench.policy.max_bytes = 65536;
        bench.policy.idle_seconds = ten_minutes;
        feed(&bench, HEADER, true);
        if (is_secure)
            wrote(&bench, LIMITS("65536", "600") "</stream:features>");
        else
            wrote_not(&bench, "limits");
        bench_fini(&bench);
    }
}

/* XEP-0185, recomputed. */
static void test_keys(void **state)
{
    (void)state;
    char key[DIALBACK_KEY_SIZE];
    dialback_key("s3cr3tf0rd14lb4ck", SPAN("xmpp.example.com"), SPAN("example.org"),
                 SPAN("D60000229F"), key);
    assert_string_equal(key, "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643");
    dialback_key("s3cr3tf0rd14lb4ck", SPAN("montague.example"), SPAN("capulet.example"),
                 SPAN("D60000229F"), key);
    assert_string_equal(key, "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3");
    dialback_key("d14lb4ck43v3r", SPAN("capulet.example"), SPAN("montague.example"),
                 SPAN("417GAF25"), key);
    assert_string_equal(key, "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d");
    assert_true(dialback_check("d14lb4ck43v3r", SPAN("capulet.example"),
                               SPAN("montague.example"), SPAN("417GAF25"), span_of(key)));
    assert_false(dialback_check("d14lb4ck43v3r", SPAN("capulet.example"),
                                SPAN("montague.example"), SPAN("417GAF26"), span_of(key)));
    assert_false(dialback_check("d14lb4ck43v3r", SPAN("capulet.example"),
                                SPAN("montague.example"), SPAN("417GAF25"), SPAN("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_external),   cmocka_unit_test(test_in_external_refused),
        cmocka_unit_test(test_in_closes),     cmocka_unit_test(test_in_dialback),
        cmocka_unit_test(test_in_dialback_invalid), cmocka_unit_test(test_in_pair_limit),
        cmocka_unit_test(test_in_hopeless),
        cmocka_unit_test(test_out_external),  cmocka_unit_test(test_out_dialback),
        cmocka_unit_test(test_out_limits),    cmocka_unit_test(test_in_limits),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
