/* SPDX-License-Identifier: GPL-3.0-or-later */
/* OCSP responses that are stapled to certificates, by others and by the relay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/path.h"
#include "net/tls_priv.h"
#include "revocation_scene.h"

static struct tls_text read_text(const char *name)
{
    char path[256];
    struct tls_text text = {0};
    certificates_path(&certificates, name, path);
    if (tls_text_read(&text, path) != 0)
        fail_msg("%s", path);
    return text;
}

/* Certificates of the folder, once each. */
static struct anchors root_file, one_file;

static void read_certificate(struct certificate *certificate, const char *name,
                             struct anchors *file)
{
    char path[256];
    certificates_path(&certificates, name, path);
    if (anchors_add_file(file, path, false) != 0)
        fail_msg("%s", path);
    assert_int_equal(file->count, 1);
    assert_int_equal(certificate_read(certificate, file->list[0].der, file->list[0].size), 0);
}

struct response_case {
    const char *name; /* NAME.ocsp */
    enum ocsp_verdict verdict;
    const char *reason;
};

static const struct response_case responses[] = {
    {"good", OCSP_GOOD, "good"},
    {"good_key", OCSP_GOOD, "good"},
    {"good_256", OCSP_GOOD, "good"},
    {"good_delegate", OCSP_GOOD, "good"},
    {"good_delegate_key", OCSP_GOOD, "good"},
    {"gone_delegate", OCSP_GOOD, "good"},
    {"revoked", OCSP_REVOKED, "revoked"},
    {"revoked_delegate", OCSP_REVOKED, "revoked"},
    {"expired", OCSP_UNUSABLE, "it has expired"},
    {"early", OCSP_UNUSABLE, "it is not valid yet"},
    {"endless", OCSP_UNUSABLE, "it does not say how long it holds"},
    {"unknown", OCSP_UNUSABLE, "its responder does not know the certificate"},
    {"refusal", OCSP_UNUSABLE, "its responder refused to answer"},
    {"flipped", OCSP_UNUSABLE, "neither the authority nor a responder of it has signed it"},
    {"serial", OCSP_UNUSABLE, "it is about another certificate"},
    {"issuer", OCSP_UNUSABLE, "it is about another certificate"},
    {"foreign", OCSP_UNUSABLE, "neither the authority nor a responder of it has signed it"},
    {"foreign_delegate", OCSP_UNUSABLE,
     "neither the authority nor a responder of it has signed it"},
    {"plain_delegate", OCSP_UNUSABLE,
     "neither the authority nor a responder of it has signed it"},
    {"late_delegate", OCSP_UNUSABLE,
     "neither the authority nor a responder of it has signed it"},
    {"hidden_delegate", OCSP_UNUSABLE,
     "neither the authority nor a responder of it has signed it"},
    {"garbage", OCSP_UNUSABLE, "it cannot be read"},
    {"short", OCSP_UNUSABLE, "it cannot be read"},
    {"long", OCSP_UNUSABLE, "it is too long"},
};

#define RESPONSE_COUNT (sizeof(responses) / sizeof(responses[0]))

static struct tls_text read_response(const char *name)
{
    char file[64];
    (void)snprintf(file, sizeof(file), "%s.ocsp", name);
    return read_text(file);
}

static void test_responses(void **state)
{
    static struct certificate one, root;
    (void)state;
    read_certificate(&one, "one.pem", &one_file);
    read_certificate(&root, "root.pem", &root_file);
    struct ocsp_question question = {.certificate = &one, .authority = &root, .now = time(NULL)};
    for (size_t i = 0; i < RESPONSE_COUNT; i++) {
        struct tls_text text = read_response(responses[i].name);
        question.der = text.data;
        question.size = text.size;
        struct ocsp_answer answer = ocsp_judge(&question);
        if (answer.verdict != responses[i].verdict ||
            strcmp(answer.reason, responses[i].reason) != 0)
            fail_msg("%s: %d %s", responses[i].name, answer.verdict, answer.reason);
        /* No start of it is one. */
        for (question.size = 0; question.size < text.size; question.size++)
            assert_int_equal(ocsp_judge(&question).verdict, OCSP_UNUSABLE);
        tls_text_free(&text);
    }
}

