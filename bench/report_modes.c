/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_modes.h"

#include <stdio.h>

#include "bench/report.h"

/* ---- texts ---- */

/* How many users sent something, and the share of the one that sent most. */
static unsigned report_users(const struct ledger *ledger, double *busiest)
{
    uint32_t users = 0, most = 0;
    for (unsigned i = 0; i < ledger->users; i++) {
        users += ledger->of[i] > 0;
        most = ledger->of[i] > most ? ledger->of[i] : most;
    }
    *busiest = ledger->sent > 0 ? (double)most / ledger->sent : 0;
    return users;
}

static void report_texts_of(const char *name, const struct ledger *ledger, bool json,
                            bool first)
{
    double busiest;
    unsigned users = report_users(ledger, &busiest);
    if (json)
        printf("%s\"%s\":{\"users\":%u,\"busiest\":%.6f,\"bytes_sent\":%llu,"
               "\"bytes_arrived\":%llu,\"damaged\":%u}",
               first ? "" : ",", name, users, busiest, (unsigned long long)ledger->bytes_sent,
               (unsigned long long)ledger->bytes_arrived, ledger->damaged);
    else
        printf(
            "texts     %s: %u users, %.1f %% from one of them; %llu bytes sent, %llu arrived, "
            "%u texts damaged\n",
            name, users, busiest * 100, (unsigned long long)ledger->bytes_sent,
            (unsigned long long)ledger->bytes_arrived, ledger->damaged);
}

void report_texts(const struct load *load, const struct bench_options *options, const char *key)
{
    const struct choice_options *choice = &load->options.choice;
    const struct ledger *ledgers[] = {&load->to_sip, &load->to_xmpp};
    static const char *const names[] = {"xmpp-sip", "sip-xmpp"};
    bool first = true;
    bool plain = choice->spread == CHOICE_EVEN && !load->options.utf8 &&
                 choice->part_count == 1 && choice->parts[0].low == choice->parts[0].high &&
                 load->to_sip.damaged + load->to_xmpp.damaged == 0;
    if (!options->json && plain)
        return;
    if (options->json)
        printf(",\"%s%stexts\":{", key != NULL ? key : "", key != NULL ? "_" : "");
    for (size_t i = 0; i < 2; i++) {
        if (ledgers[i]->count == 0)
            continue;
        report_texts_of(names[i], ledgers[i], options->json, first);
        first = false;
    }
    if (options->json)
        putchar('}');
}

/* ---- streams that come and go ---- */

static const char *report_text(const char *text)
{
    return text != NULL ? text : "";
}

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
        "\"generator_cpu_us\":%.3f,\"tls\":\"%s\",\"cipher\":\"%s\",\"failure\":\"%s\"}",
        churn->load->options.streams, churn->phase.messages, streams->sent, streams->arrived,
        churn->closed, churn->refused, churn->broken, unfinished, rate, us[0], us[1], us[2],
        us[3], (double)usage->relay.cpu_ns / 1000 / ready,
        (double)usage->own_cpu_ns / 1000 / ready, report_text(churn->load->tls_version),
        report_text(churn->load->tls_cipher), churn->failure);
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
    if (streams->arrived > 0)
        printf("          %s, %s\n", churn->load->tls_version, churn->load->tls_cipher);
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

static void report_churn_phase(struct churn *churn, const struct bench_options *options,
                               const struct usage *usage)
{
    report_phase(churn->load, options, usage, NULL, NULL);
    report_texts(churn->load, options, NULL);
}

void report_churn(struct churn *churn, const struct bench_options *options,
                  const struct usage *usage)
{
    bool phase = churn->phase.messages > 0;
    if (phase)
        report_churn_phase(churn, options, usage);
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

/* ---- the highest rate ---- */

static const char *const report_limits[] = {"none", "latency", "faults", "generator"};

void report_ramp_start(const struct bench_options *options)
{
    if (options->json) {
        printf("{\"ramp\":{\"bound_ms\":%g,\"step_s\":%g,\"most\":%g,\"steps\":[",
               options->ramp_ms, options->step_s, options->rate_max);
        return;
    }
    printf("the highest rate of each direction whose p99 stays within %g ms, nothing lost; "
           "open loop, steps of %g s\n",
           options->ramp_ms, options->step_s);
    puts("     asked/s   arrived/s   p50 µs   p99 µs   lost failed    dup  order  generator  "
         "no core");
}

void report_ramp_step(const struct ramp_step *step, const struct bench_options *options,
                      bool first)
{
    if (options->json) {
        printf("%s{\"rate\":%.1f,\"reached\":%.1f,\"sent\":%u,\"p50_us\":%.0f,"
               "\"p99_us\":%.0f,\"lost\":%u,\"failed\":%u,\"duplicated\":%u,"
               "\"reordered\":%u,\"core\":%.3f,\"wait\":%.3f,\"held\":%s,\"limit\":\"%s\"}",
               first ? "" : ",", step->rate, step->reached, step->sent, step->p50_us,
               step->p99_us, step->lost, step->failed, step->duplicated, step->reordered,
               step->core, step->wait, step->limit == RAMP_HELD ? "true" : "false",
               report_limits[step->limit]);
    } else {
        static const char *const words[] = {"held", "too slow", "faults",
                                            "the generator had no time"};
        printf("%12.0f %11.0f %8.0f %8.0f %6u %6u %6u %6u %8.0f %% %6.0f %%  %s\n", step->rate,
               step->reached, step->p50_us, step->p99_us, step->lost, step->failed,
               step->duplicated, step->reordered, step->core * 100, step->wait * 100,
               words[step->limit]);
    }
    fflush(stdout);
}

void report_ramp_end(double rate, enum ramp_limit limit, const struct bench_options *options)
{
    if (options->json) {
        printf("],\"rate\":%.1f,\"limit\":\"%s\"}}\n", rate, report_limits[limit]);
        return;
    }
    if (rate > 0)
        printf("highest rate that held: %.0f/s; ", rate);
    else
        printf("no rate held; ");
    switch (limit) {
    case RAMP_HELD: puts("nothing above it was tried"); break;
    case RAMP_LATENCY: puts("above it p99 was too high"); break;
    case RAMP_FAULTS: puts("above it messages were lost, failed, doubled or overtaken"); break;
    case RAMP_GENERATOR:
        puts("above it the generator had no time left: it, or its core, is the limit");
        break;
    }
}
