/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/contrast.h"

#include <math.h>
#include <string.h>

#include "bench/html.h"
#include "bench/measure.h"

#define CONTRAST_NAME 22 /* of a report, in the head of its column */

/* What a difference means. */
enum contrast {
    CONTRAST_NONE,    /* within the noise */
    CONTRAST_UNKNOWN, /* the reports do not tell how large the noise is */
    CONTRAST_BETTER,
    CONTRAST_WORSE,
    CONTRAST_MORE,
    CONTRAST_LESS
};

static bool contrast_has_noise(const struct measure *measure)
{
    return isfinite(measure->low) && isfinite(measure->high);
}

/* Do the rounds or fifths of both have a value in common? */
static bool contrast_overlaps(const struct measure *one, const struct measure *two)
{
    return one->low <= two->high && two->low <= one->high;
}

static enum contrast contrast_of(const struct measure *one, const struct measure *two)
{
    bool less = two->value < one->value;
    if (one->value == two->value)
        return CONTRAST_NONE;
    if (one->sense != MEASURE_COUNT) {
        if (!contrast_has_noise(one) || !contrast_has_noise(two))
            return one->sense == MEASURE_FACT ? CONTRAST_NONE : CONTRAST_UNKNOWN;
        if (contrast_overlaps(one, two))
            return CONTRAST_NONE;
    }
    switch (one->sense) {
    case MEASURE_COUNT:
    case MEASURE_LESS_IS_BETTER: return less ? CONTRAST_BETTER : CONTRAST_WORSE;
    case MEASURE_MORE_IS_BETTER: return less ? CONTRAST_WORSE : CONTRAST_BETTER;
    case MEASURE_FACT: break;
    }
    return less ? CONTRAST_LESS : CONTRAST_MORE;
}

/* Writes text to a width counted in characters, not bytes. */
static void contrast_put(FILE *out, const char *text, int width, bool right)
{
    int count = 0;
    for (const char *p = text; *p != '\0'; p++)
        count += (*p & 0xc0) != 0x80;
    if (right)
        fprintf(out, "%*s%s", count < width ? width - count : 0, "", text);
    else
        fprintf(out, "%s%*s", text, count < width ? width - count : 0, "");
}

/* "9.05 µs  8.81 – 9.20": the value, and how far its rounds were apart. */
static void contrast_put_measure(FILE *out, const struct measure *measure)
{
    char value[32], low[32], high[32], text[96];
    snprintf(text, sizeof(text), "%s%s%s", html_number(value, sizeof(value), measure->value),
             measure->unit[0] != '\0' ? " " : "", measure->unit);
    contrast_put(out, text, 13, true);
    text[0] = '\0';
    if (contrast_has_noise(measure))
        snprintf(text, sizeof(text), "%s – %s", html_number(low, sizeof(low), measure->low),
                 html_number(high, sizeof(high), measure->high));
    contrast_put(out, text, 20, true);
}

static void contrast_row(FILE *out, const struct measure *one, const struct measure *two,
                         int width)
{
    static const char *const words[] = {"", "?", "better", "WORSE", "more", "less"};
    char ratio[32] = "";
    const char *word = words[contrast_of(one, two)];
    contrast_put(out, one->name, width, false);
    contrast_put_measure(out, one);
    contrast_put_measure(out, two);
    if (one->value > 0)
        snprintf(ratio, sizeof(ratio), "%.3f", two->value / one->value);
    if (ratio[0] != '\0' || word[0] != '\0')
        contrast_put(out, ratio, 9, true);
    fprintf(out, "%s%s\n", word[0] != '\0' ? "  " : "", word);
}

static void contrast_head(FILE *out, const char *const names[2], int width)
{
    contrast_put(out, "measure", width, false);
    for (size_t i = 0; i < 2; i++) {
        /* The end of a long name says more than its start. */
        size_t size = strlen(names[i]);
        const char *name = size > CONTRAST_NAME ? names[i] + size - CONTRAST_NAME : names[i];
        while ((*name & 0xc0) == 0x80)
            name++; /* not in the middle of a character */
        contrast_put(out, name, 13, true);
        contrast_put(out, "its noise", 20, true);
    }
    contrast_put(out, "ratio", 9, true);
    fputc('\n', out);
}

static size_t contrast_rows(FILE *out, const struct measure_list lists[2], int width)
{
    const char *group = "";
    size_t common = 0;
    for (size_t i = 0; i < lists[0].count; i++) {
        const struct measure *one = &lists[0].measures[i];
        const struct measure *two = measure_find(&lists[1], one->group, one->name);
        if (two == NULL || strcmp(one->unit, two->unit) != 0)
            continue;
        if (strcmp(group, one->group) != 0)
            fprintf(out, "\n%s\n", one->group);
        group = one->group;
        contrast_row(out, one, two, width);
        common++;
    }
    return common;
}

/* Their rows need what they share: how wide the longest name is. */
static int contrast_width(const struct measure_list *list)
{
    size_t width = 8;
    for (size_t i = 0; i < list->count; i++) {
        size_t size = strlen(list->measures[i].name);
        width = size > width ? size : width;
    }
    return (int)width + 1;
}

bool contrast_write(const struct document *one, const struct document *two, FILE *out)
{
    struct measure_list lists[2] = {0};
    const char *names[] = {one->name, two->name};
    size_t common = 0;
    measure_read(&lists[0], one);
    measure_read(&lists[1], two);
    for (size_t i = 0; i < lists[0].count && common == 0; i++)
        common += measure_find(&lists[1], lists[0].measures[i].group,
                               lists[0].measures[i].name) != NULL;
    if (common > 0) {
        int width = contrast_width(&lists[0]);
        contrast_head(out, names, width);
        common = contrast_rows(out, lists, width);
        fputs("\nratio: the second to the first. Marked where the noise of both, the range of "
              "their "
              "rounds or of\nthe fifths of their run, has no value in common; ? where a report "
              "does not know its noise.\n",
              out);
    } else {
        fprintf(stderr, "passerelle-bench: %s and %s have no measure in common\n", one->path,
                two->path);
    }
    measure_fini(&lists[0]);
    measure_fini(&lists[1]);
    return common > 0;
}
