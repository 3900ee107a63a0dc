/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the two negotiation machines of a server-to-server stream (s2s_in, s2s_out) share. They
 * are pure: fed with events and facts, they write what must be sent into a writer and say in an
 * action what the owner has to do. "local" is always a domain of ours, "remote" the partner's.
 */
#ifndef PASSERELLE_PROTO_S2S_H
#define PASSERELLE_PROTO_S2S_H

#include "proto/limits.h"
#include "proto/s2s_features.h"
#include "proto/sm.h"
#include "proto/stanza_error.h"
#include "proto/xml_stream.h"

#define NS_COMPRESS  "http://jabber.org/protocol/compress"
#define S2S_ID_SIZE  40 /* of our stream ids, with the NUL */
#define S2S_KEY_SIZE 65 /* of a dialback key, with the NUL */
#define S2S_LANG_SIZE                                                                          \
    36 /* of a language tag (RFC 5646), with the NUL; a longer one is dropped */

/* How a domain may prove itself, the weakest way first: bits of the set that a policy allows. A
   pair with an empty set is refused. */
enum s2s_proof {
    S2S_PROOF_NONE = 0,
    S2S_PROOF_CLEAR = 1,    /* dialback without TLS */
    S2S_PROOF_DIALBACK = 2, /* dialback under TLS */
    S2S_PROOF_EXTERNAL = 4, /* a certificate */
    S2S_PROOF_TLS = S2S_PROOF_DIALBACK | S2S_PROOF_EXTERNAL,
    S2S_PROOF_ALL = S2S_PROOF_CLEAR | S2S_PROOF_TLS
};

/* The questions a machine asks its owner; domains are prepared. */
struct s2s_policy {
    void *context;
    bool (*hosts)(void *context, struct span local);
    /* A set of enum s2s_proof; `remote` is empty while the peer has not said its name. */
    unsigned (*proofs)(void *context, struct span local, struct span remote);
    /* Did the peer of this stream show a verified certificate that speaks for `remote`, and
       holds yet? */
    bool (*certified)(void *context, struct span remote);
    bool stream_management; /* inbound: offered, once a pair is authorised */
    /* Inbound, told under TLS (XEP-0478): the longest stanza, 0: nothing is told; and after how
       much silence of the peer in the header the stream ends. */
    uint32_t max_bytes;
    uint32_t (*idle_seconds)(void *context);
};

enum s2s_action_kind {
    S2S_NOTHING,
    S2S_START_TLS,       /* what was written goes out in clear, then the TLS handshake */
    S2S_RESTART,         /* inbound: SASL success, pair authorised; both: a fresh parser */
    S2S_PAIR_AUTHORISED, /* inbound: (local, remote) proved by dialback and certificate */
    S2S_VERIFY,          /* inbound: have `key` for `id` verified by the authoritative server */
    S2S_ANSWER_VERIFY,   /* we are the authority: s2s_write_verified with the true verdict */
    S2S_NEED_KEY,        /* outbound: s2s_out_send_key with the key for `id` */
    S2S_VERIFIED,        /* outbound: answer to a db:verify of ours */
    S2S_READY,           /* outbound: stanzas may be sent */
    S2S_STANZA,          /* message, iq or presence on an authorised stream */
    S2S_SM_ENABLE,       /* inbound: s2s_in_sm_enabled or sm_write_failed; see sm.resume */
    S2S_SM_RESUME,       /* inbound: s2s_in_sm_resumed or sm_write_failed; see sm.id */
    S2S_SM_REQUEST,      /* sm_write_answer with what is handled, soon */
    S2S_SM_ENABLED,      /* outbound: what is sent behind <enable/> is counted; see sm */
    S2S_SM_ACKED,        /* outbound: see sm.h */
    S2S_SM_RESUMED,      /* outbound: READY, going on behind sm.h of the former stream */
    S2S_SM_REFUSED,      /* outbound: READY, but the former stream is over; see sm.has_h */
    S2S_SM_FAILED,       /* outbound: nothing is counted on this stream after all */
    S2S_UNSOLICITED,     /* a db answer nobody asked for was ignored */
    S2S_PAIR_REFUSED,    /* inbound: a db request was answered with an error, see fault */
    S2S_CLOSE            /* see error, received, text */
};

enum s2s_verdict { S2S_VALID, S2S_INVALID, S2S_ERROR };

struct s2s_action {
    enum s2s_action_kind kind;
    enum stream_error error; /* CLOSE: to be sent (or received); NONE: just the closing tag */
    bool received;           /* CLOSE: the error is the peer's */
    struct span text;        /* CLOSE: static English */
    struct span local, remote, id, key; /* valid until the next call */
    struct span host; /* CLOSE by see-other-host: the host, and a port, as the peer wrote it */
    enum s2s_verdict verdict;
    enum stanza_error fault; /* with S2S_ERROR, and CLOSE by a refused pair */
    struct sm_element sm;    /* SM_… */
};

/* What our stream error says beside its condition. */
enum s2s_detail_kind {
    S2S_DETAIL_NONE,
    S2S_DETAIL_HANDLED_TOO_HIGH, /* the peer acknowledged what was never sent (XEP-0198 §6) */
    S2S_DETAIL_STANZA_TOO_BIG    /* XEP-0205 §3 */
};

struct s2s_detail {
    enum s2s_detail_kind kind;
    uint32_t h, sent; /* of what was never sent */
};

struct s2s_domain {
    size_t size;
    char text[DOMAIN_SIZE_MAX + 1]; /* prepared, NUL-terminated; empty for none */
};

static inline struct span s2s_domain_span(const struct s2s_domain *domain)
{
    return span_make(domain->text, domain->size);
}
/* Prepares `text`; false when it is no domain. */
bool s2s_domain_read(struct s2s_domain *domain, struct span text) MUST_USE;
/* The stream header; `id` empty for the initiating side. */
void s2s_write_header(struct writer *writer, struct span from, struct span to, struct span id);
/* db:result from `local` to `remote` with a verdict (XEP-0220 §2.1.2). */
void s2s_write_result(struct writer *writer, const struct s2s_action *pair);
/* db:verify question, and its answer. Uses local, remote, id, key / verdict, fault. */
void s2s_write_verify(struct writer *writer, const struct s2s_action *pair);
void s2s_write_verified(struct writer *writer, const struct s2s_action *pair);
/* Fills in verdict and fault of a typed db element; false when the type is unknown. */
bool s2s_read_verdict(const struct xml_node *node, struct s2s_action *action) MUST_USE;
/* <stream:error>, or with STREAM_ERROR_NONE just the closing tag. */
void s2s_write_end(struct writer *writer, enum stream_error error, struct span text,
                   const struct s2s_detail *detail);
/* Fills in `detail` and a CLOSE that will tell it. */
void s2s_close_too_high(struct s2s_action *action, struct s2s_detail *detail, uint32_t h,
                        uint32_t sent);
/* A CLOSE for an XML_EVENT_ERROR, and the detail that goes with it. */
void s2s_close_broken(struct s2s_action *action, struct s2s_detail *detail,
                      const struct xml_event *event);
void s2s_close(struct s2s_action *action, enum stream_error error, struct span text);
bool s2s_is_stanza(const struct xml_node *node);
/* The language of what comes on a stream (RFC 6120 §4.7.4), from its header; empty: not said.
 */
void s2s_read_lang(char lang[S2S_LANG_SIZE], const struct xml_node *header);

#endif
