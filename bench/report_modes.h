/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the modes of passerelle-bench print beside report.h: a table, or members of the one JSON
   object. */
#ifndef PASSERELLE_BENCH_REPORT_MODES_H
#define PASSERELLE_BENCH_REPORT_MODES_H

#include "bench/load_churn.h"
#include "bench/options.h"
#include "bench/usage.h"

#define REPORT_BUSY 0.9 /* of a core: above that the generator is the limit */

/* Whose the messages of a phase were, how long, and whether they arrived unchanged: after
   report_phase, with its `key`. A line only when there is something to say. */
void report_texts(const struct load *load, const struct bench_options *options,
                  const char *key);

/* A whole run of streams that come and go. Uses up the ledgers. */
void report_churn(struct churn *churn, const struct bench_options *options,
                  const struct usage *usage);

/* Why a rate did not hold. */
enum ramp_limit { RAMP_HELD, RAMP_LATENCY, RAMP_FAULTS, RAMP_GENERATOR };

/* One rate of --ramp that was tried: of both directions the worse counts, faults add up. */
struct ramp_step {
    double rate, reached;  /* asked for; arrived a second */
    double p50_us, p99_us; /* from the time a message should have left */
    double core, wait;     /* of the generator */
    uint32_t sent, lost, failed, duplicated, reordered;
    enum ramp_limit limit;
};

void report_ramp_start(const struct bench_options *options);
void report_ramp_step(const struct ramp_step *step, const struct bench_options *options,
                      bool first);
/* `rate` is the result, 0: none held; `limit` says why the lowest one above it failed. */
void report_ramp_end(double rate, enum ramp_limit limit, const struct bench_options *options);

#endif
