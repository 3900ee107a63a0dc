/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report.h"

#include <stdio.h>

#define REPORT_BUSY 0.9 /* of a core: above that the generator is the limit */

static const char *const report_drives[] = {"xmpp-sip", "sip-xmpp", "duplex"};
static const char *const report_transports[] = {"udp", "tcp", "tls"};

static void report_ledger(const char *name, struct ledger *ledger, bool json)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    double us[4];
    double rate = ledger_rate(ledger);
    ledger_percentiles(ledger, shares, us, 4);
    printf(json ? "\"%s\":{\"sent\":%u,\"arrived\":%u,\"failed\":%u,\"lost\":%u,"
                  "\"duplicated\":%u,\"reordered\":%u,\"rate\":%.0f,\"p50_us\":%.0f,"
                  "\"p90_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f,"
                : "%-9s %9u %9u %6u %5u %5u %5u %8.0f %8.0f %8.0f %8.0f %8.0f\n",
           name, ledger->sent, ledger->arrived, ledger->failed, ledger_lost(ledger),
           ledger->duplicated, ledger->reordered, rate, us[0], us[1], us[2], us[3]);
    if (json)
        printf("\"contradicted\":%u,\"repeated\":%u,\"resent\":%u},", ledger->contradicted,
               ledger->repeated, ledger->resent);
    else if (ledger->contradicted + ledger->repeated + ledger->resent > 0)
        printf("          %u contradicted, %u retransmitted by the relay, %u by us\n",
               ledger->contradicted, ledger->repeated, ledger->resent);
}

static void report_usage_json(const struct load *load, const struct usage *usage,
                              double messages)
{
    printf("\"failure\":\"%s\",", load->failure);
    printf("\"seconds\":%.3f,\"relay\":{\"cpu_us\":%.3f,\"threads\":{", usage->seconds,
           (double)usage->relay.cpu_ns / 1000 / messages);
    for (size_t i = 0; i < usage->relay.count; i++)
        printf("%s\"%s/%ld\":%.3f", i > 0 ? "," : "", usage->relay.threads[i].name,
               usage->relay.threads[i].id,
               (double)usage->relay.threads[i].cpu_ns / 1000 / messages);
    printf("},\"rss_kib\":{\"idle\":%ld,\"max\":%ld,\"after\":%ld}},", usage->idle_kib,
           usage->max_kib, usage->after_kib);
    printf("\"generator\":{\"cpu_us\":%.3f,\"core\":%.3f,\"wait\":%.3f,\"answers_lost\":%u,"
           "\"limited\":%s}",
           (double)usage->own_cpu_ns / 1000 / messages, usage_own_core(usage),
           usage_own_wait(usage), load->answers_lost,
           usage_own_core(usage) > REPORT_BUSY || load->answers_lost > 0 ? "true" : "false");
}

static void report_relay(const struct usage *usage, double messages)
{
    printf("relay     %.2f µs of CPU a message", (double)usage->relay.cpu_ns / 1000 / messages);
    for (size_t i = 0; i < usage->relay.count && usage->relay.count <= 40; i++) {
        const struct process_thread *thread = &usage->relay.threads[i];
        double share = (double)thread->cpu_ns / 1e9 / usage->seconds;
        if (share >= 0.005)
            printf("; %s %.2f (%.0f %% of a core)", thread->name,
                   (double)thread->cpu_ns / 1000 / messages, share * 100);
    }
    printf("\n          resident MiB: idle %.1f, most %.1f, after %.1f\n",
           (double)usage->idle_kib / 1024, (double)usage->max_kib / 1024,
           (double)usage->after_kib / 1024);
}

static void report_usage_text(const struct load *load, const struct usage *usage,
                              double messages)
{
    double core = usage_own_core(usage), wait = usage_own_wait(usage);
    if (load->failure[0] != '\0')
        printf("failed    first: %s\n", load->failure);
    if (usage->list->count > 0)
        report_relay(usage, messages);
    printf("generator %.2f µs of CPU a message, %.0f %% of a core\n",
           (double)usage->own_cpu_ns / 1000 / messages, core * 100);
    if (core > REPORT_BUSY)
        printf(
            "note: the generator itself used %.0f %% of its core: the rate is its limit, not "
            "the relay's\n",
            core * 100);
    else if (core + wait > 0.95)
        printf("note: the generator had no core for %.0f %% of the time: the cores are shared, "
               "the rate is the machine's limit; compare CPU a message\n",
               wait * 100);
    if (load->answers_lost > 0)
        printf("note: %u of the generator's own answers did not fit: it is the limit\n",
               load->answers_lost);
}

static void report_title(const struct load *load)
{
    const struct load_options *options = &load->options;
    printf("%s over %s: %u streams, %u XMPP and %u SIP domains, %u users, %u bytes, ",
           report_drives[options->drive], report_transports[options->transport],
           options->streams, options->xmpp_domains, options->sip_domains, options->users,
           options->size);
    if (load->phase.rate > 0)
        printf("open loop at %.0f/s\n", load->phase.rate);
    else
        printf("closed loop of %u\n", load->phase.window);
    puts("direction      sent   arrived failed  lost   dup order    msg/s   p50 µs   p90 µs   "
         "p99 µs p99.9 µs");
}

void report_phase(struct load *load, const struct bench_options *options,
                  const struct usage *usage, const char *key)
{
    bool json = options->json;
    double messages = load->to_sip.arrived + load->to_xmpp.arrived;
    if (messages == 0)
        messages = 1;
    if (json)
        printf(key == NULL ? "{" : ",\"%s\":{", key);
    else
        report_title(load);
    if (load->to_sip.count > 0)
        report_ledger(report_drives[LOAD_XMPP_TO_SIP], &load->to_sip, json);
    if (load->to_xmpp.count > 0)
        report_ledger(report_drives[LOAD_SIP_TO_XMPP], &load->to_xmpp, json);
    if (json)
        report_usage_json(load, usage, messages);
    else
        report_usage_text(load, usage, messages);
    if (json && key != NULL)
        putchar('}');
    fflush(stdout);
}

void report_end(const struct bench_options *options)
{
    if (options->json)
        puts("}");
}

void report_progress(const struct load *load, const struct usage *usage, bool done)
{
    const struct ledger *sip = &load->to_sip, *xmpp = &load->to_xmpp;
    double seconds = (double)(load->now_ns - usage->start_ns) / 1e9;
    if (done) {
        fputs("\r\033[K", stderr);
        return;
    }
    fprintf(stderr, "\r%6.1f s", seconds);
    if (sip->count > 0)
        fprintf(stderr, "  xmpp-sip %u sent, %u arrived", sip->sent, sip->arrived);
    if (xmpp->count > 0)
        fprintf(stderr, "  sip-xmpp %u sent, %u arrived", xmpp->sent, xmpp->arrived);
    fprintf(stderr, "  resident %ld MiB \033[K", usage->max_kib / 1024);
}
