/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>

#include "bench/bench.h"
#include "bench/half_open.h"
#include "bench/report_beside.h"
#include "net/clock.h"

#define MODE_STEP_NS    20000000ull
#define MODE_REST_NS    300000000ull /* until memory is what it stays */
#define MODE_OPEN_S     60           /* for one kind, at most */
#define MODE_MARGIN_S   1.0          /* before the first one is due to end */
#define MODE_PATIENCE_S 10           /* behind the last one */

/* KiB that the kernel has in its caches for objects, of both ends. */
static long mode_slab_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "Slab: %ld", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib;
}

/* Opens all kinds in turn; what each costs is known behind it. */
static bool mode_open_kinds(struct bench *bench, struct report_half_open *report)
{
    struct load *load = &bench->load;
    const struct process_list *list = &bench->options.processes;
    long before_kib = process_anonymous_kib(list), slab_kib = mode_slab_kib();
    for (enum half_open_kind kind = 0; kind < HALF_OPEN_KINDS; kind++) {
        uint64_t end_ns = clock_now_ns() + MODE_OPEN_S * 1000000000ull;
        unsigned opened = half_open_count(load->half_open).opened;
        half_open_start(load->half_open, kind);
        do
            load_rest(load, MODE_STEP_NS);
        while (!half_open_settled(load->half_open) && clock_now_ns() < end_ns);
        load_rest(load, MODE_REST_NS);
        opened = half_open_count(load->half_open).opened - opened;
        long kib = process_anonymous_kib(list);
        report->kib[kind] = opened > 0 ? (double)(kib - before_kib) / opened : 0;
        before_kib = kib;
    }
    report->kernel_kib =
        (double)(mode_slab_kib() - slab_kib) / half_open_count(load->half_open).opened;
    return half_open_settled(load->half_open) && half_open_count(load->half_open).gone == 0;
}

/* The load while they end, and until all have. */
static bool mode_expire(struct bench *bench, double first_s, double last_s,
                        struct report_summary *summary)
{
    struct load *load = &bench->load;
    struct load_phase phase = bench->options.phase;
    double now_s = (double)clock_now_ns() / 1e9;
    if (first_s > now_s)
        load_rest(load, (uint64_t)((first_s - now_s) * 1e9));
    phase.seconds = last_s - first_s;
    bool clean = bench_phase(bench, &phase, "beside_expiring", summary);
    uint64_t end_ns = clock_now_ns() + MODE_PATIENCE_S * 1000000000ull;
    while (half_open_count(load->half_open).gone < load->options.half_open &&
           clock_now_ns() < end_ns)
        load_rest(load, MODE_STEP_NS);
    return clean;
}

static bool mode_half_open_run(struct bench *bench, struct report_half_open *report)
{
    struct load *load = &bench->load;
    struct load_phase phase = bench->options.phase;
    double timeout_s = half_open_timeout_ms(&load->options) / 1000.0;
    bool clean = bench_phase(bench, &phase, NULL, &report->alone);
    double start_s = (double)clock_now_ns() / 1e9;
    clean &= mode_open_kinds(bench, report);
    double opened_s = (double)clock_now_ns() / 1e9;
    double left_s = start_s + timeout_s - MODE_MARGIN_S - opened_s;
    if (phase.seconds > left_s)
        phase.seconds = left_s;
    if (!clean || phase.seconds <= 0) {
        const char *problem = half_open_problem(load->half_open);
        snprintf(load->problem, sizeof(load->problem), "they cannot all be held: %s",
                 problem != NULL ? problem : "opening them takes too long");
        bench_explain(bench, 0);
        return false;
    }
    clean &= bench_phase(bench, &phase, "beside_half_open", &report->held);
    /* They end in the order in which they were opened. */
    clean &= mode_expire(bench, start_s + timeout_s, opened_s + timeout_s + MODE_MARGIN_S,
                         &report->expiring);
    struct half_open_count count = half_open_count(load->half_open);
    return clean && count.gone == count.opened && count.early == 0;
}

bool mode_half_open(struct bench *bench)
{
    struct report_half_open report = {.kernel_kib = 0};
    bool clean = bench_warm_up(bench);
    int status = half_open_open(&bench->load);
    if (status != 0) {
        bench_explain(bench, status);
        return false;
    }
    clean &= mode_half_open_run(bench, &report);
    report_half_open(&bench->load, &report, clean, &bench->options);
    report_end(&bench->options);
    return clean;
}
