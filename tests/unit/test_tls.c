/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLS over memory: two sessions talk through byte queues. */
#include <wolfssl/options.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "certificates.h"
#include "net/tls_priv.h"

static struct certificates certificates;

struct pair {
    struct tls_session *client, *server;
    struct net_buffer to_server, to_client;
    enum tls_result client_result, server_result;
    size_t piece; /* bytes handed over at a time; 0: all */
};

static struct tls_context *open_on_base(const char *name, const char *ca,
                                        struct tls_context *base)
{
    char certificate[256], key[256], anchors[256], file[64], error[512] = "";
    struct tls_context_options options = {0};
    struct tls_context *context = NULL;
    if (name != NULL) {
        certificates_path(&certificates, name, certificate);
        (void)snprintf(file, sizeof(file), "%.*s.key", (int)strcspn(name, "."), name);
        certificates_path(&certificates, file, key);
        options.certificate_file = certificate;
        options.key_file = key;
    }
    options.base = base;
    if (ca != NULL) {
        certificates_path(&certificates, ca, anchors);
        options.ca_file = anchors;
    }
    if (tls_context_open(&context, &options, error, sizeof(error)) < 0)
        fail_msg("%s", error);
    return context;
}

static struct tls_context *open_context(const char *name, const char *ca)
{
    return open_on_base(name, ca, NULL);
}

static void pair_init(struct pair *pair)
{
    *pair = (struct pair){.client_result = TLS_MORE, .server_result = TLS_MORE};
    net_buffer_init(&pair->to_server, 1 << 22);
    net_buffer_init(&pair->to_client, 1 << 22);
}

static void pair_fini(struct pair *pair)
{
    tls_close(&pair->client);
    tls_close(&pair->server);
    net_buffer_fini(&pair->to_server);
    net_buffer_fini(&pair->to_client);
}

static enum tls_result handshake_step(struct tls_session *session, struct net_buffer *in,
                                      struct net_buffer *out, size_t piece)
{
    size_t size = net_buffer_used(in);
    if (piece != 0 && size > piece)
        size = piece;
    tls_set_input(session, net_buffer_front(in), size);
    enum tls_result result = tls_handshake(session, out);
    net_buffer_consume(in, size - tls_return_input(session));
    return result;
}

static void pair_handshake(struct pair *pair)
{
    for (int i = 0; i < 20000; i++) {
        if (pair->client_result == TLS_MORE)
            pair->client_result =
                handshake_step(pair->client, &pair->to_client, &pair->to_server, pair->piece);
        if (pair->server_result == TLS_MORE)
            pair->server_result =
                handshake_step(pair->server, &pair->to_server, &pair->to_client, pair->piece);
        bool client_waits = pair->client_result != TLS_MORE || pair->to_client.end == 0;
        bool server_waits = pair->server_result != TLS_MORE || pair->to_server.end == 0;
        if (client_waits && server_waits)
            return;
    }
}

static void pair_open(struct pair *pair, struct tls_context *client, struct tls_context *server)
{
    pair_init(pair);
    assert_int_equal(tls_connect(&pair->client, client, "one.example", TLS_ALPN_NONE), 0);
    assert_int_equal(tls_accept(&pair->server, server, NULL, NULL, TLS_ALPN_NONE), 0);
}

static void assert_finished(const struct pair *pair)
{
    if (pair->client_result != TLS_DONE || pair->server_result != TLS_DONE)
        fail_msg("client %d %s, server %d %s", pair->client_result, tls_error(pair->client),
                 pair->server_result, tls_error(pair->server));
}

/* Reads until `size` bytes or no more input. */
static size_t read_all(struct tls_session *session, struct net_buffer *in,
                       struct net_buffer *out, uint8_t *data, size_t size, size_t piece)
{
    size_t got = 0, n;
    enum tls_result result = TLS_DONE;
    while (got < size && (result == TLS_DONE || net_buffer_used(in) > 0)) {
        size_t offer = net_buffer_used(in);
        if (piece != 0 && offer > piece)
            offer = piece;
        tls_set_input(session, net_buffer_front(in), offer);
        result = tls_read(session, data + got, size - got, &n, out);
        assert_true(result == TLS_DONE || (result == TLS_MORE && n == 0));
        net_buffer_consume(in, offer - tls_return_input(session));
        got += n;
    }
    return got;
}

