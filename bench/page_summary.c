/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "bench/html.h"
#include "bench/page.h"

struct page_column {
    const char *path, *head, *unit;
    double scale; /* what stands in the report is divided by it */
};

/* ---- what was run ---- */

static void page_put_number(FILE *out, const json_t *parameters, const char *key,
                            const char *form)
{
    char number[32];
    double value = document_number(parameters, key);
    if (isfinite(value) && value > 0)
        fprintf(out, form, html_number(number, sizeof(number), value));
}

static void page_parameters(const json_t *parameters, FILE *out)
{
    html_text(out, document_text(parameters, "drive"));
    fputs(" over ", out);
    html_text(out, document_text(parameters, "transport"));
    page_put_number(out, parameters, "streams", ": %s streams");
    page_put_number(out, parameters, "xmpp_domains", ", %s XMPP");
    page_put_number(out, parameters, "sip_domains", " and %s SIP domains");
    page_put_number(out, parameters, "users", ", %s users");
    page_put_number(out, parameters, "size", ", %s bytes");
    page_put_number(out, parameters, "closed_loop_window", "; closed loop, %s in flight");
    page_put_number(out, parameters, "open_loop_rate", "; open loop, %s messages a second");
    page_put_number(out, parameters, "seconds", ", for %s s");
    page_put_number(out, parameters, "count", ", %s messages of each direction");
    page_put_number(out, parameters, "warmup", " after %s to warm up");
}

static void page_put_runs(const struct page_runs *runs, FILE *out)
{
    bool equal = true;
    const json_t *first = document_at(runs->phases[0], "parameters");
    for (size_t i = 1; i < runs->count; i++)
        equal &= json_equal(first, document_at(runs->phases[i], "parameters")) == 1;
    for (size_t i = 0; i < (equal ? 1 : runs->count); i++) {
        const json_t *parameters = document_at(runs->phases[i], "parameters");
        if (parameters == NULL)
            continue;
        fputs("<p>", out);
        if (!equal) {
            fputs("<b>", out);
            html_text(out, runs->names[i]);
            fputs("</b>: ", out);
        }
        page_parameters(parameters, out);
        fputs("</p>\n", out);
    }
}

/* ---- the tables ---- */

static void page_head(const char *const *first, const struct page_column *columns, size_t count,
                      FILE *out)
{
    fputs("<div class=\"scroll\"><table>\n<thead><tr>", out);
    for (; *first != NULL; first++) {
        fputs("<th class=\"left\">", out);
        html_text(out, *first);
        fputs("</th>", out);
    }
    for (size_t i = 0; i < count; i++) {
        fputs("<th>", out);
        html_text(out, columns[i].head);
        if (columns[i].unit[0] != '\0') {
            fputs("<br>", out);
            html_text(out, columns[i].unit);
        }
        fputs("</th>", out);
    }
    fputs("</tr></thead>\n<tbody>\n", out);
}

static void page_cells(const json_t *json, const struct page_column *columns, size_t count,
                       FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        double value = document_number(json, columns[i].path) / columns[i].scale;
        /* Zero: the generator was not told which process to watch. */
        bool unknown = value == 0 && strncmp(columns[i].path, "relay.", 6) == 0;
        page_cell(out, unknown ? NAN : value, "");
    }
    fputs("</tr>\n", out);
}

/* What took longest: the last of the percentiles. */
static double page_longest_ms(const json_t *flow)
{
    const json_t *list = document_at(flow, "percentiles");
    size_t count = json_array_size(list);
    const json_t *last = count > 0 ? json_array_get(list, count - 1) : NULL;
    return last != NULL ? json_number_value(json_array_get(last, 1)) / 1000 : NAN;
}

static void page_messages(const struct page_runs *runs, FILE *out)
{
    static const char *const first[] = {"run", "direction", NULL};
    static const struct page_column columns[] = {{"rate", "rate", "/s", 1},
                                                 {"p50_us", "p50", "ms", 1000},
                                                 {"p90_us", "p90", "ms", 1000},
                                                 {"p99_us", "p99", "ms", 1000},
                                                 {"p999_us", "p99.9", "ms", 1000},
                                                 {"longest", "longest", "ms", 1},
                                                 {"sent", "sent", "", 1},
                                                 {"arrived", "arrived", "", 1},
                                                 {"failed", "failed", "", 1},
                                                 {"lost", "lost", "", 1},
                                                 {"duplicated", "doubled", "", 1},
                                                 {"reordered", "reordered", "", 1},
                                                 {"contradicted", "contradicted", "", 1}};
    enum { COUNT = sizeof(columns) / sizeof(columns[0]), LONGEST = 5 };
    page_head(first, columns, COUNT, out);
    for (size_t i = 0; i < runs->count; i++) {
        for (size_t j = 0; j < 2; j++) {
            const json_t *flow = document_at(runs->phases[i], page_directions[j]);
            if (flow == NULL)
                continue;
            fputs("<tr><th>", out);
            html_text(out, runs->names[i]);
            fprintf(out, "</th><td class=\"left\">%s</td>", page_directions[j]);
            for (size_t k = 0; k < COUNT; k++)
                page_cell(out,
                          k == LONGEST
                              ? page_longest_ms(flow)
                              : document_number(flow, columns[k].path) / columns[k].scale,
                          "");
            fputs("</tr>\n", out);
        }
    }
    fputs("</tbody></table></div>\n", out);
}

static void page_costs(const struct page_runs *runs, FILE *out)
{
    static const char *const first[] = {"run", NULL};
    static const struct page_column columns[] = {
        {"relay.cpu_us", "CPU a message", "µs", 1},
        {"floor.ratio", "to the floor", "×", 1},
        {"floor.us", "the floor", "µs", 1},
        {"relay.rss_kib.idle", "resident before", "MiB", 1024},
        {"relay.rss_kib.max", "resident at most", "MiB", 1024},
        {"generator.cpu_us", "generator", "µs a message", 1},
        {"generator.core", "generator ran", "% of a core", 0.01},
        {"generator.wait", "had no core", "% of the time", 0.01}};
    enum { COUNT = sizeof(columns) / sizeof(columns[0]) };
    page_head(first, columns, COUNT, out);
    for (size_t i = 0; i < runs->count; i++) {
        fputs("<tr><th>", out);
        html_text(out, runs->names[i]);
        fputs("</th>", out);
        page_cells(runs->phases[i], columns, COUNT, out);
    }
    fputs("</tbody></table></div>\n", out);
}

/* What a reader must know of a run: that something failed, that its rate is not the relay's. */
static void page_remarks(const struct page_runs *runs, FILE *out)
{
    static const char *const remarks[][2] = {{"failure", "the first failed message was told: "},
                                             {"floor.skipped", "the floor was not measured: "}};
    for (size_t i = 0; i < runs->count; i++) {
        for (size_t j = 0; j < 2; j++) {
            const char *text = document_text(runs->phases[i], remarks[j][0]);
            if (text[0] == '\0')
                continue;
            fputs("<p class=\"soft\">", out);
            html_text(out, runs->names[i]);
            fprintf(out, ": %s", remarks[j][1]);
            html_text(out, text);
            fputs("</p>\n", out);
        }
        if (json_is_true(document_at(runs->phases[i], "generator.limited"))) {
            fputs("<p class=\"bad\">", out);
            html_text(out, runs->names[i]);
            fputs(": the generator was the limit: the rate is not the relay's</p>\n", out);
        }
    }
}

void page_summary(const struct page_runs *runs, FILE *out)
{
    page_put_runs(runs, out);
    page_messages(runs, out);
    page_costs(runs, out);
    page_remarks(runs, out);
}
