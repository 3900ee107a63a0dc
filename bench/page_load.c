/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "bench/html.h"
#include "bench/page.h"
#include "bench/timeline.h"

static void page_collect(struct page_runs *runs, const struct document *documents, size_t count,
                         const char *key)
{
    *runs = (struct page_runs){0};
    for (size_t i = 0; i < count; i++) {
        const json_t *root = documents[i].root;
        const json_t *phase = key == NULL ? root : document_at(root, key);
        if (documents[i].kind != DOCUMENT_LOAD || phase == NULL)
            continue;
        runs->names[runs->count] = documents[i].name;
        runs->phases[runs->count++] = phase;
        runs->duplex |=
            document_at(phase, "xmpp-sip") != NULL && document_at(phase, "sip-xmpp") != NULL;
    }
}

/* ---- the figures ---- */

/* What tells this line from the others, and nothing more. */
static void page_label(struct plot_line *line, const struct page_runs *runs, size_t run,
                       size_t direction, const char *what)
{
    const char *name = runs->count > 1 ? runs->names[run] : "";
    const char *way = runs->duplex ? page_directions[direction] : "";
    if (line != NULL)
        snprintf(line->label, sizeof(line->label), "%s%s%s%s%s", name,
                 name[0] != '\0' && way[0] != '\0' ? " " : "", way,
                 name[0] + way[0] != '\0' && what[0] != '\0' ? " " : "", what);
}

/* A line of one curve of each run and direction. */
static void page_add_curves(struct plot *plot, const struct page_runs *runs,
                            enum timeline_curve curve, const char *what, bool fine)
{
    for (size_t i = 0; i < runs->count; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct timeline timeline;
            if (!timeline_open(&timeline, runs->phases[i], page_directions[j]))
                continue;
            struct plot_line *line =
                plot_line(plot, (unsigned)(runs->duplex ? 2 * i + j : i), fine);
            page_label(line, runs, i, j, what);
            for (size_t k = 0; k < timeline.count; k++)
                plot_point(line, timeline_time(&timeline, k),
                           timeline_value(&timeline, curve, k));
        }
    }
}

static void page_plot_rate(const struct page_runs *runs, FILE *out)
{
    static struct plot plot;
    plot = (struct plot){.title = "Throughput over time",
                         .subtitle = "messages that arrived",
                         .x_label = "seconds",
                         .y_label = "messages a second"};
    page_add_curves(&plot, runs, TIMELINE_RATE,
                    runs->count > 1 || runs->duplex ? "" : "arrived", false);
    plot_draw(&plot, out);
    plot_fini(&plot);
}

static void page_plot_latency(const struct page_runs *runs, FILE *out)
{
    static struct plot plot;
    plot = (struct plot){.title = "Latency over time",
                         .subtitle = "percentiles of each interval",
                         .x_label = "seconds",
                         .y_label = "milliseconds, logarithmic",
                         .y_scale = PLOT_LOG};
    page_add_curves(&plot, runs, TIMELINE_P99, "p99", false);
    page_add_curves(&plot, runs, TIMELINE_P50, "p50", true);
    plot_draw(&plot, out);
    plot_fini(&plot);
}

static void page_plot_percentiles(const struct page_runs *runs, FILE *out)
{
    static struct plot plot;
    plot = (struct plot){.title = "Latency by percentile",
                         .subtitle = "of the whole phase, up to the longest",
                         .x_label = "messages that took no longer",
                         .y_label = "milliseconds, logarithmic",
                         .x_scale = PLOT_PERCENTILE,
                         .y_scale = PLOT_LOG};
    for (size_t i = 0; i < runs->count; i++) {
        for (size_t j = 0; j < 2; j++) {
            const json_t *flow = document_at(runs->phases[i], page_directions[j]);
            if (flow == NULL)
                continue;
            struct plot_line *line =
                plot_line(&plot, (unsigned)(runs->duplex ? 2 * i + j : i), false);
            page_label(line, runs, i, j,
                       runs->count > 1 || runs->duplex ? "" : page_directions[j]);
            page_percentiles(line, flow);
        }
    }
    plot_draw(&plot, out);
    plot_fini(&plot);
}

/* Of one run a line for each thread; threads that hardly ran are left out. */
static void page_add_threads(struct plot *plot, const json_t *phase)
{
    const char *name;
    json_t *value;
    struct timeline timeline;
    unsigned color = 0;
    double whole = document_number(phase, "relay.cpu_us");
    if (!timeline_open(&timeline, phase, NULL))
        return;
    json_object_foreach((json_t *)document_at(phase, "relay.threads"), name, value)
    {
        struct plot_line *line;
        if (json_number_value(value) < whole / 100 ||
            (line = plot_line(plot, color++, false)) == NULL)
            continue;
        snprintf(line->label, sizeof(line->label), "%.*s", (int)strcspn(name, "/"), name);
        for (size_t i = 0; i < timeline.count; i++)
            plot_point(line, timeline_time(&timeline, i), timeline_thread(&timeline, name, i));
    }
}

