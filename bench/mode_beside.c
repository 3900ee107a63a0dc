/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/bench.h"
#include "bench/report_rogue.h"
#include "bench/rogue.h"

/* The same load twice: alone, and with the peers beside it. */
bool mode_beside(struct bench *bench)
{
    struct load *load = &bench->load;
    struct report_summary alone, beside;
    bool clean = bench_warm_up(bench);
    clean &= bench_phase(bench, &bench->options.phase, NULL, &alone);
    int status = rogues_open(load);
    if (status != 0) {
        bench_explain(bench, status);
        return false;
    }
    rogues_set(load->rogues, ROGUE_SLOW, true);
    rogues_set(load->rogues, ROGUE_HOSTILE, true);
    clean &= bench_phase(bench, &bench->options.phase, "beside", &beside);
    rogues_set(load->rogues, ROGUE_SLOW, false);
    rogues_set(load->rogues, ROGUE_HOSTILE, false);
    report_rogues(load, &alone, &beside, &bench->options);
    report_end(&bench->options);
    return clean;
}
