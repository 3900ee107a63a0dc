/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/bench.h"

#include <errno.h>

#include "bench/ramp.h"
#include "bench/report_modes.h"

#define RAMP_FIRST 1000.0 /* messages a second, without --rate */

static void ramp_measure(struct bench *bench, struct ramp_step *step)
{
    static const double shares[] = {0.5, 0.99};
    struct ledger *ledgers[] = {&bench->load.to_sip, &bench->load.to_xmpp};
    for (size_t i = 0; i < 2; i++) {
        struct ledger *ledger = ledgers[i];
        double us[2];
        if (ledger->count == 0)
            continue;
        double rate = ledger_rate(ledger);
        step->reached = step->reached == 0 || rate < step->reached ? rate : step->reached;
        step->sent += ledger->sent;
        step->lost += ledger_lost(ledger);
        step->failed += ledger->failed;
        step->duplicated += ledger->duplicated;
        step->reordered += ledger->reordered;
        ledger_percentiles(ledger, shares, us, 2);
        step->p50_us = us[0] > step->p50_us ? us[0] : step->p50_us;
        step->p99_us = us[1] > step->p99_us ? us[1] : step->p99_us;
    }
    step->core = usage_own_core(&bench->usage);
    step->wait = usage_own_wait(&bench->usage);
}

/* One step at a rate. -EPIPE when there is nothing to go on with. */
static int ramp_try(struct bench *bench, double rate, struct ramp_step *step)
{
    struct load_phase phase = {
        .count = UINT32_MAX / 4, .window = UINT32_MAX, .seconds = bench->options.step_s};
    phase.rate = rate;
    *step = (struct ramp_step){.rate = rate};
    bench_watch(bench);
    int status = load_run(&bench->load, &phase);
    usage_stop(&bench->usage);
    bool clean = status == 0 && bench_is_clean(&bench->load.to_sip) &&
                 bench_is_clean(&bench->load.to_xmpp);
    ramp_measure(bench, step);
    step->limit = RAMP_HELD;
    if (!clean)
        step->limit = RAMP_FAULTS;
    else if (step->p99_us > bench->options.ramp_ms * 1000)
        step->limit = RAMP_LATENCY;
    if (step->limit != RAMP_HELD && step->core + step->wait > REPORT_BUSY)
        step->limit = RAMP_GENERATOR;
    return status == -ETIMEDOUT ? 0 : status;
}

bool mode_ramp(struct bench *bench)
{
    const struct bench_options *options = &bench->options;
    struct ramp ramp;
    struct ramp_step step;
    enum ramp_limit limit = RAMP_HELD; /* of the lowest rate that failed */
    int status = bench_warm_up(bench) ? 0 : -EPIPE;
    ramp_start(&ramp, options->phase.rate > 0 ? options->phase.rate : RAMP_FIRST,
               options->rate_max);
    report_ramp_start(options);
    for (unsigned n = 0; status == 0 && ramp.next > 0; n++) {
        status = ramp_try(bench, ramp.next, &step);
        report_ramp_step(&step, options, n == 0);
        if (step.limit != RAMP_HELD && ramp.again)
            limit = step.limit;
        ramp_tell(&ramp, step.limit == RAMP_HELD);
    }
    report_ramp_end(ramp.held, limit, options);
    if (status != 0)
        bench_explain(bench, status);
    return status == 0 && ramp.held > 0;
}
