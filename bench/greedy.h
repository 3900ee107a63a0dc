/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tenant beside a load that is sent GREEDY_TIMES what its quota allows, on the load's ring: a
 * stream to it of its own, an open loop of drawn times, as long as not too many are unanswered.
 * What it sends has no number of the load; each message is counted as it ends. One thread.
 */
#ifndef PASSERELLE_BENCH_GREEDY_H
#define PASSERELLE_BENCH_GREEDY_H

#include "bench/load.h"

#define GREEDY_DOMAIN "greedy.bench"
#define GREEDY_TIMES  100

struct greedy_count {
    uint32_t due;  /* what its users would have sent by now */
    uint32_t sent; /* what went of it: some hundreds at most are unanswered */
    uint32_t delivered, refused;
};

/* Opens its stream and waits until it is ready; the load owns it from now on. -errno. */
int greedy_open(struct load *load);
/* From now on it sends, or no more. */
void greedy_set(struct greedy *greedy, bool active);
/* Sends what is due. */
void greedy_turn(struct greedy *greedy);
/* True when the error stanza with this id, or the text that SIP got, was one of its. */
bool greedy_on_error(struct greedy *greedy, struct span id);
bool greedy_on_text(struct greedy *greedy, struct span text);
/* Waits for what is still to be answered, for timeout_s at most. */
void greedy_settle(struct greedy *greedy);
struct greedy_count greedy_count(const struct greedy *greedy);
/* After the ring was closed; NULL is fine. */
void greedy_close(struct greedy *greedy);

#endif
