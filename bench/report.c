/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report.h"

#include <stdio.h>

#include "bench/report_json.h"

static void report_flow_text(const struct report_flow *flow)
{
    const struct ledger *ledger = flow->ledger;
    printf("%-9s %9u %9u %6u %5u %5u %5u %8.0f %8.0f %8.0f %8.0f %8.0f\n", flow->name,
           ledger->sent, ledger->arrived, ledger->failed, ledger_lost(ledger),
           ledger->duplicated, ledger->reordered, flow->rate, flow->us[0], flow->us[2],
           flow->us[4], flow->us[6]);
    if (ledger->contradicted + ledger->repeated + ledger->resent > 0)
        printf("          %u contradicted, %u retransmitted by the relay, %u by us\n",
               ledger->contradicted, ledger->repeated, ledger->resent);
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

static void report_floor(const struct usage *usage, double messages)
{
    const struct floor_figure *floor = &usage->floor;
    if (!floor->measured && floor->skipped == NULL)
        return; /* a mode that does not compare */
    if (!floor->measured) {
        printf("floor     not measured: %s\n", floor->skipped);
        return;
    }
    printf("floor     %.2f µs is the unavoidable work of a message (XMPP to SIP, UDP",
           floor->us);
    if (floor->core >= 0)
        printf(", on core %d as the relay", floor->core);
    printf("): %.2f × that\n", usage_floor_ratio(usage, messages));
}

static void report_usage_text(const struct load *load, const struct usage *usage,
                              double messages)
{
    double core = usage_own_core(usage), wait = usage_own_wait(usage);
    if (load->failure[0] != '\0')
        printf("failed    first: %s\n", load->failure);
    if (usage->list->count > 0)
        report_relay(usage, messages);
    report_floor(usage, messages);
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
    printf("%s over %s: %u %sstreams, %u XMPP and %u SIP domains, %u users, %u bytes, ",
           report_drive_name(options->drive), report_transport_name(options->transport),
           options->streams, options->managed ? "managed " : "", options->xmpp_domains,
           options->sip_domains, options->users, options->size);
    if (load->phase.rate > 0)
        printf("open loop at %.0f/s\n", load->phase.rate);
    else
        printf("closed loop of %u\n", load->phase.window);
    puts("direction      sent   arrived failed  lost   dup order    msg/s   p50 µs   p90 µs   "
         "p99 µs p99.9 µs");
}

/* The directions of a phase, as far as they are driven. Uses up the ledgers. */
static size_t report_flows(struct load *load, struct report_flow *flows)
{
    struct ledger *const ledgers[] = {&load->to_sip, &load->to_xmpp};
    static const enum load_drive drives[] = {LOAD_XMPP_TO_SIP, LOAD_SIP_TO_XMPP};
    size_t count = 0;
    for (size_t i = 0; i < 2; i++) {
        if (ledgers[i]->count == 0)
            continue;
        struct report_flow *flow = &flows[count++];
        flow->name = report_drive_name(drives[i]);
        flow->ledger = ledgers[i];
        flow->rate = ledger_rate(ledgers[i]);
        ledger_percentiles(ledgers[i], report_shares, flow->us, REPORT_SHARES);
    }
    return count;
}

static double report_messages(const struct load *load)
{
    double messages = load->to_sip.arrived + load->to_xmpp.arrived;
    return messages > 0 ? messages : 1;
}

static void report_sum_up_flows(const struct report_flow *flows, size_t count,
                                const struct usage *usage, double messages,
                                struct report_summary *summary)
{
    *summary =
        (struct report_summary){.cpu_us = (double)usage->relay.cpu_ns / 1000 / messages};
    for (size_t i = 0; i < count; i++) {
        summary->rate += flows[i].rate;
        summary->p50_us = flows[i].us[0] > summary->p50_us ? flows[i].us[0] : summary->p50_us;
        summary->p99_us = flows[i].us[4] > summary->p99_us ? flows[i].us[4] : summary->p99_us;
    }
}

void report_sum_up(struct load *load, const struct usage *usage,
                   struct report_summary *summary)
{
    struct report_flow flows[2];
    size_t count = report_flows(load, flows);
    report_sum_up_flows(flows, count, usage, report_messages(load), summary);
}

void report_phase(struct load *load, const struct bench_options *options,
                  const struct usage *usage, const char *key, struct report_summary *summary)
{
    struct report_flow flows[2];
    size_t count = report_flows(load, flows);
    double messages = report_messages(load);
    if (summary != NULL)
        report_sum_up_flows(flows, count, usage, messages, summary);
    if (!options->json) {
        report_title(load);
        for (size_t i = 0; i < count; i++)
            report_flow_text(&flows[i]);
        report_usage_text(load, usage, messages);
        fflush(stdout);
        return;
    }
    json_t *json = json_object();
    if (key == NULL) {
        json_object_set_new(json, "kind", json_string("load"));
        json_object_set_new(json, "machine", report_json_machine());
    }
    json_object_set_new(json, "parameters", report_json_parameters(load, options));
    for (size_t i = 0; i < count; i++)
        json_object_set_new(json, flows[i].name, report_json_flow(&flows[i]));
    json_t *failure = json_string(load->failure);
    json_object_set_new(json, "failure",
                        failure != NULL ? failure : json_string("(a text that is no UTF-8)"));
    json_object_set_new(json, "seconds", json_real(usage->seconds));
    json_object_set_new(json, "relay", report_json_usage(usage, messages));
    json_object_set_new(json, "floor", report_json_floor(usage, messages));
    json_object_set_new(json, "generator", report_json_generator(load, usage, messages));
    json_object_set_new(json, "series", report_json_series(&usage->series, load));
    report_member(key, json);
}

void report_end(const struct bench_options *options)
{
    if (options->json)
        puts("}");
}

void report_progress(const struct load *load, const struct usage *usage, bool done)
{
    struct series_recent recent;
    if (done) {
        fputs("\r\033[K", stderr);
        return;
    }
    series_recent(&usage->series, &recent);
    /* Less than 80 columns: a line that is broken cannot replace itself. */
    fprintf(stderr, "\r%6.1f s %8.0f/s  p99 %8.2f ms %7u in flight",
            (double)(load->now_ns - usage->start_ns) / 1e9, recent.rate, recent.p99_ms,
            recent.in_flight);
    if (usage->list->count > 0)
        fprintf(stderr, " %6.2f µs/msg %5ld MiB", recent.cpu_us, recent.resident_kib / 1024);
    fputs("\033[K", stderr);
}