/* A responder whose certificate its authority has taken back speaks for it no more. */
static void test_revoked_responder(void **state)
{
    static struct certificate one, root;
    char path[256], error[300];
    struct crls crls = {0};
    (void)state;
    read_certificate(&one, "one.pem", &one_file);
    read_certificate(&root, "root.pem", &root_file);
    certificates_path(&certificates, "gone.crl", path);
    assert_int_equal(crls_add(&crls, path, error, sizeof(error)), 0);
    struct tls_text text = read_response("gone_delegate");
    struct ocsp_question question = {.der = text.data,
                                     .size = text.size,
                                     .certificate = &one,
                                     .authority = &root,
                                     .now = time(NULL)};
    assert_int_equal(ocsp_judge(&question).verdict, OCSP_GOOD);
    question.crls = &crls;
    assert_int_equal(ocsp_judge(&question).verdict, OCSP_UNUSABLE);
    crls_free(&crls);
    tls_text_free(&text);
}

#ifdef WOLFSSL_STATUS_CB_JUDGES

static const enum tls_version versions[] = {TLS_VERSION_1_2, TLS_VERSION_1_3};

/* Staples it without a look at it, as another's server may. */
static void force_staple(struct tls_context *context, const char *name)
{
    staple_fini(&context->staple);
    context->staple = (struct staple){.der = read_response(name), .next_update = INT64_MAX};
}

/* What the server's certificate is worth to the client. */
static bool shake(struct tls_context *client, struct tls_context *server, const char **reason,
                  enum tls_staple *staple)
{
    struct pair pair;
    const char *ignored;
    pair_open(&pair, client, server);
    pair_handshake(&pair);
    assert_finished(&pair);
    bool is_good = tls_peer_verified(pair.client, reason);
    *staple = tls_peer_staple(pair.client, &ignored);
    assert_int_equal(tls_peer_staple(pair.server, &ignored), TLS_STAPLE_NONE);
    pair_fini(&pair);
    return is_good;
}

static enum tls_staple staple_of(enum ocsp_verdict verdict)
{
    switch (verdict) {
    case OCSP_GOOD: return TLS_STAPLE_GOOD;
    case OCSP_REVOKED: return TLS_STAPLE_REVOKED;
    case OCSP_UNUSABLE: break;
    }
    return TLS_STAPLE_UNUSABLE;
}

/* The handshake ends well whatever comes; revoked is not good, useless is none. */
static void test_staples(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        struct tls_context *client = open_with(NULL, NULL, versions[v]);
        struct tls_context *server = open_with("one", NULL, versions[v]);
        for (size_t i = 0; i < RESPONSE_COUNT; i++) {
            const char *reason;
            enum tls_staple staple;
            const char *name = responses[i].name;
            if (strcmp(name, "long") == 0)
                continue; /* no message of a handshake is so long */
            force_staple(server, name);
            bool is_good = shake(client, server, &reason, &staple);
            if (is_good != (responses[i].verdict != OCSP_REVOKED) ||
                staple != staple_of(responses[i].verdict))
                fail_msg("%s: %s, %d", name, reason, staple);
            if (!is_good)
                assert_string_equal(
                    reason, "it has been revoked, says the OCSP response that came with it");
        }
        tls_context_close(&client);
        tls_context_close(&server);
    }
}

/* RFC 7633. */
static void test_promise(void **state)
{
    static const struct {
        const char *response; /* NULL: none */
        bool is_good;
    } cases[] = {{NULL, false}, {"staple_good", true}, {"good", false}, {"garbage", false}};
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        struct tls_context *client = open_with(NULL, NULL, versions[v]);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            const char *reason;
            enum tls_staple staple;
            struct tls_context *server = open_with("staple", NULL, versions[v]);
            if (cases[i].response != NULL)
                force_staple(server, cases[i].response);
            if (shake(client, server, &reason, &staple) != cases[i].is_good)
                fail_msg("%s: %s", cases[i].response, reason);
            tls_context_close(&server);
        }
        tls_context_close(&client);
    }
}

/* Nobody asks those who connect for a response, so their promise binds nobody. */
static void test_promise_of_client(void **state)
{
    struct pair pair;
    (void)state;
    struct tls_context *client = open_with("staple", NULL, TLS_VERSION_ANY);
    struct tls_context *server = open_with("one", NULL, TLS_VERSION_ANY);
    pair_open(&pair, client, server);
    pair_handshake(&pair);
    assert_finished(&pair);
    assert_true(tls_peer_verified(pair.server, NULL));
    pair_fini(&pair);
    tls_context_close(&client);
    tls_context_close(&server);
}

/* A leaf of an authority in between, whose own response is signed by that. */
static void test_deep_staple(void **state)
{
    const char *reason;
    enum tls_staple staple;
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        struct tls_context *client = open_with(NULL, NULL, versions[v]);
        struct tls_context *server = open_with("deep", NULL, versions[v]);
        force_staple(server, "deep_good");
        assert_true(shake(client, server, &reason, &staple));
        assert_int_equal(staple, TLS_STAPLE_GOOD);
        force_staple(server, "deep_revoked");
        assert_false(shake(client, server, &reason, &staple));
        tls_context_close(&client);
        tls_context_close(&server);
    }
}

