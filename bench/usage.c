/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/usage.h"

#include "net/clock.h"

#define USAGE_SAMPLE_NS 50000000ull

void usage_start(struct usage *usage, const struct process_list *list)
{
    *usage = (struct usage){.list = list};
    usage->idle_kib = usage->max_kib = process_resident_kib(list, NULL);
    process_reset_peak(list);
    process_own_times(&usage->own_cpu_ns, &usage->own_wait_ns);
    process_times(list, &usage->start);
    usage->start_ns = clock_now_ns();
}

void usage_tick(struct usage *usage, uint64_t now_ns)
{
    if (usage->list->count == 0 || now_ns < usage->sample_ns)
        return;
    usage->sample_ns = now_ns + USAGE_SAMPLE_NS;
    long kib = process_resident_kib(usage->list, NULL);
    if (kib > usage->max_kib)
        usage->max_kib = kib;
}

void usage_stop(struct usage *usage)
{
    uint64_t cpu_ns, wait_ns;
    long peak_kib = 0;
    usage->seconds = (double)(clock_now_ns() - usage->start_ns) / 1e9;
    process_times(usage->list, &usage->relay);
    process_times_since(&usage->start, &usage->relay);
    process_own_times(&cpu_ns, &wait_ns);
    usage->own_cpu_ns = cpu_ns - usage->own_cpu_ns;
    usage->own_wait_ns = wait_ns - usage->own_wait_ns;
    usage->after_kib = process_resident_kib(usage->list, &peak_kib);
    if (peak_kib > usage->max_kib)
        usage->max_kib = peak_kib;
}

double usage_own_core(const struct usage *usage)
{
    return usage->seconds > 0 ? (double)usage->own_cpu_ns / 1e9 / usage->seconds : 0;
}

double usage_own_wait(const struct usage *usage)
{
    return usage->seconds > 0 ? (double)usage->own_wait_ns / 1e9 / usage->seconds : 0;
}
