/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_rogue.h"

#include <stdio.h>

#include "bench/greedy.h"
#include "bench/report_json.h"
#include "bench/rogue.h"

static const char *const report_ends[ROGUE_ENDS] = {"answered", "refused", "closed", "held",
                                                    "left"};
static const char *const report_families[ROGUE_FAMILIES] = {"slow", "hostile"};

void report_rogue_table(const struct load *load)
{
    printf("%-13s %-8s %8s", "peer", "", "tried");
    for (int end = 0; end < ROGUE_ENDS; end++)
        printf(" %8s", report_ends[end]);
    puts("  what it does");
    for (enum rogue_kind kind = 0; kind < ROGUE_KINDS; kind++) {
        const struct rogue_count *count = rogues_count(load->rogues, kind);
        if (count->tried == 0)
            continue;
        printf("%-13s %-8s %8u", rogue_name(kind), report_families[rogue_family(kind)],
               count->tried);
        for (int end = 0; end < ROGUE_ENDS; end++)
            printf(" %8u", count->ends[end]);
        printf("  %s\n", rogue_sentence(kind));
    }
}

json_t *report_rogue_kinds(const struct load *load)
{
    json_t *kinds = json_array();
    for (enum rogue_kind kind = 0; kind < ROGUE_KINDS; kind++) {
        const struct rogue_count *count = rogues_count(load->rogues, kind);
        json_t *one = json_pack("{s:s, s:s, s:s, s:I}", "name", rogue_name(kind), "family",
                                report_families[rogue_family(kind)], "what",
                                rogue_sentence(kind), "tried", (json_int_t)count->tried);
        for (int end = 0; end < ROGUE_ENDS; end++)
            json_object_set_new(one, report_ends[end], json_integer(count->ends[end]));
        json_array_append_new(kinds, one);
    }
    return kinds;
}

/* 0 where one of both is unknown. */
static double report_ratio(double beside, double alone)
{
    return alone > 0 ? beside / alone : 0;
}

struct report_ratios {
    double rate, cpu, p50, p99;
};

static struct report_ratios report_compare(const struct report_summary *alone,
                                           const struct report_summary *beside)
{
    return (struct report_ratios){.rate = report_ratio(beside->rate, alone->rate),
                                  .cpu = report_ratio(beside->cpu_us, alone->cpu_us),
                                  .p50 = report_ratio(beside->p50_us, alone->p50_us),
                                  .p99 = report_ratio(beside->p99_us, alone->p99_us)};
}

static json_t *report_ratios_json(const struct report_ratios *ratios)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "rate", ratios->rate, "cpu", ratios->cpu, "p50",
                     ratios->p50, "p99", ratios->p99);
}

static void report_ratios_text(const struct report_ratios *ratios)
{
    printf(" to the load alone: rate %.2f ×, ", ratios->rate);
    if (ratios->cpu > 0)
        printf("CPU a message %.2f ×, ", ratios->cpu);
    printf("p50 %.2f ×, p99 %.2f ×\n", ratios->p50, ratios->p99);
}

void report_rogues(const struct load *load, const struct report_summary *alone,
                   const struct report_summary *beside, const struct bench_options *options)
{
    struct report_ratios ratios = report_compare(alone, beside);
    const struct load_options *what = &load->options;
    if (options->json) {
        report_member("peers", json_pack("{s:I, s:I, s:o, s:o}", "slow", (json_int_t)what->slow,
                                         "hostile", (json_int_t)what->hostile, "ratio",
                                         report_ratios_json(&ratios), "kinds",
                                         report_rogue_kinds(load)));
        return;
    }
    printf("with %u slow and %u hostile peers beside it,", what->slow, what->hostile);
    report_ratios_text(&ratios);
    report_rogue_table(load);
}

void report_greedy(const struct load *load, const struct report_summary *alone,
                   const struct report_summary *beside, const struct bench_options *options)
{
    struct report_ratios ratios = report_compare(alone, beside);
    struct greedy_count count = greedy_count(load->greedy);
    uint32_t open = count.sent - count.delivered - count.refused;
    if (options->json) {
        report_member("greedy",
                      json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "quota",
                                (json_int_t)load->options.greedy, "sent",
                                (json_int_t)count.sent, "delivered",
                                (json_int_t)count.delivered, "refused",
                                (json_int_t)count.refused, "unanswered", (json_int_t)open,
                                "ratio", report_ratios_json(&ratios)));
        return;
    }
    printf("beside a tenant that may have %u messages a second and is sent %u,",
           load->options.greedy, load->options.greedy * GREEDY_TIMES);
    report_ratios_text(&ratios);
    printf("of the other tenant's %u messages %u were delivered, %u refused, %u unanswered\n",
           count.sent, count.delivered, count.refused, open);
}
