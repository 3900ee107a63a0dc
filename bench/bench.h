/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What main.c and the modes (mode_*.c) share: one run of the generator, and its phases. */
#ifndef PASSERELLE_BENCH_BENCH_H
#define PASSERELLE_BENCH_BENCH_H

#include "bench/report.h"

struct bench {
    struct bench_options options;
    struct load load;
    struct usage usage;
};

/* ---- main.c ---- */

/* One sentence on stderr: the load's problem, or what the errno means. */
void bench_explain(const struct bench *bench, int status);
/* Every message of the last phase ended as it should. */
bool bench_is_clean(const struct ledger *ledger);
/* One phase with its report; `summary` may be NULL. True when every message ended as it should.
 */
bool bench_phase(struct bench *bench, const struct load_phase *phase, const char *key,
                 struct report_summary *summary);
/* One phase that is only summed up. */
bool bench_measure(struct bench *bench, const struct load_phase *phase,
                   struct report_summary *summary);
/* From here until usage_stop the cost of the relay and our own is watched. */
void bench_watch(struct bench *bench);
/* The messages of --warmup. True when every one ended as it should. */
bool bench_warm_up(struct bench *bench);

/* ---- modes: after load_open; true when every message ended as it should ---- */

/* --drive churn and handshake: opens its streams itself. */
bool mode_churn(struct bench *bench);
/* soak: faults by a seed, every message judged at the end. */
bool mode_soak(struct bench *bench);
/* --slow, --hostile: without them, then with them. */
bool mode_beside(struct bench *bench);
/* --greedy: alone, and beside a tenant that is sent more than it may have, --rounds times. */
bool mode_greedy(struct bench *bench);
/* --half-open: alone, beside connections that stop half-way, and while those end. */
bool mode_half_open(struct bench *bench);
/* --ramp: the highest rate that holds. */
bool mode_ramp(struct bench *bench);

#endif
