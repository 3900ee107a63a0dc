/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_modes.h"

#include <stdio.h>

#include "bench/report.h"

#define REPORT_BUSY 0.9 /* of a core: above that the generator is the limit */

/* ---- streams that come and go ---- */

static void report_streams_json(struct churn *churn, const struct usage *usage)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    struct ledger *streams = &churn->streams;
    double us[4], rate = ledger_rate(streams);
    double ready = streams->arrived > 0 ? streams->arrived : 1;
    uint32_t unfinished = streams->sent - streams->answered;
    ledger_percentiles(streams, shares, us, 4);
    printf(
        "\"streams\":{\"places\":%u,\"messages\":%u,\"opened\":%u,\"ready\":%u,\"closed\":%u,"
        "\"refused\":%u,\"broken\":%u,\"unfinished\":%u,\"rate\":%.1f,\"p50_us\":%.0f,"
        "\"p90_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f,\"relay_cpu_us\":%.3f,"
        "\"generator_cpu_us\":%.3f,\"failure\":\"%s\"}",
        churn->load->options.streams, churn->phase.messages, streams->sent, streams->arrived,
        churn->closed, churn->refused, churn->broken, unfinished, rate, us[0], us[1], us[2],
        us[3], (double)usage->relay.cpu_ns / 1000 / ready,
        (double)usage->own_cpu_ns / 1000 / ready, churn->failure);
}

static void report_streams_text(struct churn *churn, const struct usage *usage)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    struct ledger *streams = &churn->streams;
    double us[4], rate = ledger_rate(streams);
    double ready = streams->arrived > 0 ? streams->arrived : 1;
    ledger_percentiles(streams, shares, us, 4);
    printf("streams: %u at a time, TCP, TLS and SASL EXTERNAL, %u messages each, closed in "
           "order, ",
           churn->load->options.streams, churn->phase.messages);
    if (churn->phase.rate > 0)
        printf("open loop at %.0f/s\n", churn->phase.rate);
    else
        printf("as fast as they go\n");
    puts("             opened     ready   closed refused broken        /s   p50 µs   p90 µs   "
         "p99 µs p99.9 µs");
    printf("streams   %9u %9u %8u %7u %6u %9.1f %8.0f %8.0f %8.0f %8.0f\n", streams->sent,
           streams->arrived, churn->closed, churn->refused, churn->broken, rate, us[0], us[1],
           us[2], us[3]);
    if (churn->failure[0] != '\0')
        printf("refused   first: %s\n", churn->failure);
    if (usage->list->count > 0)
        printf("relay     %.1f µs of CPU a stream\n",
               (double)usage->relay.cpu_ns / 1000 / ready);
    printf("generator %.1f µs of CPU a stream, %.0f %% of a core\n",
           (double)usage->own_cpu_ns / 1000 / ready, usage_own_core(usage) * 100);
    if (usage_own_core(usage) > REPORT_BUSY)
        puts("note: the generator itself is the limit of the rate, not the relay");
}

static void report_churn_usage(const struct usage *usage)
{
    double core = usage_own_core(usage);
    printf("\"seconds\":%.3f,\"relay\":{\"rss_kib\":{\"idle\":%ld,\"max\":%ld,\"after\":%ld}},"
           "\"generator\":{\"core\":%.3f,\"wait\":%.3f,\"limited\":%s},",
           usage->seconds, usage->idle_kib, usage->max_kib, usage->after_kib, core,
           usage_own_wait(usage), core > REPORT_BUSY ? "true" : "false");
}

void report_churn(struct churn *churn, const struct bench_options *options,
                  const struct usage *usage)
{
    bool phase = churn->phase.messages > 0;
    if (phase)
        report_phase(churn->load, options, usage, NULL);
    if (options->json) {
        putchar(phase ? ',' : '{');
        if (!phase)
            report_churn_usage(usage);
        report_streams_json(churn, usage);
        puts("}");
    } else {
        report_streams_text(churn, usage);
    }
}
