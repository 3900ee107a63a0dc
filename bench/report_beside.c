/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_beside.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/greedy.h"
#include "bench/report_json.h"

/* 0 where one of both is unknown. */
static double report_ratio(double beside, double alone)
{
    return alone > 0 ? beside / alone : 0;
}

struct report_ratios report_compare(const struct report_summary *alone,
                                    const struct report_summary *beside)
{
    return (struct report_ratios){.rate = report_ratio(beside->rate, alone->rate),
                                  .cpu = report_ratio(beside->cpu_us, alone->cpu_us),
                                  .p50 = report_ratio(beside->p50_us, alone->p50_us),
                                  .p99 = report_ratio(beside->p99_us, alone->p99_us)};
}

json_t *report_ratios_json(const struct report_ratios *ratios)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "rate", ratios->rate, "cpu", ratios->cpu, "p50",
                     ratios->p50, "p99", ratios->p99);
}

void report_ratios_text(const struct report_ratios *ratios)
{
    printf(" to the load alone: rate %.2f ×, ", ratios->rate);
    if (ratios->cpu > 0)
        printf("CPU a message %.2f ×, ", ratios->cpu);
    printf("p50 %.2f ×, p99 %.2f ×\n", ratios->p50, ratios->p99);
}

static int report_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the number at `offset` of each summary. */
static double report_median(const struct report_summary *all, unsigned count, size_t offset)
{
    double values[REPORT_ROUND_MAX];
    for (unsigned i = 0; i < count; i++)
        memcpy(&values[i], (const char *)&all[i] + offset, sizeof(values[i]));
    qsort(values, count, sizeof(values[0]), report_order);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static struct report_summary report_middle(const struct report_summary *all, unsigned count)
{
    return (struct report_summary){
        .rate = report_median(all, count, offsetof(struct report_summary, rate)),
        .cpu_us = report_median(all, count, offsetof(struct report_summary, cpu_us)),
        .p50_us = report_median(all, count, offsetof(struct report_summary, p50_us)),
        .p99_us = report_median(all, count, offsetof(struct report_summary, p99_us))};
}

static json_t *report_summaries_json(const struct report_summary *all, unsigned count)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:f, s:f, s:f, s:f}", "rate", all[i].rate,
                                              "cpu_us", all[i].cpu_us, "p50_us",
                                              all[i].p50_us, "p99_us", all[i].p99_us));
    return list;
}

static void report_greedy_text(const struct load *load, const struct report_pairs *pairs,
                               const struct report_ratios *ratios)
{
    struct greedy_count count = greedy_count(load->greedy);
    for (unsigned i = 0; i < pairs->count && pairs->count > 1; i++)
        printf("round %-3u p50 %.0f and %.0f µs, p99 %.0f and %.0f µs\n", i + 1,
               pairs->alone[i].p50_us, pairs->beside[i].p50_us, pairs->alone[i].p99_us,
               pairs->beside[i].p99_us);
    printf("beside a tenant that may have %u messages a second and is sent %u,",
           load->options.greedy, load->options.greedy * GREEDY_TIMES);
    report_ratios_text(ratios);
    printf("of the other tenant's %u messages %u were sent: %u were delivered, %u refused, "
           "%u unanswered\n",
           count.due, count.sent, count.delivered, count.refused,
           count.sent - count.delivered - count.refused);
}

void report_greedy(const struct load *load, const struct report_pairs *pairs, bool clean,
                   const struct bench_options *options)
{
    struct report_summary alone = report_middle(pairs->alone, pairs->count);
    struct report_summary beside = report_middle(pairs->beside, pairs->count);
    struct report_ratios ratios = report_compare(&alone, &beside);
    struct greedy_count count = greedy_count(load->greedy);
    if (!options->json) {
        report_greedy_text(load, pairs, &ratios);
        return;
    }
    json_t *json = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:o}", "quota",
        (json_int_t)load->options.greedy, "due", (json_int_t)count.due, "sent",
        (json_int_t)count.sent, "delivered", (json_int_t)count.delivered, "refused",
        (json_int_t)count.refused, "unanswered",
        (json_int_t)(count.sent - count.delivered - count.refused), "clean", clean, "alone",
        report_summaries_json(pairs->alone, pairs->count), "beside",
        report_summaries_json(pairs->beside, pairs->count), "ratio",
        report_ratios_json(&ratios));
    report_member("greedy", json);
}

static json_t *report_half_open_kinds(const struct report_half_open *report)
{
    json_t *kinds = json_array();
    for (enum half_open_kind kind = 0; kind < HALF_OPEN_KINDS; kind++)
        json_array_append_new(kinds, json_pack("{s:s, s:s, s:f}", "name", half_open_name(kind),
                                               "where", half_open_where(kind), "kib",
                                               report->kib[kind]));
    return kinds;
}

static void report_half_open_text(const struct report_half_open *report,
                                  const struct half_open_count *count, double timeout_s)
{
    printf("%u connections that stop half-way, KiB of the relay for each:\n", count->opened);
    for (enum half_open_kind kind = 0; kind < HALF_OPEN_KINDS; kind++)
        printf("  %-9s %6.1f  %s\n", half_open_name(kind), report->kib[kind],
               half_open_where(kind));
    printf("  the kernel adds %.1f for both ends\n", report->kernel_kib);
    printf("%u are gone, after %.2f to %.2f s of %.2f that they may have\n", count->gone,
           count->first_s, count->last_s, timeout_s);
}

void report_half_open(const struct load *load, const struct report_half_open *report, bool clean,
                      const struct bench_options *options)
{
    struct report_ratios held = report_compare(&report->alone, &report->held);
    struct report_ratios expiring = report_compare(&report->alone, &report->expiring);
    struct half_open_count count = half_open_count(load->half_open);
    double timeout_s = half_open_timeout_ms(load->options.half_open) / 1000.0;
    if (options->json) {
        report_member(
            "half_open",
            json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:b, s:o, s:o, s:o}", "opened",
                      (json_int_t)count.opened, "gone", (json_int_t)count.gone, "early",
                      (json_int_t)count.early, "timeout_s", timeout_s, "first_s",
                      count.first_s, "last_s", count.last_s, "kernel_kib", report->kernel_kib,
                      "clean", clean, "kinds", report_half_open_kinds(report), "held",
                      report_ratios_json(&held), "expiring", report_ratios_json(&expiring)));
        return;
    }
    report_half_open_text(report, &count, timeout_s);
    printf("beside them,");
    report_ratios_text(&held);
    printf("while they end,");
    report_ratios_text(&expiring);
}
