/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/fault_plan.h"

#include <assert.h>
#include <math.h>

#include "bench/random.h"

#define FAULT_LEAST_MS 500u /* of one that lasts */

static const struct {
    const char *name, *sentence;
    enum fault_need need;
    unsigned most_ms;
} fault_rows[] = {
#define FAULT(constant, name, need, most_ms, sentence) {name, sentence, need, most_ms},
#include "bench/fault.def"
#undef FAULT
};

const char *fault_name(enum fault_kind kind)
{
    return fault_rows[kind].name;
}

const char *fault_sentence(enum fault_kind kind)
{
    return fault_rows[kind].sentence;
}

bool fault_lasts(enum fault_kind kind)
{
    return fault_rows[kind].most_ms > 0;
}

void fault_plan_start(struct fault_plan *plan, uint64_t seed, double every_s, unsigned has)
{
    assert(every_s > 0);
    *plan = (struct fault_plan){.state = seed, .every_s = every_s, .has = has};
}

static void fault_plan_fill(struct fault_plan *plan)
{
    for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
        if ((fault_rows[kind].need & ~plan->has) == 0)
            plan->round[plan->left++] = (enum fault_kind)kind;
    }
}

void fault_plan_next(struct fault_plan *plan, struct fault *fault)
{
    if (plan->left == 0)
        fault_plan_fill(plan);
    unsigned at = random_below(&plan->state, plan->left);
    enum fault_kind kind = plan->round[at];
    plan->round[at] = plan->round[--plan->left];
    plan->at_ns += (uint64_t)(-log(1 - random_share(&plan->state)) * plan->every_s * 1e9);
    *fault = (struct fault){.kind = kind,
                            .at_ns = plan->at_ns,
                            .end_ns = plan->at_ns,
                            .choice = (uint32_t)random_next(&plan->state)};
    if (fault_lasts(kind)) {
        unsigned span_ms = fault_rows[kind].most_ms - FAULT_LEAST_MS;
        fault->end_ns +=
            (FAULT_LEAST_MS + random_below(&plan->state, span_ms + 1)) * 1000000ull;
    }
}
