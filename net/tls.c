/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/tls_priv.h"

#include <wolfssl/version.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/path.h"

#define RECORD_SIZE_MAX     16384 /* RFC 8446 §5.1 */
#define RECORD_OVERHEAD_MAX 64    /* header, nonce, type and tag, with room */
#define SERVER_NAME_MAX     255

int tls_start(void)
{
    return wolfSSL_Init() == WOLFSSL_SUCCESS ? 0 : -ENOMEM;
}

void tls_stop(void)
{
    (void)wolfSSL_Cleanup();
}

bool tls_accelerated(void)
{
#if defined(WOLFSSL_AESNI) && defined(__x86_64__)
    return __builtin_cpu_supports("aes");
#elif defined(WOLFSSL_ARMASM)
    return true;
#else
    return false;
#endif
}

const char *tls_library(void)
{
    return "wolfSSL " LIBWOLFSSL_VERSION_STRING;
}

int tls_session_on_receive(WOLFSSL *ssl, char *data, int size, void *context)
{
    struct tls_session *session = context;
    (void)ssl;
    assert(size >= 0);
    size_t n = (size_t)size < session->input_size ? (size_t)size : session->input_size;
    if (n == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(data, session->input, n);
    session->input += n;
    session->input_size -= n;
    return (int)n;
}

int tls_session_on_send(WOLFSSL *ssl, char *data, int size, void *context)
{
    struct tls_session *session = context;
    (void)ssl;
    assert(session->output != NULL);
    assert(size >= 0);
    if (net_buffer_add(session->output, data, (size_t)size) < 0)
        return WOLFSSL_CBIO_ERR_GENERAL;
    return size;
}

static void keep_peer(struct tls_session *session, const uint8_t *der, size_t size)
{
    if (session->peer != NULL || der == NULL || size == 0)
        return;
    session->peer = malloc(size);
    if (session->peer == NULL)
        return;
    memcpy(session->peer, der, size);
    session->peer_size = size;
}

static void keep_chain(struct tls_session *session, const struct tls_text *chain,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct tls_text *kept = &session->chain[i];
        kept->size = chain[i].size;
        kept->data = malloc(kept->size);
        if (kept->data == NULL)
            return;
        memcpy(kept->data, chain[i].data, kept->size);
        session->chain_count++;
    }
}

static const struct anchors *context_anchors(const struct tls_context *context)
{
    return context->base != NULL ? context->base->anchors : context->anchors;
}

/* Accepts every chain: dialback over TLS works with any certificate (XEP-0220 §2.1), and who
   may claim what is decided above. wolfSSL asks once or for each certificate, with all of them
   each time, and takes what is accepted here for an authority that is proved, whatever was
   wrong with it: so its own verdict on a chain counts for nothing. */
int tls_session_on_verify(int preverify, WOLFSSL_X509_STORE_CTX *store)
{
    struct tls_session *session = store->userCtx;
    struct tls_text chain[TLS_CHAIN_MAX];
    (void)preverify;
    assert(session != NULL);
    if (session->peer != NULL || store->totalCerts <= 0 || store->certs == NULL)
        return 1;
    unsigned count =
        store->totalCerts < TLS_CHAIN_MAX ? (unsigned)store->totalCerts : TLS_CHAIN_MAX;
    for (unsigned i = 0; i < count; i++)
        chain[i] = (struct tls_text){store->certs[i].buffer, store->certs[i].length};
    /* First: a session with a peer has been judged. */
    session->refusal = path_verify(chain, count, context_anchors(session->context));
    keep_peer(session, chain[0].data, chain[0].size);
    if (session->keeps_chain)
        keep_chain(session, chain, count);
    return 1;
}