static void test_echo(void **state)
{
    (void)state;
    const size_t size = 300000;
    uint8_t *data = malloc(size), *back = malloc(size);
    struct tls_context *client = open_context(NULL, "root.pem");
    struct tls_context *server = open_context("one.pem", "root.pem");
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    static const size_t pieces[] = {0, 1, 1400};
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        const char *reason = NULL;
        pair_open(&pair, client, server);
        pair.piece = pieces[i];
        pair_handshake(&pair);
        assert_finished(&pair);
        assert_true(tls_peer_verified(pair.client, &reason));
        assert_string_equal(tls_protocol_name(pair.client), "TLSv1.3");
        assert_non_null(strstr(tls_cipher_name(pair.client), "GCM"));
        size_t before = net_buffer_used(&pair.to_server);
        assert_int_equal(tls_write(pair.client, data, size, &pair.to_server), TLS_DONE);
        assert_true(net_buffer_used(&pair.to_server) - before <= tls_write_size(size));
        memset(back, 0, size);
        assert_int_equal(
            read_all(pair.server, &pair.to_server, &pair.to_client, back, size, pieces[i]),
            size);
        assert_memory_equal(back, data, size);
        assert_int_equal(tls_write(pair.server, "hi", 2, &pair.to_client), TLS_DONE);
        assert_int_equal(
            read_all(pair.client, &pair.to_client, &pair.to_server, back, 2, pieces[i]), 2);
        assert_memory_equal(back, "hi", 2);
        pair_fini(&pair);
    }
    tls_context_close(&client);
    tls_context_close(&server);
    free(data);
    free(back);
}

static void test_close_notify(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t data[16];
    size_t n;
    struct tls_context *client = open_context(NULL, "root.pem");
    struct tls_context *server = open_context("one.pem", "root.pem");
    pair_open(&pair, client, server);
    /* Sessions keep their contexts alive. */
    tls_context_close(&client);
    tls_context_close(&server);
    pair_handshake(&pair);
    assert_finished(&pair);
    assert_int_equal(tls_write(pair.client, "last", 4, &pair.to_server), TLS_DONE);
    tls_shutdown(pair.client, &pair.to_server);
    tls_set_input(pair.server, net_buffer_front(&pair.to_server),
                  net_buffer_used(&pair.to_server));
    assert_int_equal(tls_read(pair.server, data, sizeof(data), &n, &pair.to_client), TLS_DONE);
    assert_int_equal(n, 4);
    assert_int_equal(tls_read(pair.server, data, sizeof(data), &n, &pair.to_client),
                     TLS_CLOSED);
    assert_int_equal(n, 0);
    pair_fini(&pair);
}

static void test_garbage(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t data[16];
    size_t n;
    struct tls_context *client = open_context(NULL, "root.pem");
    struct tls_context *server = open_context("one.pem", "root.pem");
    pair_open(&pair, client, server);
    static const uint8_t plain[] = "<?xml version='1.0'?><stream:stream>";
    tls_set_input(pair.server, plain, sizeof(plain) - 1);
    assert_int_equal(tls_handshake(pair.server, &pair.to_client), TLS_FAILED);
    assert_string_not_equal(tls_error(pair.server), "no error");
    pair_fini(&pair);
    /* One flipped bit in a record ends the session. */
    pair_open(&pair, client, server);
    pair_handshake(&pair);
    assert_finished(&pair);
    net_buffer_consume(&pair.to_server, net_buffer_used(&pair.to_server));
    assert_int_equal(tls_write(pair.client, "hello", 5, &pair.to_server), TLS_DONE);
    pair.to_server.data[pair.to_server.end - 1] ^= 1;
    tls_set_input(pair.server, net_buffer_front(&pair.to_server),
                  net_buffer_used(&pair.to_server));
    assert_int_equal(tls_read(pair.server, data, sizeof(data), &n, &pair.to_client),
                     TLS_FAILED);
    assert_int_equal(n, 0);
    /* An output that is full is told. */
    struct net_buffer tiny;
    net_buffer_init(&tiny, 8);
    assert_int_equal(tls_write(pair.client, "hello", 5, &tiny), TLS_FAILED);
    net_buffer_fini(&tiny);
    pair_fini(&pair);
    tls_context_close(&client);
    tls_context_close(&server);
}

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

