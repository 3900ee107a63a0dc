/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which certificates of the other side TLS takes for good, and what their chain leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/path.h"
#include "tls_pair.h"

struct client_case {
    const char *name; /* NULL: shows no certificate */
    bool shown, verified;
};

/* The server asks, never insists, and keeps the truth. */
static void test_client_certificates(void **state)
{
    (void)state;
    static const struct client_case cases[] = {
        {NULL, false, false},
        {"one.pem", true, true},
        {"server_only.pem", true, true}, /* as public authorities issue them */
        {"client_only.pem", true, true},
        {"rogue_leaf.pem", true, false},
        {"self.pem", true, false},
        {"expired.pem", true, false},
        {"rogue_server_only.pem", true, false},
        {"deep.chain", true, true},
        {"rogue_deep.chain", true, false},
        {"rogue_deep.chain", true, false}, /* again: the first must leave nothing behind */
        {"rogue_deep.pem", true, false},
        {"not_ca_leaf.chain", true, false},
        {"stray.chain", true, true},
        {"forged.chain", true, false},
        {"forged.pem", true, false},
        {"below.chain", true, false},
        {"below.pem", true, false},
        {"old.chain", true, false},
        {"mute.chain", true, false},
        {"narrow.chain", true, false},
        {"narrow_deep.chain", true, false},
        {"narrow_good.chain", true, true},
    };
    struct tls_context *server = open_context("one.pem", "root.pem");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair;
        const char *reason = "";
        size_t size = 0;
        struct tls_context *client = open_context(cases[i].name, "root.pem");
        pair_open(&pair, client, server);
        pair_handshake(&pair);
        if (pair.client_result != TLS_DONE || pair.server_result != TLS_DONE)
            fail_msg("%s: client %s, server %s", cases[i].name, tls_error(pair.client),
                     tls_error(pair.server));
        bool verified = tls_peer_verified(pair.server, &reason);
        if (verified != cases[i].verified)
            fail_msg("%s: verified %d: %s", cases[i].name, verified, reason);
        assert_int_equal(tls_peer_certificate(pair.server, &size) != NULL, cases[i].shown);
        assert_int_equal(size > 0, cases[i].shown);
        assert_true(strlen(reason) > 0);
        pair_fini(&pair);
        tls_context_close(&client);
    }
    tls_context_close(&server);
}

static void test_server_certificates(void **state)
{
    (void)state;
    static const struct client_case cases[] = {
        {"one.pem", true, true},         {"rsa.pem", true, true},
        {"client_only.pem", true, true}, {"rogue_leaf.pem", true, false},
        {"self.pem", true, false},       {"expired.pem", true, false},
        {"deep.chain", true, true},      {"rogue_deep.chain", true, false},
        {"rogue_deep.pem", true, false}};
    struct tls_context *client = open_context(NULL, "root.pem");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair;
        const char *reason = "";
        struct tls_context *server = open_context(cases[i].name, "root.pem");
        pair_open(&pair, client, server);
        pair_handshake(&pair);
        assert_finished(&pair);
        if (tls_peer_verified(pair.client, &reason) != cases[i].verified)
            fail_msg("%s: %s", cases[i].name, reason);
        pair_fini(&pair);
        tls_context_close(&server);
    }
    tls_context_close(&client);
}

/* The DER of a certificate. */
static void read_der(const char *name, struct tls_text *out)
{
    char command[100], path[256];
    (void)snprintf(command, sizeof(command), "openssl x509 -in %s -outform DER -out text.der", name);
    assert_int_equal(certificates_run(&certificates, command), 0);
    certificates_path(&certificates, "text.der", path);
    assert_int_equal(tls_text_read(out, path), 0);
}

static bool is_der(const void *file, const struct certificate *anchor)
{
    const struct tls_text *wanted = file;
    return anchor->der_size == wanted->size && memcmp(anchor->der, wanted->data, wanted->size) == 0;
}

