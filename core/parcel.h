/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The parcel: all that ever crosses threads besides the configuration snapshot and the counters.
 * A fixed-size block from its birth thread's pool, written in place, owned by exactly one thread
 * at a time, returned home in the end. Spans inside point into the parcel's own text, so they
 * stay valid wherever it goes.
 *
 * XMPP→SIP: born at the worker as MESSAGE_TO_SIP; the egress thread keeps it for the life of the
 * transaction, sets `outcome` and returns it home (mesh_return): the return *is* the outcome.
 * SIP→XMPP: born at the egress thread as STANZA_TO_XMPP; the worker that owns the link for
 * (local, remote) keeps it until the outcome is known and returns it.
 */
#ifndef PASSERELLE_CORE_PARCEL_H
#define PASSERELLE_CORE_PARCEL_H

#include "net/address.h"
#include "proto/map_message.h"

enum parcel_kind {
    PARCEL_FREE,
    PARCEL_MESSAGE_TO_SIP, /* worker → egress */
    PARCEL_STANZA_TO_XMPP, /* any → worker that owns the link of the pair */
    PARCEL_CONFIRM,        /* worker → worker that owns the link of (from, to): a ping answer
                              (DELIVERED) or an error stanza (FAILED) with stanza_id came in */
    PARCEL_VERIFY,         /* worker → worker: send db:verify to the authoritative server */
    PARCEL_SIP_BYTES,      /* egress → egress: a request or response that landed elsewhere */
    PARCEL_SIP_REPLY,      /* egress → egress: response bytes for a connection held there */
    PARCEL_SIP_ANSWERED,   /* what SIP_BYTES becomes when it takes the answer home with it */
    PARCEL_INQUIRY,        /* control → any: fill a report (core/inquiry.h) */
    PARCEL_RELOAD,         /* control → any: take the configuration offered (core/reload.h) */
    PARCEL_PROBE,          /* control → worker: begin or go on with a probe (core/probe.h) */
    PARCEL_SESSION         /* worker → worker: an incoming stream of a pair there */
};

enum outcome_kind {
    OUTCOME_PENDING,
    OUTCOME_DELIVERED,    /* SIP 2xx / the XMPP server acknowledged */
    OUTCOME_HANDED_OVER,  /* sent, not acknowledged */
    OUTCOME_FAILED        /* see fault */
};

struct outcome {
    enum outcome_kind kind;
    int sip_status;            /* XMPP→SIP: final status; 0 for none */
    struct stanza_fault fault; /* FAILED; spans static or in the parcel's text */
};

/* Which stanza of a managed stream a parcel came from (core/intake.h). */
struct receipt {
    uint64_t intake; /* 0: of none */
    uint32_t number;
};

struct quota_account;
struct session;

struct parcel {
    uint32_t magic;
    enum parcel_kind kind;
    uint16_t home;      /* mesh index of the birth thread */
    uint16_t source;    /* mesh index of the thread that posted it last */
    bool is_return;     /* on its way home */
    bool wants_outcome; /* false: nobody waits, an error is only counted */
    bool wants_answer;  /* STANZA_TO_XMPP: an IQ request, whose answer is the outcome; CONFIRM: it
                           is the answer to one */
    bool is_iq;         /* STANZA_TO_XMPP: it goes behind messages where it must wait */
    uint64_t trace;     /* trace id of the stanza or request */
    uint64_t ticket;    /* of the birth thread, opaque to others (a transaction, a session) */
    struct receipt receipt; /* settled when it is home with its outcome */
    struct quota_account *account; /* of the birth thread, where it counts; NULL: nowhere */
    uint64_t born_ms;    /* CONFIRM: since when its stream is read without a stop */
    uint32_t left;       /* parcels for traffic in its pool, when it was taken */
    uint32_t snapshot;   /* of the configuration its maker had; 0: it matters to nobody */
    uint32_t tenant;     /* its index in that configuration; see thread_tenant */
    uint8_t share;       /* STANZA_TO_XMPP: whose it is, where several streams carry a pair's
                            stanzas (thread_share) */
    struct parcel *next; /* for the one queue it may be in */

    struct jid from, to;     /* prepared; in text. SIP_BYTES: a MESSAGE's, when they are there */
    struct span stanza_id;   /* XMPP→SIP: id to answer with; empty for none */
    struct span stanza_type; /* XMPP→SIP: "chat", "headline" … */
    struct sip_draft draft;  /* MESSAGE_TO_SIP */
    struct span bytes;       /* STANZA_TO_XMPP: the stanza; SIP_*: the message; VERIFY: key */
    struct span stream_id;   /* VERIFY */
    union net_address peer;  /* SIP_*: where it came from or goes to; VERIFY: site of the claimant */
    uint64_t connection;     /* SIP_*: connection ticket at the thread that holds it;
                                STANZA_TO_XMPP: how far the stream was when it was written */
    struct session *session; /* SESSION: it, nobody's on the way … */
    int descriptor;          /* … and its socket */
    uint32_t number;         /* STANZA_TO_XMPP: its number on the stream, when they are counted */
    bool is_again;           /* … which broke: it is to be written again, as this number */
    bool has_left;           /* … and a byte of it may have left on that */
    uint8_t transport;       /* SIP_*: enum sip_transport */
    uint8_t trust;           /* VERIFY, its answer: enum trust of the server that gave it */
    uint32_t trunk;          /* SIP_*: authenticated trunk index + 1, 0 for none … */
    uint32_t trunk_serial;   /* … and its serial */
    void *inquiry;           /* INQUIRY: struct inquiry; PROBE: struct probe_talk */
    struct outcome outcome;

    uint32_t text_used;
    char text[];
};

#define PARCEL_MAGIC     0x50415243u
#define PARCEL_TEXT_SIZE (PARCEL_SIZE - sizeof(struct parcel))
_Static_assert(PARCEL_SIZE - sizeof(struct parcel) >= TEXT_SIZE_MAX + 3000,
               "a parcel holds a text and its addresses");

_Static_assert(PARCEL_SIZE - sizeof(struct parcel) >= SIP_HANDOVER_SIZE_MAX + 1024,
               "a request fits, and its answer with what we add but for the longest Contact");

/* A writer over the free part of the text; parcel_keep takes over what it wrote. */
static inline struct writer parcel_writer(struct parcel *parcel)
{
    return writer_make(parcel->text + parcel->text_used, PARCEL_TEXT_SIZE - parcel->text_used);
}
static inline void parcel_keep(struct parcel *parcel, const struct writer *writer)
{
    parcel->text_used += (uint32_t)writer->used;
}
/* A copy of `text` in the parcel; SPAN_NONE when it does not fit. */
static inline struct span parcel_copy(struct parcel *parcel, struct span text)
{
    if (text.size > PARCEL_TEXT_SIZE - parcel->text_used)
        return SPAN_NONE;
    char *place = parcel->text + parcel->text_used;
    if (text.size > 0)
        memcpy(place, text.data, text.size);
    parcel->text_used += (uint32_t)text.size;
    return span_make(place, text.size);
}
static inline struct jid parcel_copy_jid(struct parcel *parcel, const struct jid *jid)
{
    return (struct jid){parcel_copy(parcel, jid->local), parcel_copy(parcel, jid->domain),
                        parcel_copy(parcel, jid->resource)};
}

#endif