struct choice {
    struct tls_context *one, *two;
    char asked[256];
};

static struct tls_context *choose(void *context, const char *server_name)
{
    struct choice *choice = context;
    (void)snprintf(choice->asked, sizeof(choice->asked), "%s", server_name);
    if (strcmp(server_name, "two.example") == 0)
        return choice->two;
    return strcmp(server_name, "one.example") == 0 || server_name[0] == '\0' ? choice->one
                                                                             : NULL;
}

static bool leaf_names(const struct tls_session *session, const char *name)
{
    size_t size;
    const uint8_t *der = tls_peer_certificate(session, &size);
    return der != NULL && memmem(der, size, name, strlen(name)) != NULL;
}

static void test_sni(void **state)
{
    (void)state;
    struct choice choice = {.one = open_context("one.pem", "root.pem"),
                            .two = open_context("rsa.pem", "root.pem")};
    struct tls_context *client = open_context(NULL, "root.pem");
    static const char *const asked[] = {"one.example", "TWO.example", "", "three.example"};
    for (size_t i = 0; i < 4; i++) {
        struct pair pair;
        pair_init(&pair);
        choice.asked[0] = '\0';
        assert_int_equal(tls_connect(&pair.client, client, asked[i], TLS_ALPN_NONE), 0);
        assert_int_equal(tls_accept(&pair.server, choice.one, choose, &choice, TLS_ALPN_NONE),
                         0);
        pair_handshake(&pair);
        if (i == 3) {
            assert_int_equal(pair.server_result, TLS_FAILED);
            assert_int_equal(pair.client_result, TLS_FAILED);
            assert_string_equal(choice.asked, "three.example");
        } else {
            assert_finished(&pair);
            assert_true(tls_peer_verified(pair.client, NULL));
            assert_int_equal(leaf_names(pair.client, "two.example"), i == 1);
            assert_int_equal(leaf_names(pair.client, "one.example"), i != 1);
        }
        pair_fini(&pair);
    }
    tls_context_close(&client);
    tls_context_close(&choice.one);
    tls_context_close(&choice.two);
}

static void test_alpn(void **state)
{
    (void)state;
    struct tls_context *client = open_context(NULL, "root.pem");
    struct tls_context *server = open_context("one.pem", "root.pem");
    static const enum tls_protocol offers[][2] = {{TLS_ALPN_XMPP_SERVER, TLS_ALPN_XMPP_SERVER},
                                                  {TLS_ALPN_NONE, TLS_ALPN_XMPP_SERVER},
                                                  {TLS_ALPN_XMPP_SERVER, TLS_ALPN_NONE}};
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        pair_init(&pair);
        assert_int_equal(tls_connect(&pair.client, client, "one.example", offers[i][0]), 0);
        assert_int_equal(tls_accept(&pair.server, server, NULL, NULL, offers[i][1]), 0);
        pair_handshake(&pair);
        assert_finished(&pair);
        pair_fini(&pair);
    }
    tls_context_close(&client);
    tls_context_close(&server);
}

/* The hello on the wire offers another protocol than ours: no_application_protocol. */
static void test_alpn_refused(void **state)
{
    (void)state;
    struct pair pair;
    struct tls_context *client = open_context(NULL, "root.pem");
    struct tls_context *server = open_context("one.pem", "root.pem");
    pair_init(&pair);
    assert_int_equal(tls_connect(&pair.client, client, "one.example", TLS_ALPN_XMPP_SERVER), 0);
    assert_int_equal(tls_accept(&pair.server, server, NULL, NULL, TLS_ALPN_XMPP_SERVER), 0);
    assert_int_equal(handshake_step(pair.client, &pair.to_client, &pair.to_server, 0),
                     TLS_MORE);
    uint8_t *offer = memmem(pair.to_server.data, pair.to_server.end, "xmpp-server", 11);
    assert_non_null(offer);
    memcpy(offer, "xmpp-client", 11);
    assert_int_equal(handshake_step(pair.server, &pair.to_server, &pair.to_client, 0),
                     TLS_FAILED);
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 120}; /* RFC 7301 §3.2 */
    assert_int_equal(net_buffer_used(&pair.to_client), sizeof(alert));
    assert_memory_equal(net_buffer_front(&pair.to_client), alert, sizeof(alert));
    pair_fini(&pair);
    tls_context_close(&client);
    tls_context_close(&server);
}

