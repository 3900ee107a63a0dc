/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/timeline.h"

#define MEASURE_ROUND_MAX 64

static const char *const measure_directions[] = {"xmpp-sip", "sip-xmpp"};

/* Nothing is added where there is no number. */
static struct measure *measure_add(struct measure_list *list, const char *group,
                                   const char *name, const char *unit, double value)
{
    if (!isfinite(value))
        return NULL;
    if (list->count == list->room) {
        list->room = list->room == 0 ? 64 : 2 * list->room;
        list->measures = realloc(list->measures, list->room * sizeof(*list->measures));
        if (list->measures == NULL)
            abort();
    }
    struct measure *measure = &list->measures[list->count++];
    *measure = (struct measure){.value = value, .low = NAN, .high = NAN};
    snprintf(measure->group, sizeof(measure->group), "%s", group);
    snprintf(measure->name, sizeof(measure->name), "%s", name);
    snprintf(measure->unit, sizeof(measure->unit), "%s", unit);
    return measure;
}

/* At least two values make a range; the measure itself belongs to it. */
static void measure_set_range(struct measure *measure, const double *values, size_t count)
{
    if (measure == NULL || count < 2)
        return;
    measure->low = measure->high = measure->value;
    for (size_t i = 0; i < count; i++) {
        measure->low = fmin(measure->low, values[i]);
        measure->high = fmax(measure->high, values[i]);
    }
}

/* ---- a load ---- */

static void measure_read_flow(struct measure_list *list, const json_t *phase, const char *group,
                              const char *direction)
{
    static const struct {
        const char *key, *name, *unit;
        enum timeline_curve curve;
        double scale;
        enum measure_sense sense;
    } rows[] = {
        {"rate", "rate", "/s", TIMELINE_RATE, 1, MEASURE_MORE_IS_BETTER},
        {"p50_us", "p50", "ms", TIMELINE_P50, 1000, MEASURE_LESS_IS_BETTER},
        {"p90_us", "p90", "ms", TIMELINE_P90, 1000, MEASURE_LESS_IS_BETTER},
        {"p99_us", "p99", "ms", TIMELINE_P99, 1000, MEASURE_LESS_IS_BETTER},
        {"p999_us", "p99.9", "ms", TIMELINE_CURVES, 1000, MEASURE_LESS_IS_BETTER},
        {"sent", "sent", "", TIMELINE_CURVES, 1, MEASURE_FACT},
        {"failed", "failed", "", TIMELINE_CURVES, 1, MEASURE_COUNT},
        {"lost", "lost", "", TIMELINE_CURVES, 1, MEASURE_COUNT},
        {"duplicated", "duplicated", "", TIMELINE_CURVES, 1, MEASURE_COUNT},
        {"reordered", "reordered", "", TIMELINE_CURVES, 1, MEASURE_COUNT},
        {"contradicted", "contradicted", "", TIMELINE_CURVES, 1, MEASURE_COUNT},
    };
    const json_t *flow = document_at(phase, direction);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && flow != NULL; i++) {
        char name[96];
        double fifths[TIMELINE_FIFTHS];
        snprintf(name, sizeof(name), "%s %s", direction, rows[i].name);
        struct measure *measure =
            measure_add(list, group, name, rows[i].unit,
                        document_number(flow, rows[i].key) / rows[i].scale);
        if (measure == NULL)
            continue;
        measure->sense = rows[i].sense;
        if (rows[i].curve != TIMELINE_CURVES)
            measure_set_range(measure, fifths,
                              timeline_fifths(phase, direction, rows[i].curve, fifths));
    }
}

static void measure_read_fact(struct measure_list *list, const json_t *phase, const char *group,
                              const char *const row[3])
{
    double scale = strcmp(row[2], "MiB") == 0 ? 1024 : strcmp(row[2], "%") == 0 ? 0.01 : 1;
    (void)measure_add(list, group, row[1], row[2], document_number(phase, row[0]) / scale);
}

void measure_read_phase(struct measure_list *list, const json_t *phase, const char *group)
{
    static const char *const facts[][3] = {
        {"floor.us", "floor", "µs"},
        {"floor.ratio", "CPU a message to the floor", "×"},
        {"relay.rss_kib.idle", "resident before", "MiB"},
        {"relay.rss_kib.max", "resident at most", "MiB"},
        {"generator.cpu_us", "generator, CPU a message", "µs"},
        {"generator.core", "generator, of a core", "%"},
        {"generator.wait", "generator without a core", "%"},
    };
    double fifths[TIMELINE_FIFTHS];
    for (size_t i = 0; i < 2; i++)
        measure_read_flow(list, phase, group, measure_directions[i]);
    double cpu_us = document_number(phase, "relay.cpu_us");
    /* Zero: the generator was not told which process to watch. */
    bool watched = cpu_us > 0;
    if (watched)
        measure_set_range(measure_add(list, group, "CPU a message", "µs", cpu_us), fifths,
                          timeline_fifths(phase, NULL, TIMELINE_CPU, fifths));
    for (size_t i = watched ? 0 : 4; i < sizeof(facts) / sizeof(facts[0]); i++) {
        size_t before = list->count;
        measure_read_fact(list, phase, group, facts[i]);
        /* What the machine and the generator did is no merit of the relay. */
        if (list->count > before && (i == 0 || i >= 4))
            list->measures[before].sense = MEASURE_FACT;
    }
}

