/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_beside.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void report_ratios_text(const struct report_ratios *ratios, const char *to)
{
    printf(" to %s: rate %.2f ×, ", to, ratios->rate);
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
                                              "cpu_us", all[i].cpu_us, "p50_us", all[i].p50_us,
                                              "p99_us", all[i].p99_us));
    return list;
}

/* What a tenant over its quota did to the load, and one within it. */
struct report_fairness {
    struct report_ratios within_to_alone, over_to_alone, over_to_within;
};

static struct report_fairness report_fairness(const struct report_rounds *rounds)
{
    struct report_summary middle[GREEDY_PACES];
    for (unsigned i = 0; i < GREEDY_PACES; i++)
        middle[i] = report_middle(rounds->of[i], rounds->count);
    return (struct report_fairness){
        .within_to_alone = report_compare(&middle[GREEDY_REST], &middle[GREEDY_WITHIN]),
        .over_to_alone = report_compare(&middle[GREEDY_REST], &middle[GREEDY_OVER]),
        .over_to_within = report_compare(&middle[GREEDY_WITHIN], &middle[GREEDY_OVER])};
}

static void report_greedy_count(const struct load *load, enum greedy_pace pace)
{
    struct greedy_count count = greedy_count(load->greedy, pace);
    printf("of the other tenant's %u messages %u were sent: %u were delivered, %u refused, "
           "%u unanswered\n",
           count.due, count.sent, count.delivered, count.refused,
           count.sent - count.delivered - count.refused);
}

static void report_greedy_text(const struct load *load, const struct report_rounds *rounds,
                               const struct report_fairness *ratios)
{
    const struct report_summary *alone = rounds->of[GREEDY_REST];
    const struct report_summary *within = rounds->of[GREEDY_WITHIN];
    const struct report_summary *over = rounds->of[GREEDY_OVER];
    unsigned quota = load->options.greedy;
    for (unsigned i = 0; i < rounds->count && rounds->count > 1; i++)
        printf("round %-3u p50 %.0f, %.0f and %.0f µs, p99 %.0f, %.0f and %.0f µs\n", i + 1,
               alone[i].p50_us, within[i].p50_us, over[i].p50_us, alone[i].p99_us,
               within[i].p99_us, over[i].p99_us);
    printf("beside a tenant that may have %u messages a second and is sent %u,", quota, quota);
    report_ratios_text(&ratios->within_to_alone, "the load alone");
    report_greedy_count(load, GREEDY_WITHIN);
    printf("beside the same tenant when it is sent %u,", quota * GREEDY_TIMES);
    report_ratios_text(&ratios->over_to_alone, "the load alone");
    printf("the same,");
    report_ratios_text(&ratios->over_to_within, "the load beside it within its quota");
    report_greedy_count(load, GREEDY_OVER);
}

static json_t *report_greedy_json(const struct load *load, const struct report_rounds *rounds,
                                  enum greedy_pace pace)
{
    struct greedy_count count = greedy_count(load->greedy, pace);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "due", (json_int_t)count.due, "sent",
                     (json_int_t)count.sent, "delivered", (json_int_t)count.delivered,
                     "refused", (json_int_t)count.refused, "unanswered",
                     (json_int_t)(count.sent - count.delivered - count.refused), "rounds",
                     report_summaries_json(rounds->of[pace], rounds->count));
}

void report_greedy(const struct load *load, const struct report_rounds *rounds, bool clean,
                   const struct bench_options *options)
{
    struct report_fairness ratios = report_fairness(rounds);
    if (!options->json) {
        report_greedy_text(load, rounds, &ratios);
        return;
    }
    report_member("greedy",
                  json_pack("{s:I, s:b, s:o, s:o, s:o, s:{s:o, s:o, s:o}}", "quota",
                            (json_int_t)load->options.greedy, "clean", clean, "alone",
                            report_summaries_json(rounds->of[GREEDY_REST], rounds->count),
                            "within", report_greedy_json(load, rounds, GREEDY_WITHIN), "over",
                            report_greedy_json(load, rounds, GREEDY_OVER), "ratio",
                            "within_to_alone", report_ratios_json(&ratios.within_to_alone),
                            "over_to_alone", report_ratios_json(&ratios.over_to_alone),
                            "over_to_within", report_ratios_json(&ratios.over_to_within)));
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

void report_half_open(const struct load *load, const struct report_half_open *report,
                      bool clean, const struct bench_options *options)
{
    struct report_ratios held = report_compare(&report->alone, &report->held);
    struct report_ratios expiring = report_compare(&report->alone, &report->expiring);
    struct half_open_count count = half_open_count(load->half_open);
    double timeout_s = half_open_timeout_ms(&load->options) / 1000.0;
    if (options->json) {
        report_member(
            "half_open",
            json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:b, s:o, s:o, s:o}", "opened",
                      (json_int_t)count.opened, "gone", (json_int_t)count.gone, "early",
                      (json_int_t)count.early, "timeout_s", timeout_s, "first_s", count.first_s,
                      "last_s", count.last_s, "kernel_kib", report->kernel_kib, "clean", clean,
                      "kinds", report_half_open_kinds(report), "held",
                      report_ratios_json(&held), "expiring", report_ratios_json(&expiring)));
        return;
    }
    report_half_open_text(report, &count, timeout_s);
    printf("beside them,");
    report_ratios_text(&held, "the load alone");
    printf("while they end,");
    report_ratios_text(&expiring, "the load alone");
}
