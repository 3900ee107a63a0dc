/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The search for the highest rate that holds: doubling until one fails, halving while none has
 * held, then bisection between the two. A rate fails only when it failed twice: one hiccup of
 * the machine is not the relay's limit. Pure.
 */
#ifndef PASSERELLE_BENCH_RAMP_H
#define PASSERELLE_BENCH_RAMP_H

#include <stdbool.h>

#define RAMP_NEAR  1.05 /* the search ends when the rates that held and failed are that near */
#define RAMP_LEAST 1.0  /* a second: below that nothing is tried */

struct ramp {
    double held, failed; /* the highest that held and the lowest that failed; 0: none */
    double most;         /* is never passed */
    double next;         /* to be tried; 0: the search has ended, `held` is its result */
    bool again;          /* `next` has failed once */
};

/* Begins with `first`. */
void ramp_start(struct ramp *ramp, double first, double most);
/* How `next` went. */
void ramp_tell(struct ramp *ramp, bool held);

#endif
