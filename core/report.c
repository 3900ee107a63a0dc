/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/report.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "net/clock.h"

/* A column with # in front holds numbers: in JSON it is one, or null for "-". */
static const char *const report_columns[][REPORT_COLUMN_MAX] = {
    [REPORT_INFO] = {"name", "value"},
    [REPORT_STAT] = {"name", "#value"},
    [REPORT_TENANTS] = {"tenant", "domains", "policy", "#trunks", "#to_sip", "#to_sip_failed",
                        "#to_xmpp", "#to_xmpp_failed", "#over_quota"},
    [REPORT_ERRORS] = {"time", "#count", "event", "tenant", "partner", "trace", "reason"},
    [REPORT_POLICY] = {"rule", "value", "from"},
    [REPORT_CERTIFICATES] = {"key", "file", "whose", "#revoked", "until", "state"},
    [REPORT_SESSIONS] = {"#worker", "direction", "peer", "local", "remote", "pairs", "state",
                         "auth", "trust", "tls", "cipher", "#age_s", "#idle_s", "#heard_s",
                         "#stanzas_in", "#stanzas_out", "#queued", "managed", "#unacked",
                         "#waiting", "#bytes_s", "stream"},
    [REPORT_LINKS] = {"#worker", "local", "remote", "state", "#waiting", "#failures", "#retry_s",
                      "reason"},
    [REPORT_TRUNKS] = {"#egress", "tenant", "trunk", "transport", "target", "state", "#since_s",
                       "#last_status", "#answered_s", "#in_flight", "#queued", "#sent",
                       "#failed"},
    [REPORT_CONSENTS] = {"user", "partner", "written"},
    [REPORT_EXPLAIN] = {"step", "result", "#ms", "target", "text"},
};