/* An authority that the peer does not send: given here, or one of the anchors. */
static void test_authority_that_is_not_sent(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_good;
    } cases[] = {{"one.pem", true},          {"deep.chain", true},  {"self.pem", false},
                 {"not_ca_leaf.chain", false}, {"expired.chain", false}};
    struct tls_text root, other;
    read_der("root.pem", &root);
    read_der("self.pem", &other);
    struct tls_context *client = open_context(NULL, "root.pem");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair;
        struct tls_context *server = open_context(cases[i].name, "root.pem");
        pair_open(&pair, client, server);
        tls_keep_chain(pair.client);
        pair_handshake(&pair);
        assert_finished(&pair);
        assert_int_equal(tls_chain_leads_to_authority(pair.client, root.data, root.size),
                         cases[i].is_good);
        assert_int_equal(tls_chain_leads_to_anchor(pair.client, client, is_der, &root),
                         cases[i].is_good);
        assert_false(tls_chain_leads_to_anchor(pair.client, client, is_der, &other));
        /* What is no certificate is no authority. */
        assert_false(tls_chain_leads_to_authority(pair.client, root.data, root.size - 1));
        pair_fini(&pair);
        tls_context_close(&server);
    }
    tls_context_close(&client);
    tls_text_free(&root);
    tls_text_free(&other);
}

/* What a record of usage DANE-TA rests on: the chain as it was sent, and nothing else. */
static void test_chain(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned count, good; /* good: a bit for each certificate that the leaf leads to */
    } cases[] = {
        {"one.pem", 1, 0},          {"self.pem", 1, 0},          {"deep.chain", 2, 2},
        {"rogue_deep.chain", 3, 6}, {"not_ca_leaf.chain", 2, 0}, {"not_ca_deep.chain", 3, 0},
        {"stray.chain", 3, 2},      {"expired.chain", 2, 0},     {"old.chain", 2, 0},
        {"below.chain", 3, 2}, /* the uppermost may have no other authority below it */
    };
    struct tls_context *client = open_context(NULL, "root.pem");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair;
        size_t size, leaf_size;
        struct tls_context *server = open_context(cases[i].name, "root.pem");
        for (int keeps = 0; keeps < 2; keeps++) {
            pair_open(&pair, client, server);
            if (keeps)
                tls_keep_chain(pair.client);
            pair_handshake(&pair);
            assert_finished(&pair);
            unsigned count = keeps ? cases[i].count : 0;
            assert_null(tls_peer_chain(pair.client, count, &size));
            for (unsigned at = 1; at < count; at++) {
                bool is_good = (cases[i].good >> at & 1) != 0;
                if (tls_chain_leads_to(pair.client, at) != is_good)
                    fail_msg("%s: %u", cases[i].name, at);
            }
            const uint8_t *leaf = tls_peer_certificate(pair.client, &leaf_size);
            if (count > 0) {
                assert_memory_equal(tls_peer_chain(pair.client, 0, &size), leaf, leaf_size);
                assert_int_equal(size, leaf_size);
            }
            pair_fini(&pair);
        }
        tls_context_close(&server);
    }
    tls_context_close(&client);
}

struct reason_case {
    const char *anchors, *name, *reason;
};

static void check_reasons(const struct reason_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pair pair;
        const char *reason = NULL;
        struct tls_context *trusting = open_context(NULL, cases[i].anchors);
        struct tls_context *server = open_context(cases[i].name, "root.pem");
        pair_open(&pair, trusting, server);
        pair_handshake(&pair);
        assert_finished(&pair);
        (void)tls_peer_verified(pair.client, &reason);
        if (strcmp(reason, cases[i].reason) != 0)
            fail_msg("%s by %s: %s", cases[i].name, cases[i].anchors, reason);
        pair_fini(&pair);
        tls_context_close(&server);
        tls_context_close(&trusting);
    }
}

/* What is trusted decides, and the reason says so. */
static void test_anchors(void **state)
{
    (void)state;
    static const struct reason_case cases[] = {
        {"root.pem", "one.pem", "verified"},
        {"rogue.pem", "one.pem", "no authority known here signed it"},
        {"middle.pem", "deep.pem", "verified"},
        {"self.pem", "self.pem", "verified"},
        {"plain.pem", "plain.pem", "verified"}, /* no authority: good for itself alone */
        {"plain.pem", "plain_leaf.pem", "a certificate in its chain may not sign others"},
        {"lowest.pem", "lowest_leaf.pem", "verified"},
        {"lowest.pem", "below.chain",
         "an authority in its chain may not have so many below it"},
        {"root.pem", "crossed.chain", "verified"},
        {"rogue.pem", "crossed.chain", "verified"},
        {"root.pem", "shuffled.chain", "verified"},
        {"root.pem", "expired.pem", "it has expired"},
        {"root.pem", "old.chain", "an authority in its chain has expired"},
        {"root.pem", "forged.chain", "a signature in its chain is wrong"},
        {"root.pem", "narrow.chain", "an authority in its chain may not vouch for its names"},
        {"root.pem", "many.chain", "its chain has too many ways"},
    };
    check_reasons(cases, sizeof(cases) / sizeof(cases[0]));
}

