/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates that a CRL of their authority names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "net/crl.h"
#include "revocation_scene.h"

struct crl_case {
    const char *crl, *certificate, *reason;
};

static const char leaf_revoked[] = "it has been revoked, says a CRL of its authority";
static const char chain_revoked[] = "an authority in its chain has been revoked, says a CRL";

static const struct crl_case crl_cases[] = {
    {"one.crl", "one", leaf_revoked},
    {"one.crl", "other", "verified"},
    {"one.crl", "deep", "verified"},
    {"other.crl", "one", "verified"},
    {"empty.crl", "one", "verified"},
    {"old.crl", "one", leaf_revoked}, /* what was taken back stays so */
    {"middle.crl", "deep", chain_revoked},
    {"middle.crl", "one", "verified"},
    {"middle.crl", "again", "verified"}, /* there is another way */
    {"deep.crl", "deep", leaf_revoked},
    {"foreign.crl", "one", "verified"}, /* whoever made it up */
    {"rogue.crl", "one", "verified"},   /* another authority's number */
    {"users.crl", "one", leaf_revoked},
    {"der.crl", "one", leaf_revoked},
    {"two.crl", "one", leaf_revoked},
    {"two.crl", "deep", leaf_revoked},
    {"folder.d", "one", leaf_revoked},
    {"folder.d", "deep", leaf_revoked},
    {"many.crl", "one", leaf_revoked},
    {"many.crl", "other", "verified"},
};

/* In both directions, twice, as the second time the list is known. */
static void test_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(crl_cases) / sizeof(crl_cases[0]); i++) {
        const struct crl_case *c = &crl_cases[i];
        struct tls_context *judge = open_with("other", c->crl, TLS_VERSION_ANY);
        struct tls_context *judged = open_with(c->certificate, NULL, TLS_VERSION_ANY);
        for (int way = 0; way < 4; way++) {
            struct pair pair;
            const char *reason;
            pair_open(&pair, way % 2 == 0 ? judge : judged, way % 2 == 0 ? judged : judge);
            pair_handshake(&pair);
            assert_finished(&pair);
            const struct tls_session *judging = way % 2 == 0 ? pair.client : pair.server;
            bool is_good = tls_peer_verified(judging, &reason);
            if (strcmp(reason, c->reason) != 0 || tls_peer_revoked(judging) == is_good)
                fail_msg("%s, %s: %s", c->crl, c->certificate, reason);
            pair_fini(&pair);
        }
        tls_context_close(&judge);
        tls_context_close(&judged);
    }
}

/* Also where DNS names the authority (DANE-TA). */
static void test_chain_of_dane(void **state)
{
    (void)state;
    for (int has_list = 0; has_list < 2; has_list++) {
        struct pair pair;
        struct tls_context *client =
            open_with(NULL, has_list ? "deep.crl" : NULL, TLS_VERSION_ANY);
        struct tls_context *server = open_with("deep", NULL, TLS_VERSION_ANY);
        pair_open(&pair, client, server);
        tls_keep_chain(pair.client);
        pair_handshake(&pair);
        assert_finished(&pair);
        assert_int_equal(tls_chain_leads_to(pair.client, client, 1), !has_list);
        pair_fini(&pair);
        tls_context_close(&client);
        tls_context_close(&server);
    }
}

static void test_bad_lists(void **state)
{
    static const struct {
        const char *file, *problem;
        int rc;
    } cases[] = {
        {"indirect.crl", "it is an indirect CRL", -EBADMSG},
        {"attributes.crl", "it is about attribute certificates", -EBADMSG},
        {"delta.crl", "it has a critical extension that is not known here", -EBADMSG},
        {"entry.crl", "an entry of it has a critical extension", -EBADMSG},
        {"sha1.crl", "its signature is weak", -EBADMSG},
        {"broken.crl", "there is no CRL in it, neither as PEM nor as DER", -EBADMSG},
        {"cut.crl", "it is no CRL", -EBADMSG},
        {"none.crl", "there is no CRL in it, neither as PEM nor as DER", -EBADMSG},
        {"nobody.crl", "there is no CRL in it, neither as PEM nor as DER", -EBADMSG},
        {"root.pem", "there is no CRL in it, neither as PEM nor as DER", -EBADMSG},
        {"bad.d", "bad.d/one.crl: there is no CRL in it", -EBADMSG},
        {"absent.crl", "absent.crl: No such file", -ENOENT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[256], error[400] = "";
        struct crls crls = {0};
        certificates_path(&certificates, cases[i].file, path);
        int rc = crls_add(&crls, path, error, sizeof(error));
        if (rc != cases[i].rc || strstr(error, cases[i].problem) == NULL ||
            strstr(error, path) != error)
            fail_msg("%s: %d %s", cases[i].file, rc, error);
        crls_free(&crls);
    }
}

static void test_many(void **state)
{
    char path[256], error[300];
    struct crls crls = {0};
    (void)state;
    certificates_path(&certificates, "many.crl", path);
    assert_int_equal(crls_add(&crls, path, error, sizeof(error)), 0);
    struct crl_facts facts = crls_facts(&crls, 0);
    assert_int_equal(facts.count, 100001);
    assert_true(facts.bytes <= 21 * facts.count);
    assert_true(facts.this_update < time(NULL) && facts.next_update > time(NULL));
    crls_free(&crls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_chain_of_dane),
        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, make_files, remove_certificates);
}
