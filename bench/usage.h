/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What one phase cost: the processes under load and the generator itself. One thread. */
#ifndef PASSERELLE_BENCH_USAGE_H
#define PASSERELLE_BENCH_USAGE_H

#include "bench/process.h"

struct usage {
    const struct process_list *list;
    struct process_times start, relay; /* relay: what was used between start and stop */
    uint64_t start_ns, sample_ns;
    uint64_t own_cpu_ns, own_wait_ns; /* of the generator's one thread */
    double seconds;
    long idle_kib, max_kib, after_kib; /* resident; max by samples and by the kernel's mark */
};

void usage_start(struct usage *usage, const struct process_list *list);
/* Samples the resident memory; call it often, it looks about 20 times a second. */
void usage_tick(struct usage *usage, uint64_t now_ns);
void usage_stop(struct usage *usage);
/* Shares of the phase in which the generator ran and in which it waited for a core. */
double usage_own_core(const struct usage *usage);
double usage_own_wait(const struct usage *usage);

#endif
