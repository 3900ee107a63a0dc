/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two TLS sessions that talk through byte queues, and the certificates that they show. */
#ifndef PASSERELLE_TESTS_TLS_PAIR_H
#define PASSERELLE_TESTS_TLS_PAIR_H

#include "certificates.h"
#include "net/tls.h"

static struct certificates certificates;

struct pair {
    struct tls_session *client, *server;
    struct net_buffer to_server, to_client;
    enum tls_result client_result, server_result;
    size_t piece; /* bytes handed over at a time; 0: all */
};

static inline struct tls_context *open_on_base(const char *name, const char *ca,
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

static inline struct tls_context *open_context(const char *name, const char *ca)
{
    return open_on_base(name, ca, NULL);
}

static inline void pair_init(struct pair *pair)
{
    *pair = (struct pair){.client_result = TLS_MORE, .server_result = TLS_MORE};
    net_buffer_init(&pair->to_server, 1 << 22);
    net_buffer_init(&pair->to_client, 1 << 22);
}

static inline void pair_fini(struct pair *pair)
{
    tls_close(&pair->client);
    tls_close(&pair->server);
    net_buffer_fini(&pair->to_server);
    net_buffer_fini(&pair->to_client);
}

static inline enum tls_result handshake_step(struct tls_session *session, struct net_buffer *in,
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

static inline void pair_handshake(struct pair *pair)
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

static inline void pair_open(struct pair *pair, struct tls_context *client,
                             struct tls_context *server)
{
    pair_init(pair);
    assert_int_equal(tls_connect(&pair->client, client, "one.example", TLS_ALPN_NONE), 0);
    assert_int_equal(tls_accept(&pair->server, server, NULL, NULL, TLS_ALPN_NONE), 0);
}

static inline void assert_finished(const struct pair *pair)
{
    if (pair->client_result != TLS_DONE || pair->server_result != TLS_DONE)
        fail_msg("client %d %s, server %d %s", pair->client_result, tls_error(pair->client),
                 pair->server_result, tls_error(pair->server));
}

/* root.pem signs one.pem, server_only.pem and rsa.pem, which names two.example. */
static inline int make_certificates(void **state)
{
    (void)state;
    struct certificates *c = &certificates;
    return tls_start() | certificates_open(c) | certificates_root(c, "root") |
           certificates_issue(c, "one", "root", "subjectAltName=DNS:one.example") |
           certificates_issue(c, "server_only", "root",
                              "subjectAltName=DNS:one.example\\nextendedKeyUsage=serverAuth") |
           certificates_run(
               c, "openssl req -new -newkey rsa:2048 -nodes -keyout rsa.key -subj /CN=x -out "
                  "rsa.csr && printf 'subjectAltName=DNS:two.example' >rsa.ext && openssl x509 "
                  "-req -in rsa.csr -CA root.pem -CAkey root.key -days 30 -set_serial 78 "
                  "-extfile rsa.ext -out rsa.pem");
}

static inline int remove_certificates(void **state)
{
    (void)state;
    certificates_close(&certificates);
    tls_stop();
    return 0;
}

#endif