/* Contexts on a base show their own certificates, on both sides, and verify by the base's
   anchors; the base may be closed before them. */
static void test_base(void **state)
{
    (void)state;
    struct tls_context *base = open_context("server_only.pem", "root.pem");
    struct tls_context *one = open_on_base("one.pem", NULL, base);
    struct tls_context *two = open_on_base("rsa.pem", NULL, base);
    assert_true(base->anchors != NULL && one->anchors == NULL && two->anchors == NULL);
    tls_context_close(&base);
    struct tls_context *const clients[] = {one, two}, *const servers[] = {two, one};
    for (size_t i = 0; i < 4; i++) {
        struct pair pair;
        pair_open(&pair, clients[i % 2], servers[i % 2]);
        if (i >= 2)
            (void)wolfSSL_set_options(pair.client->ssl, WOLFSSL_OP_NO_TLSv1_3);
        pair_handshake(&pair);
        assert_finished(&pair);
        assert_true(tls_peer_verified(pair.client, NULL));
        assert_true(tls_peer_verified(pair.server, NULL));
        assert_true(leaf_names(pair.server, i % 2 == 0 ? "one.example" : "two.example"));
        assert_true(leaf_names(pair.client, i % 2 == 0 ? "two.example" : "one.example"));
        uint8_t word[2];
        assert_int_equal(tls_write(pair.server, "hi", 2, &pair.to_client), TLS_DONE);
        assert_int_equal(read_all(pair.client, &pair.to_client, &pair.to_server, word, 2, 0),
                         2);
        pair_fini(&pair);
    }
    assert_null(one->server);
    assert_null(two->client);
    tls_context_close(&one);
    tls_context_close(&two);
}

/* TLS 1.2, where the certificate chosen by name must also decide the cipher suite. */
static void test_old_version(void **state)
{
    (void)state;
    struct choice choice = {.one = open_context("one.pem", "root.pem"),
                            .two = open_context("rsa.pem", "root.pem")};
    struct tls_context *client = open_context("server_only.pem", "root.pem");
    static const char *const asked[] = {"one.example", "two.example"};
    static const char *const suite[] = {"ECDHE-ECDSA", "ECDHE-RSA"};
    for (size_t i = 0; i < 4; i++) {
        struct pair pair;
        pair_init(&pair);
        assert_int_equal(tls_connect(&pair.client, client, asked[i % 2], TLS_ALPN_NONE), 0);
        (void)wolfSSL_set_options(pair.client->ssl, WOLFSSL_OP_NO_TLSv1_3);
        assert_int_equal(tls_accept(&pair.server, i < 2 ? choice.one : choice.two, choose,
                                    &choice, TLS_ALPN_NONE),
                         0);
        pair_handshake(&pair);
        assert_finished(&pair);
        assert_string_equal(tls_protocol_name(pair.client), "TLSv1.2");
        if (strstr(tls_cipher_name(pair.server), suite[i % 2]) == NULL)
            fail_msg("%s", tls_cipher_name(pair.server));
        assert_true(tls_peer_verified(pair.client, NULL));
        assert_true(tls_peer_verified(pair.server, NULL));
        pair_fini(&pair);
    }
    tls_context_close(&client);
    tls_context_close(&choice.one);
    tls_context_close(&choice.two);
}

/* Nothing that could be resumed leaves the server: a ticket would be a record of its own. */
static void test_no_tickets(void **state)
{
    (void)state;
    struct pair pair;
    struct tls_context *client = open_context(NULL, "root.pem");
    struct tls_context *server = open_context("one.pem", "root.pem");
    pair_open(&pair, client, server);
    pair_handshake(&pair);
    assert_finished(&pair);
    assert_int_equal(net_buffer_used(&pair.to_client), 0);
    assert_int_equal(tls_write(pair.server, "x", 1, &pair.to_client), TLS_DONE);
    assert_true(net_buffer_used(&pair.to_client) < 64);
    pair_fini(&pair);
    tls_context_close(&client);
    tls_context_close(&server);
}

