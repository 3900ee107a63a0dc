/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/series.h"

#include <assert.h>
#include <string.h>

void series_start(struct series *series, const struct process_list *list, uint64_t now_ns)
{
    memset(series, 0, sizeof(*series));
    watch_open(&series->watch, list);
    series->thread_count = series->watch.thread_count;
    for (size_t i = 0; i < series->thread_count; i++)
        series->threads[i] = series->watch.threads[i].now;
    series->start_ns = now_ns;
    series->interval_ns = SERIES_INTERVAL_NS;
    series->next_ns = now_ns + SERIES_INTERVAL_NS;
}

static void series_merge_flow(struct series_flow *into, const struct series_flow *from)
{
    into->sent += from->sent;
    into->arrived += from->arrived;
    into->failed += from->failed;
    histogram_merge(&into->latency, &from->latency);
}

/* Two intervals that follow each other become one. */
static void series_merge(const struct series *series, struct series_point *point,
                         const struct series_point *late)
{
    point->end_ns = late->end_ns;
    point->in_flight = late->in_flight;
    if (late->resident_kib > point->resident_kib)
        point->resident_kib = late->resident_kib;
    for (size_t i = 0; i < SERIES_DIRECTIONS; i++)
        series_merge_flow(&point->flows[i], &late->flows[i]);
    for (size_t i = 0; i < series->thread_count; i++)
        point->cpu_ns[i] += late->cpu_ns[i];
}

static void series_thin(struct series *series)
{
    assert(series->count == SERIES_MAX);
    for (size_t i = 0; i < SERIES_MAX / 2; i++) {
        series->points[i] = series->points[2 * i];
        series_merge(series, &series->points[i], &series->points[2 * i + 1]);
    }
    series->count /= 2;
    series->interval_ns *= 2;
}

static uint64_t series_span_ns(const struct series *series, size_t i)
{
    return series->points[i].end_ns - (i > 0 ? series->points[i - 1].end_ns : 0);
}

static void series_append(struct series *series, const struct series_point *look)
{
    size_t last = series->count - 1;
    if (series->count > 0 &&
        series_span_ns(series, last) + SERIES_INTERVAL_NS / 2 < series->interval_ns) {
        series_merge(series, &series->points[last], look);
        return;
    }
    if (series->count == SERIES_MAX)
        series_thin(series);
    series->points[series->count++] = *look;
}

static void series_take_flow(struct series *series, struct series_point *point, size_t index,
                             struct ledger *ledger)
{
    struct series_flow *flow = &point->flows[index];
    flow->sent = ledger->sent - series->sent[index];
    flow->failed = ledger->failed - series->failed[index];
    flow->latency = ledger->recent;
    flow->arrived = ledger->recent.count;
    memset(&ledger->recent, 0, sizeof(ledger->recent));
    series->sent[index] = ledger->sent;
    series->failed[index] = ledger->failed;
    point->in_flight += ledger_lost(ledger);
}

static void series_take(struct series *series, struct ledger *to_sip, struct ledger *to_xmpp,
                        uint64_t now_ns)
{
    struct series_point *point = &series->recent[series->looks++ % SERIES_RECENT];
    point->end_ns = now_ns - series->start_ns;
    point->in_flight = 0;
    series_take_flow(series, point, SERIES_TO_SIP, to_sip);
    series_take_flow(series, point, SERIES_TO_XMPP, to_xmpp);
    watch_look(&series->watch);
    point->resident_kib = series->watch.resident_kib;
    for (size_t i = 0; i < series->thread_count; i++) {
        uint64_t cpu_ns = series->watch.threads[i].now.cpu_ns;
        point->cpu_ns[i] = cpu_ns - series->threads[i].cpu_ns;
        series->threads[i].cpu_ns = cpu_ns;
    }
    series_append(series, point);
    series->next_ns = now_ns + SERIES_INTERVAL_NS;
}

bool series_tick(struct series *series, struct ledger *to_sip, struct ledger *to_xmpp,
                 uint64_t now_ns)
{
    if (now_ns < series->next_ns)
        return false;
    series_take(series, to_sip, to_xmpp, now_ns);
    return true;
}

void series_stop(struct series *series, struct ledger *to_sip, struct ledger *to_xmpp,
                 uint64_t now_ns)
{
    series_take(series, to_sip, to_xmpp, now_ns);
    watch_close(&series->watch);
}

void series_recent(const struct series *series, struct series_recent *recent)
{
    struct histogram latency = {0};
    uint64_t cpu_ns = 0, start_ns = 0;
    size_t from = series->looks > SERIES_RECENT ? series->looks - SERIES_RECENT : 0;
    memset(recent, 0, sizeof(*recent));
    if (series->looks == 0)
        return;
    const struct series_point *last = &series->recent[(series->looks - 1) % SERIES_RECENT];
    /* The oldest look that is kept only tells when the next one began, unless it is the first.
     */
    if (from > 0)
        start_ns = series->recent[from++ % SERIES_RECENT].end_ns;
    for (size_t i = from; i < series->looks; i++) {
        const struct series_point *look = &series->recent[i % SERIES_RECENT];
        for (size_t j = 0; j < SERIES_DIRECTIONS; j++)
            histogram_merge(&latency, &look->flows[j].latency);
        for (size_t j = 0; j < series->thread_count; j++)
            cpu_ns += look->cpu_ns[j];
    }
    recent->rate = latency.count / ((double)(last->end_ns - start_ns) / 1e9);
    recent->p99_ms = (double)histogram_percentile(&latency, 0.99) / 1000;
    recent->cpu_us = latency.count > 0 ? (double)cpu_ns / 1000 / latency.count : 0;
    recent->in_flight = last->in_flight;
    recent->resident_kib = last->resident_kib;
}

double series_slope(const struct series *series)
{
    size_t first = series->count / 5, n = series->count - first;
    double x_mean = 0, y_mean = 0, above = 0, below = 0;
    for (size_t i = first; i < series->count; i++) {
        x_mean += (double)series->points[i].end_ns / 60e9 / (double)n;
        y_mean += (double)series->points[i].resident_kib / (double)n;
    }
    for (size_t i = first; i < series->count; i++) {
        double x = (double)series->points[i].end_ns / 60e9 - x_mean;
        above += x * ((double)series->points[i].resident_kib - y_mean);
        below += x * x;
    }
    return below > 0 ? above / below : 0;
}
