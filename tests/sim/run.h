/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One seed from beginning to end: the schedule of the relay's threads and of the world. */
#ifndef PASSERELLE_TESTS_SIM_RUN_H
#define PASSERELLE_TESTS_SIM_RUN_H

#include "tests/sim/sim.h"

struct run_result {
    uint64_t hash;
    uint64_t messages; /* that peers sent */
    uint64_t simulated_ns, steps;
    char fault[SIM_FAULT_SIZE]; /* empty: none */
};

/* `folder` has the certificates. */
void run_one(uint64_t seed, bool is_verbose, const char *folder, struct run_result *result);

#endif
