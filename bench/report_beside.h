/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What passerelle-bench prints of a load alone and beside something: the ratios of both, what
   became of a greedy tenant's messages, and of connections that stop half-way. */
#ifndef PASSERELLE_BENCH_REPORT_BESIDE_H
#define PASSERELLE_BENCH_REPORT_BESIDE_H

#include <jansson.h>

#include "bench/half_open.h"
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
/* What became of a greedy tenant's messages, and what it cost the load: the medians of the
   pairs. `clean`: every message of both ended as it should. */
void report_greedy(const struct load *load, const struct report_pairs *pairs, bool clean,
                   const struct bench_options *options);
/* Connections that stop half-way, beside a load. */
struct report_half_open {
    struct report_summary alone, held, expiring; /* the load */
    double kib[HALF_OPEN_KINDS];                 /* of the relay, anonymous, for one of a
                                                    kind */
    double kernel_kib;                           /* of both ends of one, of any kind */
};

/* What they cost, when they ended, and what the load had of it. `clean`: all ended in their
   time, and every message of the load as it should. */
void report_half_open(const struct load *load, const struct report_half_open *report, bool clean,
                      const struct bench_options *options);

#endif
