/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_rogue.h"

#include <stdio.h>

#include "bench/report_beside.h"
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
    report_ratios_text(&ratios, "the load alone");
    report_rogue_table(load);
}
