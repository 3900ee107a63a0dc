/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The receiving side of a stream (RFC 6120 §4–6, XEP-0178, XEP-0220). What is offered and
 * taken, in clear and under TLS, is what the policy allows to the pair of domains. The owner
 * keeps the struct and its memory; pure.
 */
#ifndef PASSERELLE_PROTO_S2S_IN_H
#define PASSERELLE_PROTO_S2S_IN_H

#include "proto/s2s.h"

enum s2s_in_state {
    S2S_IN_HEADER, /* a stream header is due */
    S2S_IN_PLAIN,  /* header and features are exchanged in clear */
    S2S_IN_TLS,    /* the handshake runs */
    S2S_IN_SECURE, /* header and features are exchanged under TLS */
    S2S_IN_CLOSED
};

struct s2s_pair {
    struct s2s_domain local, remote;
    bool authorised; /* else its verification is under way */
    uint8_t proof;   /* when it is: enum s2s_proof, the one that it has given */
};

struct s2s_in {
    const struct memory *memory;
    const struct s2s_policy *policy;
    enum s2s_in_state state;
    bool secure, header_sent, external_offered, external_done;
    bool sm_on; /* stanzas are counted */
    unsigned sm_tries;
    struct s2s_detail detail;
    unsigned sasl_tries;
    char id[S2S_ID_SIZE];
    char lang[S2S_LANG_SIZE];
    struct s2s_domain local, remote; /* of the header */
    struct s2s_domain scratch_local, scratch_remote;
    struct s2s_pair *pairs; /* from memory */
    unsigned pair_count, pair_size;
};

/* `secure`: direct TLS, whose handshake is over. memory and policy must outlive it. */
void s2s_in_init(struct s2s_in *in, const struct memory *memory,
                 const struct s2s_policy *policy, bool secure);
void s2s_in_fini(struct s2s_in *in);
/* The unpredictable id for the next header: call before each OPEN event. */
void s2s_in_set_id(struct s2s_in *in, struct span id);
/* Does this OPEN event name the pair of domains of the stream for the first time? They are
   prepared, and not looked at any further. */
bool s2s_in_names_pair(const struct s2s_in *in, const struct xml_event *event,
                       struct s2s_domain *local, struct s2s_domain *remote);
/* The TLS handshake is complete. */
void s2s_in_tls_done(struct s2s_in *in);
/* Feeds one event. */
void s2s_in_event(struct s2s_in *in, const struct xml_event *event, struct writer *writer,
                  struct s2s_action *action);
/* The verification of a pair ended (XEP-0220 §2.2.2): writes db:result. Action CLOSE when no
   pair is left after an invalid one. */
void s2s_in_verified(struct s2s_in *in, const struct s2s_action *answer, struct writer *writer,
                     struct s2s_action *action);
/* Writes a stream error, after a header when none was sent yet (RFC 6120 §4.9.1.2), or with
   STREAM_ERROR_NONE just the closing tag. */
void s2s_in_write_close(struct s2s_in *in, struct writer *writer, enum stream_error error,
                        struct span text);
/* The answers to S2S_SM_ENABLE and S2S_SM_RESUME: from here on stanzas are counted. `id` empty:
   it cannot be resumed. */
void s2s_in_sm_enabled(struct s2s_in *in, struct writer *writer, struct span id,
                       uint32_t max_s);
void s2s_in_sm_resumed(struct s2s_in *in, struct writer *writer, struct span id, uint32_t h);
bool s2s_in_authorised(const struct s2s_in *in, struct span local, struct span remote);
bool s2s_in_authorised_remote(const struct s2s_in *in, struct span remote);
bool s2s_in_authorised_any(const struct s2s_in *in);

#endif