static void test_context_errors(void **state)
{
    (void)state;
    char one[256], other[256], missing[256], error[300];
    struct tls_context *context = NULL;
    certificates_path(&certificates, "one.pem", one);
    certificates_path(&certificates, "rsa.key", other);
    certificates_path(&certificates, "missing.pem", missing);
    struct tls_context_options wrong_key = {.certificate_file = one, .key_file = other};
    assert_int_equal(tls_context_open(&context, &wrong_key, error, sizeof(error)), -EBADMSG);
    assert_non_null(strstr(error, "rsa.key"));
    struct tls_context_options no_file = {.certificate_file = missing, .key_file = other};
    assert_int_equal(tls_context_open(&context, &no_file, error, sizeof(error)), -ENOENT);
    assert_non_null(strstr(error, "missing.pem"));
    struct tls_context_options not_pem = {.certificate_file = "/dev/null", .key_file = other};
    assert_int_equal(tls_context_open(&context, &not_pem, error, sizeof(error)), -EBADMSG);
    struct tls_context_options no_ca = {.ca_file = missing};
    assert_int_equal(tls_context_open(&context, &no_ca, error, sizeof(error)), -ENOENT);
    /* Not with the first session, hours later: at once. */
    struct tls_context_options empty_ca = {.ca_file = "/dev/null"};
    assert_int_equal(tls_context_open(&context, &empty_ca, error, sizeof(error)), -EBADMSG);
    assert_non_null(strstr(error, "/dev/null: no trust anchors"));
    assert_null(context);
}

static int make_all(void **state)
{
    (void)state;
    struct certificates *c = &certificates;
    const char *ca = "basicConstraints=critical,CA:TRUE\\nkeyUsage=keyCertSign";
    const char *one = "subjectAltName=DNS:one.example";
    const char *server = "subjectAltName=DNS:one.example\\nextendedKeyUsage=serverAuth";
    int rc =
        tls_start() | certificates_open(c) | certificates_root(c, "root") |
        certificates_root(c, "rogue") | certificates_issue(c, "one", "root", one) |
        certificates_issue(c, "server_only", "root", server) |
        certificates_issue(c, "client_only", "root",
                           "subjectAltName=DNS:one.example\\nextendedKeyUsage=clientAuth") |
        certificates_issue(c, "rogue_leaf", "rogue", one) |
        certificates_issue(c, "rogue_server_only", "rogue", server) |
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
        certificates_issue(c, "below", "too_low", one);
    rc |= certificates_run(
        c,
        "cat deep.pem middle.pem >deep.chain; cat rogue_deep.pem rogue_middle.pem rogue.pem "
        ">rogue_deep.chain; cat not_ca_leaf.pem one.pem >not_ca_leaf.chain;"
        "cat not_ca_leaf.chain root.pem >not_ca_deep.chain; cp not_ca_leaf.key not_ca_deep.key;"
        "cat deep.pem middle.pem rogue_middle.pem >stray.chain; cp deep.key stray.key;"
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
        "self.key -subj /CN=one.example -addext subjectAltName=DNS:one.example -out self.pem"
        " && openssl x509 -req -in one.csr -CA root.pem -CAkey root.key -days -1 "
        "-set_serial 77 -extfile one.ext -out expired.pem && cp one.key expired.key && "
        "cat expired.pem root.pem >expired.chain && "
        "openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -days -1 -set_serial 79 "
        "-extfile middle.ext -out old_middle.pem && cat deep.pem old_middle.pem >old.chain && "
        "cp deep.key old.key && cat below.pem too_low.pem lowest.pem >below.chain && "
        "openssl req -new -newkey rsa:2048 -nodes -keyout rsa.key -subj /CN=x -out rsa.csr "
        "&& printf 'subjectAltName=DNS:two.example' >rsa.ext && openssl x509 -req -in "
        "rsa.csr -CA root.pem -CAkey root.key -days 30 -set_serial 78 -extfile rsa.ext "
        "-out rsa.pem");
    return rc;
}

static int remove_all(void **state)
{
    (void)state;
    certificates_close(&certificates);
    tls_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_close_notify),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_server_certificates),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_sni),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_alpn_refused),
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_old_version),
        cmocka_unit_test(test_no_tickets),
        cmocka_unit_test(test_context_errors),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