/* What a good signature does not make good. */
static void test_flaws(void **state)
{
    (void)state;
    static const struct reason_case cases[] = {
        {"root.pem", "odd_deep.chain",
         "an authority in its chain has a critical extension that is not known here"},
        {"rsa_root.pem", "md5.pem", "it has a weak signature"},
        {"root.pem", "sha1.pem", "it has a weak signature"},
        {"root.pem", "sha1_deep.chain", "an authority in its chain has a weak signature"},
        {"sha1_root.pem", "sha1_root_leaf.pem", "verified"}, /* trusted without a signature */
        {"rsa_root.pem", "pss.pem", "verified"},
        {"rsa_root.pem", "pss_sha1.pem", "it has a weak signature"},
        {"root.pem", "short.pem", "its key is too short"},
        {"root.pem", "short_deep.chain", "an authority in its chain has too short a key"},
        {"short_middle.pem", "short_deep.pem", "an authority in its chain has too short a key"},
        {"root.pem", "mail.pem", "it is not meant for TLS"},
        {"root.pem", "mail_deep.chain", "an authority in its chain is not meant for TLS"},
        {"mail_middle.pem", "mail_deep.pem", "verified"}, /* trusted for what we trust it for */
        {"root.pem", "sip.pem", "verified"},
        {"root.pem", "any_deep.chain", "verified"},
    };
    check_reasons(cases, sizeof(cases) / sizeof(cases[0]));
}

/* RFC 5280 §4.2: what is critical and not known. The relay does not show such a certificate. */
static void test_unknown_extension(void **state)
{
    (void)state;
    char path[256];
    struct anchors anchors = {0};
    struct tls_text leaf = {0};
    certificates_path(&certificates, "root.pem", path);
    assert_int_equal(anchors_add_file(&anchors, path, false), 0);
    certificates_path(&certificates, "odd.der", path);
    assert_int_equal(tls_text_read(&leaf, path), 0);
    assert_string_equal(path_verify(&leaf, 1, &anchors),
                        "it has a critical extension that is not known here");
    tls_text_free(&leaf);
    anchors_free(&anchors);
}

/* An authority NAME_middle with these extensions, a leaf of it, and their chain NAME_deep. */
static int issue_deep(const char *name, const char *extensions)
{
    struct certificates *c = &certificates;
    char middle[64], deep[64], text[512];
    (void)snprintf(middle, sizeof(middle), "%s_middle", name);
    (void)snprintf(deep, sizeof(deep), "%s_deep", name);
    (void)snprintf(text, sizeof(text), "basicConstraints=critical,CA:TRUE\\n%s", extensions);
    int rc = certificates_issue(c, middle, "root", text) |
             certificates_issue(c, deep, middle, "subjectAltName=DNS:one.example");
    (void)snprintf(text, sizeof(text), "cat %s.pem %s.pem >%s.chain", deep, middle, deep);
    return rc | certificates_run(c, text);
}

