/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What passerelle-bench prints of a soak, behind its load. */
#ifndef PASSERELLE_BENCH_REPORT_SOAK_H
#define PASSERELLE_BENCH_REPORT_SOAK_H

#include "bench/report.h"
#include "bench/soak.h"

/* A fault as it begins, on stderr. */
void report_soak_fault(void *context, const struct soak_note *note);
/* What went wrong, how every message ended, and how the relay stood it. */
void report_soak(const struct soak *soak, const struct bench_options *options,
                 const struct usage *usage);

#endif
