/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An axis of a plot: its range, its ticks, and where a value stands on it. Pure. */
#ifndef PASSERELLE_BENCH_AXIS_H
#define PASSERELLE_BENCH_AXIS_H

#include "bench/plot.h"

#define AXIS_TICK_MAX 24

struct axis {
    enum plot_scale scale;
    double low, high; /* as they are laid out: logarithms when the scale is one */
    struct {
        double place;   /* 0 to 1 */
        char label[24]; /* empty: a line only */
    } ticks[AXIS_TICK_MAX];
    size_t tick_count;
};

/* An axis for values from `low` to `high`. `tight`: ends with the data, not at a tick. */
void axis_fit(struct axis *axis, enum plot_scale scale, double low, double high, bool tight);
/* 0 to 1; not a number when the value cannot be shown. */
double axis_place(const struct axis *axis, double value);

#endif
