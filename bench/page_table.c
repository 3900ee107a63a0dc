/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/html.h"
#include "bench/page.h"

#define PAGE_ROUND_MAX 64

/* ---- what both scripts have: runs in rounds ---- */

static int page_by_cpu(const void *a, const void *b)
{
    double x = document_number(*(const json_t *const *)a, "relay.cpu_us");
    double y = document_number(*(const json_t *const *)b, "relay.cpu_us");
    return (x > y) - (x < y);
}

/* The median of the rounds by CPU a message, as the scripts print it. */
static const json_t *page_middle(const json_t *reports)
{
    const json_t *sorted[PAGE_ROUND_MAX];
    size_t count = 0;
    for (; count < json_array_size(reports) && count < PAGE_ROUND_MAX; count++)
        sorted[count] = json_array_get(reports, count);
    if (count == 0)
        return NULL;
    qsort(sorted, count, sizeof(sorted[0]), page_by_cpu);
    return sorted[count / 2];
}

/* The larger of both directions, or their sum. */
static double page_of_flows(const json_t *phase, const char *key, bool sum)
{
    double one = document_number(document_at(phase, "xmpp-sip"), key);
    double two = document_number(document_at(phase, "sip-xmpp"), key);
    if (!isfinite(one) || !isfinite(two))
        return isfinite(one) ? one : two;
    return sum ? one + two : fmax(one, two);
}

static void page_run_row(const json_t *phase, const char *name, FILE *out)
{
    fputs("<tr><th>", out);
    html_text(out, name);
    fputs("</th>", out);
    page_cell(out, page_of_flows(phase, "rate", true), "");
    page_cell(out, document_number(phase, "relay.cpu_us"), "");
    page_cell(out, document_number(phase, "floor.ratio"), "");
    page_cell(out, page_of_flows(phase, "p50_us", false) / 1000, "");
    page_cell(out, page_of_flows(phase, "p99_us", false) / 1000, "");
    page_cell(out, document_number(phase, "generator.cpu_us"), "");
    page_cell(out, 100 * document_number(phase, "generator.core"), "%");
    fprintf(out, "<td class=\"left\">%s</td></tr>\n",
            json_is_true(document_at(phase, "generator.limited")) ? "generator is the limit"
                                                                  : "");
}

static void page_bar_row(struct bars *bars, const json_t *phase, const char *name)
{
    struct bars_row *row = bars_row(bars);
    if (row == NULL)
        return;
    snprintf(row->label, sizeof(row->label), "%s", name);
    page_threads(row, phase);
    page_floor_note(row, document_number(phase, "floor.ratio"));
}

/* The median round of each run: a table, and bars by thread. */
static void page_runs(const json_t *runs, double floor_us, FILE *out)
{
    static struct bars bars;
    const char *name;
    json_t *reports;
    bars = (struct bars){.title = "CPU a message by thread",
                         .subtitle = "the median round of each run",
                         .unit = "microseconds a message",
                         .mark = floor_us > 0 ? floor_us : 0,
                         .mark_label = "floor"};
    html_element(out, "h3", "The runs behind it");
    fputs("<div class=\"scroll\"><table>\n<thead><tr><th>run</th><th>messages/s</th>"
          "<th>CPU µs</th><th>× floor</th><th>p50 ms</th><th>p99 ms</th>"
          "<th>generator µs</th><th>of a core</th><th></th></tr></thead>\n<tbody>\n",
          out);
    json_object_foreach((json_t *)runs, name, reports)
    {
        char inner[128];
        const json_t *report = page_middle(reports);
        const json_t *half = document_at(report, "at_fraction");
        if (report == NULL)
            continue;
        page_run_row(report, name, out);
        page_bar_row(&bars, report, name);
        if (half == NULL)
            continue;
        snprintf(inner, sizeof(inner), "%s, at half", name);
        page_run_row(half, inner, out);
        page_bar_row(&bars, half, inner);
    }
    fputs("</tbody></table></div>\n", out);
    bars_draw(&bars, out);
}

