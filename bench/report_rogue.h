/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What passerelle-bench prints of slow and hostile peers, behind the phase they were beside. */
#ifndef PASSERELLE_BENCH_REPORT_ROGUE_H
#define PASSERELLE_BENCH_REPORT_ROGUE_H

#include <jansson.h>

#include "bench/report.h"

/* How often each kind was tried and how it ended; what it cost the load, as a ratio. */
void report_rogues(const struct load *load, const struct report_summary *alone,
                   const struct report_summary *beside, const struct bench_options *options);
/* The table of the kinds alone: text on stdout, or an array. */
void report_rogue_table(const struct load *load);
json_t *report_rogue_kinds(const struct load *load);

#endif
