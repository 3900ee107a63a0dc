/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams that come and go: each is opened, authenticated, carries some messages to SIP (none:
 * a measure of handshakes) and is closed in order; then its place is free for the next. As many
 * as the load has streams are there at a time. Every stream is followed to its end, and every
 * message by the load's ledger. One thread.
 */
#ifndef PASSERELLE_BENCH_LOAD_CHURN_H
#define PASSERELLE_BENCH_LOAD_CHURN_H

#include "bench/load.h"

struct churn_phase {
    uint32_t count;    /* streams; with `seconds` the most */
    unsigned messages; /* of each */
    unsigned window;   /* most messages in flight */
    double seconds;    /* no stream is started after that; 0: at the count */
    double rate;       /* open loop: streams a second; 0: as fast as places become free */
};

struct churn_place;

struct churn {
    struct load *load;
    struct churn_phase phase;
    struct churn_place *places; /* one for each of the load's streams */
    struct ledger streams;      /* arrived: authenticated; the user is the place */
    uint32_t closed;            /* in order, by both sides */
    uint32_t refused;           /* ended before they were authenticated */
    uint32_t broken;            /* ended after that, but not as they should */
    char failure[160];          /* why the first of those ended; empty: none did */
    uint64_t send_end_ns;
};

/* Runs after load_open, instead of load_connect and load_run, until every stream has ended and
   every message is accounted for. -ETIMEDOUT, -EPIPE; the load's `problem`. `churn` is to be
   freed by churn_fini either way. */
int churn_run(struct churn *churn, struct load *load, const struct churn_phase *phase);
void churn_fini(struct churn *churn);

#endif
