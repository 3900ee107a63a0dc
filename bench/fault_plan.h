/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which fault comes when: drawn from a seed. Intervals are exponential; the kinds that can
 * happen come in rounds, each once in a round, so that a short soak has seen them all. Pure.
 */
#ifndef PASSERELLE_BENCH_FAULT_PLAN_H
#define PASSERELLE_BENCH_FAULT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum fault_need {
    FAULT_ANYWHERE = 0,
    FAULT_DATAGRAMS = 1,   /* UDP trunks */
    FAULT_CONNECTIONS = 2, /* TCP or TLS trunks */
    FAULT_PROCESS = 4      /* the relay's process is known */
};

enum fault_kind {
#define FAULT(constant, name, need, most_ms, sentence) constant,
#include "bench/fault.def"
#undef FAULT
    FAULT_KINDS
};

struct fault {
    enum fault_kind kind;
    uint64_t at_ns, end_ns; /* from the start of the soak; equal: it is over at once */
    uint32_t choice;        /* whom it hits, where there are several */
};

struct fault_plan {
    uint64_t state, at_ns;
    double every_s;
    unsigned has; /* enum fault_need: what is there */
    enum fault_kind round[FAULT_KINDS];
    unsigned left; /* of the round */
};

void fault_plan_start(struct fault_plan *plan, uint64_t seed, double every_s, unsigned has);
/* The next one; its time is never before that of the last. */
void fault_plan_next(struct fault_plan *plan, struct fault *fault);

const char *fault_name(enum fault_kind kind);
const char *fault_sentence(enum fault_kind kind);
bool fault_lasts(enum fault_kind kind);

#endif
