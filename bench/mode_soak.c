/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/bench.h"
#include "bench/report_modes.h"
#include "bench/report_soak.h"

bool mode_soak(struct bench *bench)
{
    struct soak soak;
    const struct bench_options *options = &bench->options;
    struct soak_options how = {
        .every_s = options->every_s, .processes = &options->processes, .stats = options->stats};
    if (options->progress || !options->json)
        how.tell = report_soak_fault;
    bench_watch(bench);
    int status = soak_run(&soak, &bench->load, &options->phase, &how);
    usage_stop(&bench->usage);
    usage_measure_floor(&bench->usage, &options->load);
    if (options->progress)
        report_progress(&bench->load, &bench->usage, true);
    bool clean = status == 0 && soak_is_clean(&soak);
    if (soak.start_ns > 0) { /* it began */
        report_phase(&bench->load, options, &bench->usage, NULL, NULL);
        report_texts(&bench->load, options, NULL);
        report_soak(&soak, options, &bench->usage);
        report_end(options);
    }
    if (status != 0)
        bench_explain(bench, status);
    soak_fini(&soak);
    return clean;
}
