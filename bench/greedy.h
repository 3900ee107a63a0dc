/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tenant beside a load that is sent what its quota allows, or GREEDY_TIMES as much. A process
 * of its own plays it, with streams, trunk and addresses of its own, which has a core only when
 * the load's generator does not want it: what it does must not look like the relay's doing.
 * greedy_* run in the generator's one thread.
 */
#ifndef PASSERELLE_BENCH_GREEDY_H
#define PASSERELLE_BENCH_GREEDY_H

#include "bench/load.h"

#define GREEDY_PREFIX "greedy-" /* of its domains; the rest of their names is the load's */
#define GREEDY_TIMES  100
#define GREEDY_PAIRS  4 /* of domains on its one stream: GREEDY_PAIRS_ON_STREAM */

enum greedy_pace {
    GREEDY_REST,
    GREEDY_WITHIN, /* as many as it may have, evenly */
    GREEDY_OVER,   /* GREEDY_TIMES that, at drawn times */
    GREEDY_PACES
};

struct greedy_count {
    uint32_t due;  /* what its users would have sent by now */
    uint32_t sent; /* what went of it: some hundreds at most are unanswered */
    uint32_t delivered, refused;
};

/* Where the tenant's SIP side and its partners are: beside the load's, on the next address of
   loopback, elsewhere on the next port. */
void greedy_beside(union net_address *address);
/* Starts it beside a load, and waits until its stream is ready. -errno; load->problem. */
int greedy_open(struct load *load);
/* From now on it sends so. */
void greedy_set(struct greedy *greedy, enum greedy_pace pace);
/* It rests; waits until all is answered and its quota is whole again, for the load's timeout at
   most. False: the process has died. */
bool greedy_settle(struct greedy *greedy);
/* As of the last greedy_settle, of all that was sent at that pace. */
struct greedy_count greedy_count(const struct greedy *greedy, enum greedy_pace pace);
/* Ends it; NULL is fine. */
void greedy_close(struct greedy *greedy);

#endif
