/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/histogram.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

#define HISTOGRAM_LINEAR_BITS 6u
#define HISTOGRAM_STEP_BITS   5u

_Static_assert(HISTOGRAM_LINEAR == 1u << HISTOGRAM_LINEAR_BITS, "single microseconds");
_Static_assert(HISTOGRAM_STEPS == 1u << HISTOGRAM_STEP_BITS, "steps of an octave");

static uint32_t histogram_bucket(uint64_t us)
{
    if (us < HISTOGRAM_LINEAR)
        return (uint32_t)us;
    if (us > UINT32_MAX)
        us = UINT32_MAX;
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(us) - HISTOGRAM_LINEAR_BITS;
    uint32_t step = (uint32_t)(us >> (octave + 1)) - HISTOGRAM_STEPS;
    return HISTOGRAM_LINEAR + octave * HISTOGRAM_STEPS + step;
}

/* The largest number of microseconds that falls into it. */
static uint64_t histogram_top(uint32_t bucket)
{
    if (bucket < HISTOGRAM_LINEAR)
        return bucket;
    uint32_t octave = (bucket - HISTOGRAM_LINEAR) / HISTOGRAM_STEPS;
    uint64_t step = (bucket - HISTOGRAM_LINEAR) % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
    return ((step + 1) << (octave + 1)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
    uint32_t bucket = histogram_bucket(us);
    assert(bucket < HISTOGRAM_BUCKETS);
    histogram->buckets[bucket]++;
    histogram->count++;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
    histogram->count += other->count;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
    assert(share >= 0 && share <= 1);
    uint64_t wanted = (uint64_t)ceil(share * histogram->count), seen = 0;
    if (histogram->count == 0)
        return 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0)
            return histogram_top(i);
    }
    return histogram_top(HISTOGRAM_BUCKETS - 1);
}