/* The median round of each run that has an open loop, by percentile. */
static void page_halves(const json_t *runs, FILE *out)
{
    static struct plot plot;
    const char *name;
    json_t *reports;
    unsigned color = 0;
    plot = (struct plot){.title = "Latency by percentile",
                         .subtitle = "in an open loop at half of the own rate, every round",
                         .x_label = "messages that took no longer",
                         .y_label = "milliseconds, logarithmic",
                         .x_scale = PLOT_PERCENTILE,
                         .y_scale = PLOT_LOG};
    json_object_foreach((json_t *)runs, name, reports)
    {
        bool rounds = json_object_size(runs) > 8 || json_array_size(reports) == 1;
        bool any = false;
        for (size_t i = 0; i < json_array_size(reports); i++) {
            const json_t *flow =
                document_at(json_array_get(reports, i), "at_fraction.xmpp-sip");
            struct plot_line *line = flow != NULL ? plot_line(&plot, color, i > 0) : NULL;
            if (line == NULL)
                continue;
            any = true;
            if (json_array_size(reports) == 1)
                snprintf(line->label, sizeof(line->label), "%s", name);
            else
                snprintf(line->label, sizeof(line->label), "%s, round %zu", name, i + 1);
            page_percentiles(line, flow);
            color += rounds;
        }
        color += any && !rounds;
    }
    fputs("<div class=\"plots\">\n", out);
    plot_draw(&plot, out);
    fputs("</div>\n", out);
    plot_fini(&plot);
}

/* ---- bench/figures ---- */

static void page_target_row(const json_t *row, FILE *out)
{
    char low[32], high[32];
    const char *measure = document_text(row, "measure"), *unit = document_text(row, "unit");
    const json_t *met = document_at(row, "met");
    bool sub = measure[0] == ' ';
    fprintf(out, "<tr%s><td class=\"left%s\">", sub ? "" : " class=\"part\"",
            sub ? " sub" : "");
    html_text(out, measure + strspn(measure, " "));
    fputs("</td>", out);
    if (json_is_number(document_at(row, "most"))) {
        fprintf(out, "<td>≤ %s ", html_number(low, sizeof(low), document_number(row, "most")));
        html_text(out, unit);
        fputs("</td>", out);
    } else {
        fputs("<td></td>", out);
    }
    page_cell(out, document_number(row, "measured"), unit);
    if (isfinite(document_number(row, "low")))
        fprintf(out, "<td class=\"soft\">%s – %s</td>",
                html_number(low, sizeof(low), document_number(row, "low")),
                html_number(high, sizeof(high), document_number(row, "high")));
    else
        fputs("<td></td>", out);
    if (isfinite(document_number(row, "floor_ratio")))
        page_cell(out, document_number(row, "floor_ratio"), "");
    else
        fputs("<td></td>", out);
    fprintf(out, "<td class=\"%s\">%s</td></tr>\n", json_is_true(met) ? "good" : "bad",
            json_is_true(met)    ? "yes"
            : json_is_false(met) ? "no"
                                 : "");
}

static void page_faults(const json_t *faults, FILE *out)
{
    static const char *const keys[] = {"lost", "duplicated", "reordered", "contradicted",
                                       "failed"};
    char number[32];
    if (faults == NULL)
        return;
    fprintf(out, "<p>Of %s messages: ",
            html_number(number, sizeof(number), document_number(faults, "sent")));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        fprintf(out, "%s%s %s", i > 0 ? ", " : "",
                html_number(number, sizeof(number), document_number(faults, keys[i])),
                strcmp(keys[i], "failed") == 0 ? "refused with an answer" : keys[i]);
    fputs(".</p>\n", out);
}

void page_figures(const struct document *document, FILE *out)
{
    const json_t *root = document->root, *targets = document_at(root, "targets");
    html_element(out, "h2", "Targets");
    fputs("<div class=\"scroll\"><table>\n<thead><tr><th>measure</th><th>target</th>"
          "<th>measured</th><th>of the rounds</th><th>× floor</th><th>met?</th></tr></thead>\n"
          "<tbody>\n",
          out);
    for (size_t i = 0; i < json_array_size(targets); i++)
        page_target_row(json_array_get(targets, i), out);
    fputs("</tbody></table></div>\n", out);
    page_faults(document_at(root, "faults"), out);
    page_runs(document_at(root, "runs"), document_number(root, "facts.floor.floor_us"), out);
    page_halves(document_at(root, "runs"), out);
}

/* ---- bench/compare ---- */

