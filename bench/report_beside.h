/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What passerelle-bench prints of a load alone and beside something: the ratios of both, and what
   became of a greedy tenant's messages. */
#ifndef PASSERELLE_BENCH_REPORT_BESIDE_H
#define PASSERELLE_BENCH_REPORT_BESIDE_H

#include <jansson.h>

#include "bench/report.h"

#define REPORT_ROUND_MAX 99

/* Phases that alternate: with nothing beside the load, and with something. */
struct report_pairs {
    unsigned count;
    struct report_summary alone[REPORT_ROUND_MAX], beside[REPORT_ROUND_MAX];
};

struct report_ratios {
    double rate, cpu, p50, p99; /* 0: one of both is unknown */
};

struct report_ratios report_compare(const struct report_summary *alone,
                                    const struct report_summary *beside);
json_t *report_ratios_json(const struct report_ratios *ratios);
/* Goes on behind the name of what the load was beside. */
void report_ratios_text(const struct report_ratios *ratios);
/* What became of a greedy tenant's messages, and what it cost the load: the medians of the pairs.
   `clean`: every message of both ended as it should. */
void report_greedy(const struct load *load, const struct report_pairs *pairs, bool clean,
                   const struct bench_options *options);

#endif
