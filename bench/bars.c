/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "bench/axis.h"
#include "bench/html.h"
#include "bench/plot.h"

/* The picture, in its own units; the page scales it. */
#define BARS_WIDTH  1140.0
#define BARS_LEFT   290.0 /* for the labels, at most */
#define BARS_LETTER 7.2   /* how wide one of them is, about */
#define BARS_RIGHT  190.0 /* for the sum and the note */
#define BARS_ROW    26.0
#define BARS_HEIGHT 15.0
#define BARS_TOP    22.0
#define BARS_BOTTOM 40.0
#define BARS_LABEL  40 /* characters */
#define BARS_NAMES  16

/* What all rows share. */
struct bars_layout {
    const char *names[BARS_NAMES]; /* of the parts */
    size_t count;
    struct axis axis;
    double left; /* where the axis begins */
};

struct bars_row *bars_row(struct bars *bars)
{
    if (bars->row_count == BARS_ROW_MAX)
        return NULL;
    struct bars_row *row = &bars->rows[bars->row_count++];
    memset(row, 0, sizeof(*row));
    return row;
}

void bars_part(struct bars_row *row, const char *name, double value)
{
    size_t i = 0;
    if (row == NULL || !(value > 0))
        return;
    while (i < row->part_count && strcmp(row->parts[i].name, name) != 0)
        i++;
    if (i == BARS_PART_MAX)
        snprintf(row->parts[--i].name, sizeof(row->parts[i].name), "other");
    if (i == row->part_count) {
        snprintf(row->parts[i].name, sizeof(row->parts[i].name), "%s", name);
        row->parts[row->part_count++].value = 0;
    }
    row->parts[i].value += value;
}

static double bars_sum(const struct bars_row *row)
{
    double sum = 0;
    for (size_t i = 0; i < row->part_count; i++)
        sum += row->parts[i].value;
    return sum;
}

/* The index of a name, in the order in which they come; more than BARS_NAMES share the last. */
static size_t bars_name(struct bars_layout *layout, const char *name)
{
    for (size_t i = 0; i < layout->count; i++) {
        if (strcmp(layout->names[i], name) == 0)
            return i;
    }
    if (layout->count == BARS_NAMES)
        return BARS_NAMES - 1;
    layout->names[layout->count] = name;
    return layout->count++;
}

/* The class of a part: what is called "other" is grey. */
static void bars_put_class(const struct bars_layout *layout, size_t index, FILE *out)
{
    if (strcmp(layout->names[index], "other") == 0)
        fputs("class=\"rest\"", out);
    else
        fprintf(out, "class=\"c%zu\"", index % HTML_COLORS);
}

static double bars_x(const struct bars_layout *layout, double value)
{
    return layout->left +
           axis_place(&layout->axis, value) * (BARS_WIDTH - layout->left - BARS_RIGHT);
}

/* As far right as the longest label needs. */
static double bars_left(const struct bars *bars)
{
    double left = 0;
    for (size_t i = 0; i < bars->row_count; i++)
        left = fmax(left, 20 + BARS_LETTER * (double)strlen(bars->rows[i].label));
    return fmin(left, BARS_LEFT);
}

static void bars_draw_row(const struct bars_row *row, double top, struct bars_layout *layout,
                          FILE *out)
{
    char number[32];
    double start = 0;
    fprintf(out, "<text class=\"ink\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
            layout->left - 10, top + BARS_HEIGHT - 3);
    html_text_short(out, row->label, BARS_LABEL);
    fputs("</text>\n", out);
    for (size_t i = 0; i < row->part_count; i++) {
        double end = start + row->parts[i].value;
        double left = bars_x(layout, start), right = bars_x(layout, end);
        fputs("<rect ", out);
        bars_put_class(layout, bars_name(layout, row->parts[i].name), out);
        fprintf(out, " x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", left, top,
                right - left, BARS_HEIGHT);
        html_text(out, row->parts[i].name);
        fprintf(out, ": %s</title></rect>\n",
                html_number(number, sizeof(number), row->parts[i].value));
        start = end;
    }
    fprintf(
        out,
        "<text class=\"ink\" x=\"%.1f\" y=\"%.1f\">%s<tspan dx=\"10\" fill=\"var(--soft)\">",
        bars_x(layout, start) + 8, top + BARS_HEIGHT - 3,
        html_number(number, sizeof(number), start));
    html_text(out, row->note);
    fputs("</tspan></text>\n", out);
}

