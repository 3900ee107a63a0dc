/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLS 1.2/1.3 by wolfSSL over memory: bytes in, bytes out, no socket. AEAD suites only, no
 * tickets, no session cache, verification always explicit: the chain is checked (net/path.h)
 * and the result kept, identity is the caller's business (net/certificate.h). A session belongs
 * to one thread, and may pass to another one when its handshake is over; a context may be
 * shared by sessions of one thread only (each thread opens its own). A thread with many
 * certificates opens one context with the trust anchors and the others on its base.
 */
#ifndef PASSERELLE_NET_TLS_H
#define PASSERELLE_NET_TLS_H

#include "net/buffer.h"
#include "net/certificate.h"

struct tls_context;
struct tls_session;

/* Once per process, before any thread. */
int tls_start(void);
void tls_stop(void);
/* Whether AES-GCM is hardware accelerated in the linked wolfSSL (measured or by build options),
   and the library's version text. */
bool tls_accelerated(void);
const char *tls_library(void);

enum tls_version { TLS_VERSION_ANY, TLS_VERSION_1_2, TLS_VERSION_1_3 };

struct tls_context_options {
    const char *certificate_file; /* PEM chain; NULL: none (client only) */
    const char *key_file;         /* PEM */
    const char *ca_file;          /* PEM bundle of trust anchors; NULL: ca_directory or system */
    const char *ca_directory;
    const char *crl; /* file or directory of CRLs (net/crl.h); NULL: none */
    /* NULL, or the context of this thread whose trust anchors, CRLs and rules are used: ca_* and
       crl are not read then, and the new context costs little more than its certificate. To
       accept sessions it needs a certificate of its own. */
    struct tls_context *base;
    enum tls_version version; /* the only one that is spoken; not read with a base */
};
/* Certificate, key and trust anchors are read and checked here. -ENOENT, -EACCES, -EBADMSG (key
   does not fit, not PEM …); `error` gets a sentence naming the file. */
int tls_context_open(struct tls_context **context, const struct tls_context_options *options,
                     char *error, size_t error_size) NET_MUST_USE;
/* Why the OCSP response that stands beside the certificate, CERTIFICATE_FILE.ocsp, is not stapled
   (net/staple.h), a static sentence; NULL: it is, or there is none. */
const char *tls_context_unstapled(const struct tls_context *context);
/* Whether they can be read and belong together; errors as above. */
int tls_certificate_check(const char *certificate_file, const char *key_file, char *error,
                          size_t error_size) NET_MUST_USE;
/* What is to be known of a certificate of the relay's own: `options` name its file and the
   authorities. -errno when it cannot be read. */
struct tls_certificate_facts {
    char subject[256];
    int64_t not_after;     /* seconds since the epoch */
    bool has_staple;       /* CERTIFICATE_FILE.ocsp is there … */
    const char *unstapled; /* … and as tls_context_unstapled says */
    int64_t staple_until;  /* seconds since the epoch; 0: nothing is stapled */
};
int tls_certificate_facts(const struct tls_context_options *options,
                          struct tls_certificate_facts *facts) NET_MUST_USE;
/* The file of trust anchors that is read when no others are named. */
const char *tls_system_anchors(void);
/* Sessions keep their context alive until their handshake is over; this drops the caller's
   hold. */
void tls_context_close(struct tls_context **context);

/* Which context serves this server name (A-label, lower case, NUL-terminated, "" when the client
   sent none)? NULL: refuse with unrecognized_name. */
typedef struct tls_context *(*tls_choose_fn)(void *choose_context, const char *server_name);

#define TLS_CHAIN_MAX 9 /* as many as wolfSSL takes */

enum tls_protocol { TLS_ALPN_NONE, TLS_ALPN_XMPP_SERVER };

/* Server side: asks for a client certificate, does not fail without one or on an untrusted one.
   With an ALPN protocol, a client that offers ALPN without it is refused. */
int tls_accept(struct tls_session **session, struct tls_context *fallback, tls_choose_fn choose,
               void *choose_context, enum tls_protocol alpn) NET_MUST_USE;
/* Client side: sends `server_name` as SNI. The handshake completes whatever the certificate;
   the caller looks at tls_peer_verified and the identity before it sends anything. */
