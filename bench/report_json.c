/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/report_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

const double report_shares[REPORT_SHARES] = {0.5,   0.75,   0.9,    0.95,    0.99, 0.995,
                                             0.999, 0.9995, 0.9999, 0.99999, 1};

const char *report_drive_name(enum load_drive drive)
{
    static const char *const names[] = {"xmpp-sip", "sip-xmpp", "duplex"};
    return names[drive];
}

const char *report_transport_name(enum sip_transport transport)
{
    static const char *const names[] = {"udp", "tcp", "tls"};
    return names[transport];
}

void report_member(const char *key, json_t *json)
{
    size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(8);
    if (key == NULL)
        putchar('{');
    else
        printf(",\"%s\":", key);
    int status = json_dumpf(json, stdout, key == NULL ? flags | JSON_EMBED : flags);
    json_decref(json);
    if (status != 0 || fflush(stdout) != 0) {
        fputs("passerelle-bench: the report cannot be written\n", stderr);
        exit(EXIT_FAILURE);
    }
}

/* The model of the first processor; "" when the kernel does not tell. */
static void report_processor(char *model, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    model[0] = '\0';
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        value += 1 + strspn(value + 1, " ");
        snprintf(model, size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (file != NULL)
        fclose(file);
}

json_t *report_json_machine(void)
{
    struct utsname system;
    char model[200], date[32];
    double load = 0;
    time_t now = time(NULL);
    struct tm utc;
    report_processor(model, sizeof(model));
    if (uname(&system) != 0 || gmtime_r(&now, &utc) == NULL)
        abort();
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &utc);
    (void)getloadavg(&load, 1);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:f}", "date", date, "cpu",
                     model[0] != '\0' ? model : system.machine, "cores",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel", system.release,
                     "version", PASSERELLE_VERSION, "load", load);
}

json_t *report_json_parameters(const struct load *load, const struct bench_options *options)
{
    const struct load_options *what = &load->options;
    const struct load_phase *phase = &load->phase;
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "drive", report_drive_name(what->drive),
        "transport", report_transport_name(what->transport), "streams",
        (json_int_t)what->streams, "xmpp_domains", (json_int_t)what->xmpp_domains,
        "sip_domains", (json_int_t)what->sip_domains, "users", (json_int_t)what->users, "size",
        (json_int_t)what->size, "warmup", (json_int_t)options->warmup);
    if (what->managed)
        json_object_set_new(json, "stream_management", json_true());
    if (phase->rate > 0)
        json_object_set_new(json, "open_loop_rate", json_real(phase->rate));
    else
        json_object_set_new(json, "closed_loop_window", json_integer(phase->window));
    if (phase->seconds > 0)
        json_object_set_new(json, "seconds", json_real(phase->seconds));
    else
        json_object_set_new(json, "count", json_integer(phase->count));
    return json;
}

/* Percentiles as pairs [percent, µs], as far as there are messages beyond them. */
static json_t *report_percentiles(const struct report_flow *flow)
{
    json_t *list = json_array();
    for (size_t i = 0; i < REPORT_SHARES && flow->ledger->arrived > 0; i++) {
        double beyond = (1 - report_shares[i]) * flow->ledger->arrived;
        if (i + 1 == REPORT_SHARES || beyond >= 1)
            json_array_append_new(list,
                                  json_pack("[f, f]", report_shares[i] * 100, flow->us[i]));
    }
    return list;
}

json_t *report_json_flow(const struct report_flow *flow)
{
    const struct ledger *ledger = flow->ledger;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:o, s:I, s:I, s:I}", "sent",
        (json_int_t)ledger->sent, "arrived", (json_int_t)ledger->arrived, "failed",
        (json_int_t)ledger->failed, "lost", (json_int_t)ledger_lost(ledger), "duplicated",
        (json_int_t)ledger->duplicated, "reordered", (json_int_t)ledger->reordered, "rate",
        flow->rate, "p50_us", flow->us[0], "p90_us", flow->us[2], "p99_us", flow->us[4],
        "p999_us", flow->us[6], "percentiles", report_percentiles(flow), "contradicted",
        (json_int_t)ledger->contradicted, "repeated", (json_int_t)ledger->repeated, "resent",
        (json_int_t)ledger->resent);
}

static void report_thread_name(const struct process_thread *thread, char *name, size_t size)
{
    snprintf(name, size, "%s/%ld", thread->name, thread->id);
}

