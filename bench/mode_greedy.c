/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/bench.h"
#include "bench/greedy.h"
#include "bench/report_beside.h"

/* Alone, then beside the tenant, until each of its messages is answered. */
static bool mode_greedy_round(struct bench *bench, struct report_pairs *pairs)
{
    struct load *load = &bench->load;
    const struct load_phase *phase = &bench->options.phase;
    bool first = pairs->count == 0;
    struct report_summary *alone = &pairs->alone[pairs->count];
    struct report_summary *beside = &pairs->beside[pairs->count++];
    bool clean = first ? bench_phase(bench, phase, NULL, alone)
                       : bench_measure(bench, phase, alone);
    greedy_set(load->greedy, true);
    clean &= first ? bench_phase(bench, phase, "beside_greedy", beside)
                   : bench_measure(bench, phase, beside);
    greedy_set(load->greedy, false);
    greedy_settle(load->greedy);
    return clean;
}

bool mode_greedy(struct bench *bench)
{
    struct load *load = &bench->load;
    struct report_pairs pairs = {.count = 0};
    bool clean = bench_warm_up(bench);
    int status = greedy_open(load);
    if (status != 0) {
        bench_explain(bench, status);
        return false;
    }
    while (pairs.count < bench->options.rounds)
        clean &= mode_greedy_round(bench, &pairs);
    struct greedy_count count = greedy_count(load->greedy);
    clean &= count.delivered + count.refused == count.sent && count.delivered > 0 &&
             count.refused > 0;
    report_greedy(load, &pairs, clean, &bench->options);
    report_end(&bench->options);
    return clean;
}