static void bars_draw_axis(const struct bars *bars, const struct bars_layout *layout,
                           double bottom, FILE *out)
{
    const struct axis *axis = &layout->axis;
    double width = BARS_WIDTH - layout->left - BARS_RIGHT;
    for (size_t i = 0; i < axis->tick_count; i++) {
        double at = layout->left + width * axis->ticks[i].place;
        fprintf(out,
                "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
                at, BARS_TOP - 4, bottom, at, bottom + 16, axis->ticks[i].label);
    }
    fprintf(out,
            "<path class=\"axis\" d=\"M%.1f %.1fV%.1f\"/><text x=\"%.1f\" y=\"%.1f\" "
            "text-anchor=\"middle\">",
            layout->left, BARS_TOP - 4, bottom, layout->left + width / 2, bottom + 34);
    html_text(out, bars->unit);
    fputs("</text>\n", out);
}

static void bars_draw_mark(const struct bars *bars, const struct bars_layout *layout,
                           double bottom, FILE *out)
{
    double at = bars_x(layout, bars->mark);
    fprintf(out,
            "<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/><text class=\"ink\" x=\"%.1f\" "
            "y=\"12\" text-anchor=\"middle\">",
            at, BARS_TOP - 6, bottom, at);
    html_text(out, bars->mark_label);
    fputs("</text>\n", out);
}

static void bars_draw_legend(const struct bars *bars, struct bars_layout *layout, FILE *out)
{
    for (size_t i = 0; i < bars->row_count; i++) {
        for (size_t j = 0; j < bars->rows[i].part_count; j++)
            (void)bars_name(layout, bars->rows[i].parts[j].name);
    }
    for (size_t i = 0; i < layout->count && layout->count > 1; i++) {
        fputs("<span><svg viewBox=\"0 0 22 10\"><rect width=\"22\" height=\"10\" ", out);
        bars_put_class(layout, i, out);
        fputs("/></svg>", out);
        html_text(out, layout->names[i]);
        fputs("</span>", out);
    }
}

void bars_draw(const struct bars *bars, FILE *out)
{
    struct bars_layout layout = {.left = bars_left(bars)};
    double high = bars->mark;
    double bottom = BARS_TOP + (double)bars->row_count * BARS_ROW;
    for (size_t i = 0; i < bars->row_count; i++)
        high = fmax(high, bars_sum(&bars->rows[i]));
    if (bars->row_count == 0 || !(high > 0))
        return;
    axis_fit(&layout.axis, PLOT_LINEAR, 0, high, true);
    fputs("<figure class=\"wide\">\n<figcaption>", out);
    html_text(out, bars->title);
    fputs(" <small>", out);
    html_text(out, bars->subtitle != NULL ? bars->subtitle : "");
    fputs("</small></figcaption>\n<div class=\"legend\">", out);
    bars_draw_legend(bars, &layout, out);
    fprintf(out, "</div>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"",
            BARS_WIDTH, bottom + BARS_BOTTOM);
    html_text(out, bars->title);
    fputs("\">\n", out);
    bars_draw_axis(bars, &layout, bottom, out);
    for (size_t i = 0; i < bars->row_count; i++)
        bars_draw_row(&bars->rows[i], BARS_TOP + (double)i * BARS_ROW + 4, &layout, out);
    if (bars->mark > 0)
        bars_draw_mark(bars, &layout, bottom, out);
    fputs("</svg>\n</figure>\n", out);
}