static void put_beside(const char *certificate, const char *response)
{
    char command[256];
    (void)snprintf(command, sizeof(command), "cp %s.ocsp %s.pem.ocsp", response, certificate);
    assert_int_equal(certificates_run(&certificates, command), 0);
}

static void remove_beside(const char *certificate)
{
    char file[64], path[256];
    (void)snprintf(file, sizeof(file), "%s.pem.ocsp", certificate);
    certificates_path(&certificates, file, path);
    assert_int_equal(unlink(path), 0);
}

/* What stands beside the own certificate is read with it, and stapled when it is good. */
static void test_own(void **state)
{
    static const struct {
        const char *certificate, *response, *problem;
    } cases[] = {
        {"one", "good", NULL},
        {"one", "good_delegate", NULL},
        {"deep", "deep_good", NULL},
        {"one", "revoked", "it says that the certificate has been revoked"},
        {"one", "expired", "it has expired"},
        {"one", "serial", "it is about another certificate"},
        {"one", "foreign", "neither the authority nor a responder of it has signed it"},
        {"one", "garbage", "it cannot be read"},
        {"one", "long", "File too large"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_beside(cases[i].certificate, cases[i].response);
        for (size_t v = 0; v < 2; v++) {
            const char *reason;
            enum tls_staple staple;
            struct tls_context *client = open_with(NULL, NULL, versions[v]);
            struct tls_context *server = open_with(cases[i].certificate, NULL, versions[v]);
            const char *problem = tls_context_unstapled(server);
            if ((problem == NULL) != (cases[i].problem == NULL) ||
                (problem != NULL && strcmp(problem, cases[i].problem) != 0))
                fail_msg("%s: %s", cases[i].response, problem);
            assert_true(shake(client, server, &reason, &staple));
            assert_int_equal(staple, problem == NULL ? TLS_STAPLE_GOOD : TLS_STAPLE_NONE);
            /* What was good when it was read ends by itself. */
            server->staple.next_update = time(NULL);
            assert_true(shake(client, server, &reason, &staple));
            assert_int_equal(staple, TLS_STAPLE_NONE);
            tls_context_close(&client);
            tls_context_close(&server);
        }
        remove_beside(cases[i].certificate);
    }
}

static struct tls_context *choose_other(void *other, const char *name)
{
    (void)name;
    return other;
}

/* The response goes with the certificate that the server name has chosen. */
static void test_chosen(void **state)
{
    char certificate[256], key[256], error[300];
    (void)state;
    put_beside("one", "good");
    certificates_path(&certificates, "one.pem", certificate);
    certificates_path(&certificates, "one.key", key);
    for (size_t v = 0; v < 2; v++) {
        struct pair pair;
        const char *reason;
        struct tls_context *chosen = NULL;
        struct tls_context *client = open_with(NULL, NULL, versions[v]);
        struct tls_context *base = open_with("tenant", NULL, versions[v]);
        const struct tls_context_options options = {
            .certificate_file = certificate, .key_file = key, .base = base};
        assert_int_equal(tls_context_open(&chosen, &options, error, sizeof(error)), 0);
        pair_init(&pair);
        assert_int_equal(tls_connect(&pair.client, client, "one.example", TLS_ALPN_NONE), 0);
        assert_int_equal(tls_accept(&pair.server, base, choose_other, chosen, TLS_ALPN_NONE), 0);
        /* It holds on to it. */
        pair.server_result = handshake_step(pair.server, &pair.to_server, &pair.to_client, 0);
        pair_handshake(&pair);
        tls_context_close(&chosen);
        assert_finished(&pair);
        assert_true(tls_peer_verified(pair.client, &reason));
        assert_int_equal(tls_peer_staple(pair.client, &reason), TLS_STAPLE_GOOD);
        pair_fini(&pair);
        tls_context_close(&base);
        tls_context_close(&client);
    }
    remove_beside("one");
}

#endif

static int remove_files(void **state)
{
    anchors_free(&root_file);
    anchors_free(&one_file);
    return remove_certificates(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_revoked_responder),
#ifdef WOLFSSL_STATUS_CB_JUDGES
        cmocka_unit_test(test_staples),
        cmocka_unit_test(test_promise),
        cmocka_unit_test(test_promise_of_client),
        cmocka_unit_test(test_deep_staple),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_chosen),
#endif
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