static int make_flawed(void)
{
    struct certificates *c = &certificates;
    const char *mail = "subjectAltName=DNS:one.example\\nextendedKeyUsage=emailProtection";
    const char *sip = "subjectAltName=DNS:one.example\\nextendedKeyUsage=1.3.6.1.5.5.7.3.20";
    const char *odd = "subjectAltName=DNS:one.example\\n1.2.3.4=critical,ASN1:NULL";
    return certificates_run(
               c,
               "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
               "sha1_root.key -subj /CN=sha1 -sha1 -out sha1_root.pem && openssl req -x509 "
               "-newkey rsa:2048 -nodes -keyout rsa_root.key -subj /CN=rsa -out rsa_root.pem "
               "&& cp one.ext short.ext") |
           issue_deep("odd", "1.2.3.4=critical,ASN1:NULL") |
           issue_deep("sha1", "keyUsage=keyCertSign") | issue_deep("short", "") |
           issue_deep("mail", "extendedKeyUsage=emailProtection") |
           issue_deep("any", "extendedKeyUsage=anyExtendedKeyUsage") |
           certificates_issue(c, "odd", "root", odd) |
           certificates_issue(c, "mail", "root", mail) |
           certificates_issue(c, "sip", "root", sip) |
           certificates_issue(c, "sha1_root_leaf", "sha1_root",
                              "subjectAltName=DNS:one.example") |
           certificates_run(
               c,
               "set -e; openssl x509 -in odd.pem -outform DER -out odd.der; sign() { in=$1 "
               "ca=$2 out=$3; shift 3; openssl x509 -req -in $in.csr "
               "-CA $ca.pem -CAkey $ca.key -CAcreateserial -days 30 -extfile $in.ext -out "
               "$out.pem $*; }; "
               "sign one rsa_root md5 -md5; sign one root sha1 -sha1; "
               "sign one rsa_root pss -sigopt rsa_padding_mode:pss; "
               "sign one rsa_root pss_sha1 -sha1 -sigopt rsa_padding_mode:pss; "
               "for name in md5 sha1 pss pss_sha1; do cp one.key $name.key; done; "
               "sign sha1_middle root sha1_middle -sha1; "
               "cat sha1_deep.pem sha1_middle.pem >sha1_deep.chain; "
               "for name in short short_middle; do openssl req -new -newkey rsa:1024 -nodes "
               "-keyout $name.key -subj /CN=$name -out $name.csr; sign $name root $name; done; "
               "sign short_deep short_middle short_deep; "
               "cat short_deep.pem short_middle.pem >short_deep.chain");
}

