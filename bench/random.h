/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Chance from a seed: the same seed, the same draws (splitmix64). Pure. */
#ifndef PASSERELLE_BENCH_RANDOM_H
#define PASSERELLE_BENCH_RANDOM_H

#include <stdint.h>

#define RANDOM_STEP 0x9e3779b97f4a7c15ull

static inline uint64_t random_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline uint64_t random_next(uint64_t *state)
{
    return random_mix(*state += RANDOM_STEP);
}
/* At least 0, less than 1. */
static inline double random_share(uint64_t *state)
{
    return (double)(random_next(state) >> 11) / 9007199254740992.0;
}
/* Less than `count`. */
static inline uint32_t random_below(uint64_t *state, uint32_t count)
{
    return (uint32_t)(random_share(state) * count);
}

#endif