static const struct {
    const char *key, *head;
    double scale;
} page_columns[] = {
    {"rate", "messages/s", 1},
    {"cpu_us", "CPU µs", 1},
    {"floor_ratio", "× floor", 1},
    {"p50_us", "p50 ms", 1000},
    {"p99_us", "p99 ms", 1000},
    {"session_kib", "KiB a session", 1},
    {"lost", "lost", 1},
    {"duplicated", "doubled", 1},
    {"reordered", "reordered", 1},
    {"failed", "failed", 1},
    {"grown_kib", "grown MiB", 1024},
};

static void page_chain_bars(const json_t *chains, const char *key, double scale,
                            struct bars *bars, FILE *out)
{
    for (size_t i = 0; i < json_array_size(chains); i++) {
        const json_t *chain = json_array_get(chains, i);
        struct bars_row *row = bars_row(bars);
        if (row == NULL)
            break;
        snprintf(row->label, sizeof(row->label), "%s", document_text(chain, "chain"));
        bars_part(row, "", document_number(chain, key) / scale);
        if (strcmp(key, "cpu_us") == 0)
            page_floor_note(row, document_number(chain, "floor_ratio"));
    }
    bars_draw(bars, out);
}

void page_compare(const struct document *document, FILE *out)
{
    static struct bars bars;
    const json_t *chains = document_at(document->root, "chains");
    size_t columns = sizeof(page_columns) / sizeof(page_columns[0]);
    html_element(out, "h2", "The same load through each chain");
    fputs("<div class=\"scroll\"><table>\n<thead><tr><th>chain</th>", out);
    for (size_t j = 0; j < columns; j++)
        html_element(out, "th", page_columns[j].head);
    fputs("</tr></thead>\n<tbody>\n", out);
    for (size_t i = 0; i < json_array_size(chains); i++) {
        const json_t *chain = json_array_get(chains, i);
        fputs("<tr><th>", out);
        html_text(out, document_text(chain, "chain"));
        fputs("</th>", out);
        for (size_t j = 0; j < columns; j++)
            page_cell(out, document_number(chain, page_columns[j].key) / page_columns[j].scale,
                      "");
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n<p class=\"soft\">p50 and p99 at half of the own rate; "
          "grown: resident memory beyond idle, at most.</p>\n",
          out);
    bars = (struct bars){.title = "Throughput", .unit = "messages a second"};
    page_chain_bars(chains, "rate", 1, &bars, out);
    bars = (struct bars){.title = "CPU a message",
                         .subtitle = "of all processes of the chain",
                         .unit = "microseconds a message"};
    page_chain_bars(chains, "cpu_us", 1, &bars, out);
    bars = (struct bars){
        .title = "Latency", .subtitle = "p99 at half of the own rate", .unit = "milliseconds"};
    page_chain_bars(chains, "p99_us", 1000, &bars, out);
    bars = (struct bars){.title = "Memory of an idle session",
                         .subtitle = "authenticated, over TLS; of all processes of the chain",
                         .unit = "KiB resident"};
    page_chain_bars(chains, "session_kib", 1, &bars, out);
    page_halves(document_at(document->root, "runs"), out);
    page_runs(document_at(document->root, "runs"), 0, out);
}

/* ---- the small ones ---- */

void page_floor(const struct document *document, FILE *out)
{
    static const char *const parts[][2] = {{"decrypt_us", "decrypt"},
                                           {"expat_us", "expat"},
                                           {"write_us", "write"},
                                           {"udp_send_us", "UDP send"},
                                           {"udp_receive_us", "UDP receive"}};
    static struct bars bars;
    bars = (struct bars){.title = "The unavoidable work of a message",
                         .subtitle = "XMPP→SIP over UDP",
                         .unit = "microseconds of CPU"};
    struct bars_row *row = bars_row(&bars);
    snprintf(row->label, sizeof(row->label), "%s", document->name);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        bars_part(row, parts[i][1], document_number(document->root, parts[i][0]));
    html_element(out, "h2", "The floor");
    bars_draw(&bars, out);
}

void page_idle(const struct document *document, FILE *out)
{
    html_element(out, "h2", "Idle sessions");
    fputs("<table>\n<thead><tr><th>report</th><th>sessions</th><th>resident each</th></tr>"
          "</thead>\n<tbody><tr><th>",
          out);
    html_text(out, document->name);
    fputs("</th>", out);
    page_cell(out, document_number(document->root, "sessions"), "");
    page_cell(out, document_number(document->root, "session_kib"), "KiB");
    fputs("</tr></tbody></table>\n", out);
}
