/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/timeline.h"

#include <math.h>

#include "bench/document.h"

#define TIMELINE_FIFTH_MIN 2 /* intervals of a fifth */

static const char *const timeline_directions[] = {"xmpp-sip", "sip-xmpp"};

static double timeline_item(const json_t *list, size_t i)
{
    const json_t *item = json_array_get(list, i);
    return json_is_number(item) ? json_number_value(item) : NAN;
}

static double timeline_end(const struct timeline *timeline, size_t i)
{
    return timeline_item(document_at(timeline->series, "end_s"), i);
}

static double timeline_span(const struct timeline *timeline, size_t i)
{
    return timeline_end(timeline, i) - (i > 0 ? timeline_end(timeline, i - 1) : 0);
}

/* Messages of an interval, of one direction or both. */
static double timeline_messages(const struct timeline *timeline, const char *key, size_t i)
{
    double sum = 0;
    if (timeline->flow != NULL)
        return timeline_item(json_object_get(timeline->flow, key), i);
    for (size_t j = 0; j < 2; j++) {
        const json_t *flow = json_object_get(timeline->series, timeline_directions[j]);
        if (flow != NULL)
            sum += timeline_item(json_object_get(flow, key), i);
    }
    return sum;
}

bool timeline_open(struct timeline *timeline, const json_t *phase, const char *direction)
{
    *timeline = (struct timeline){.series = document_at(phase, "series")};
    if (direction != NULL)
        timeline->flow = document_at(timeline->series, direction);
    size_t count = json_array_size(document_at(timeline->series, "end_s"));
    double interval_s = document_number(timeline->series, "interval_s");
    if (direction != NULL && timeline->flow == NULL)
        return false;
    while (count > 0 && (!(timeline_span(timeline, count - 1) > interval_s / 2) ||
                         !(timeline_messages(timeline, "sent", count - 1) > 0)))
        count--;
    timeline->count = count;
    return count > 0;
}

double timeline_time(const struct timeline *timeline, size_t i)
{
    return timeline_end(timeline, i) - timeline_span(timeline, i) / 2;
}

/* Microseconds of all threads. */
static double timeline_cpu_us(const struct timeline *timeline, size_t i)
{
    double sum = 0;
    const char *name;
    json_t *list, *threads = json_object_get(timeline->series, "threads_cpu_us");
    if (json_object_size(threads) == 0)
        return NAN;
    json_object_foreach(threads, name, list) sum += timeline_item(list, i);
    return sum;
}

/* A quotient, or no number where nothing is to be divided. */
static double timeline_per(double value, double count)
{
    return count > 0 ? value / count : NAN;
}

double timeline_value(const struct timeline *timeline, enum timeline_curve curve, size_t i)
{
    const json_t *flow = timeline->flow;
    switch (curve) {
    case TIMELINE_RATE:
        return timeline_per(timeline_messages(timeline, "arrived", i),
                            timeline_span(timeline, i));
    case TIMELINE_P50: return timeline_item(document_at(flow, "p50_us"), i) / 1000;
    case TIMELINE_P90: return timeline_item(document_at(flow, "p90_us"), i) / 1000;
    case TIMELINE_P99: return timeline_item(document_at(flow, "p99_us"), i) / 1000;
    case TIMELINE_CPU:
        return timeline_per(timeline_cpu_us(timeline, i),
                            timeline_messages(timeline, "arrived", i));
    case TIMELINE_RESIDENT: {
        double kib = timeline_item(document_at(timeline->series, "rss_kib"), i);
        return kib > 0 ? kib / 1024 : NAN;
    }
    case TIMELINE_IN_FLIGHT:
        return timeline_item(document_at(timeline->series, "in_flight"), i);
    case TIMELINE_CURVES: break;
    }
    return NAN;
}

double timeline_thread(const struct timeline *timeline, const char *thread, size_t i)
{
    const json_t *threads = json_object_get(timeline->series, "threads_cpu_us");
    return timeline_per(timeline_item(json_object_get(threads, thread), i),
                        timeline_messages(timeline, "arrived", i));
}

/* Of the intervals from `from` to before `to`: rates and costs of the whole, of percentiles the
   mean. */
static double timeline_mean(const struct timeline *timeline, enum timeline_curve curve,
                            size_t from, size_t to)
{
    double sum = 0, weight = 0;
    for (size_t i = from; i < to; i++) {
        double value = timeline_value(timeline, curve, i);
        double share = curve == TIMELINE_CPU ? timeline_messages(timeline, "arrived", i)
                                             : timeline_span(timeline, i);
        if (!isfinite(value))
            continue;
        sum += value * share;
        weight += share;
    }
    return timeline_per(sum, weight);
}

size_t timeline_fifths(const json_t *phase, const char *direction, enum timeline_curve curve,
                       double fifths[TIMELINE_FIFTHS])
{
    struct timeline timeline;
    if (!timeline_open(&timeline, phase, direction) ||
        timeline.count < TIMELINE_FIFTHS * TIMELINE_FIFTH_MIN)
        return 0;
    for (size_t i = 0; i < TIMELINE_FIFTHS; i++) {
        fifths[i] = timeline_mean(&timeline, curve, i * timeline.count / TIMELINE_FIFTHS,
                                  (i + 1) * timeline.count / TIMELINE_FIFTHS);
        if (!isfinite(fifths[i]))
            return 0;
    }
    return TIMELINE_FIFTHS;
}