static int make_chains(void **state)
{
    struct certificates *c = &certificates;
    const char *ca = "basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign";
    const char *one = "subjectAltName=DNS:one.example";
    int rc =
        make_certificates(state) | certificates_root(c, "rogue") |
        certificates_issue(c, "client_only", "root",
                           "subjectAltName=DNS:one.example\\nextendedKeyUsage=clientAuth") |
        certificates_issue(c, "rogue_leaf", "rogue", one) |
        certificates_issue(c, "rogue_server_only", "rogue",
                           "subjectAltName=DNS:one.example\\nextendedKeyUsage=serverAuth") |
        certificates_issue(c, "middle", "root", ca) |
        certificates_issue(c, "deep", "middle", one) |
        certificates_issue(c, "rogue_middle", "rogue", ca) |
        certificates_issue(c, "rogue_deep", "rogue_middle", one) |
        certificates_issue(c, "not_ca_leaf", "one", one) |
        certificates_issue(
            c, "lowest", "root",
            "basicConstraints=critical,CA:TRUE,pathlen:0\\nkeyUsage=keyCertSign") |
        certificates_issue(c, "too_low", "lowest", ca) |
        /* Of another name: authorities that have issued themselves do not count. */
        certificates_run(c, "openssl req -new -key too_low.key -subj /CN=low -out too_low.csr "
                            "&& openssl x509 -req -in too_low.csr -CA lowest.pem -CAkey "
                            "lowest.key -set_serial 80 -days 30 -extfile too_low.ext -out "
                            "too_low.pem") |
        certificates_issue(c, "below", "too_low", one) |
        certificates_issue(c, "mute_middle", "root",
                           "basicConstraints=critical,CA:TRUE\\nkeyUsage=digitalSignature") |
        certificates_issue(c, "mute", "mute_middle", one) |
        certificates_issue(c, "narrow_middle", "root",
                           "basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign\\n"
                           "nameConstraints=critical,permitted;DNS:two.example") |
        certificates_issue(c, "narrow", "narrow_middle", one) |
        certificates_issue(c, "narrow_good", "narrow_middle",
                           "subjectAltName=DNS:two.example") |
        certificates_issue(c, "narrow_lower", "narrow_middle", ca) |
        certificates_run(c,
                         "openssl req -new -key narrow_lower.key -subj /CN=lower -out "
                         "lower.csr && openssl x509 -req -in lower.csr -CA narrow_middle.pem "
                         "-CAkey narrow_middle.key -set_serial 81 -days 30 -extfile "
                         "narrow_lower.ext -out narrow_lower.pem") |
        certificates_issue(c, "narrow_deep", "narrow_lower", one) |
        certificates_issue(c, "lower", "middle", ca) |
        certificates_issue(c, "shuffled", "lower", one) |
        certificates_issue(c, "lowest_leaf", "lowest", one) |
        certificates_run(c,
                         "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                         "-nodes -keyout plain.key -subj /CN=plain -out plain.pem -addext "
                         "basicConstraints=CA:FALSE -addext subjectAltName=DNS:one.example") |
        certificates_issue(c, "plain_leaf", "plain", one) |
        /* Authorities of one name without key identifiers: each may have signed each. */
        certificates_run(
            c,
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
            "many.key -subj /CN=many -out many.pem -addext subjectKeyIdentifier=none -addext "
            "authorityKeyIdentifier=none -addext keyUsage=keyCertSign && cp many.pem "
            "many.chain && for n in 1 2 3 4 5 6 7 8; do openssl req -x509 -key many.key "
            "-subj /CN=many -set_serial $n -addext subjectKeyIdentifier=none -addext "
            "authorityKeyIdentifier=none -addext keyUsage=keyCertSign >>many.chain; done") |
        /* An authority in the name of root, down to its key identifier. */
        certificates_run(c,
                         "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                         "-nodes -keyout false_root.key -subj /CN=root -days 30 -out "
                         "false_root.pem -addext subjectKeyIdentifier=$(openssl x509 -in "
                         "root.pem -noout -ext subjectKeyIdentifier | tail -1 | tr -d ' :')") |
        certificates_issue(c, "forged_middle", "false_root", ca) |
        certificates_issue(c, "forged", "forged_middle", one);
    return rc | make_flawed() |
           certificates_run(
               c,
               "cat deep.pem middle.pem >deep.chain; cat rogue_deep.pem rogue_middle.pem "
               "rogue.pem >rogue_deep.chain; cat not_ca_leaf.pem one.pem >not_ca_leaf.chain;"
               "cat not_ca_leaf.chain root.pem >not_ca_deep.chain;"
               "cp not_ca_leaf.key not_ca_deep.key;"
               "cat deep.pem middle.pem rogue_middle.pem >stray.chain; cp deep.key stray.key;"
               "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
               "self.key -subj /CN=one.example -addext subjectAltName=DNS:one.example "
               "-out self.pem && openssl x509 -req -in one.csr -CA root.pem -CAkey root.key "
               "-days -1 -set_serial 77 -extfile one.ext -out expired.pem && "
               "cp one.key expired.key && cat expired.pem root.pem >expired.chain && "
               "openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -days -1 "
               "-set_serial 79 -extfile middle.ext -out old_middle.pem && "
               "cat deep.pem old_middle.pem >old.chain && cp deep.key old.key && "
               "cat below.pem too_low.pem lowest.pem >below.chain && "
               "cat forged.pem forged_middle.pem >forged.chain && "
               "openssl x509 -req -in middle.csr -CA rogue.pem -CAkey rogue.key -set_serial 82 "
               "-days 30 -extfile middle.ext -out crossed.pem && "
               "cat deep.pem crossed.pem middle.pem >crossed.chain && cp deep.key crossed.key "
               "&& "
               "cat shuffled.pem middle.pem lower.pem >shuffled.chain && "
               "cat mute.pem mute_middle.pem >mute.chain && "
               "cat narrow.pem narrow_middle.pem >narrow.chain && "
               "cat narrow_good.pem narrow_middle.pem >narrow_good.chain && "
               "cat narrow_deep.pem narrow_lower.pem narrow_middle.pem >narrow_deep.chain");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_server_certificates),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_authority_that_is_not_sent),
        cmocka_unit_test(test_anchors),
        cmocka_unit_test(test_flaws),
        cmocka_unit_test(test_unknown_extension),
    };
    return cmocka_run_group_tests(tests, make_chains, remove_certificates);
}