json_t *report_json_usage(const struct usage *usage, double messages)
{
    char name[48];
    json_t *threads = json_object();
    for (size_t i = 0; i < usage->relay.count; i++) {
        const struct process_thread *thread = &usage->relay.threads[i];
        report_thread_name(thread, name, sizeof(name));
        json_object_set_new(threads, name, json_real((double)thread->cpu_ns / 1000 / messages));
    }
    return json_pack("{s:f, s:o, s:{s:I, s:I, s:I}}", "cpu_us",
                     (double)usage->relay.cpu_ns / 1000 / messages, "threads", threads,
                     "rss_kib", "idle", (json_int_t)usage->idle_kib, "max",
                     (json_int_t)usage->max_kib, "after", (json_int_t)usage->after_kib);
}

json_t *report_json_generator(const struct load *load, const struct usage *usage,
                              double messages)
{
    return json_pack("{s:f, s:f, s:f, s:I, s:b}", "cpu_us",
                     (double)usage->own_cpu_ns / 1000 / messages, "core", usage_own_core(usage),
                     "wait", usage_own_wait(usage), "answers_lost",
                     (json_int_t)load->answers_lost, "limited",
                     usage_own_core(usage) > REPORT_BUSY || load->answers_lost > 0);
}

json_t *report_json_floor(const struct usage *usage, double messages)
{
    const struct floor_figure *floor = &usage->floor;
    if (!floor->measured)
        return json_pack("{s:s}", "skipped", floor->skipped != NULL ? floor->skipped : "");
    return json_pack("{s:f, s:f, s:i}", "us", floor->us, "ratio",
                     usage_floor_ratio(usage, messages), "core", floor->core);
}

/* ---- the series ---- */

static json_t *report_series_flow(const struct series *series, size_t index)
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}};
    json_t *sent = json_array(), *arrived = json_array(), *failed = json_array();
    json_t *flow =
        json_pack("{s:o, s:o, s:o}", "sent", sent, "arrived", arrived, "failed", failed);
    for (size_t i = 0; i < series->count; i++) {
        const struct series_flow *point = &series->points[i].flows[index];
        json_array_append_new(sent, json_integer(point->sent));
        json_array_append_new(arrived, json_integer(point->arrived));
        json_array_append_new(failed, json_integer(point->failed));
    }
    for (size_t p = 0; p < sizeof(percentiles) / sizeof(percentiles[0]); p++) {
        json_t *list = json_array();
        for (size_t i = 0; i < series->count; i++) {
            const struct histogram *latency = &series->points[i].flows[index].latency;
            uint64_t us = histogram_percentile(latency, percentiles[p].share);
            /* Where nothing arrived there is no latency. */
            json_array_append_new(list, latency->count > 0 ? json_integer((json_int_t)us)
                                                           : json_null());
        }
        json_object_set_new(flow, percentiles[p].name, list);
    }
    return flow;
}

static json_t *report_series_threads(const struct series *series)
{
    char name[48];
    json_t *threads = json_object();
    for (size_t t = 0; t < series->thread_count; t++) {
        uint64_t sum_ns = 0;
        json_t *list = json_array();
        for (size_t i = 0; i < series->count; i++) {
            uint64_t cpu_ns = series->points[i].cpu_ns[t];
            sum_ns += cpu_ns;
            json_array_append_new(list, json_integer((json_int_t)(cpu_ns / 1000)));
        }
        report_thread_name(&series->threads[t], name, sizeof(name));
        if (sum_ns > 0)
            json_object_set(threads, name, list);
        json_decref(list);
    }
    return threads;
}

json_t *report_json_series(const struct series *series, const struct load *load)
{
    json_t *end = json_array(), *in_flight = json_array(), *resident = json_array();
    json_t *json = json_pack("{s:f, s:o, s:o}", "interval_s", (double)series->interval_ns / 1e9,
                             "end_s", end, "in_flight", in_flight);
    for (size_t i = 0; i < series->count; i++) {
        const struct series_point *point = &series->points[i];
        json_array_append_new(end, json_real((double)point->end_ns / 1e9));
        json_array_append_new(in_flight, json_integer(point->in_flight));
        json_array_append_new(resident, json_integer(point->resident_kib));
    }
    if (load->to_sip.count > 0)
        json_object_set_new(json, "xmpp-sip", report_series_flow(series, SERIES_TO_SIP));
    if (load->to_xmpp.count > 0)
        json_object_set_new(json, "sip-xmpp", report_series_flow(series, SERIES_TO_XMPP));
    json_object_set_new(json, "threads_cpu_us", report_series_threads(series));
    json_object_set_new(json, "rss_kib", resident);
    return json;
}
