/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/bench.h"
#include "bench/greedy.h"
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

/* The same load twice: alone, and beside a tenant that is sent more than it may have. */
bool mode_greedy(struct bench *bench)
{
    struct load *load = &bench->load;
    struct report_summary alone, beside;
    bool clean = bench_warm_up(bench);
    int status = greedy_open(load);
    if (status != 0) {
        bench_explain(bench, status);
        return false;
    }
    clean &= bench_phase(bench, &bench->options.phase, NULL, &alone);
    greedy_set(load->greedy, true);
    clean &= bench_phase(bench, &bench->options.phase, "beside_greedy", &beside);
    greedy_set(load->greedy, false);
    greedy_settle(load->greedy);
    struct greedy_count count = greedy_count(load->greedy);
    report_greedy(load, &alone, &beside, &bench->options);
    report_end(&bench->options);
    return clean && count.delivered + count.refused == count.sent && count.delivered > 0 &&
           count.refused > 0;
}
