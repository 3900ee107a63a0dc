/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A long load in an open loop while things go wrong: streams break, the SIP side is silent,
 * refuses or loses its connections, datagrams get lost, the relay reads its configuration
 * again, slow and hostile peers come and go (fault.def). At the end every message is judged.
 * One thread; the load is its own.
 */
#ifndef PASSERELLE_BENCH_SOAK_H
#define PASSERELLE_BENCH_SOAK_H

#include "bench/fault_plan.h"
#include "bench/judge.h"
#include "bench/load.h"
#include "bench/process.h"
#include "bench/relay_stats.h"

#define SOAK_LOG_MAX 4096 /* faults that are kept one by one */

/* One fault that happened. */
struct soak_note {
    struct fault fault;
    char target[160]; /* whom it hit; may be empty */
};

struct soak_options {
    double every_s;
    const struct process_list *processes; /* of the relay; may be empty */
    const char *stats;                    /* its stats socket; NULL: not asked */
    void (*tell)(void *context, const struct soak_note *note); /* of each as it begins */
    void *context;
};

struct soak_place;

struct soak {
    struct load *load;
    struct soak_options options;
    struct fault_plan plan;
    struct fault next;
    uint64_t until_ns[FAULT_KINDS]; /* of those that last; 0: not now */
    uint32_t counts[FAULT_KINDS];   /* that happened */
    struct soak_note *log;          /* the first SOAK_LOG_MAX */
    size_t log_count;
    struct soak_place *places; /* one for each of our streams */
    unsigned hung;             /* of our streams: that of stream-hang */
    ring_handle hung_link;     /* of the relay's: that of link-hang */
    struct judge judge;
    struct judge_verdict to_sip, to_xmpp;
    uint64_t start_ns, check_ns;
    uint32_t reopened; /* streams of ours that ended and came again */
    uint32_t
        ended_by_relay; /* connections of ours that ended although nobody had touched them */
    char ending[160];   /* why the first of them did */
    bool relay_died;
    unsigned files_start, files_most, files_end; /* descriptors of the relay */
    struct relay_stats start, end;               /* end: since the start; with `stats` */
    uint64_t sessions_most;
    bool is_balanced; /* nothing is in flight at the end, each way; with `stats` */
};

/* Runs after load_connect for phase->seconds, then until what is missing is explained or has
   had its time, and judges. -errno and the load's `problem` when it cannot go on. soak_fini is
   due either way. */
int soak_run(struct soak *soak, struct load *load, const struct load_phase *phase,
             const struct soak_options *options);
/* Nothing is unexplained. */
bool soak_is_clean(const struct soak *soak);
void soak_fini(struct soak *soak);

#endif
