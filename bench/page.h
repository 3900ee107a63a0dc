/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Kept reports as one HTML page on a stream: tables and figures, nothing loaded from elsewhere.
 * page_load.c lays loads over each other, page_summary.c has their tables, page_table.c shows
 * what the scripts made, page_soak.c peers, a greedy tenant, half-open connections and faults.
 * One thread.
 */
#ifndef PASSERELLE_BENCH_PAGE_H
#define PASSERELLE_BENCH_PAGE_H

#include "bench/document.h"
#include "bench/plot.h"

/* The same phase of several loads. */
struct page_runs {
    const char *names[DOCUMENT_MAX];
    const json_t *phases[DOCUMENT_MAX];
    size_t count;
    bool duplex; /* one of them has both directions */
};

extern const char *const page_directions[2]; /* as the reports name them */

/* The whole page. */
void page_write(const struct document *documents, size_t count, FILE *out);

/* The loads among the documents, overlaid, phase by phase. */
void page_loads(const struct document *documents, size_t count, FILE *out);
/* What was run, and two tables: the messages, and what they cost. */
void page_summary(const struct page_runs *runs, FILE *out);
/* What a load has besides: peers, a greedy tenant or half-open connections that were beside it,
   faults; nothing when it has none. */
void page_peers(const struct document *document, FILE *out);
void page_greedy(const struct document *document, FILE *out);
void page_half_open(const struct document *document, FILE *out);
void page_soak(const struct document *document, FILE *out);
/* One document of another kind. */
void page_figures(const struct document *document, FILE *out);
void page_compare(const struct document *document, FILE *out);
void page_floor(const struct document *document, FILE *out);
void page_idle(const struct document *document, FILE *out);

/* The parts of a bar: CPU a message of each thread of a phase; those below 1 % together. */
void page_threads(struct bars_row *row, const json_t *phase);
/* "2.35 × floor", or nothing. */
void page_floor_note(struct bars_row *row, double ratio);
/* A line of latencies of one direction by percentile. */
void page_percentiles(struct plot_line *line, const json_t *flow);
/* A cell with a number, and its unit if there is one. */
void page_cell(FILE *out, double value, const char *unit);

#endif