/* A curve of the relay as a whole. */
static void page_add_whole(struct plot *plot, const struct page_runs *runs,
                           enum timeline_curve curve, const char *what)
{
    for (size_t i = 0; i < runs->count; i++) {
        struct timeline timeline;
        if (!timeline_open(&timeline, runs->phases[i], NULL))
            continue;
        struct plot_line *line =
            plot_line(plot, (unsigned)(runs->duplex && runs->count > 1 ? 2 * i : i), false);
        if (line != NULL)
            snprintf(line->label, sizeof(line->label), "%s",
                     runs->count > 1 ? runs->names[i] : what);
        for (size_t k = 0; k < timeline.count; k++)
            plot_point(line, timeline_time(&timeline, k), timeline_value(&timeline, curve, k));
    }
}

static void page_plot_cpu(const struct page_runs *runs, FILE *out)
{
    static struct plot plot;
    plot = (struct plot){.title = "CPU a message over time",
                         .subtitle = runs->count == 1 ? "of each thread" : "of all threads",
                         .x_label = "seconds",
                         .y_label = "microseconds a message"};
    if (runs->count == 1)
        page_add_threads(&plot, runs->phases[0]);
    else
        page_add_whole(&plot, runs, TIMELINE_CPU, "");
    plot_draw(&plot, out);
    plot_fini(&plot);
}

static void page_plot_whole(const struct page_runs *runs, enum timeline_curve curve,
                            const char *title, const char *unit, FILE *out)
{
    static struct plot plot;
    plot = (struct plot){.title = title, .x_label = "seconds", .y_label = unit};
    page_add_whole(&plot, runs, curve, curve == TIMELINE_RESIDENT ? "relay" : "in flight");
    plot_draw(&plot, out);
    plot_fini(&plot);
}

static void page_bars_cpu(const struct page_runs *runs, FILE *out)
{
    static struct bars bars;
    double floor_us = 0;
    size_t floors = 0;
    bars = (struct bars){.title = "CPU a message by thread", .unit = "microseconds a message"};
    for (size_t i = 0; i < runs->count; i++) {
        struct bars_row *row = bars_row(&bars);
        double us = document_number(runs->phases[i], "floor.us");
        if (row == NULL)
            break;
        snprintf(row->label, sizeof(row->label), "%s", runs->names[i]);
        page_threads(row, runs->phases[i]);
        page_floor_note(row, document_number(runs->phases[i], "floor.ratio"));
        if (isfinite(us)) {
            floor_us += us;
            floors++;
        }
    }
    if (floors > 0) {
        bars.mark = floor_us / (double)floors;
        bars.mark_label = "floor";
        bars.subtitle = "and the floor: the unavoidable work of a message XMPP→SIP over UDP";
    }
    bars_draw(&bars, out);
}

static void page_phase(const struct page_runs *runs, const char *title, FILE *out)
{
    if (runs->count == 0)
        return;
    html_element(out, "h2", title);
    page_summary(runs, out);
    page_bars_cpu(runs, out);
    fputs("<div class=\"plots\">\n", out);
    page_plot_rate(runs, out);
    page_plot_percentiles(runs, out);
    page_plot_latency(runs, out);
    page_plot_cpu(runs, out);
    page_plot_whole(runs, TIMELINE_RESIDENT, "Resident memory over time", "MiB", out);
    page_plot_whole(runs, TIMELINE_IN_FLIGHT, "In flight over time", "messages", out);
    fputs("</div>\n", out);
}

void page_loads(const struct document *documents, size_t count, FILE *out)
{
    struct page_runs runs;
    page_collect(&runs, documents, count, NULL);
    page_phase(&runs, "The load", out);
    page_collect(&runs, documents, count, "at_fraction");
    page_phase(&runs, "Then at a fraction of the rate that was reached", out);
    page_collect(&runs, documents, count, "beside");
    page_phase(&runs, "Then with slow and hostile peers beside it", out);
    page_collect(&runs, documents, count, "beside_within");
    page_phase(&runs, "Then beside a tenant within its quota", out);
    page_collect(&runs, documents, count, "beside_greedy");
    page_phase(&runs, "Then beside a greedy tenant", out);
    page_collect(&runs, documents, count, "beside_half_open");
    page_phase(&runs, "Then beside half-open connections", out);
    page_collect(&runs, documents, count, "beside_expiring");
    page_phase(&runs, "Then while those end", out);
}
