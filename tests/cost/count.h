/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What callgrind counts: the turns of the relay's threads, and in them not the simulated
 * network, clock and random numbers. Without valgrind nothing happens. One thread; the state is
 * the exception that tests/sim/sim.h makes for its own.
 */
#ifndef PASSERELLE_TESTS_COST_COUNT_H
#define PASSERELLE_TESTS_COST_COUNT_H

/* Before: nothing is even instrumented, which is much faster. */
void count_start(void);
/* Around a turn. */
void count_on(void);
void count_off(void);
/* What was counted since the last one goes to a file of its own, named `name` in its head. */
void count_dump(const char *name);

#endif
