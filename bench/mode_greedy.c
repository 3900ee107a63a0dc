/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/bench.h"
#include "bench/greedy.h"
#include "bench/report_beside.h"

/* One phase of a round. Those of the first round are told whole, and so begin with the load
   alone. */
static bool mode_greedy_phase(struct bench *bench, struct report_rounds *rounds,
                              enum greedy_pace pace)
{
    static const char *const keys[] = {NULL, "beside_within", "beside_greedy"};
    struct greedy *greedy = bench->load.greedy;
    struct report_summary *summary = &rounds->of[pace][rounds->count];
    if (pace != GREEDY_REST)
        greedy_set(greedy, pace);
    bool clean = rounds->count == 0
                     ? bench_phase(bench, &bench->options.phase, keys[pace], summary)
                     : bench_measure(bench, &bench->options.phase, summary);
    return (pace == GREEDY_REST || greedy_settle(greedy)) && clean;
}

/* Alone, beside the tenant within its quota, and beside it far over that; each round begins
   with another of them, as what was before is felt. */
static bool mode_greedy_round(struct bench *bench, struct report_rounds *rounds)
{
    bool clean = true;
    for (unsigned i = 0; i < GREEDY_PACES; i++)
        clean &= mode_greedy_phase(bench, rounds,
                                   (enum greedy_pace)((rounds->count + i) % GREEDY_PACES));
    rounds->count++;
    return clean;
}

bool mode_greedy(struct bench *bench)
{
    static struct report_rounds rounds;
    struct load *load = &bench->load;
    bool clean = bench_warm_up(bench);
    int status = greedy_open(load);
    if (status != 0) {
        bench_explain(bench, status);
        return false;
    }
    while (rounds.count < bench->options.rounds)
        clean &= mode_greedy_round(bench, &rounds);
    struct greedy_count within = greedy_count(load->greedy, GREEDY_WITHIN);
    struct greedy_count over = greedy_count(load->greedy, GREEDY_OVER);
    clean &= within.delivered + within.refused == within.sent && within.delivered > 0 &&
             over.delivered + over.refused == over.sent && over.delivered > 0 &&
             over.refused > 0;
    report_greedy(load, &rounds, clean, &bench->options);
    report_end(&bench->options);
    return clean;
}
