/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Peers, a greedy tenant or half-open connections beside a load, and a soak: behind the tables
   of the load. */
#include <math.h>
#include <string.h>

#include "bench/html.h"
#include "bench/page.h"

/* A table whose rows are the objects of an array: of each key a column; those named in `texts`
   are left-aligned. */
static void page_rows(const json_t *list, const char *const *texts, const char *const *numbers,
                      FILE *out)
{
    fputs("<div class=\"scroll\"><table>\n<thead><tr>", out);
    for (size_t i = 0; texts[i] != NULL; i++)
        fprintf(out, "<th class=\"left\">%s</th>", texts[i]);
    for (size_t i = 0; numbers[i] != NULL; i++)
        html_element(out, "th", numbers[i]);
    fputs("</tr></thead>\n<tbody>\n", out);
    for (size_t row = 0; row < json_array_size(list); row++) {
        const json_t *one = json_array_get(list, row);
        fputs("<tr>", out);
        for (size_t i = 0; texts[i] != NULL; i++) {
            fputs("<td class=\"left\">", out);
            html_text(out, document_text(one, texts[i]));
            fputs("</td>", out);
        }
        for (size_t i = 0; numbers[i] != NULL; i++)
            page_cell(out, document_number(one, numbers[i]), "");
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static void page_kinds(const json_t *kinds, FILE *out)
{
    static const char *const texts[] = {"name", "family", "what", NULL};
    static const char *const numbers[] = {"tried", "answered", "refused", "closed",
                                          "held",  "left",     NULL};
    page_rows(kinds, texts, numbers, out);
}

/* What they cost the load; ends the paragraph. */
static void page_ratios(const json_t *all, FILE *out)
{
    static const char *const ratios[][2] = {
        {"rate", "rate"}, {"cpu", "CPU a message"}, {"p50", "p50"}, {"p99", "p99"}};
    char number[32];
    for (size_t i = 0; i < 4; i++) {
        double ratio = document_number(all, ratios[i][0]);
        /* Zero: the generator was not told which process to watch. */
        if (ratio > 0)
            fprintf(out, "%s %s %s ×", i > 0 ? "," : "", ratios[i][1],
                    html_number(number, sizeof(number), ratio));
    }
    fputs(".</p>\n", out);
}

void page_peers(const struct document *document, FILE *out)
{
    const json_t *peers = document_at(document->root, "peers");
    if (peers == NULL)
        return;
    html_element(out, "h2", "Slow and hostile peers");
    fputs("<p>", out);
    html_text(out, document->name);
    fprintf(out, ": %.0f slow and %.0f hostile ones at a time. With them, to the load alone:",
            document_number(peers, "slow"), document_number(peers, "hostile"));
    page_ratios(document_at(peers, "ratio"), out);
    page_kinds(document_at(peers, "kinds"), out);
}

void page_greedy(const struct document *document, FILE *out)
{
    const json_t *greedy = document_at(document->root, "greedy");
    const json_t *over = document_at(greedy, "over");
    if (greedy == NULL)
        return;
    html_element(out, "h2", "A greedy tenant");
    fputs("<p>", out);
    html_text(out, document->name);
    fprintf(out,
            ": it may have %.0f messages a second. Of %.0f %.0f were sent, %.0f were delivered, "
            "%.0f refused, %.0f unanswered. With it, to the load alone:",
            document_number(greedy, "quota"), document_number(over, "due"),
            document_number(over, "sent"), document_number(over, "delivered"),
            document_number(over, "refused"), document_number(over, "unanswered"));
    page_ratios(document_at(greedy, "ratio.over_to_alone"), out);
    fputs("<p>To the load beside it when it stays within its quota:", out);
    page_ratios(document_at(greedy, "ratio.over_to_within"), out);
}

void page_half_open(const struct document *document, FILE *out)
{
    const json_t *half_open = document_at(document->root, "half_open");
    const json_t *kinds = document_at(half_open, "kinds");
    char number[32];
    if (half_open == NULL)
        return;
    html_element(out, "h2", "Half-open connections");
    fputs("<p>", out);
    html_text(out, document->name);
    fprintf(out, ": %.0f half-open connections, %.0f gone after %.2f to %.2f s of %.2f. Each holds",
            document_number(half_open, "opened"), document_number(half_open, "gone"),
            document_number(half_open, "first_s"), document_number(half_open, "last_s"),
            document_number(half_open, "timeout_s"));
    for (size_t i = 0; i < json_array_size(kinds); i++) {
        const json_t *kind = json_array_get(kinds, i);
        fprintf(out, "%s %s KiB (", i > 0 ? "," : "",
                html_number(number, sizeof(number), document_number(kind, "kib")));
        html_text(out, document_text(kind, "where"));
        fputs(")", out);
    }
    fputs(". Beside them, to the load alone:", out);
    page_ratios(document_at(half_open, "held"), out);
    fputs("<p>While they end:", out);
    page_ratios(document_at(half_open, "expiring"), out);
}

/* ---- a soak ---- */

/* What was excused, by its cause, and what was not. */
static void page_verdict(const json_t *soak, const char *direction, FILE *out)
{
    const char *fault, *cause;
    json_t *causes, *count;
    const json_t *verdict = document_at(soak, direction);
    fprintf(out, "<tr><th>%s</th>", direction);
    page_cell(out, document_number(verdict, "delivered"), "");
    page_cell(out, document_number(verdict, "refused"), "");
    fputs("<td class=\"left\">", out);
    json_object_foreach((json_t *)document_at(verdict, "excused"), fault, causes)
    {
        json_object_foreach(causes, cause, count)
        {
            fprintf(out, "%.0f ", json_number_value(count));
            html_text(out, fault);
            fputs(" (", out);
            html_text(out, cause);
            fputs(") ", out);
        }
    }
    fputs("</td><td class=\"left bad\">", out);
    json_object_foreach((json_t *)document_at(verdict, "unexplained"), fault, count)
    {
        if (json_number_value(count) <= 0)
            continue;
        fprintf(out, "%.0f ", json_number_value(count));
        html_text(out, fault);
        fputc(' ', out);
    }
    fputs("</td></tr>\n", out);
}

static void page_balance(const json_t *balance, FILE *out)
{
    static const char *const keys[] = {"accepted", "delivered", "handed_over",
                                       "failed",   "dropped",   "in_flight"};
    if (!json_is_object(balance))
        return;
    html_element(out, "h3", "The relay's own counters");
    fputs("<table>\n<thead><tr><th></th>", out);
    for (size_t i = 0; i < 6; i++)
        html_element(out, "th", keys[i]);
    fputs("</tr></thead>\n<tbody>\n", out);
    for (size_t i = 0; i < 2; i++) {
        const json_t *flow = document_at(balance, page_directions[i]);
        fprintf(out, "<tr><th>%s</th>", page_directions[i]);
        for (size_t j = 0; j < 6; j++)
            page_cell(out, document_number(flow, keys[j]), "");
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table>\n", out);
}

static void page_stood(const json_t *soak, FILE *out)
{
    char slope[32], start[32], most[32], end[32];
    const json_t *relay = document_at(soak, "relay");
    fprintf(out,
            "<p>The relay %s; resident memory grows by %s KiB a minute behind the first fifth; "
            "descriptors: %s at the start, %s at most, %s at the end.</p>\n",
            json_is_true(document_at(relay, "lives")) ? "lives" : "has died",
            html_number(slope, sizeof(slope), document_number(relay, "slope_kib_min")),
            html_number(start, sizeof(start), document_number(relay, "descriptors.start")),
            html_number(most, sizeof(most), document_number(relay, "descriptors.most")),
            html_number(end, sizeof(end), document_number(relay, "descriptors.end")));
}

void page_soak(const struct document *document, FILE *out)
{
    static const char *const texts[] = {"name", "what", NULL}, *const numbers[] = {"happened",
                                                                                   NULL};
    static const char *const log_texts[] = {"name", "target", NULL};
    static const char *const log_numbers[] = {"at_s", "seconds", NULL};
    const json_t *soak = document_at(document->root, "soak");
    if (soak == NULL)
        return;
    html_element(out, "h2", "A soak with faults");
    fputs("<p>", out);
    html_text(out, document->name);
    fprintf(out, ": seed %.0f; <span class=\"%s\">%s</span></p>\n",
            document_number(soak, "seed"),
            json_is_true(document_at(soak, "clean")) ? "good" : "bad",
            json_is_true(document_at(soak, "clean")) ? "everything is explained"
                                                     : "something is NOT explained");
    fputs("<div class=\"scroll\"><table>\n<thead><tr><th></th><th>delivered</th>"
          "<th>refused with an error</th><th class=\"left\">excused, by what broke</th>"
          "<th class=\"left\">unexplained</th></tr></thead>\n<tbody>\n",
          out);
    for (size_t i = 0; i < 2; i++)
        page_verdict(soak, page_directions[i], out);
    fputs("</tbody></table></div>\n", out);
    page_stood(soak, out);
    page_balance(document_at(soak, "balance"), out);
    html_element(out, "h3", "What went wrong");
    page_rows(document_at(soak, "faults"), texts, numbers, out);
    page_kinds(document_at(soak, "kinds"), out);
    html_element(out, "h3", "When");
    page_rows(document_at(soak, "log"), log_texts, log_numbers, out);
}
