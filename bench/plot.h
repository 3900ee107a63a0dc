/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Figures in SVG: lines over two axes, and bars made of parts. Each has a caption, a legend and
 * axes with ticks and units; colours are classes of the page (html.h). Pure but for the output.
 */
#ifndef PASSERELLE_BENCH_PLOT_H
#define PASSERELLE_BENCH_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PLOT_LINE_MAX 64

enum plot_scale {
    PLOT_LINEAR,    /* from zero */
    PLOT_LOG,       /* what is not above zero is left out */
    PLOT_PERCENTILE /* by the share that is beyond: 90, 99, 99.9 % … are evenly spaced */
};

struct plot_line {
    char label[96];
    unsigned color;
    bool fine;     /* dashed and thin: the lesser of two */
    double *x, *y; /* a y that is no number interrupts the line; owned by the plot */
    size_t count, room;
};

struct plot {
    const char *title, *subtitle, *x_label, *y_label;
    enum plot_scale x_scale, y_scale;
    struct plot_line lines[PLOT_LINE_MAX];
    size_t line_count;
};

/* Another line, empty; NULL when there are too many. */
struct plot_line *plot_line(struct plot *plot, unsigned color, bool fine);
void plot_point(struct plot_line *line, double x, double y);
/* Draws a figure; nothing at all when no line has a point. */
void plot_draw(const struct plot *plot, FILE *out);
void plot_fini(struct plot *plot);

#define BARS_PART_MAX 8
#define BARS_ROW_MAX  64

struct bars_row {
    char label[128];
    struct {
        double value;
        char name[32]; /* of the legend; the same name has the same colour in all rows */
    } parts[BARS_PART_MAX];
    size_t part_count;
    char note[64]; /* behind the sum; may be empty */
};

struct bars {
    const char *title, *subtitle, *unit;
    double mark; /* a line across all rows; 0: none */
    const char *mark_label;
    struct bars_row rows[BARS_ROW_MAX];
    size_t row_count;
};

/* Another row, empty; NULL when there are too many. */
struct bars_row *bars_row(struct bars *bars);
/* Adds to the part of that name; when there are too many, to the last, which is then "other".
 */
void bars_part(struct bars_row *row, const char *name, double value);
void bars_draw(const struct bars *bars, FILE *out);

#endif