int tls_connect(struct tls_session **session, struct tls_context *context,
                const char *server_name, enum tls_protocol alpn) NET_MUST_USE;
/* Before the handshake: keep what the peer shows, for tls_peer_chain. */
void tls_keep_chain(struct tls_session *session);
void tls_close(struct tls_session **session);

enum tls_result {
    TLS_DONE,   /* handshake complete / bytes moved */
    TLS_MORE,   /* needs more input */
    TLS_CLOSED, /* close_notify received */
    TLS_FAILED  /* see tls_error; the alert, if any, is in the output */
};

/* Points the session at ciphertext just received; the session takes what it needs during the
   following calls and copies nothing else, until tls_return_input. */
void tls_set_input(struct tls_session *session, const uint8_t *data, size_t size);
/* Forgets the memory and returns how many bytes at its end were not taken: the caller keeps them
   and offers them again. Until then the session has no input: tls_shutdown, for one, looks for the
   peer's close_notify. */
size_t tls_return_input(struct tls_session *session);
/* Each call appends what must go to the peer to `output`. */
enum tls_result tls_handshake(struct tls_session *session, struct net_buffer *output);
/* Decrypts at most `size` bytes into `data`; *read_size is 0 unless TLS_DONE. */
enum tls_result tls_read(struct tls_session *session, void *data, size_t size, size_t *read_size,
                         struct net_buffer *output);
/* Encrypts all of `data` (records of at most 16 KiB). TLS_FAILED when output would pass its
   limit: check tls_write_size first. */
enum tls_result tls_write(struct tls_session *session, const void *data, size_t size,
                          struct net_buffer *output);
/* Upper bound of the ciphertext for `size` bytes of plaintext. */
size_t tls_write_size(size_t size);
/* Appends close_notify. */
void tls_shutdown(struct tls_session *session, struct net_buffer *output);

/* After the handshake, and after one that failed: did the peer show a certificate, and does its
   chain lead to a trust anchor (net/path.h)? `reason` (may be NULL) gets a static sentence. */
bool tls_peer_verified(const struct tls_session *session, const char **reason);
/* Is it not good as the certificate, or an authority of its chain, has been revoked? */
bool tls_peer_revoked(const struct tls_session *session);
/* What the OCSP response that came with the peer's certificate says; TLS_STAPLE_NONE when none
   came, or was not asked for, or the chain is not good. `reason` gets a static sentence. */
enum tls_staple { TLS_STAPLE_NONE, TLS_STAPLE_UNUSABLE, TLS_STAPLE_GOOD, TLS_STAPLE_REVOKED };
enum tls_staple tls_peer_staple(const struct tls_session *session, const char **reason);
/* DER of the peer's leaf; NULL when it showed none. Valid while the session lives. */
const uint8_t *tls_peer_certificate(const struct tls_session *session, size_t *size);
/* DER of certificate `index` of those the peer sent, in its order, after tls_keep_chain: 0 is the
   leaf; at most TLS_CHAIN_MAX. NULL: there is none. */
const uint8_t *tls_peer_chain(const struct tls_session *session, unsigned index, size_t *size);
/* After the handshake, and tls_keep_chain: does the chain lead from the leaf to its certificate
   `anchor` (> 0) by those between them? The rules are those of net/path.h, with the CRLs of
   `context` (a session that has shaken hands has left its own); nothing else is trusted for it
   (DANE-TA, RFC 7671 §5.2). */
bool tls_chain_leads_to(const struct tls_session *session, const struct tls_context *context,
                        unsigned anchor);
/* … to this authority (DER), whether the peer has sent it or not? */
bool tls_chain_leads_to_authority(const struct tls_session *session,
                                  const struct tls_context *context, const uint8_t *der,
                                  size_t size);
/* … to a trust anchor of `context` for which `is_it` says true (PKIX-TA)? */
typedef bool (*tls_is_it_fn)(const void *wanted, const struct certificate *anchor);
bool tls_chain_leads_to_anchor(const struct tls_session *session,
                               const struct tls_context *context, tls_is_it_fn is_it,
                               const void *wanted);
/* "TLSv1.3", "TLS_AES_128_GCM_SHA256", and what went wrong last (for the log). */
const char *tls_protocol_name(const struct tls_session *session);
const char *tls_cipher_name(const struct tls_session *session);
const char *tls_error(const struct tls_session *session);

#endif
