/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Slow and hostile peers beside a load, on its ring: as many places of each family as are asked
 * for; in each place one kind after the other plays its part, is followed to its end, and is
 * counted. What they send has no number of the load, so that its ledgers do not see it. One
 * thread.
 */
#ifndef PASSERELLE_BENCH_ROGUE_H
#define PASSERELLE_BENCH_ROGUE_H

#include "bench/load.h"

#define ROGUE_MAX         1000         /* of a family */
#define ROGUE_DEAF_DOMAIN "slow.bench" /* of the XMPP server that stops reading */

enum rogue_family { ROGUE_SLOW, ROGUE_HOSTILE, ROGUE_FAMILIES };

enum rogue_kind {
#define ROGUE(constant, name, family, stay_ms, sentence) constant,
#include "bench/rogue.def"
#undef ROGUE
    ROGUE_KINDS
};

/* How one of them ended. */
enum rogue_end {
    ROGUE_ANSWERED, /* its message or request got a good answer */
    ROGUE_REFUSED,  /* a stream error, an error stanza or a SIP response of 300 or more */
    ROGUE_CLOSED,   /* the connection was closed without a word, or not accepted */
    ROGUE_HELD,     /* nothing of that until it gave up */
    ROGUE_LEFT,     /* it went by itself, or the run ended first */
    ROGUE_ENDS
};

struct rogue_count {
    uint32_t tried, ends[ROGUE_ENDS];
};

/* Opens the places of an open load, which owns them from now on; nothing begins before
   rogues_set. -ENOMEM. */
int rogues_open(struct load *load);
/* From now on the places of that family are filled again and again, or no more: then those that
   are there leave. */
void rogues_set(struct rogues *rogues, enum rogue_family family, bool active);
/* What is due. */
void rogues_turn(struct rogues *rogues);
/* An event of a rogue's socket. */
void rogues_event(struct rogues *rogues, const struct ring_event *event);
/* A stream of the relay to us became ready: it may be one that is not read. */
void rogues_meet(struct rogues *rogues, struct bench_stream *stream);
/* True when what came to the SIP side was for a rogue. */
bool rogues_on_sip(struct rogues *rogues, struct span message, const struct sip_flow *flow);
const struct rogue_count *rogues_count(const struct rogues *rogues, enum rogue_kind kind);
/* After the ring was closed; NULL is fine. */
void rogues_close(struct rogues *rogues);

const char *rogue_name(enum rogue_kind kind);
enum rogue_family rogue_family(enum rogue_kind kind);
const char *rogue_sentence(enum rogue_kind kind);
/* Can it be played over this transport and to these addresses? */
bool rogue_fits(enum rogue_kind kind, const struct load_options *options);

#endif
