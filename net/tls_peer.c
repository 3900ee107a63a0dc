/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the peer of a session shows: its certificates and its OCSP response, and what they are
   worth. */
#include "net/tls_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"

static bool copy_text(struct tls_text *copy, const uint8_t *data, size_t size)
{
    *copy = (struct tls_text){.data = malloc(size > 0 ? size : 1), .size = size};
    if (copy->data == NULL)
        return false;
    memcpy(copy->data, data, size);
    return true;
}

/* Accepts every chain: dialback over TLS works with any certificate (XEP-0220 §2.1), and who
   may claim what is decided above. wolfSSL asks once or for each certificate, with all of them
   each time, and takes what is accepted here for an authority that is proved, whatever was
   wrong with it: so its own verdict on a chain counts for nothing. It is judged when the OCSP
   response, which comes later, is there too. */
int tls_session_on_verify(int preverify, WOLFSSL_X509_STORE_CTX *store)
{
    struct tls_session *session = store->userCtx;
    (void)preverify;
    assert(session != NULL);
    if (session->chain_count > 0 || store->totalCerts <= 0 || store->certs == NULL)
        return 1;
    unsigned count =
        store->totalCerts < TLS_CHAIN_MAX ? (unsigned)store->totalCerts : TLS_CHAIN_MAX;
    for (unsigned i = 0; i < count && !session->is_cut; i++) {
        session->is_cut =
            !copy_text(&session->chain[i], store->certs[i].buffer, store->certs[i].length);
        session->chain_count += !session->is_cut;
    }
    return 1;
}

void tls_session_drop_chain(struct tls_session *session, unsigned from)
{
    for (unsigned i = from; i < session->chain_count; i++)
        free(session->chain[i].data);
    if (session->chain_count > from)
        session->chain_count = from;
}

/* The trust of a context; of the response, in both cases, what came in the handshake. */
static struct path_trust trust_of(const struct tls_session *session,
                                  const struct tls_context *context)
{
    const struct tls_context *base = tls_context_base(context);
    return (struct path_trust){.anchors = base->anchors,
                               .crls = &base->crls,
                               .staple = session->response.data,
                               .staple_size = session->response.size,
#ifdef WOLFSSL_STATUS_CB_JUDGES
                               .wants_staple = !session->server,
#endif
                               .now = (int64_t)(clock_wall_ms() / 1000)};
}

/* Once, when the handshake is over, in whatever way. */
void tls_session_judge(struct tls_session *session)
{
    if (session->is_judged || session->chain_count == 0)
        return;
    session->is_judged = true;
    const struct path_trust trust = trust_of(session, session->context);
    session->refusal = session->is_cut ? "there is no memory to check it"
                                       : path_verify(session->chain, session->chain_count,
                                                     &trust, &session->findings);
    if (session->keeps_chain)
        return;
    tls_session_drop_chain(session, 1);
    tls_text_free(&session->response);
}

/* The context whose certificate this side shows may have something to staple. */
static bool set_staple(WOLFSSL *ssl, const struct tls_session *session)
{
    const struct tls_context *shown =
        session->shown != NULL ? session->shown : session->context;
    const struct staple *staple = &shown->staple;
    return staple->der.data != NULL &&
           staple->next_update > (int64_t)(clock_wall_ms() / 1000) &&
           wolfSSL_set_tlsext_status_ocsp_resp(ssl, staple->der.data, (int)staple->der.size) ==
               WOLFSSL_SUCCESS;
}

/* Either a response has come in, of which the first is kept, or ours is asked for. Without
   memory there was none. */
int tls_session_on_status(WOLFSSL *ssl, void *unused)
{
    struct tls_session *session = wolfSSL_GetIOReadCtx(ssl);
    unsigned char *response = NULL;
    (void)unused;
    assert(session != NULL);
    long size = wolfSSL_get_tlsext_status_ocsp_resp(ssl, &response);
    if (size <= 0 || response == NULL)
        return set_staple(ssl, session) ? 0 : 3; /* SSL_TLSEXT_ERR_OK, _NOACK */
    if (session->response.data == NULL && size <= OCSP_SIZE_MAX)
        session->has_response = copy_text(&session->response, response, (size_t)size);
    return 0;
}

bool tls_peer_verified(const struct tls_session *session, const char **reason)
{
    const char *refusal = session->chain_count == 0 ? "no certificate"
                          : !session->is_judged     ? "the handshake is not over"
                                                    : session->refusal;
    if (reason != NULL)
        *reason = refusal == NULL ? "verified" : refusal;
    return refusal == NULL;
}

bool tls_peer_revoked(const struct tls_session *session)
{
    return session->findings.is_revoked;
}

enum tls_staple tls_peer_staple(const struct tls_session *session, const char **reason)
{
    const struct ocsp_answer *staple = &session->findings.staple;
    *reason = staple->reason != NULL ? staple->reason : "there is none";
    switch (staple->verdict) {
    case OCSP_GOOD: return TLS_STAPLE_GOOD;
    case OCSP_REVOKED: return TLS_STAPLE_REVOKED;
    case OCSP_UNUSABLE: break;
    }
    return session->has_response && staple->reason != NULL ? TLS_STAPLE_UNUSABLE
                                                           : TLS_STAPLE_NONE;
}

const uint8_t *tls_peer_certificate(const struct tls_session *session, size_t *size)
{
    *size = session->chain_count > 0 ? session->chain[0].size : 0;
    return session->chain_count > 0 ? session->chain[0].data : NULL;
}

const uint8_t *tls_peer_chain(const struct tls_session *session, unsigned index, size_t *size)
{
    if (!session->keeps_chain || index >= session->chain_count)
        return NULL;
    *size = session->chain[index].size;
    return session->chain[index].data;
}

/* Do the first `count` certificates lead to this authority, and is none of them revoked? */
static bool leads_to(const struct tls_session *session, const struct tls_context *context,
                     unsigned count, const struct tls_text *der)
{
    struct certificate authority;
    if (!session->keeps_chain || session->is_cut || count == 0 ||
        certificate_read(&authority, der->data, der->size) < 0)
        return false;
    struct anchor one = {der->data, der->size, authority.subject};
    const struct anchors only = {.list = &one, .count = 1};
    struct path_trust trust = trust_of(session, context);
    trust.anchors = &only;
    return path_verify(session->chain, count, &trust, NULL) == NULL;
}

bool tls_chain_leads_to(const struct tls_session *session, const struct tls_context *context,
                        unsigned anchor)
{
    assert(anchor > 0);
    assert(anchor < session->chain_count);
    return leads_to(session, context, anchor, &session->chain[anchor]);
}

bool tls_chain_leads_to_authority(const struct tls_session *session,
                                  const struct tls_context *context, const uint8_t *der,
                                  size_t size)
{
    const struct tls_text authority = {(uint8_t *)(uintptr_t)der, size};
    return leads_to(session, context, session->chain_count, &authority);
}

bool tls_chain_leads_to_anchor(const struct tls_session *session,
                               const struct tls_context *context, tls_is_it_fn is_it,
                               const void *wanted)
{
    const struct anchors *anchors = tls_context_base(context)->anchors;
    struct certificate certificate;
    for (size_t i = 0; i < anchors->count; i++) {
        const struct tls_text anchor = {anchors->list[i].der, anchors->list[i].size};
        if (certificate_read(&certificate, anchor.data, anchor.size) == 0 &&
            is_it(wanted, &certificate) &&
            leads_to(session, context, session->chain_count, &anchor))
            return true;
    }
    return false;
}
