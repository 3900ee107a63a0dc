/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLS over memory: two sessions talk through byte queues. */
#include <wolfssl/options.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>

#include "net/tls_priv.h"
#include "tls_pair.h"

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

static void *talk_on(void *argument)
{
    struct pair *pair = argument;
    uint8_t back[8];
    bool is_heard =
        tls_write(pair->server, "hi", 2, &pair->to_client) == TLS_DONE &&
        read_all(pair->client, &pair->to_client, &pair->to_server, back, 2, 0) == 2;
    pair_fini(pair);
    return is_heard ? argument : NULL;
}

/* Behind the handshake a session needs neither its context nor its thread. */
static void test_other_thread(void **state)
{
    (void)state;
    struct pair pair;
    pthread_t thread;
    void *heard = NULL;
    struct tls_context *client = open_context(NULL, "root.pem");
    struct tls_context *server = open_context("one.pem", "root.pem");
    pair_open(&pair, client, server);
    pair_handshake(&pair);
    assert_finished(&pair);
    tls_context_close(&server);
    assert_int_equal(pthread_create(&thread, NULL, talk_on, &pair), 0);
    tls_context_close(&client);
    assert_int_equal(pthread_join(thread, &heard), 0);
    assert_ptr_equal(heard, &pair);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_other_thread),
        cmocka_unit_test(test_close_notify),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_sni),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_alpn_refused),
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_old_version),
        cmocka_unit_test(test_no_tickets),
        cmocka_unit_test(test_context_errors),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
