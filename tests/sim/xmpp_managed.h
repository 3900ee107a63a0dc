/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Stream management (XEP-0198) of a simulated XMPP server, written on its own. Of its own
 * streams it keeps every letter until the relay acknowledges it; when one breaks, it resumes
 * it, and when that fails it refuses the letters to their senders, as Prosody does. Streams of
 * the relay it acknowledges when it is asked and not mute, and lets the relay resume them. One
 * that lags has handled less than has come: what is sent again must be the same in its place.
 * On a stream that goes both ways both hold, and only who opened it can resume it.
 */
#ifndef PASSERELLE_TESTS_SIM_XMPP_MANAGED_H
#define PASSERELLE_TESTS_SIM_XMPP_MANAGED_H

#include "tests/sim/xmpp_stream.h"

#define XMPP_SM_ID_SIZE 64
#define XMPP_LAG_MAX    64u /* stanzas that have come and are not handled */
#define XMPP_THEIRS_MAX 16u /* streams of the relay, those that may be resumed among them */

struct xmpp_pair;
struct xmpp_letter;

/* The relay's stanzas on a stream, which it may resume where that is its own: what has come, and
   what of it is handled. */
struct xmpp_theirs {
    uint32_t received, handled;
    uint64_t seen[XMPP_LAG_MAX]; /* by number, digests of those between the two */
    uint32_t seen_left;          /* of the next stanzas so many were here before */
    char id[XMPP_SM_ID_SIZE];    /* of the relay's stream; empty: it is over */
};

/* Of one pair. */
struct xmpp_managed {
    /* Its own stream: letters sent and not acknowledged, the first with the number `acked`. */
    struct xmpp_letter *first, **last;
    uint32_t sent, acked;
    char id[XMPP_SM_ID_SIZE];   /* of the stream to resume; empty: none */
    uint64_t broke_ns;          /* when we saw that it is broken */
    struct xmpp_theirs on_ours; /* what came on it, where it goes both ways … */
    bool owes; /* … and broke: it resumes it for that, too, when it has nothing to say */
    struct xmpp_theirs theirs[XMPP_THEIRS_MAX]; /* the relay's; the next in place of the oldest */
    unsigned their_count;
    uint64_t
        waits_until_ns; /* for the relay to resume `waits_for`, which went both ways; 0: no */
    struct xmpp_theirs *waits_for;
};

void xmpp_managed_open(struct xmpp_managed *managed);
/* The relay offers it on our own stream: false when the stream is ready at once. */
bool xmpp_managed_begin(struct xmpp_stream *stream);
/* An element of its namespace. */
void xmpp_managed_element(struct xmpp_stream *stream, const struct xml_node *node);
/* A stanza of the relay has come. False: it was here before, or is lost with its stream. */
bool xmpp_managed_received(struct xmpp_stream *stream, const struct xml_node *node);
/* Of the relay's stream that goes both ways: is what was sent on the last one to be resumed by
   the relay yet? */
bool xmpp_managed_waits(const struct xmpp_pair *pair);
/* It waits no more. */
void xmpp_managed_forget(struct xmpp_pair *pair);
/* A letter was written to its own stream; true: it is kept here. */
bool xmpp_managed_sent(struct xmpp_pair *pair, struct xmpp_letter *letter);
/* Writes <r/> behind what was sent. */
void xmpp_managed_ask(struct xmpp_pair *pair);
/* Its stream is over; what cannot be sent again is refused. */
void xmpp_managed_died(struct xmpp_stream *stream, struct xmpp_pair *pair);
/* Refuses what is unacknowledged. */
void xmpp_managed_bounce(struct xmpp_pair *pair);

#endif
