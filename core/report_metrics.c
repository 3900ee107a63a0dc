/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The counters, the tenants and the trunks as Prometheus wants to read them. */
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/report.h"
#include "net/clock.h"

static const char *const metrics_types[] = {
#define COUNTER                            "counter"
#define GAUGE                              "gauge"
#define STAT(name, metric, kind, sentence) kind,
#include "core/stats.def"
#undef STAT
#undef GAUGE
#undef COUNTER
};
_Static_assert(sizeof(metrics_types) / sizeof(metrics_types[0]) == STAT_COUNT, "one a counter");

static void put_head(FILE *out, const char *name, const char *type, const char *sentence)
{
    fprintf(out, "# HELP passerelle_%s %s\n# TYPE passerelle_%s %s\n", name, sentence, name,
            type);
}

static void put_value(FILE *out, const char *name, const char *sentence, uint64_t value)
{
    put_head(out, name, "gauge", sentence);
    fprintf(out, "passerelle_%s %" PRIu64 "\n", name, value);
}

/* A label's value: backslash, quote and line end are escaped. */
static void put_label(FILE *out, const char *name, struct span value)
{
    fprintf(out, "%s=\"", name);
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] == '\n')
            fputs("\\n", out);
        else if (value.data[i] == '"' || value.data[i] == '\\')
            fprintf(out, "\\%c", value.data[i]);
        else
            fputc(value.data[i], out);
    }
    fputc('"', out);
}

static void put_process(const struct report_source *source, FILE *out)
{
    struct rusage usage = {0};
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm != NULL) {
        if (fscanf(statm, "%*u %lu", &pages) != 1)
            pages = 0;
        (void)fclose(statm);
    }
    (void)getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    put_head(out, "info", "gauge", "What runs.");
    fputs("passerelle_info{version=\"" PASSERELLE_VERSION "\"} 1\n", out);
    put_value(out, "uptime_seconds", "Time since the start.",
              (clock_now_ns() - source->start_ns) / 1000000000u);
    put_value(out, "resident_memory_bytes", "Memory of the process that is in RAM.",
              (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE));
    put_head(out, "cpu_seconds_total", "counter", "Processor time of the process.");
    fprintf(out, "passerelle_cpu_seconds_total %.6f\n", cpu_s);
    put_value(out, "crl_renewal_timestamp_seconds",
              "When the first of the CRLs is to be renewed, as Unix time; 0: there are none.",
              (uint64_t)source->options->config->crl_end_s);
    put_value(out, "staple_renewal_timestamp_seconds",
              "When the first OCSP response of the common certificates ends; 0: none is stapled.",
              (uint64_t)source->options->config->staple_end_s);
    put_value(out, "xmpp_sessions", "XMPP connections that are open.", report_sessions(source));
}

static uint64_t tenant_value(const struct report_tenant *sum, unsigned column)
{
    const uint64_t values[] = {sum->to_sip, sum->to_sip_failed, sum->to_xmpp,
                               sum->to_xmpp_failed, sum->over_quota};
    return values[column];
}

static void put_tenants(const struct report_source *source, FILE *out)
{
    static const struct {
        const char *name, *sentence;
    } families[] = {
        {"tenant_to_sip_total", "Messages from XMPP accepted for the tenant."},
        {"tenant_to_sip_failed_total", "Messages from XMPP that failed, of the tenant."},
        {"tenant_to_xmpp_total", "Messages to XMPP accepted from the tenant."},
        {"tenant_to_xmpp_failed_total", "Messages to XMPP that failed, of the tenant."},
        {"tenant_over_quota_total", "Messages refused by a quota of the tenant, both ways."}};
    const struct config *config = source->options->config;
    for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        put_head(out, families[i].name, "counter", families[i].sentence);
        for (uint32_t j = 0; j < config->tenant_count; j++) {
            struct report_tenant sum = report_tenant(source, config->tenants[j].index);
            fprintf(out, "passerelle_%s{", families[i].name);
            put_label(out, "tenant", span_of(config->tenants[j].name));
            fprintf(out, "} %" PRIu64 "\n", tenant_value(&sum, i));
        }
    }
}

/* One family: a column of the rows. */
static void put_trunk_column(struct span rows, const char *name, unsigned column, FILE *out)
{
    while (rows.size > 0) {
        struct span line = report_take(&rows, '\n'), fields[REPORT_COLUMN_MAX];
        for (unsigned i = 0; i < REPORT_COLUMN_MAX; i++)
            fields[i] = report_take(&line, '\t');
        struct span value = fields[column];
        if (column == 5) /* the state */
            value = span_equal(value, SPAN("down")) ? SPAN("1") : SPAN("0");
        fprintf(out, "passerelle_%s{", name);
        put_label(out, "tenant", fields[1]);
        fputc(',', out);
        put_label(out, "trunk", fields[2]);
        fputc(',', out);
        put_label(out, "egress", fields[0]);
        fprintf(out, "} %.*s\n", (int)value.size, value.data);
    }
}

static void put_trunks(struct span rows, FILE *out)
{
    static const struct {
        const char *name, *type, *sentence;
        unsigned column; /* of REPORT_TRUNKS */
    } families[] = {
        {"trunk_down", "gauge", "1 while the trunk does not answer this egress thread.", 5},
        {"trunk_in_flight", "gauge", "Requests without a final response.", 9},
        {"trunk_sent_total", "counter", "Requests sent to the trunk, retransmissions too.", 11},
        {"trunk_failed_total", "counter", "Requests that the trunk did not answer.", 12}};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        put_head(out, families[i].name, families[i].type, families[i].sentence);
        put_trunk_column(rows, families[i].name, families[i].column, out);
    }
}

void report_metrics(const struct report_source *source, struct span trunks, FILE *out)
{
    const struct control_options *options = source->options;
    put_process(source, out);
    for (int i = 0; i < STAT_COUNT; i++) {
        enum stats_counter counter = (enum stats_counter)i;
        const char *name = stats_metric(counter);
        put_head(out, name, metrics_types[i], stats_sentence(counter));
        fprintf(out, "passerelle_%s %" PRIu64 "\n", name,
                stats_sum(options->stats, options->stats_count, counter));
    }
    put_tenants(source, out);
    put_trunks(trunks, out);
}
