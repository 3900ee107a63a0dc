/* SPDX-License-Identifier: GPL-3.0-or-later */
/* passerelle-bench: what is asked for, in which order. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/config.h"
#include "bench/demo.h"
#include "bench/floor.h"
#include "bench/kept.h"
#include "bench/report.h"
#include "bench/report_modes.h"
#include "net/clock.h"

static void bench_tick(void *context, const struct load *load)
{
    struct bench *bench = context;
    if (usage_tick(&bench->usage, &bench->load) && bench->options.progress)
        report_progress(load, &bench->usage, false);
}

void bench_explain(const struct bench *bench, int status)
{
    const char *problem = bench->load.problem;
    fprintf(stderr, "passerelle-bench: %s\n", problem[0] != '\0' ? problem : strerror(-status));
}

/* What we sent again ourselves may come behind what we sent after it. */
bool bench_is_clean(const struct ledger *ledger)
{
    bool in_order = ledger->reordered == 0 || ledger->resent > 0;
    return in_order && ledger_lost(ledger) == 0 &&
           ledger->duplicated + ledger->contradicted + ledger->failed + ledger->damaged == 0;
}

void bench_watch(struct bench *bench)
{
    usage_start(&bench->usage, &bench->options.processes);
    bench->load.tick = bench_tick;
    bench->load.tick_context = bench;
}

/* True when every message ended as it should. */
static bool bench_watched(struct bench *bench, const struct load_phase *phase)
{
    bench_watch(bench);
    int status = load_run(&bench->load, phase);
    usage_stop(&bench->usage);
    if (bench->options.progress)
        report_progress(&bench->load, &bench->usage, true);
    if (status != 0)
        bench_explain(bench, status);
    return status == 0 && bench_is_clean(&bench->load.to_sip) &&
           bench_is_clean(&bench->load.to_xmpp);
}

bool bench_phase(struct bench *bench, const struct load_phase *phase, const char *key,
                 struct report_summary *summary)
{
    bool clean = bench_watched(bench, phase);
    usage_measure_floor(&bench->usage, &bench->options.load);
    report_phase(&bench->load, &bench->options, &bench->usage, key, summary);
    report_texts(&bench->load, &bench->options, key);
    return clean;
}

bool bench_measure(struct bench *bench, const struct load_phase *phase,
                   struct report_summary *summary)
{
    bool clean = bench_watched(bench, phase);
    report_sum_up(&bench->load, &bench->usage, summary);
    return clean;
}

/* What the closed loop reached; of a duplex load the slower direction counts. */
static double bench_peak(const struct bench *bench)
{
    const struct ledger *ledgers[] = {&bench->load.to_sip, &bench->load.to_xmpp};
    double peak = 0;
    for (size_t i = 0; i < 2; i++) {
        double rate = ledger_rate(ledgers[i]);
        if (rate > 0 && (peak == 0 || rate < peak))
            peak = rate;
    }
    return peak;
}

/* Failures of this phase are told, its costs are not. */
bool bench_warm_up(struct bench *bench)
{
    struct load_phase phase = {.count = bench->options.warmup,
                               .window = bench->options.phase.window};
    if (phase.count == 0)
        return true;
    int status = load_run(&bench->load, &phase);
    if (status != 0)
        bench_explain(bench, status);
    return status == 0 && bench_is_clean(&bench->load.to_sip) &&
           bench_is_clean(&bench->load.to_xmpp);
}

static bool bench_load(struct bench *bench)
{
    struct load_phase phase = bench->options.phase;
    bool warm = bench_warm_up(bench);
    bool clean = bench_phase(bench, &phase, NULL, NULL);
    phase.rate = bench->options.fraction * bench_peak(bench);
    if (clean && phase.rate > 0) {
        phase.window = phase.count; /* an open loop waits for nobody */
        clean = bench_phase(bench, &phase, "at_fraction", NULL);
    }
    report_end(&bench->options);
    return warm && clean;
}

/* Resident memory of sessions that do nothing. What the kernel holds (sockets) is not in it.
   True when all of them are still there. */
static bool bench_idle(struct bench *bench, long before_kib, double open_s)
{
    const struct process_list *list = &bench->options.processes;
    int status = load_stay(&bench->load, (uint64_t)(bench->options.settle_s * 1e9));
    if (status != 0) {
        bench_explain(bench, status);
        return false;
    }
    long after_kib = process_anonymous_kib(list);
    unsigned sessions = bench->load.options.streams;
    double each = (double)(after_kib - before_kib) / sessions;
    if (bench->options.json)
        printf("{\"sessions\":%u,\"open_s\":%.3f,\"anonymous_kib\":{\"before\":%ld,"
               "\"after\":%ld},\"session_kib\":%.2f}\n",
               sessions, open_s, before_kib, after_kib, each);
    else
        printf(
            "%u idle authenticated TLS sessions, opened in %.1f s: resident (RssAnon) %.1f MiB "
            "before, %.1f MiB after: %.1f KiB a session\n",
            sessions, open_s, (double)before_kib / 1024, (double)after_kib / 1024, each);
    return true;
}

static int bench_run(const struct bench_options *options)
{
    static struct bench bench; /* large */
    bench.options = *options;
    long before_kib = process_anonymous_kib(&options->processes);
    uint64_t start_ns = clock_now_ns();
    bool clean = false;
    int status = load_open(&bench.load, &options->load);
    if (status == 0 && options->command != BENCH_CHURN)
        status = load_connect(&bench.load);
    if (status != 0) {
        bench_explain(&bench, status);
    } else if (options->command == BENCH_CHURN) {
        clean = mode_churn(&bench);
    } else if (options->command == BENCH_IDLE) {
        clean = bench_idle(&bench, before_kib, (double)(clock_now_ns() - start_ns) / 1e9);
    } else if (options->command == BENCH_SOAK) {
        clean = mode_soak(&bench);
    } else if (options->ramp_ms > 0) {
        clean = mode_ramp(&bench);
    } else if (options->load.slow + options->load.hostile > 0) {
        clean = mode_beside(&bench);
    } else if (options->load.greedy > 0) {
        clean = mode_greedy(&bench);
    } else if (options->load.half_open > 0) {
        clean = mode_half_open(&bench);
    } else {
        clean = bench_load(&bench);
    }
    load_close(&bench.load);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int bench_demo(const struct load_options *load)
{
    return demo_run(load, "xmpp.example", "sip.example") == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    if (kept_wanted(argc, argv))
        return kept_run(argc, argv);
    if (!bench_options_read(&options, argc, argv)) {
        fputs("passerelle-bench: --help explains the options\n", stderr);
        return EXIT_FAILURE;
    }
    if (tls_start() != 0) {
        fputs("passerelle-bench: wolfSSL does not start\n", stderr);
        return EXIT_FAILURE;
    }
    int status = EXIT_SUCCESS;
    switch (options.command) {
    case BENCH_HELP: bench_options_help(); break;
    case BENCH_CONFIG: bench_config_print(&options); break;
    case BENCH_DEMO: status = bench_demo(&options.load); break;
    case BENCH_FLOOR: status = floor_run(&options) == 0 ? EXIT_SUCCESS : EXIT_FAILURE; break;
    case BENCH_LOAD:
    case BENCH_CHURN:
    case BENCH_SOAK:
    case BENCH_IDLE: status = bench_run(&options); break;
    }
    tls_stop();
    return status;
}
