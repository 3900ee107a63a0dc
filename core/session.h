/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One XMPP connection: its socket on the worker's ring, TLS, XML and the negotiation machine.
 * Lives on one worker; see session_move.c. session_pump owns the loop: it pulls events until
 * there are none or the relay is full; then the socket is paused and session_resume goes on with
 * the same stanza.
 */
#ifndef PASSERELLE_CORE_SESSION_H
#define PASSERELLE_CORE_SESSION_H

#include <stdio.h>

#include "core/worker_priv.h"
#include "proto/s2s_in.h"
#include "proto/s2s_out.h"

#define SESSION_MAGIC 0x53455353u

enum session_state {
    SESSION_CONNECTING,
    SESSION_PROXIED, /* the header of the proxy is due */
    SESSION_HANDSHAKE,
    SESSION_OPEN,    /* an XML stream, in clear or under TLS */
    SESSION_CLOSING, /* our closing tag is written; see session_close.c */
    SESSION_DROPPED  /* waits for RING_GONE */
};

struct link;

struct session {
    uint32_t magic;
    enum session_state state;
    struct worker *worker;
    TAILQ_ENTRY(session) all, holding, sending_next; /* in the worker's lists */
    struct session_list *line; /* … `holding` in this one; NULL: in none */
    struct table_node by_ticket;
    struct intake *intake; /* what its peer's stanzas came to; NULL: they are not counted */
    struct link *link; /* outbound: whom it serves, until all is sent or lost */
    bool outbound, direct, in_flight, held, unsent;
    struct parcel *mover; /* inbound: held until its socket is free to go with it to the worker
                             that owns its pair; NULL: it stays */
    struct quota_account *rationed_by; /* held as its tenant has enough; NULL: it has not */
    enum quota_verdict rationed_for;   /* of what; kept until the message has passed */
    bool muted;   /* nothing of it is read any more */
    bool listening; /* closing: what the peer still says counts until its own closing tag */
    bool ended;     /* the peer will send nothing more */
    bool cut;       /* the peer closed the stream, or it broke */
    bool is_pairs_fault; /* outbound: it failed for a reason that another pair may not have */
    bool broken;    /* it ended without a closing tag or a stream error */
    bool in_total_only; /* its place in the census: of our own making, or not yet a client's */
    bool is_check;      /* the proxy's own, to see whether we are there */
    ring_handle handle;
    union net_address peer, site; /* site: whom the limits per address are about */
    uint64_t blank_from_ms;       /* since then `blank_size` bytes came without an event */
    size_t blank_size;
    uint64_t ticket, opened_ms, active_ms, stanzas_in, stanzas_out;
    uint64_t unheld_ms; /* when it was held last */
    uint64_t heard_ms;  /* when bytes of the stream last came, be they blanks */
    uint64_t spoke_ms; /* when bytes last went to the kernel, or a blank was due */
    /* Bytes of the stream, in clear: queued, being sent, and taken by the kernel. */
    uint64_t written_total, sending_total, sent_total;
    uint64_t expires_ms; /* when the peer's certificate ends; UINT64_MAX: none to look at */
    struct census_partner *counted; /* inbound: the partner whose streams it is one of */
    bool contradicted; /* outbound: TLSA records name another certificate than it shows */
    enum trust trust; /* how the peer proved itself; of several pairs the least */
    uint64_t retires_ms; /* when it closes as its pair is not served any more; UINT64_MAX */
    struct timer timer;
    struct tls_session *tls;
    struct xml_stream *xml;
    struct xml_event event; /* valid while held */
    struct span arrived;    /* what the ring has just told; only while it is pumped */
    struct net_buffer
        input; /* what was left of it; when there is any, new bytes go behind it */
    struct net_buffer plain; /* waits for its TLS records: one batch, not one for each stanza */
    struct net_buffer output;  /* ready for the socket */
    struct net_buffer sending; /* the kernel reads it */
    struct s2s_policy policy;
    union {
        struct s2s_in in;
        struct s2s_out out; /* outbound */
    };
    enum stanza_error
        fault;        /* outbound: what senders are told when it ends; NONE: by default */
    char reason[160]; /* human, NUL-terminated */
};

/* Takes an accepted socket. */
void session_accept(struct worker *worker, ring_handle handle, const union net_address *peer,
                    const struct worker_listener *listener);
/* Starts a connection for a link whose domains are set. -errno. */
int session_connect(struct session **session, struct worker *worker, struct link *link,
                    const union net_address *target, bool direct) MUST_USE;
/* Takes a stream that has come from another worker; its parcel stays the caller's. */
void session_arrive(struct worker *worker, const struct parcel *parcel);
void session_ring_event(struct session *session, const struct ring_event *event);
void session_timer(struct session *session);
void session_pump(struct session *session);
/* Nothing more is read from it. */
void session_mute(struct session *session);
/* Its open outcomes are few enough again. */
void session_widen(struct session *session);
/* The stanza that it is held for next waits until the account has room. */
void session_ration(struct session *session, struct quota_account *account,
                    enum quota_verdict verdict);
/* Goes on after the relay was full. */
void session_resume(struct session *session);
/* Queues bytes of the stream for the end of this turn; false when too much waits already. */
bool session_write(struct session *session, struct span text) MUST_USE;
/* Has what waits sent at the end of this turn, after a last link_pump. */
void session_flush(struct session *session);
/* The end of the turn: seals what waits and starts sending unless a send is in flight. */
void session_send(struct session *session);
size_t session_output_size(const struct session *session);
/* Says good-bye, with a stream error or none. Without one, stanzas that are on their way still
   count, until the peer's good-bye or a deadline (RFC 6120 §4.4); then the connection ends. */
void session_close(struct session *session, enum stream_error error, struct span text);
/* Ends it at once. */
void session_drop(struct session *session);
/* Ends it at once because the peer does not read. */
void session_stalled(struct session *session);
/* The answer to a verification that this session asked for came home. */
void session_verified(struct session *session, const struct parcel *parcel);
/* Frees it without the ring, at the end of the worker. */
void session_free(struct session *session);
/* Appends its row for `show sess` (core/inquiry.h). */
void session_report(const struct session *session, FILE *out);
/* Does it come from `partner`, or say so? Every session concerns who asks for nobody (NULL). */
bool session_concerns(const struct session *session, struct span partner);
/* Room for more stanzas? */
bool session_has_room(const struct session *session);
/* session_bidi.c: is the peer authorised to send from `remote` to `local` on it? */
bool session_hears(const struct session *session, struct span local, struct span remote);
/* … from `remote` to any domain? */
bool session_hears_from(const struct session *session, struct span remote);
/* Does it carry what the peer sends for one pair of domains only? */
bool session_hears_one(const struct session *session);
/* The language of what the peer sends, where a stanza says nothing; empty: not said. */
struct span session_lang(const struct session *session);
/* It is about to end: we have closed it, or shall, as its pair is not served any more. */
bool session_is_leaving(const struct session *session);

#endif
