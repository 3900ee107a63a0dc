/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/usage.h"

#include <string.h>

#include "bench/load.h"
#include "net/clock.h"

void usage_start(struct usage *usage, const struct process_list *list)
{
    struct floor_figure floor = usage->floor;
    memset(usage, 0, sizeof(*usage));
    usage->floor = floor;
    usage->list = list;
    usage->idle_kib = usage->max_kib = process_resident_kib(list, NULL);
    process_reset_peak(list);
    process_own_times(&usage->own_cpu_ns, &usage->own_wait_ns);
    process_times(list, &usage->start);
    usage->start_ns = clock_now_ns();
    series_start(&usage->series, list, usage->start_ns);
}

bool usage_tick(struct usage *usage, struct load *load)
{
    usage->load = load;
    bool looked = series_tick(&usage->series, &load->to_sip, &load->to_xmpp, load->now_ns);
    if (usage->series.watch.resident_kib > usage->max_kib)
        usage->max_kib = usage->series.watch.resident_kib;
    return looked;
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
    if (usage->load != NULL)
        series_stop(&usage->series, &usage->load->to_sip, &usage->load->to_xmpp,
                    clock_now_ns());
    usage->after_kib = process_resident_kib(usage->list, &peak_kib);
    if (peak_kib > usage->max_kib)
        usage->max_kib = peak_kib;
}

void usage_measure_floor(struct usage *usage, const struct load_options *load)
{
    if (usage->list->count == 0)
        usage->floor.skipped = "without --pid there is nothing to compare it with";
    else if (!usage->floor.measured)
        floor_measure(&usage->floor, load, process_busiest_core(&usage->relay));
}

double usage_floor_ratio(const struct usage *usage, double messages)
{
    if (!usage->floor.measured || usage->floor.us <= 0)
        return 0;
    return (double)usage->relay.cpu_ns / 1000 / messages / usage->floor.us;
}

double usage_own_core(const struct usage *usage)
{
    return usage->seconds > 0 ? (double)usage->own_cpu_ns / 1e9 / usage->seconds : 0;
}

double usage_own_wait(const struct usage *usage)
{
    return usage->seconds > 0 ? (double)usage->own_wait_ns / 1e9 / usage->seconds : 0;
}
