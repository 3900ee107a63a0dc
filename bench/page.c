/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/page.h"

#include <math.h>
#include <string.h>

#include "bench/html.h"

#define PAGE_THREAD_SHARE 0.01 /* of the whole: below that a thread is "other" */

const char *const page_directions[2] = {"xmpp-sip", "sip-xmpp"};

void page_threads(struct bars_row *row, const json_t *phase)
{
    const char *key;
    json_t *value;
    double whole = document_number(phase, "relay.cpu_us");
    json_t *threads = (json_t *)document_at(phase, "relay.threads");
    double other = 0;
    json_object_foreach(threads, key, value)
    {
        char name[32];
        double us = json_number_value(value);
        /* The number behind the name is only the kernel's. */
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(key, "/"), key);
        if (us < PAGE_THREAD_SHARE * whole)
            other += us;
        else
            bars_part(row, name, us);
    }
    bars_part(row, "other", other);
}

void page_floor_note(struct bars_row *row, double ratio)
{
    char number[32];
    if (row != NULL && isfinite(ratio))
        snprintf(row->note, sizeof(row->note), "%s × floor",
                 html_number(number, sizeof(number), ratio));
}

void page_percentiles(struct plot_line *line, const json_t *flow)
{
    const json_t *list = document_at(flow, "percentiles");
    double arrived = document_number(flow, "arrived");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        double percent = json_number_value(json_array_get(pair, 0));
        double us = json_number_value(json_array_get(pair, 1));
        /* The longest of n stands where one of n is beyond. */
        if (percent >= 100 && arrived > 1)
            percent = 100 - 100 / arrived;
        plot_point(line, percent, us / 1000);
    }
}

void page_cell(FILE *out, double value, const char *unit)
{
    char number[32];
    fprintf(out, "<td>%s", html_number(number, sizeof(number), value));
    if (unit[0] != '\0' && isfinite(value)) {
        fputc(' ', out);
        html_text(out, unit);
    }
    fputs("</td>", out);
}

static void page_machine(const struct document *document, FILE *out)
{
    const json_t *machine = document_at(document->root, "machine");
    char load[32];
    if (machine == NULL)
        return;
    fputs("<p class=\"soft\">", out);
    html_text(out, document->name);
    fputs(": ", out);
    html_text(out, document_text(machine, "date"));
    fprintf(out, ", %.0f cores of ", document_number(machine, "cores"));
    html_text(out, document_text(machine, "cpu"));
    fputs(", Linux ", out);
    html_text(out, document_text(machine, "kernel"));
    if (document_text(machine, "version")[0] != '\0') {
        fputs(", passerelle-bench ", out);
        html_text(out, document_text(machine, "version"));
    }
    if (document_text(machine, "commit")[0] != '\0') {
        fputs(", commit ", out);
        html_text(out, document_text(machine, "commit"));
    }
    fprintf(out, "; load average %s</p>\n",
            html_number(load, sizeof(load), document_number(machine, "load")));
}

static void page_title(const struct document *documents, size_t count, char *title, size_t size)
{
    int used = snprintf(title, size, "Passerelle: ");
    for (size_t i = 0; i < count && used >= 0 && (size_t)used < size; i++)
        used += snprintf(title + used, size - (size_t)used, "%s%s", i > 0 ? ", " : "",
                         documents[i].name);
}

void page_write(const struct document *documents, size_t count, FILE *out)
{
    char title[400];
    page_title(documents, count, title, sizeof(title));
    html_open(out, title);
    html_element(out, "h1", title);
    for (size_t i = 0; i < count; i++)
        page_machine(&documents[i], out);
    page_loads(documents, count, out);
    for (size_t i = 0; i < count; i++) {
        switch (documents[i].kind) {
        case DOCUMENT_LOAD: /* the rest is above, together */
            page_peers(&documents[i], out);
            page_greedy(&documents[i], out);
            page_half_open(&documents[i], out);
            page_soak(&documents[i], out);
            break;
        case DOCUMENT_FIGURES: page_figures(&documents[i], out); break;
        case DOCUMENT_COMPARE: page_compare(&documents[i], out); break;
        case DOCUMENT_FLOOR: page_floor(&documents[i], out); break;
        case DOCUMENT_IDLE: page_idle(&documents[i], out); break;
        }
    }
    html_close(out);
}
