/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/bench.h"
#include "bench/report.h"
#include "bench/report_modes.h"

bool mode_churn(struct bench *bench)
{
    static struct churn churn; /* large */
    struct load *load = &bench->load;
    const struct load_phase *asked = &bench->options.phase;
    struct churn_phase phase = {.count = asked->count,
                                .messages = bench->options.messages,
                                .window = asked->window,
                                .seconds = asked->seconds,
                                .rate = asked->rate};
    bench_watch(bench);
    int status = churn_run(&churn, load, &phase);
    usage_stop(&bench->usage);
    if (bench->options.progress)
        report_progress(load, &bench->usage, true);
    bool clean = status == 0 && churn.refused + churn.broken == 0 &&
                 bench_is_clean(&load->to_sip) && ledger_lost(&churn.streams) == 0;
    report_churn(&churn, &bench->options, &bench->usage);
    if (status != 0)
        bench_explain(bench, status);
    churn_fini(&churn);
    return clean;
}
