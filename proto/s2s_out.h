/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The initiating side of a stream (RFC 6120 §4–6, XEP-0178, XEP-0220) for one pair of domains;
 * in both directions where the owner wants that and the peer offers it (XEP-0288).
 * Nothing but the header and <starttls/> is sent in clear unless the policy allows dialback
 * without TLS, and then only to a server that does not offer TLS or with which it is not to be
 * used. The owner keeps the struct; pure.
 */
#ifndef PASSERELLE_PROTO_S2S_OUT_H
#define PASSERELLE_PROTO_S2S_OUT_H

#include "proto/s2s.h"

enum s2s_out_state {
    S2S_OUT_HEADER, /* the peer's header is due */
    S2S_OUT_FEATURES,
    S2S_OUT_PROCEED, /* <starttls/> was sent */
    S2S_OUT_TLS,
    S2S_OUT_SASL,   /* <auth/> was sent */
    S2S_OUT_KEY,    /* the owner makes a dialback key */
    S2S_OUT_RESULT, /* db:result was sent */
    S2S_OUT_RESUME, /* <resume/> was sent */
    S2S_OUT_READY,
    S2S_OUT_CLOSED
};

/* Whether the stanzas we send are counted (XEP-0198). */
enum s2s_out_sm {
    S2S_OUT_SM_OFF,
    S2S_OUT_SM_ASKED, /* <enable/> was sent: they are, unless it is refused */
    S2S_OUT_SM_ON
};

struct s2s_out {
    enum s2s_out_state state;
    unsigned proofs; /* a set of enum s2s_proof */
    bool secure, has_certificate, external_done, external_failed, dialback_offered;
    struct s2s_domain local, remote, scratch_local, scratch_remote;
    char id[256];   /* the peer's stream id */
    char lang[S2S_LANG_SIZE];
    uint32_t max_bytes, idle_seconds; /* that the peer told last (XEP-0478; no less than RFC 6120
                                         §13.12 allows); 0: none */
    bool sm_wanted; /* set by the owner behind s2s_out_init: enabled where it is offered */
    struct span sm_previous; /* likewise: SM-ID of a stream to resume, the owner's memory … */
    bool sm_previous_bidi;   /* … which went both ways … */
    uint32_t sm_handled;     /* … and what of the peer's stanzas on it is handled */
    enum s2s_out_sm sm;
    /* Likewise: the stream is to go both ways (XEP-0288) where the peer offers that under TLS
       and a certificate is to prove us; and where it is dialback, which leaves it unmanaged. */
    bool bidi_wanted, bidi_unmanaged;
    bool bidi;   /* it goes both ways, once we are … */
    bool proved; /* … authenticated */
    struct s2s_detail detail;
};

/* `proofs`: the ways that are allowed; `has_certificate`: we show one for `local`. Domains are
   prepared. */
void s2s_out_init(struct s2s_out *out, const struct s2s_domain *local,
                  const struct s2s_domain *remote, unsigned proofs, bool has_certificate);
/* Writes the first header; `secure`: direct TLS, whose handshake is over. */
void s2s_out_start(struct s2s_out *out, bool secure, struct writer *writer);
/* The TLS handshake after START_TLS is over and the peer is whom we wanted. */
void s2s_out_tls_done(struct s2s_out *out, struct writer *writer);
void s2s_out_event(struct s2s_out *out, const struct xml_event *event, struct writer *writer,
                   struct s2s_action *action);
/* The answer to S2S_NEED_KEY. */
void s2s_out_send_key(struct s2s_out *out, struct span key, struct writer *writer);
void s2s_out_write_close(struct s2s_out *out, struct writer *writer, enum stream_error error,
                         struct span text);

#endif