static uint64_t report_load(_Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

struct report_tenant report_tenant(const struct report_source *source, uint32_t tenant)
{
    const struct control_options *options = source->options;
    struct report_tenant sum = {0};
    for (size_t i = 0; i < options->stats_count; i++) {
        if (options->stats[i] == NULL)
            continue;
        struct tenant_stats *stats = stats_tenant(options->stats[i], tenant);
        sum.to_sip += report_load(&stats->to_sip);
        sum.to_sip_failed += report_load(&stats->to_sip_failed);
        sum.to_xmpp += report_load(&stats->to_xmpp);
        sum.to_xmpp_failed += report_load(&stats->to_xmpp_failed);
        sum.over_quota += report_load(&stats->over_quota);
    }
    return sum;
}

uint64_t report_sessions(const struct report_source *source)
{
    const struct control_options *options = source->options;
    /* Closed first: whoever opens and closes in between is not counted as minus one. */
    uint64_t closed = stats_sum(options->stats, options->stats_count, STAT_SESSIONS_CLOSED);
    return stats_sum(options->stats, options->stats_count, STAT_SESSIONS_OPENED) - closed;
}

static void rows_info(const struct report_source *source, FILE *out)
{
    const struct config *config = source->options->config;
    uint64_t uptime_s = (clock_now_ns() - source->start_ns) / 1000000000u;
    fprintf(out,
            "version\t%s\nconfig\t%s\nuptime_s\t%" PRIu64 "\nworkers\t%u\negress\t%u\n"
            "parcels_per_thread\t%u\nstore\t%s\ntenants\t%zu\ntrunks\t%zu\npartners\t%zu\n"
            "sessions\t%" PRIu64 "\nlog_level\t%s\nprocess\t%d\n",
            PASSERELLE_VERSION, config->path, uptime_s, config->worker_count,
            config->egress_count, config->parcel_count,
            config->store_path != NULL ? config->store_path : "-", config->tenant_count,
            config->trunk_count, config->partner_count, report_sessions(source),
            log_level_names[log_level()], (int)getpid());
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
    const struct config *config = source->options->config;
    for (uint32_t i = 0; i < config->tenant_count; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        struct report_tenant sum = report_tenant(source, tenant->index);
        fprintf(out, "%s\t", tenant->name);
        for (size_t j = 0; j < tenant->domain_count; j++)
            fprintf(out, "%s%s", j > 0 ? "," : "", tenant->domains[j].unicode);
        fprintf(out,
                "\t%s\t%u\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n",
                config_policy_names[tenant->policy], tenant->trunk_count, sum.to_sip,
                sum.to_sip_failed, sum.to_xmpp, sum.to_xmpp_failed, sum.over_quota);
    }
}

static int error_order(const void *left, const void *right)
{
    const struct stats_error *a = left, *b = right;
    return a->wall_ms < b->wall_ms ? -1 : a->wall_ms > b->wall_ms;
}

static const char *or_dash(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

static void error_row(const struct stats_error *error, FILE *out)
{
    time_t seconds = (time_t)(error->wall_ms / 1000);
    struct tm utc;
    char text[32] = "", trace[17] = "";
    if (gmtime_r(&seconds, &utc) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    if (error->trace != 0)
        log_format_trace(error->trace, trace);
    fprintf(out, "%s.%03uZ\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%s\n", text,
            (unsigned)(error->wall_ms % 1000), error->count, error->event,
            or_dash(error->tenant), or_dash(error->partner), or_dash(trace), error->reason);
}

/* The newest last, as in a log. */
static void rows_errors(const struct report_source *source, FILE *out)
{
    size_t room = source->options->stats_count * STATS_ERROR_COUNT, count = 0;
    struct stats_error *all = calloc(room > 0 ? room : 1, sizeof(*all));
    for (size_t i = 0; all != NULL && i < source->options->stats_count; i++) {
        if (source->options->stats[i] == NULL)
            continue;
        stats_errors(source->options->stats[i], &all[count]);
        count += STATS_ERROR_COUNT;
    }
    if (all != NULL)
        qsort(all, count, sizeof(*all), error_order);
    for (size_t i = 0; all != NULL && i < count; i++)
        if (all[i].key != 0)
            error_row(&all[i], out);
    free(all);
}

void report_rows(const struct report_source *source, enum report_kind kind, FILE *out)
{
    assert(out != NULL);
    switch (kind) {
    case REPORT_INFO: rows_info(source, out); return;
    case REPORT_STAT: rows_stat(source, out); return;
    case REPORT_TENANTS: rows_tenants(source, out); return;
    case REPORT_ERRORS: rows_errors(source, out); return;
    case REPORT_POLICY:
    case REPORT_CERTIFICATES:
    case REPORT_SESSIONS:
    case REPORT_LINKS:
    case REPORT_TRUNKS:
    case REPORT_CONSENTS:
    case REPORT_EXPLAIN:
    case REPORT_METRICS: return;
    }
}

static bool is_number(struct span text)
{
    bool is_plain = text.size > 0 && text.size <= 15 && (text.data[0] != '0' || text.size == 1);
    for (size_t i = 0; is_plain && i < text.size; i++)
        is_plain = text.data[i] >= '0' && text.data[i] <= '9';
    return is_plain;
}

/* RFC 8259 §7. */
static void show_string(struct span text, FILE *out)
{
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

static void show_number(struct span text, FILE *out)
{
    if (span_equal(text, SPAN("-")))
        fputs("null", out);
    else if (is_number(text))
        fprintf(out, "%.*s", (int)text.size, text.data);
    else
        show_string(text, out);
}

struct span report_take(struct span *text, char end)
{
    struct span part = span_to(*text, span_find(*text, end));
    *text = span_from(*text, part.size + 1);
    return part;
}

void report_object(enum report_kind kind, struct span line, FILE *out)
{
    const char *const *columns = report_columns[kind];
    for (size_t i = 0; i < REPORT_COLUMN_MAX && columns[i] != NULL; i++) {
        bool has_numbers = columns[i][0] == '#';
        fprintf(out, "%s\"%s\":", i > 0 ? "," : "{", columns[i] + has_numbers);
        struct span field = report_take(&line, '\t');
        if (has_numbers)
            show_number(field, out);
        else
            show_string(field, out);
    }
    fputc('}', out);
}

static void show_member(struct span line, FILE *out)
{
    struct span name = report_take(&line, '\t');
    fprintf(out, "\"%.*s\":", (int)name.size, name.data);
    if (is_number(line))
        show_number(line, out);
    else
        show_string(line, out);
}

static void show_json(enum report_kind kind, struct span rows, FILE *out)
{
    bool is_object = kind == REPORT_INFO || kind == REPORT_STAT;
    fputc(is_object ? '{' : '[', out);
    for (bool first = true; rows.size > 0; first = false) {
        struct span line = report_take(&rows, '\n');
        if (!first)
            fputc(',', out);
        if (is_object)
            show_member(line, out);
        else
            report_object(kind, line, out);
    }
    fprintf(out, "%c\n", is_object ? '}' : ']');
}

void report_header(enum report_kind kind, FILE *out)
{
    for (size_t i = 0; i < REPORT_COLUMN_MAX && report_columns[kind][i] != NULL; i++) {
        const char *name = report_columns[kind][i];
        fprintf(out, "%s%s", i > 0 ? "\t" : "", name + (name[0] == '#'));
    }
    fputc('\n', out);
}

void report_show(enum report_kind kind, struct span rows, bool as_json, FILE *out)
{
    if (as_json) {
        show_json(kind, rows, out);
        return;
    }
    report_header(kind, out);
    if (rows.size > 0)
        (void)fwrite(rows.data, 1, rows.size, out);
}
