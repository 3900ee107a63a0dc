/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A circuit breaker for each partner to whom no stream comes about, whichever pair of domains
 * it is for: when so many pairs have failed, one after the other, the rest is not tried but
 * answered at once, with what the last one was told; now and then one pair tries (the breaker
 * is half open), and with the first stream all may again. What concerns one pair only (the
 * tenant's domain, certificate or rules) neither opens nor closes it. One set for each worker,
 * which sees the pairs that are its own (route_link); nothing is shared.
 */
#ifndef PASSERELLE_CORE_BREAKER_H
#define PASSERELLE_CORE_BREAKER_H

#include "proto/stanza_error.h"

#define BREAKER_PAIRS_MAX    64     /* the largest `pairs_max` */
#define BREAKER_PARTNERS_MAX 4096   /* kept; the one that failed least recently is forgotten */
#define BREAKER_MS           2000   /* open for so long, doubled each time … */
#define BREAKER_MAX_MS       60000  /* … up to this, as a link's back-off */
#define BREAKER_MEMORY_MS    120000 /* between two failures that count as one after the other */
#define BREAKER_PROBE_MS     90000  /* for a pair that tries and is not heard of again */

struct breaker_set;

/* What senders are told while it is open. */
struct breaker_verdict {
    enum stanza_error fault;
    struct span reason; /* valid until the set is changed */
    uint64_t until_ms;  /* when a pair may try again */
};

/* NULL: no memory. */
struct breaker_set *breaker_open(void);
void breaker_close(struct breaker_set **set);
/* May this pair (any number that tells pairs apart) try to reach `partner` now? False fills
   `verdict`. When it was open for long enough the pair that asks is the one that tries. */
bool breaker_allows(struct breaker_set *set, struct span partner, uint64_t pair,
                    uint64_t now_ms, struct breaker_verdict *verdict) MUST_USE;
/* Is it open? Then fills `verdict`; nobody tries for it. */
bool breaker_is_open(const struct breaker_set *set, struct span partner,
                     struct breaker_verdict *verdict) MUST_USE;
/* The pair had no stream of its try, and others would have none: it opens with the pairs_max-th
   pair (up to BREAKER_PAIRS_MAX; 0: never). True when it has opened. Without memory nothing is
   kept. */
bool breaker_failed(struct breaker_set *set, struct span partner, uint64_t pair,
                    unsigned pairs_max, uint64_t now_ms, const struct breaker_verdict *why);
/* The pair had no stream for a reason of its own: another one may try in its place. */
void breaker_undecided(struct breaker_set *set, struct span partner, uint64_t pair,
                       uint64_t now_ms);
/* There is a stream. True when it was open. */
bool breaker_worked(struct breaker_set *set, struct span partner);
/* All are closed. */
void breaker_reset(struct breaker_set *set);

#endif
