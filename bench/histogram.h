/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Latencies of an interval: counts in buckets of 1 µs up to 64 µs and of 1/32 of an octave
 * above, so that a percentile is right to 3 %. Of a fixed size, so that intervals can be added
 * up. Pure.
 */
#ifndef PASSERELLE_BENCH_HISTOGRAM_H
#define PASSERELLE_BENCH_HISTOGRAM_H

#include <stdint.h>

/* 64 single microseconds, then 32 buckets for each octave from 2^6 to 2^32 µs (71 minutes). */
#define HISTOGRAM_LINEAR  64u
#define HISTOGRAM_STEPS   32u
#define HISTOGRAM_BUCKETS (HISTOGRAM_LINEAR + 26u * HISTOGRAM_STEPS)

struct histogram {
    uint32_t count; /* of all buckets */
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t us);
/* Adds what `other` has. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);
/* The upper end of the bucket in which the share (0 to 1) is reached; 0 when it is empty. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

#endif
