/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/report.h"

#include <assert.h>
#include <inttypes.h>
#include <time.h>

#include "net/clock.h"

#define COLUMN_MAX 16

static const char *const report_columns[][COLUMN_MAX] = {
    [REPORT_INFO] = {"name", "value"},
    [REPORT_STAT] = {"name", "value"},
    [REPORT_TENANTS] = {"tenant", "domains", "policy", "trunks", "to_sip", "to_sip_failed",
                        "to_xmpp", "to_xmpp_failed"},
    [REPORT_ERRORS] = {"time", "trace", "thread", "text"},
    [REPORT_SESSIONS] = {"worker", "direction", "peer", "local", "remote", "state", "auth", "tls",
                         "age_s", "idle_s", "stanzas_in", "stanzas_out", "queued"},
    [REPORT_TRUNKS] = {"egress", "tenant", "trunk", "transport", "target", "state", "in_flight",
                       "queued", "sent", "failed", "last_status"},
};

static const char *const report_types[] = {
#define COUNTER "counter"
#define GAUGE   "gauge"
#define STAT(name, metric, kind, sentence) kind,
#include "core/stats.def"
#undef STAT
#undef GAUGE
#undef COUNTER
};
_Static_assert(sizeof(report_types) / sizeof(report_types[0]) == STAT_COUNT, "one per counter");

