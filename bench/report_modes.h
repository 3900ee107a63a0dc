/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the modes of passerelle-bench print beside report.h: a table, or members of the one JSON
   object. */
#ifndef PASSERELLE_BENCH_REPORT_MODES_H
#define PASSERELLE_BENCH_REPORT_MODES_H

#include "bench/load_churn.h"
#include "bench/options.h"
#include "bench/usage.h"

/* A whole run of streams that come and go. Uses up the ledgers. */
void report_churn(struct churn *churn, const struct bench_options *options,
                  const struct usage *usage);

#endif