/* The name in lower case; false when it is no host name that we could serve. */
static bool copy_name(char out[SERVER_NAME_MAX + 1], const char *name, size_t size)
{
    if (size > SERVER_NAME_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (name[i] <= ' ' || name[i] > '~')
            return false;
        out[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    }
    out[size] = '\0';
    return true;
}

int tls_session_on_name(WOLFSSL *ssl, int *alert, void *unused)
{
    struct tls_session *session = wolfSSL_GetIOReadCtx(ssl);
    char name[SERVER_NAME_MAX + 1] = "";
    void *data = NULL;
    (void)unused;
    assert(session != NULL);
    *alert = unrecognized_name;
    if (session->choose == NULL)
        return 0;
    size_t size = wolfSSL_SNI_GetRequest(ssl, WOLFSSL_SNI_HOST_NAME, &data);
    if (data != NULL && !copy_name(name, data, size))
        return alert_fatal;
    struct tls_context *chosen = session->choose(session->choose_context, name);
    if (chosen == NULL)
        return alert_fatal;
    if (chosen == session->context)
        return 0;
    if (tls_context_lend(chosen, ssl) < 0) {
        *alert = 80; /* internal_error, RFC 8446 §6.2 */
        return alert_fatal;
    }
    return 0;
}

static int session_open(struct tls_session **out, struct tls_context *context, bool server,
                        enum tls_protocol alpn)
{
    static char xmpp_server[] = "xmpp-server"; /* XEP-0368; wolfSSL takes it without const */
    WOLFSSL_CTX *side;
    int rc = tls_context_side(context, server, &side);
    if (rc < 0)
        return rc;
    struct tls_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return -ENOMEM;
    session->ssl = wolfSSL_new(side);
    if (session->ssl == NULL) {
        free(session);
        return -ENOMEM;
    }
    session->server = server;
    session->context = context;
    tls_context_hold(context);
    wolfSSL_SetIOReadCtx(session->ssl, session);
    wolfSSL_SetIOWriteCtx(session->ssl, session);
    wolfSSL_SetCertCbCtx(session->ssl, session);
    if (alpn == TLS_ALPN_XMPP_SERVER &&
        wolfSSL_UseALPN(session->ssl, xmpp_server, sizeof(xmpp_server) - 1,
                        WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS) {
        tls_close(&session);
        return -ENOMEM;
    }
    if (context->base != NULL && tls_context_lend(context, session->ssl) < 0) {
        tls_close(&session);
        return -EBADMSG;
    }
    *out = session;
    return 0;
}

int tls_accept(struct tls_session **session, struct tls_context *fallback, tls_choose_fn choose,
               void *choose_context, enum tls_protocol alpn)
{
    int rc = session_open(session, fallback, true, alpn);
    if (rc < 0)
        return rc;
    (*session)->choose = choose;
    (*session)->choose_context = choose_context;
    return 0;
}

int tls_connect(struct tls_session **session, struct tls_context *context,
                const char *server_name, enum tls_protocol alpn)
{
    size_t size = server_name != NULL ? strlen(server_name) : 0;
    if (size > SERVER_NAME_MAX)
        return -EINVAL;
    int rc = session_open(session, context, false, alpn);
    if (rc < 0)
        return rc;
    if (size > 0 && wolfSSL_UseSNI((*session)->ssl, WOLFSSL_SNI_HOST_NAME, server_name,
                                   (unsigned short)size) != WOLFSSL_SUCCESS) {
        tls_close(session);
        return -ENOMEM;
    }
    return 0;
}

void tls_keep_chain(struct tls_session *session)
{
    assert(!session->finished);
    session->keeps_chain = true;
}

void tls_close(struct tls_session **out)
{
    struct tls_session *session = *out;
    if (session == NULL)
        return;
    *out = NULL;
    wolfSSL_free(session->ssl);
    tls_context_close(&session->context);
    free(session->peer);
    for (unsigned i = 0; i < session->chain_count; i++)
        free(session->chain[i].data);
    free(session);
}

void tls_set_input(struct tls_session *session, const uint8_t *data, size_t size)
{
    session->input = data;
    session->input_size = size;
}

size_t tls_return_input(struct tls_session *session)
{
    size_t left = session->input_size;
    session->input = NULL;
    session->input_size = 0;
    return left;
}

static enum tls_result session_result(struct tls_session *session, int rc)
{
    int error = wolfSSL_get_error(session->ssl, rc);
    session->output = NULL;
    if (error == WOLFSSL_ERROR_WANT_READ)
        return TLS_MORE;
    if (error == WOLFSSL_ERROR_ZERO_RETURN)
        return TLS_CLOSED;
    if (error == WOLFSSL_ERROR_NONE)
        return TLS_DONE;
    session->error = wolfSSL_ERR_reason_error_string((unsigned long)error);
    return TLS_FAILED;
}

/* What wolfSSL has taken for authorities meanwhile is to be nobody's. */
static void forget_authorities(const struct tls_session *session)
{
    const struct tls_context *base =
        session->context->base != NULL ? session->context->base : session->context;
    (void)wolfSSL_CTX_UnloadCAs(session->server ? base->server : base->client);
}

enum tls_result tls_handshake(struct tls_session *session, struct net_buffer *output)
{
    if (session->finished)
        return TLS_DONE;
    session->output = output;
    int rc = session->server ? wolfSSL_accept(session->ssl) : wolfSSL_connect(session->ssl);
    if (session->peer != NULL)
        forget_authorities(session);
    if (rc != WOLFSSL_SUCCESS) {
        enum tls_result result = session_result(session, rc);
        return result == TLS_DONE ? TLS_FAILED : result;
    }
    session->output = NULL;
    session->finished = true;
    /* A lent certificate and its key have done their work. So has the context, which counts its
       holders on its own thread only; wolfSSL's behind it counts for all threads. */
    (void)wolfSSL_UnloadCertsKeys(session->ssl);
    tls_context_close(&session->context);
    return TLS_DONE;
}

enum tls_result tls_read(struct tls_session *session, void *data, size_t size,
                         size_t *read_size, struct net_buffer *output)
{
    assert(session->finished);
    assert(size > 0);
    *read_size = 0;
    session->output = output;
    int rc = wolfSSL_read(session->ssl, data, size < INT32_MAX ? (int)size : INT32_MAX);
    if (rc > 0) {
        session->output = NULL;
        *read_size = (size_t)rc;
        return TLS_DONE;
    }
    enum tls_result result = session_result(session, rc);
    return result == TLS_DONE ? TLS_FAILED : result;
}

enum tls_result tls_write(struct tls_session *session, const void *data, size_t size,
                          struct net_buffer *output)
{
    const uint8_t *from = data;
    assert(session->finished);
    while (size > 0) {
        size_t chunk = size < RECORD_SIZE_MAX ? size : RECORD_SIZE_MAX;
        session->output = output;
        int rc = wolfSSL_write(session->ssl, from, (int)chunk);
        if (rc <= 0) {
            (void)session_result(session, rc);
            return TLS_FAILED;
        }
        from += rc;
        size -= (size_t)rc;
    }
    session->output = NULL;
    return TLS_DONE;
}

size_t tls_write_size(size_t size)
{
    return size + (size / RECORD_SIZE_MAX + 1) * RECORD_OVERHEAD_MAX;
}

void tls_shutdown(struct tls_session *session, struct net_buffer *output)
{
    session->output = output;
    (void)wolfSSL_shutdown(session->ssl);
    session->output = NULL;
}

bool tls_peer_verified(const struct tls_session *session, const char **reason)
{
    const char *refusal = session->peer == NULL ? "no certificate" : session->refusal;
    if (reason != NULL)
        *reason = refusal == NULL ? "verified" : refusal;
    return refusal == NULL;
}

const uint8_t *tls_peer_certificate(const struct tls_session *session, size_t *size)
{
    *size = session->peer_size;
    return session->peer;
}

const uint8_t *tls_peer_chain(const struct tls_session *session, unsigned index, size_t *size)
{
    if (index >= session->chain_count)
        return NULL;
    *size = session->chain[index].size;
    return session->chain[index].data;
}

/* Do the first `count` certificates lead to this authority? */
static bool leads_to(const struct tls_session *session, unsigned count, uint8_t *der, size_t size)
{
    struct certificate authority;
    if (count == 0 || certificate_read(&authority, der, size) < 0)
        return false;
    struct anchor one = {der, size, authority.subject};
    const struct anchors only = {.list = &one, .count = 1};
    return path_verify(session->chain, count, &only) == NULL;
}

bool tls_chain_leads_to(const struct tls_session *session, unsigned anchor)
{
    assert(anchor > 0);
    assert(anchor < session->chain_count);
    return leads_to(session, anchor, session->chain[anchor].data, session->chain[anchor].size);
}

bool tls_chain_leads_to_authority(const struct tls_session *session, const uint8_t *der,
                                  size_t size)
{
    return leads_to(session, session->chain_count, (uint8_t *)(uintptr_t)der, size);
}

bool tls_chain_leads_to_anchor(const struct tls_session *session,
                               const struct tls_context *context, tls_is_it_fn is_it,
                               const void *wanted)
{
    const struct anchors *anchors = context_anchors(context);
    struct certificate certificate;
    for (size_t i = 0; i < anchors->count; i++) {
        const struct anchor *anchor = &anchors->list[i];
        if (certificate_read(&certificate, anchor->der, anchor->size) == 0 &&
            is_it(wanted, &certificate) &&
            leads_to(session, session->chain_count, anchor->der, anchor->size))
            return true;
    }
    return false;
}

const char *tls_protocol_name(const struct tls_session *session)
{
    return wolfSSL_get_version(session->ssl);
}

const char *tls_cipher_name(const struct tls_session *session)
{
    return wolfSSL_get_cipher_name(session->ssl);
}

const char *tls_error(const struct tls_session *session)
{
    return session->error != NULL ? session->error : "no error";
}
