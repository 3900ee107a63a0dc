/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/axis.h"

#include <math.h>

#include "bench/html.h"

#define AXIS_STEPS 6 /* ticks that a linear axis aims at */

static double axis_layout(enum plot_scale scale, double value)
{
    switch (scale) {
    case PLOT_LINEAR: return value;
    case PLOT_LOG: return value > 0 ? log10(value) : NAN;
    case PLOT_PERCENTILE: return value < 100 ? -log10(1 - value / 100) : NAN;
    }
    return NAN;
}

double axis_place(const struct axis *axis, double value)
{
    return (axis_layout(axis->scale, value) - axis->low) / (axis->high - axis->low);
}

static void axis_tick(struct axis *axis, double value, bool labelled)
{
    double place = axis_place(axis, value);
    if (!(place > -1e-6 && place < 1 + 1e-6) || axis->tick_count == AXIS_TICK_MAX)
        return;
    axis->ticks[axis->tick_count].label[0] = '\0';
    if (labelled && axis->scale == PLOT_PERCENTILE)
        snprintf(axis->ticks[axis->tick_count].label, sizeof(axis->ticks[0].label), "%.7g %%",
                 value);
    else if (labelled && value < 1)
        snprintf(axis->ticks[axis->tick_count].label, sizeof(axis->ticks[0].label), "%.6g",
                 value);
    else if (labelled)
        html_number(axis->ticks[axis->tick_count].label, sizeof(axis->ticks[0].label), value);
    axis->ticks[axis->tick_count++].place = place;
}

/* 1, 2 or 5 times a power of ten, not less than `value`. */
static double axis_round(double value)
{
    static const double steps[] = {1, 2, 5, 10};
    double power = pow(10, floor(log10(value)));
    for (size_t i = 0; i < 4; i++) {
        if (steps[i] * power >= value * (1 - 1e-9))
            return steps[i] * power;
    }
    return 10 * power;
}

static void axis_fit_linear(struct axis *axis, double high, bool tight)
{
    double step = axis_round((high > 0 ? high : 1) / AXIS_STEPS);
    axis->low = 0;
    axis->high = tight && high > 0 ? high : step * ceil(high / step + 1e-9);
    if (axis->high <= 0)
        axis->high = step;
    for (unsigned i = 0; i <= 2 * AXIS_STEPS; i++)
        axis_tick(axis, i * step, true);
}

/* Whole decades have labels; 2 and 5 too when there are few. */
static void axis_fit_log(struct axis *axis, double low, double high)
{
    static const double steps[] = {1, 2, 5};
    double power = pow(10, floor(log10(low)));
    double first = low >= 5 * power ? 5 * power : low >= 2 * power ? 2 * power : power;
    double last = axis_round(high * 1.02);
    axis->low = log10(first);
    axis->high = log10(last > first ? last : first * 10);
    bool few = axis->high - axis->low < 2.5;
    for (double decade = power; decade <= last * 1.01; decade *= 10) {
        for (size_t i = 0; i < 3; i++)
            axis_tick(axis, decade * steps[i], few || i == 0);
    }
}

static void axis_fit_percentile(struct axis *axis, double low, double high)
{
    static const double values[] = {0, 50, 75, 90, 95, 99, 99.9, 99.99, 99.999, 99.9999};
    axis->low = axis_layout(PLOT_PERCENTILE, low);
    axis->high = axis_layout(PLOT_PERCENTILE, high);
    if (axis->high <= axis->low)
        axis->high = axis->low + 1;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        bool between = values[i] > 50 && values[i] < 99 && values[i] != 90;
        axis_tick(axis, values[i], !between);
    }
}

void axis_fit(struct axis *axis, enum plot_scale scale, double low, double high, bool tight)
{
    axis->scale = scale;
    axis->tick_count = 0;
    switch (scale) {
    case PLOT_LINEAR: axis_fit_linear(axis, high, tight); break;
    case PLOT_LOG: axis_fit_log(axis, low, high); break;
    case PLOT_PERCENTILE: axis_fit_percentile(axis, low, high); break;
    }
}
