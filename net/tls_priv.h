/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What tls.c (sessions), tls_peer.c and tls_context.c share. */
#ifndef PASSERELLE_NET_TLS_PRIV_H
#define PASSERELLE_NET_TLS_PRIV_H

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "net/anchors.h"
#include "net/path.h"
#include "net/staple.h"
#include "net/tls.h"
#include "net/tls_text.h"

/*
 * The two sides of wolfSSL's own context are opened when first used and know no trust anchors:
 * what a peer shows is judged by net/path.h. A context with a base has neither: it lends its
 * certificate to sessions of the base's sides.
 */
struct tls_context {
    unsigned references;
    struct tls_context *base; /* held; NULL: this is one */
    struct anchors *anchors;
    struct crls crls; /* of a base */
    struct staple staple;
    WOLFSSL_CTX *server;
    WOLFSSL_CTX *client;
    struct tls_text certificate; /* PEM */
    struct tls_text key;         /* PEM */
    bool key_is_rsa;
    enum tls_version version;
};

struct tls_session {
    WOLFSSL *ssl;
    struct tls_context *context; /* held; NULL once the handshake is over */
    bool server;
    bool finished; /* the handshake is complete */
    tls_choose_fn choose;
    void *choose_context;
    const uint8_t *input;
    size_t input_size;
    struct net_buffer *output; /* during a call only */
    const char *error;
    struct tls_context *shown; /* held: whose certificate this side shows, until it is over */
    /* What the peer showed: judged once, when all of it is there. */
    bool is_judged, keeps_chain;
    bool is_cut;         /* there was no memory for some of it */
    const char *refusal; /* why its chain is not good; NULL: it is */
    unsigned chain_count;
    struct tls_text chain[TLS_CHAIN_MAX]; /* DER; the leaf alone unless it is to be kept */
    struct tls_text response;             /* of OCSP, that came with it, likewise */
    bool has_response;                    /* it came */
    struct path_findings findings;
};

/* Opens the side when it is not there yet: 0, -ENOMEM, -EBADMSG. */
int tls_context_side(struct tls_context *context, bool server, WOLFSSL_CTX **side) NET_MUST_USE;
/* Has the session show this context's certificate: 0, or -EBADMSG. */
int tls_context_lend(const struct tls_context *context, WOLFSSL *ssl) NET_MUST_USE;
void tls_context_hold(struct tls_context *context);
/* Whose trust anchors, CRLs and sides it uses. */
static inline const struct tls_context *tls_context_base(const struct tls_context *context)
{
    return context->base != NULL ? context->base : context;
}

/* tls_peer.c: judges what the peer showed, once; drops what is kept of it from this one on. */
void tls_session_judge(struct tls_session *session);
void tls_session_drop_chain(struct tls_session *session, unsigned from);

/* The callbacks of a session, set on every wolfSSL context. */
int tls_session_on_verify(int preverify, WOLFSSL_X509_STORE_CTX *store);
int tls_session_on_status(WOLFSSL *ssl, void *unused);
int tls_session_on_name(WOLFSSL *ssl, int *alert, void *unused);
int tls_session_on_receive(WOLFSSL *ssl, char *data, int size, void *session);
int tls_session_on_send(WOLFSSL *ssl, char *data, int size, void *session);

#endif
