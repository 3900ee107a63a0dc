/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/plot.h"

#include <math.h>
#include <stdlib.h>

#include "bench/axis.h"
#include "bench/html.h"

/* The picture, in its own units; the page scales it. */
#define PLOT_WIDTH  560.0
#define PLOT_HEIGHT 290.0
#define PLOT_LEFT   64.0
#define PLOT_RIGHT  26.0 /* half of the last label stands beyond the axis */
#define PLOT_TOP    26.0
#define PLOT_BOTTOM 44.0

struct plot_line *plot_line(struct plot *plot, unsigned color, bool fine)
{
    if (plot->line_count == PLOT_LINE_MAX)
        return NULL;
    struct plot_line *line = &plot->lines[plot->line_count++];
    *line = (struct plot_line){.color = color % HTML_COLORS, .fine = fine};
    return line;
}

void plot_point(struct plot_line *line, double x, double y)
{
    if (line == NULL)
        return;
    if (line->count == line->room) {
        line->room = line->room == 0 ? 256 : 2 * line->room;
        line->x = realloc(line->x, line->room * sizeof(*line->x));
        line->y = realloc(line->y, line->room * sizeof(*line->y));
        if (line->x == NULL || line->y == NULL)
            abort();
    }
    line->x[line->count] = x;
    line->y[line->count++] = y;
}

void plot_fini(struct plot *plot)
{
    for (size_t i = 0; i < plot->line_count; i++) {
        free(plot->lines[i].x);
        free(plot->lines[i].y);
    }
    plot->line_count = 0;
}

/* The range of what can be shown; false when that is nothing. */
static bool plot_range(const struct plot *plot, double *low, double *high)
{
    low[0] = low[1] = INFINITY;
    high[0] = high[1] = -INFINITY;
    for (size_t i = 0; i < plot->line_count; i++) {
        const struct plot_line *line = &plot->lines[i];
        for (size_t j = 0; j < line->count; j++) {
            if (!isfinite(line->y[j]) || (plot->y_scale == PLOT_LOG && line->y[j] <= 0))
                continue;
            low[0] = fmin(low[0], line->x[j]);
            high[0] = fmax(high[0], line->x[j]);
            low[1] = fmin(low[1], line->y[j]);
            high[1] = fmax(high[1], line->y[j]);
        }
    }
    return isfinite(low[0]);
}

static double plot_x(double place)
{
    return PLOT_LEFT + place * (PLOT_WIDTH - PLOT_LEFT - PLOT_RIGHT);
}

static double plot_y(double place)
{
    return PLOT_HEIGHT - PLOT_BOTTOM - place * (PLOT_HEIGHT - PLOT_TOP - PLOT_BOTTOM);
}

static void plot_draw_axes(const struct plot *plot, const struct axis *x, const struct axis *y,
                           FILE *out)
{
    double left = plot_x(0), right = plot_x(1), top = plot_y(1), bottom = plot_y(0);
    for (size_t i = 0; i < y->tick_count; i++) {
        double at = plot_y(y->ticks[i].place);
        fprintf(out,
                "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                left, at, right, left - 8, at + 4, y->ticks[i].label);
    }
    for (size_t i = 0; i < x->tick_count; i++) {
        double at = plot_x(x->ticks[i].place);
        fprintf(out,
                "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
                at, top, bottom, at, bottom + 17, x->ticks[i].label);
    }
    fprintf(out, "<path class=\"axis\" fill=\"none\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n", left, top,
            bottom, right);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", right, bottom + 36);
    html_text(out, plot->x_label);
    fprintf(out, "</text>\n<text x=\"4\" y=\"14\">");
    html_text(out, plot->y_label);
    fputs("</text>\n", out);
}

static void plot_draw_line(const struct plot_line *line, const struct axis *x,
                           const struct axis *y, FILE *out)
{
    bool drawing = false;
    fprintf(out, "<path class=\"curve c%u%s\" d=\"", line->color, line->fine ? " fine" : "");
    for (size_t i = 0; i < line->count; i++) {
        double across = axis_place(x, line->x[i]), up = axis_place(y, line->y[i]);
        if (!isfinite(across) || !isfinite(up)) {
            drawing = false;
            continue;
        }
        fprintf(out, "%c%.1f %.1f", drawing ? 'L' : 'M', plot_x(across), plot_y(up));
        drawing = true;
    }
    fputs("\"><title>", out);
    html_text(out, line->label);
    fputs("</title></path>\n", out);
}

static void plot_draw_caption(const char *title, const char *subtitle, FILE *out)
{
    fputs("<figcaption>", out);
    html_text(out, title);
    if (subtitle != NULL) {
        fputs(" <small>", out);
        html_text(out, subtitle);
        fputs("</small>", out);
    }
    fputs("</figcaption>\n<div class=\"legend\">", out);
}

void plot_draw(const struct plot *plot, FILE *out)
{
    struct axis x, y;
    double low[2], high[2];
    if (!plot_range(plot, low, high))
        return;
    axis_fit(&x, plot->x_scale, low[0], high[0], true);
    axis_fit(&y, plot->y_scale, low[1], high[1], false);
    fputs("<figure>\n", out);
    plot_draw_caption(plot->title, plot->subtitle, out);
    for (size_t i = 0; i < plot->line_count; i++) {
        const struct plot_line *line = &plot->lines[i];
        fprintf(out,
                "<span><svg viewBox=\"0 0 22 10\"><path class=\"curve c%u%s\" "
                "d=\"M0 5H22\"/></svg>",
                line->color, line->fine ? " fine" : "");
        html_text(out, line->label);
        fputs("</span>", out);
    }
    fprintf(out, "</div>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"",
            PLOT_WIDTH, PLOT_HEIGHT);
    html_text(out, plot->title);
    fputs("\">\n", out);
    plot_draw_axes(plot, &x, &y, out);
    for (size_t i = 0; i < plot->line_count; i++)
        plot_draw_line(&plot->lines[i], &x, &y, out);
    fputs("</svg>\n</figure>\n", out);
}
