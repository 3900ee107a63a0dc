/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/tls_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char system_ca_file[] = "/etc/ssl/certs/ca-certificates.crt";

/* RFC 9325 §4.2: forward secrecy and AEAD only. wolfSSL skips names its build does not know. */
#define SUITES_13                                                                              \
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256"
#define SUITES_ECDSA                                                                           \
    ":ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-"       \
    "POLY1305"
#define SUITES_RSA                                                                             \
    ":ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"

static const char client_suites[] = SUITES_13 SUITES_ECDSA SUITES_RSA;
static const char ecdsa_suites[] = SUITES_13 SUITES_ECDSA;
static const char rsa_suites[] = SUITES_13 SUITES_RSA;

static int side_use_certificate(const struct tls_context *context, WOLFSSL_CTX *side)
{
    if (context->certificate.data == NULL)
        return 0;
    if (wolfSSL_CTX_use_certificate_chain_buffer(side, context->certificate.data,
                                                 (long)context->certificate.size) !=
        WOLFSSL_SUCCESS)
        return -EBADMSG;
    if (wolfSSL_CTX_use_PrivateKey_buffer(side, context->key.data, (long)context->key.size,
                                          WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
        return -EBADMSG;
    return wolfSSL_CTX_check_private_key(side) == WOLFSSL_SUCCESS ? 0 : -EBADMSG;
}

/* wolfSSL takes the signature on the certificate for the kind of its key, and would agree in
   TLS 1.2 on an ECDSA suite with an RSA key that an ECDSA authority certified. */
static const char *server_suites(const struct tls_context *context)
{
    return context->key_is_rsa ? rsa_suites : ecdsa_suites;
}

static int side_set_rules(WOLFSSL_CTX *side, const char *suites)
{
    if (wolfSSL_CTX_SetMinVersion(side, WOLFSSL_TLSV1_2) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_cipher_list(side, suites) != WOLFSSL_SUCCESS)
        return -EBADMSG;
    /* A session of one tenant must not resume under another's name. */
    (void)wolfSSL_CTX_set_session_cache_mode(side, WOLFSSL_SESS_CACHE_OFF);
#ifdef HAVE_SESSION_TICKET
    (void)wolfSSL_CTX_NoTicketTLSv12(side);
    (void)wolfSSL_CTX_no_ticket_TLSv13(side);
#endif
    /* On the server side this asks for a certificate and does not insist (RFC 6120 §13.7.2). */
    wolfSSL_CTX_set_verify(side, WOLFSSL_VERIFY_PEER, tls_session_on_verify);
    wolfSSL_CTX_SetIORecv(side, tls_session_on_receive);
    wolfSSL_CTX_SetIOSend(side, tls_session_on_send);
    return 0;
}

/* OCSP responses in the handshake (RFC 6066 §8, RFC 8446 §4.4.2.1). Without the callback of
   tools/setup's wolfSSL none is asked for: the library would judge it by authorities that it
   does not have, and fail the handshake. */
static int side_set_status(WOLFSSL_CTX *side, bool server)
{
#ifdef WOLFSSL_STATUS_CB_JUDGES
    if (wolfSSL_CTX_EnableOCSPStapling(side) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_tlsext_status_cb(side, tls_session_on_status) != WOLFSSL_SUCCESS)
        return -ENOMEM;
    if (!server && wolfSSL_CTX_UseOCSPStapling(side, WOLFSSL_CSR_OCSP, 0) != WOLFSSL_SUCCESS)
        return -ENOMEM;
#else
    (void)side, (void)server;
#endif
    return 0;
}

/* Only certificate and key change: wolfSSL_set_SSL_CTX is not in every build. */
int tls_context_lend(const struct tls_context *context, WOLFSSL *ssl)
{
    bool server = wolfSSL_is_server(ssl) != 0;
    if (context->certificate.data == NULL)
        return server ? -EBADMSG : 0;
    if (wolfSSL_use_certificate_chain_buffer(ssl, context->certificate.data,
                                             (long)context->certificate.size) !=
            WOLFSSL_SUCCESS ||
        wolfSSL_use_PrivateKey_buffer(ssl, context->key.data, (long)context->key.size,
                                      WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
        return -EBADMSG;
    if (server && wolfSSL_set_cipher_list(ssl, server_suites(context)) != WOLFSSL_SUCCESS)
        return -EBADMSG;
    return 0;
}

static WOLFSSL_METHOD *side_method(enum tls_version version, bool server)
{
    switch (version) {
    case TLS_VERSION_ANY: break;
    case TLS_VERSION_1_2:
        return server ? wolfTLSv1_2_server_method() : wolfTLSv1_2_client_method();
    case TLS_VERSION_1_3:
        return server ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method();
    }
    return server ? wolfSSLv23_server_method() : wolfSSLv23_client_method();
}

int tls_context_side(struct tls_context *context, bool server, WOLFSSL_CTX **out)
{
    if (context->base != NULL)
        context = context->base;
    WOLFSSL_CTX **kept = server ? &context->server : &context->client;
    if (*kept == NULL) {
        WOLFSSL_CTX *side = wolfSSL_CTX_new(side_method(context->version, server));
        if (side == NULL)
            return -ENOMEM;
        int rc = side_set_rules(side, server ? server_suites(context) : client_suites);
        if (rc == 0)
            rc = side_set_status(side, server);
        if (rc == 0)
            rc = side_use_certificate(context, side);
        if (rc < 0) {
            wolfSSL_CTX_free(side);
            return rc;
        }
        if (server)
            wolfSSL_CTX_set_servername_callback(side, tls_session_on_name);
        *kept = side;
    }
    *out = *kept;
    return 0;
}

/* Whether the leaf, the first certificate of the file, holds an RSA key: rsaEncryption (RFC
   8017 appendix A.1) names nothing but keys. */
static bool leaf_is_rsa(const struct tls_text *pem)
{
    static const uint8_t rsa_encryption[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                             0xf7, 0x0d, 0x01, 0x01, 0x01};
    struct tls_text der = {0};
    bool rsa = staple_leaf(pem, &der) == 0 &&
               memmem(der.data, der.size, rsa_encryption, sizeof(rsa_encryption)) != NULL;
    tls_text_free(&der);
    return rsa;
}

/* Certificate and key must be there and belong together. */
static int check_certificate(struct tls_context *context)
{
    WOLFSSL_CTX *trial = wolfSSL_CTX_new(wolfSSLv23_server_method());
    if (trial == NULL)
        return -ENOMEM;
    int rc = side_use_certificate(context, trial);
    wolfSSL_CTX_free(trial);
    context->key_is_rsa = rc == 0 && leaf_is_rsa(&context->certificate);
    return rc;
}

static int load_certificate(struct tls_context *context,
                            const struct tls_context_options *options, const char **file)
{
    assert(options->key_file != NULL);
    *file = options->certificate_file;
    int rc = tls_text_read(&context->certificate, options->certificate_file);
    if (rc < 0)
        return rc;
    *file = options->key_file;
    rc = tls_text_read(&context->key, options->key_file);
    return rc < 0 ? rc : check_certificate(context);
}

static int load_anchors(struct tls_context *context, const struct tls_context_options *options)
{
    int rc = 0;
    context->anchors = calloc(1, sizeof(*context->anchors));
    if (context->anchors == NULL)
        return -ENOMEM;
    if (options->ca_file == NULL && options->ca_directory == NULL)
        return access(system_ca_file, R_OK) < 0
                   ? 0
                   : anchors_add_file(context->anchors, system_ca_file, true);
    if (options->ca_file != NULL)
        rc = anchors_add_file(context->anchors, options->ca_file, false);
    if (rc == 0 && options->ca_directory != NULL)
        rc = anchors_add_directory(context->anchors, options->ca_directory);
    return rc;
}

static int check_readable(const char *file)
{
    return file == NULL || access(file, R_OK) == 0 ? 0 : -errno;
}

/* Trust anchors and CRLs, which contexts with a base have from there. */
static int load_trust(struct tls_context *context, const struct tls_context_options *options,
                      const char **file, char *error, size_t error_size)
{
    *file = options->ca_directory;
    int rc = check_readable(options->ca_directory);
    if (rc < 0)
        return rc;
    *file = options->ca_file != NULL ? options->ca_file : options->ca_directory;
    rc = check_readable(options->ca_file);
    if (rc == 0)
        rc = load_anchors(context, options);
    if (rc < 0 || options->crl == NULL)
        return rc;
    *file = NULL; /* the error is told */
    return crls_add(&context->crls, options->crl, error, error_size);
}

static void load_staple(struct tls_context *context, const char *certificate_file)
{
    const struct tls_context *base = tls_context_base(context);
    staple_read(&context->staple, certificate_file, &context->certificate, base->anchors,
                &base->crls);
}

static int context_load(struct tls_context *context, const struct tls_context_options *options,
                        const char **file, char *error, size_t error_size)
{
    int rc = 0;
    if (options->certificate_file != NULL)
        rc = load_certificate(context, options, file);
    if (rc == 0 && options->base == NULL)
        rc = load_trust(context, options, file, error, error_size);
    if (rc == 0 && options->certificate_file != NULL)
        load_staple(context, options->certificate_file);
    return rc;
}

static const char *open_error_text(int rc, const struct tls_context_options *options,
                                   const char *file)
{
    if (rc != -EBADMSG)
        return strerror(-rc);
    return file == options->ca_file || file == options->ca_directory
               ? "no trust anchors can be read from it: it is to hold certificates as PEM"
               : "certificate and key are not PEM or do not belong together";
}

int tls_context_open(struct tls_context **out, const struct tls_context_options *options,
                     char *error, size_t error_size)
{
    const char *file = NULL;
    struct tls_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return -ENOMEM;
    context->references = 1;
    context->version = options->version;
    context->base = options->base;
    if (context->base != NULL)
        tls_context_hold(context->base);
    int rc = context_load(context, options, &file, error, error_size);
    if (rc == 0) {
        *out = context;
        return 0;
    }
    if (error != NULL && file != NULL)
        (void)snprintf(error, error_size, "%s: %s", file, open_error_text(rc, options, file));
    tls_context_close(&context);
    return rc;
}

const char *tls_context_unstapled(const struct tls_context *context)
{
    return context->staple.problem;
}

static void context_fini(struct tls_context *context)
{
    wolfSSL_CTX_free(context->server);
    wolfSSL_CTX_free(context->client);
    tls_text_free(&context->certificate);
    tls_text_free(&context->key);
    staple_fini(&context->staple);
    crls_free(&context->crls);
    if (context->anchors != NULL)
        anchors_free(context->anchors);
    free(context->anchors);
}

int tls_certificate_facts(const struct tls_context_options *options,
                          struct tls_certificate_facts *facts)
{
    struct certificate leaf;
    struct staple staple;
    char path[STAPLE_PATH_MAX];
    const char *file;
    struct tls_context trial = {0};
    *facts = (struct tls_certificate_facts){0};
    int rc = tls_text_read(&trial.certificate, options->certificate_file);
    if (rc < 0)
        return rc;
    facts->has_staple = staple_path(path, options->certificate_file) && access(path, F_OK) == 0;
    if (facts->has_staple)
        rc = load_trust(&trial, options, &file, NULL, 0);
    struct tls_text der = {0};
    if (rc == 0 && (staple_leaf(&trial.certificate, &der) < 0 ||
                    certificate_read(&leaf, der.data, der.size) < 0))
        rc = -EBADMSG;
    if (rc == 0) {
        staple_read(&staple, options->certificate_file, &trial.certificate, trial.anchors,
                    NULL);
        certificate_text_subject(&leaf.subject, facts->subject, sizeof(facts->subject));
        facts->not_after = leaf.not_after;
        facts->unstapled = staple.problem;
        facts->staple_until = staple.problem == NULL ? staple.next_update : 0;
        staple_fini(&staple);
    }
    tls_text_free(&der);
    context_fini(&trial);
    return rc;
}

const char *tls_system_anchors(void)
{
    return system_ca_file;
}

int tls_certificate_check(const char *certificate_file, const char *key_file, char *error,
                          size_t error_size)
{
    const struct tls_context_options options = {.certificate_file = certificate_file,
                                                .key_file = key_file};
    struct tls_context *trial = calloc(1, sizeof(*trial));
    const char *file = certificate_file;
    if (trial == NULL)
        return -ENOMEM;
    trial->references = 1;
    int rc = load_certificate(trial, &options, &file);
    if (rc != 0)
        (void)snprintf(error, error_size, "%s: %s", file, open_error_text(rc, &options, file));
    tls_context_close(&trial);
    return rc;
}

void tls_context_hold(struct tls_context *context)
{
    assert(context->references > 0);
    context->references++;
}

void tls_context_close(struct tls_context **out)
{
    struct tls_context *context = *out;
    if (context == NULL)
        return;
    *out = NULL;
    assert(context->references > 0);
    if (--context->references > 0)
        return;
    context_fini(context);
    tls_context_close(&context->base);
    free(context);
}