/* ---- the tables of the scripts ---- */

static int measure_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median over the rounds of one run, and their range. */
static void measure_read_rounds(struct measure_list *list, const json_t *reports,
                                const char *group, const char *const row[4])
{
    double values[MEASURE_ROUND_MAX];
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(reports) && count < MEASURE_ROUND_MAX; i++) {
        double value = document_number(json_array_get(reports, i), row[0]);
        if (isfinite(value))
            values[count++] = value / (strcmp(row[2], "ms") == 0 ? 1000 : 1);
    }
    if (count == 0)
        return;
    qsort(values, count, sizeof(values[0]), measure_compare);
    double middle = (values[(count - 1) / 2] + values[count / 2]) / 2;
    struct measure *measure = measure_add(list, group, row[1], row[2], middle);
    measure_set_range(measure, values, count);
    if (measure != NULL && row[3] != NULL)
        measure->sense = MEASURE_MORE_IS_BETTER;
}

static void measure_read_runs(struct measure_list *list, const json_t *runs)
{
    static const char *const rows[][4] = {
        {"xmpp-sip.rate", "xmpp-sip rate", "/s", "more"},
        {"xmpp-sip.p99_us", "xmpp-sip p99", "ms", NULL},
        {"sip-xmpp.rate", "sip-xmpp rate", "/s", "more"},
        {"sip-xmpp.p99_us", "sip-xmpp p99", "ms", NULL},
        {"relay.cpu_us", "CPU a message", "µs", NULL},
        {"at_fraction.xmpp-sip.p50_us", "p50 at half of the rate", "ms", NULL},
        {"at_fraction.xmpp-sip.p99_us", "p99 at half of the rate", "ms", NULL},
    };
    const char *name;
    json_t *reports;
    json_object_foreach((json_t *)runs, name, reports)
    {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            measure_read_rounds(list, reports, name, rows[i]);
    }
}

/* Indented rows belong to the one above that is not. */
static void measure_read_targets(struct measure_list *list, const json_t *targets)
{
    const char *parent = "";
    for (size_t i = 0; i < json_array_size(targets); i++) {
        char name[96];
        const json_t *row = json_array_get(targets, i);
        const char *text = document_text(row, "measure"), *unit = document_text(row, "unit");
        if (text[0] == ' ')
            snprintf(name, sizeof(name), "%s: %s", parent, text + strspn(text, " "));
        else
            snprintf(name, sizeof(name), "%s", parent = text);
        struct measure *measure =
            measure_add(list, "targets", name, unit, document_number(row, "measured"));
        if (measure == NULL)
            continue;
        measure->low = document_number(row, "low");
        measure->high = document_number(row, "high");
        if (strcmp(unit, "/s") == 0)
            measure->sense = MEASURE_MORE_IS_BETTER;
        else if (strcmp(unit, "%") == 0)
            measure->sense = MEASURE_FACT;
    }
}

static void measure_read_chains(struct measure_list *list, const json_t *chains)
{
    static const char *const counts[] = {"lost", "duplicated", "reordered", "failed"};
    for (size_t i = 0; i < json_array_size(chains); i++) {
        const json_t *chain = json_array_get(chains, i);
        const char *name = document_text(chain, "chain");
        for (size_t j = 0; j < 4; j++) {
            struct measure *measure =
                measure_add(list, name, counts[j], "", document_number(chain, counts[j]));
            if (measure != NULL)
                measure->sense = MEASURE_COUNT;
        }
        (void)measure_add(list, name, "resident for an idle session", "KiB",
                          document_number(chain, "session_kib"));
        (void)measure_add(list, name, "CPU a message to the floor", "×",
                          document_number(chain, "floor_ratio"));
    }
}

void measure_read(struct measure_list *list, const struct document *document)
{
    static const char *const floor[][2] = {
        {"floor_us", "the whole"},   {"decrypt_us", "decrypt"},
        {"expat_us", "expat"},       {"write_us", "write"},
        {"udp_send_us", "UDP send"}, {"udp_receive_us", "UDP receive"}};
    const json_t *root = document->root, *half = document_at(root, "at_fraction");
    switch (document->kind) {
    case DOCUMENT_LOAD:
        measure_read_phase(list, root, "");
        if (half != NULL)
            measure_read_phase(list, half, "then at a fraction of the rate");
        break;
    case DOCUMENT_FIGURES:
        measure_read_targets(list, document_at(root, "targets"));
        measure_read_runs(list, document_at(root, "runs"));
        break;
    case DOCUMENT_COMPARE:
        measure_read_runs(list, document_at(root, "runs"));
        measure_read_chains(list, document_at(root, "chains"));
        break;
    case DOCUMENT_FLOOR:
        for (size_t i = 0; i < sizeof(floor) / sizeof(floor[0]); i++)
            (void)measure_add(list, "", floor[i][1], "µs", document_number(root, floor[i][0]));
        break;
    case DOCUMENT_IDLE:
        (void)measure_add(list, "", "resident for an idle session", "KiB",
                          document_number(root, "session_kib"));
        break;
    }
}

const struct measure *measure_find(const struct measure_list *list, const char *group,
                                   const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct measure *measure = &list->measures[i];
        if (strcmp(measure->group, group) == 0 && strcmp(measure->name, name) == 0)
            return measure;
    }
    return NULL;
}

void measure_fini(struct measure_list *list)
{
    free(list->measures);
    *list = (struct measure_list){0};
}
