/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A phase over time: what was sent, arrived and failed in each interval, its latencies, and
 * what the watched threads used. Intervals are 100 ms; when SERIES_MAX of them are full, two
 * become one and the interval doubles, so that a phase of any length has 128 to 256 points. One
 * thread; its memory is its own and large: never on a stack.
 */
#ifndef PASSERELLE_BENCH_SERIES_H
#define PASSERELLE_BENCH_SERIES_H

#include "bench/ledger.h"
#include "bench/watch.h"

#define SERIES_MAX         256
#define SERIES_INTERVAL_NS 100000000ull /* of a look, and of a point at first */
#define SERIES_RECENT      11           /* looks that are kept as they are: a second and one */

enum series_direction { SERIES_TO_SIP, SERIES_TO_XMPP, SERIES_DIRECTIONS };

struct series_flow { /* of one direction in one interval */
    uint32_t sent, arrived, failed;
    struct histogram latency;
};

struct series_point {
    uint64_t end_ns;    /* from the start of the phase */
    uint32_t in_flight; /* at the end, of both directions */
    long resident_kib;  /* at the end; of merged intervals the larger */
    struct series_flow flows[SERIES_DIRECTIONS];
    uint64_t cpu_ns[WATCH_THREAD_MAX]; /* in the interval, in the order of the watch */
};

struct series {
    struct watch watch;
    uint64_t start_ns, interval_ns, next_ns; /* of a point; when to look again */
    uint32_t sent[SERIES_DIRECTIONS], failed[SERIES_DIRECTIONS]; /* up to the last point */
    struct process_thread threads[WATCH_THREAD_MAX];             /* likewise */
    size_t thread_count, count, looks;
    struct series_point recent[SERIES_RECENT]; /* look i is in recent[i % SERIES_RECENT] */
    struct series_point points[SERIES_MAX];
};

/* The last second. */
struct series_recent {
    double rate, cpu_us; /* messages a second; CPU a message, 0 when unknown */
    double p99_ms;
    uint32_t in_flight;
    long resident_kib;
};

/* Begins a phase; opens the watch. */
void series_start(struct series *series, const struct process_list *list, uint64_t now_ns);
/* Looks when it is time; call it often. True when it did. */
bool series_tick(struct series *series, struct ledger *to_sip, struct ledger *to_xmpp,
                 uint64_t now_ns);
/* The last, shorter interval; closes the watch. Once for each start. */
void series_stop(struct series *series, struct ledger *to_sip, struct ledger *to_xmpp,
                 uint64_t now_ns);
void series_recent(const struct series *series, struct series_recent *recent);
/* How fast the resident memory grows, KiB a minute: the straight line through all points but
   those of the first fifth, in which it fills its pools. 0 when there are not two. */
double series_slope(const struct series *series);

#endif
