/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What passerelle-bench prints: a table for people, or one JSON object. */
#ifndef PASSERELLE_BENCH_REPORT_H
#define PASSERELLE_BENCH_REPORT_H

#include "bench/options.h"
#include "bench/usage.h"

#define REPORT_BUSY 0.9 /* of a core: above that the generator is the limit */

/* A phase in short: the rates of both directions together, of their latencies the worse. */
struct report_summary {
    double rate, cpu_us, p50_us, p99_us;
};

/* One phase. `key` is the name of the phase's JSON object, NULL for the outermost. Uses up the
   ledgers. `summary` may be NULL. */
void report_phase(struct load *load, const struct bench_options *options,
                  const struct usage *usage, const char *key, struct report_summary *summary);
/* A phase in short only. Uses up the ledgers. */
void report_sum_up(struct load *load, const struct usage *usage,
                   struct report_summary *summary);
/* Ends the outermost JSON object. */
void report_end(const struct bench_options *options);
/* A line on stderr that replaces itself: the last second at a glance; `done` ends it. */
void report_progress(const struct load *load, const struct usage *usage, bool done);

#endif
