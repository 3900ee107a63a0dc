/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What one phase cost: the processes under load and the generator itself. One thread. */
#ifndef PASSERELLE_BENCH_USAGE_H
#define PASSERELLE_BENCH_USAGE_H

#include "bench/floor.h"
#include "bench/series.h"

struct usage {
    const struct process_list *list;
    struct load *load; /* whose ledgers are sampled; NULL before the first tick */
    struct process_times start, relay; /* relay: what was used between start and stop */
    uint64_t start_ns;
    uint64_t own_cpu_ns, own_wait_ns; /* of the generator's one thread */
    double seconds;
    long idle_kib, max_kib, after_kib; /* resident; max by samples and by the kernel's mark */
    struct floor_figure floor;         /* of this invocation: outlives the phase */
    struct series series;              /* large: a struct usage is never on a stack */
};

void usage_start(struct usage *usage, const struct process_list *list);
/* Samples the resident memory and the series; call it often. True when the series has more. */
bool usage_tick(struct usage *usage, struct load *load);
void usage_stop(struct usage *usage);
/* The floor to compare with, measured once in an invocation, where the busiest thread of the
   phase ran. After usage_stop, while nothing is sent. */
void usage_measure_floor(struct usage *usage, const struct load_options *load);
/* CPU a message as a multiple of the floor; 0 when one of both is unknown. */
double usage_floor_ratio(const struct usage *usage, double messages);
/* Shares of the phase in which the generator ran and in which it waited for a core. */
double usage_own_core(const struct usage *usage);
double usage_own_wait(const struct usage *usage);

#endif
