/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The series of a kept report as curves: a value for each interval, or for each fifth of the
 * phase, whose spread tells the noise. Intervals in which nothing was sent or arrived at the
 * end, and cut-off ones, are left out. Pure.
 */
#ifndef PASSERELLE_BENCH_TIMELINE_H
#define PASSERELLE_BENCH_TIMELINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define TIMELINE_FIFTHS 5

enum timeline_curve {
    TIMELINE_RATE, /* messages a second that arrived */
    TIMELINE_P50,  /* of latency, ms */
    TIMELINE_P90,
    TIMELINE_P99,
    TIMELINE_CPU,      /* µs a message, of all threads and both directions */
    TIMELINE_RESIDENT, /* MiB */
    TIMELINE_IN_FLIGHT,
    TIMELINE_CURVES
};

struct timeline {
    const json_t *series, *flow; /* flow: of the direction; NULL when it is of both */
    size_t count;                /* usable intervals */
};

/* The series of a phase, of one direction or (NULL) of both. False when there is none. */
bool timeline_open(struct timeline *timeline, const json_t *phase, const char *direction);
/* The middle of interval i, in seconds. */
double timeline_time(const struct timeline *timeline, size_t i);
/* Not a number where there is none. */
double timeline_value(const struct timeline *timeline, enum timeline_curve curve, size_t i);
/* CPU a message of one thread in interval i, by its name in the series. */
double timeline_thread(const struct timeline *timeline, const char *thread, size_t i);
/* The values of the fifths; returns how many there are: 0 when the series is too short. */
size_t timeline_fifths(const json_t *phase, const char *direction, enum timeline_curve curve,
                       double fifths[TIMELINE_FIFTHS]);

#endif