static uint64_t report_load(_Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

struct tenant_sum {
    uint64_t to_sip, to_sip_failed, to_xmpp, to_xmpp_failed;
};

static struct tenant_sum report_tenant(const struct control_options *options, uint32_t tenant)
{
    struct tenant_sum sum = {0};
    for (size_t i = 0; i < options->stats_count; i++) {
        if (options->stats[i] == NULL)
            continue;
        struct tenant_stats *stats = &options->stats[i]->tenants[tenant];
        sum.to_sip += report_load(&stats->to_sip);
        sum.to_sip_failed += report_load(&stats->to_sip_failed);
        sum.to_xmpp += report_load(&stats->to_xmpp);
        sum.to_xmpp_failed += report_load(&stats->to_xmpp_failed);
    }
    return sum;
}

static void rows_info(const struct report_source *source, FILE *out)
{
    const struct config *config = source->options->config;
    uint64_t uptime_s = (clock_now_ns() - source->start_ns) / 1000000000u;
    fprintf(out,
            "version\t%s\nconfig\t%s\nuptime_s\t%" PRIu64 "\nworkers\t%u\negress\t%u\n"
            "parcels_per_thread\t%u\ntenants\t%zu\ntrunks\t%zu\npartners\t%zu\n",
            PASSERELLE_VERSION, config->path, uptime_s, config->worker_count,
            config->egress_count, config->parcel_count, config->tenant_count,
            config->trunk_count, config->partner_count);
}

static void rows_stat(const struct report_source *source, FILE *out)
{
    const struct control_options *options = source->options;
    for (int i = 0; i < STAT_COUNT; i++)
        fprintf(out, "%s\t%" PRIu64 "\n", stats_metric((enum stats_counter)i),
                stats_sum(options->stats, options->stats_count, (enum stats_counter)i));
}

static void rows_tenants(const struct report_source *source, FILE *out)
{
    static const char *const policies[] = {"open", "list", "closed"};
    const struct config *config = source->options->config;
    for (uint32_t i = 0; i < config->tenant_count; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        struct tenant_sum sum = report_tenant(source->options, i);
        fprintf(out, "%s\t", tenant->name);
        for (size_t j = 0; j < tenant->domain_count; j++)
            fprintf(out, "%s%s", j > 0 ? "," : "", tenant->domains[j].unicode);
        fprintf(out, "\t%s\t%zu\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n",
                policies[tenant->policy], tenant->trunk_count, sum.to_sip, sum.to_sip_failed,
                sum.to_xmpp, sum.to_xmpp_failed);
    }
}

static void error_row(const struct stats_error *error, size_t thread, FILE *out)
{
    time_t seconds = (time_t)(error->wall_ms / 1000);
    struct tm utc;
    char text[32] = "";
    if (gmtime_r(&seconds, &utc) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    fprintf(out, "%s.%03uZ\t%" PRIx64 "\t%zu\t%s\n", text, (unsigned)(error->wall_ms % 1000),
            error->trace, thread, error->text);
}

static void rows_errors(const struct report_source *source, FILE *out)
{
    for (size_t i = 0; i < source->options->stats_count; i++) {
        struct stats *stats = source->options->stats[i];
        if (stats == NULL)
            continue;
        struct stats_error copy[STATS_ERROR_COUNT];
        /* Acquire pairs with the release of stats_error, and ours with its acquire. */
        while (atomic_exchange_explicit(&stats->error_lock, 1, memory_order_acquire) != 0)
            ;
        unsigned next = stats->error_next;
        memcpy(copy, stats->errors, sizeof(copy));
        atomic_store_explicit(&stats->error_lock, 0, memory_order_release);
        unsigned count = next < STATS_ERROR_COUNT ? next : STATS_ERROR_COUNT;
        for (unsigned j = next - count; j != next; j++)
            error_row(&copy[j % STATS_ERROR_COUNT], i, out);
    }
}

void report_rows(const struct report_source *source, enum report_kind kind, FILE *out)
{
    assert(out != NULL);
    switch (kind) {
    case REPORT_INFO:
        rows_info(source, out);
        return;
    case REPORT_STAT:
        rows_stat(source, out);
        return;
    case REPORT_TENANTS:
        rows_tenants(source, out);
        return;
    case REPORT_ERRORS:
        rows_errors(source, out);
        return;
    case REPORT_SESSIONS:
    case REPORT_TRUNKS:
        return;
    }
}

/* A JSON value: a number when it is a plain one, else a string (RFC 8259 §7). */
static void show_value(struct span text, FILE *out)
{
    bool is_number = text.size > 0 && text.size <= 15 && (text.data[0] != '0' || text.size == 1);
    for (size_t i = 0; is_number && i < text.size; i++)
        is_number = text.data[i] >= '0' && text.data[i] <= '9';
    if (is_number) {
        fprintf(out, "%.*s", (int)text.size, text.data);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* Takes the text up to `end` off the front. */
static struct span show_take(struct span *text, char end)
{
    struct span part = span_to(*text, span_find(*text, end));
    *text = span_from(*text, part.size + 1);
    return part;
}

static void show_object(const char *const *columns, struct span line, FILE *out)
{
    for (size_t i = 0; i < COLUMN_MAX && columns[i] != NULL; i++) {
        fprintf(out, "%s\"%s\":", i > 0 ? "," : "{", columns[i]);
        show_value(show_take(&line, '\t'), out);
    }
    fputc('}', out);
}

static void show_member(struct span line, FILE *out)
{
    struct span name = show_take(&line, '\t');
    fprintf(out, "\"%.*s\":", (int)name.size, name.data);
    show_value(line, out);
}

static void show_json(enum report_kind kind, struct span rows, FILE *out)
{
    bool is_object = kind == REPORT_INFO || kind == REPORT_STAT;
    fputc(is_object ? '{' : '[', out);
    for (bool first = true; rows.size > 0; first = false) {
        struct span line = show_take(&rows, '\n');
        if (!first)
            fputc(',', out);
        if (is_object)
            show_member(line, out);
        else
            show_object(report_columns[kind], line, out);
    }
    fprintf(out, "%c\n", is_object ? '}' : ']');
}

void report_show(enum report_kind kind, struct span rows, bool as_json, FILE *out)
{
    if (as_json) {
        show_json(kind, rows, out);
        return;
    }
    for (size_t i = 0; i < COLUMN_MAX && report_columns[kind][i] != NULL; i++)
        fprintf(out, "%s%s", i > 0 ? "\t" : "", report_columns[kind][i]);
    fputc('\n', out);
    if (rows.size > 0)
        (void)fwrite(rows.data, 1, rows.size, out);
}

void report_metrics(const struct report_source *source, FILE *out)
{
    const struct control_options *options = source->options;
    uint64_t uptime_s = (clock_now_ns() - source->start_ns) / 1000000000u;
    fprintf(out,
            "# HELP passerelle_info What runs.\n# TYPE passerelle_info gauge\n"
            "passerelle_info{version=\"%s\"} 1\n"
            "# HELP passerelle_uptime_seconds Time since the start.\n"
            "# TYPE passerelle_uptime_seconds gauge\npasserelle_uptime_seconds %" PRIu64 "\n",
            PASSERELLE_VERSION, uptime_s);
    for (int i = 0; i < STAT_COUNT; i++) {
        const char *name = stats_metric((enum stats_counter)i);
        fprintf(out, "# HELP passerelle_%s %s\n# TYPE passerelle_%s %s\npasserelle_%s %" PRIu64 "\n",
                name, stats_sentence((enum stats_counter)i), name, report_types[i], name,
                stats_sum(options->stats, options->stats_count, (enum stats_counter)i));
    }
}
