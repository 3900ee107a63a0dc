/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `explain`: a probe (core/probe.h) runs at the worker that has the pair's link; its rows are
 * shown as they come. Then every worker is asked for streams from that domain, the rows of
 * `show errors` for the last one that was refused, and at last comes the verdict.
 */
#include "core/control_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "net/clock.h"

#define SLACK_MS 10000 /* for the parcels and the workers behind the probe */

struct control_probe *control_probe_take(struct control *control, struct client *client)
{
    for (size_t i = 0; i < CONTROL_PROBE_MAX; i++) {
        struct control_probe *probe = &control->probes[i];
        if (probe->state != PROBE_FREE)
            continue;
        *probe = (struct control_probe){.client = client};
        client->probe = probe;
        return probe;
    }
    control_client_say(client, "error: enough partners are looked at already; wait for them\n");
    return NULL;
}

static void give(struct control_probe *probe)
{
    if (probe->client != NULL)
        probe->client->probe = NULL;
    free(probe->rows);
    *probe = (struct control_probe){.state = PROBE_FREE};
}

void control_probe_wait(struct client *client)
{
    client->state = CLIENT_PROBING;
    /* The probe, and the outcome of a ping, come in time by their own deadlines. */
    client->deadline_ns = UINT64_MAX;
}

void control_probe_leave(struct client *client)
{
    if (client->probe != NULL)
        client->probe->client = NULL;
    client->probe = NULL;
}

bool control_probe_is_busy(const struct control *control)
{
    for (size_t i = 0; i < CONTROL_PROBE_MAX; i++)
        if (control->probes[i].state != PROBE_FREE)
            return true;
    return false;
}

void control_probe_close(struct control *control)
{
    for (size_t i = 0; i < CONTROL_PROBE_MAX; i++) {
        struct control_probe *probe = &control->probes[i];
        if (probe->is_out && probe->state == PROBE_EXPLAINS)
            (void)fclose(probe->talk.out);
        else if (probe->is_out && probe->state == PROBE_ASKS_INBOUND)
            (void)fclose(probe->inbound.out);
        free(probe->rows);
    }
}

/* ---- what the client sees ---- */

static void put_row(struct control_probe *probe, struct span row, FILE *out)
{
    bool as_json = probe->client->as_json;
    if (!probe->has_rows && !as_json)
        report_header(REPORT_EXPLAIN, out);
    if (as_json) {
        fputs(probe->has_rows ? ",\n" : "[", out);
        report_object(REPORT_EXPLAIN, row, out);
    } else {
        fprintf(out, "%.*s\n", (int)row.size, row.data);
    }
    probe->has_rows = true;
}

/* Shows rows, and with the last ones gives the place back. */
static void show(struct control_probe *probe, struct span rows, bool is_last)
{
    struct client *client = probe->client;
    char *text = NULL;
    size_t size = 0;
    FILE *out = client != NULL ? open_memstream(&text, &size) : NULL;
    while (out != NULL && rows.size > 0)
        put_row(probe, report_take(&rows, '\n'), out);
    if (out != NULL && is_last && client->as_json)
        fputs("]\n", out);
    if (is_last)
        give(probe);
    if (client != NULL && (out == NULL || fclose(out) != 0))
        control_client_drop(client);
    else if (client != NULL && size > 0)
        control_client_part(client, span_make(text, size), is_last);
    free(text);
}

void control_probe_show(struct control_probe *probe, const struct probe_row *row)
{
    char text[2 * PROBE_TEXT_SIZE];
    size_t size = probe_row_write(row, text, sizeof(text));
    show(probe, span_make(text, size), true);
}

/* ---- what is asked ---- */

static void post(struct control *control, struct control_probe *probe, unsigned target,
                 enum parcel_kind kind, void *inquiry)
{
    struct mesh *mesh = control->options.mesh;
    struct parcel *parcel = mesh_take(mesh, control->options.self, MESH_CONTROL);
    FILE *out = parcel != NULL ? open_memstream(&probe->rows, &probe->rows_size) : NULL;
    if (out == NULL) {
        if (parcel != NULL)
            mesh_give(mesh, control->options.self, &parcel);
        return; /* tried again at the next turn */
    }
    probe->talk.out = probe->inbound.out = out;
    parcel->kind = kind;
    parcel->snapshot = control->options.config->snapshot;
    parcel->inquiry = inquiry;
    probe->is_out = true;
    mesh_post(mesh, control->options.self, target, &parcel);
    mesh_flush(mesh, control->options.self);
}

/* A stream from the domain, of a row of `show sess`. */
static void inbound_row(struct span row, char *text, size_t size)
{
    struct span field[12];
    for (size_t i = 0; i < 12; i++)
        field[i] = report_take(&row, '\t');
    (void)snprintf(text, size,
                   "a stream from %.*s is %.*s: %.*s, proof %.*s, %.*s, open for %.*s s",
                   (int)field[2].size, field[2].data, (int)field[6].size, field[6].data,
                   (int)field[5].size, field[5].data, (int)field[7].size, field[7].data,
                   (int)field[8].size, field[8].data, (int)field[10].size, field[10].data);
}

static void show_inbound(struct control_probe *probe, struct span rows)
{
    char text[PROBE_TEXT_SIZE], row[2 * PROBE_TEXT_SIZE], *all = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&all, &size);
    while (out != NULL && rows.size > 0) {
        inbound_row(report_take(&rows, '\n'), text, sizeof(text));
        size_t used = probe_row_write(
            &(struct probe_row){
                .step = "inbound", .result = PROBE_OK, .ms = -1, .target = "", .text = text},
            row, sizeof(row));
        (void)fwrite(row, 1, used, out);
    }
    if (out != NULL && fclose(out) == 0)
        show(probe, span_make(all, size), false);
    free(all);
}

/* Is it a stream from this domain that was refused? Before its proof a stream has its row by
   its address, and the name it gave in the reason (core/session_report.c). */
static bool is_of(const struct stats_error *error, const char *domain)
{
    size_t size = strlen(domain);
    return error->key != 0 && strcmp(error->event, "session.close") == 0 &&
           (strcmp(error->partner, domain) == 0 ||
            (strncmp(error->reason, domain, size) == 0 && error->reason[size] == ' '));
}

/* The last stream from the domain that was refused, if there is one. */
static void last_refused(const struct control *control, const char *domain, char *text,
                         size_t size)
{
    struct stats_error *rows = calloc(STATS_ERROR_COUNT, sizeof(*rows));
    uint64_t newest = 0, now_ms = clock_wall_ms();
    for (size_t i = 0; rows != NULL && i < control->options.stats_count; i++) {
        if (control->options.stats[i] == NULL)
            continue;
        stats_errors(control->options.stats[i], rows);
        for (size_t j = 0; j < STATS_ERROR_COUNT; j++) {
            if (!is_of(&rows[j], domain) || rows[j].wall_ms < newest)
                continue;
            newest = rows[j].wall_ms;
            (void)snprintf(text, size, "the last one refused, %" PRIu64 " s ago: %s",
                           (now_ms - newest) / 1000, rows[j].reason);
        }
    }
    free(rows);
}

static void finish(struct control *control, struct control_probe *probe)
{
    char refused[PROBE_TEXT_SIZE] = "no stream from it was refused lately";
    last_refused(control, probe->talk.remote.text, refused, sizeof(refused));
    char rows[4 * PROBE_TEXT_SIZE];
    size_t used = probe_row_write(
        &(struct probe_row){
            .step = "inbound", .result = PROBE_NOTE, .ms = -1, .target = "", .text = refused},
        rows, sizeof(rows));
    used += probe_row_write(&(struct probe_row){.step = "verdict",
                                                .result = probe->talk.verdict,
                                                .ms = -1,
                                                .target = "",
                                                .text = probe->talk.text},
                            rows + used, sizeof(rows) - used);
    show(probe, span_make(rows, used), true);
}

static void go_on(struct control *control, struct control_probe *probe)
{
    const struct config *config = control->options.config;
    struct span remote = s2s_domain_span(&probe->talk.remote);
    bool has_left = probe->client == NULL;
    bool has_begun = probe->talk.probe != NULL;
    if (probe->state == PROBE_EXPLAINS && (has_begun || !has_left)) {
        probe->talk.is_cancelled = has_left;
        post(control, probe, route_link(config, s2s_domain_span(&probe->talk.local), remote),
             PARCEL_PROBE, &probe->talk);
    } else if (has_left) {
        give(probe);
    } else if (probe->worker < config->worker_count) {
        probe->inbound = (struct inquiry){.kind = INQUIRY_SESSIONS, .partner = remote};
        post(control, probe, probe->worker + 1, PARCEL_INQUIRY, &probe->inbound);
    } else {
        finish(control, probe);
    }
}

void control_probe_turn(struct control *control)
{
    for (size_t i = 0; i < CONTROL_PROBE_MAX; i++) {
        struct control_probe *probe = &control->probes[i];
        /* Who has not read the last rows gets no further ones. */
        bool is_ready = probe->client == NULL || probe->client->state == CLIENT_PROBING;
        if (probe->state != PROBE_FREE && !probe->is_out && is_ready)
            go_on(control, probe);
    }
}

static void home(struct control_probe *probe)
{
    bool explains = probe->state == PROBE_EXPLAINS;
    (void)fclose(explains ? probe->talk.out : probe->inbound.out);
    char *rows = probe->rows;
    struct span all = span_make(rows, probe->rows_size);
    probe->rows = NULL;
    if (explains && probe->talk.is_over)
        probe->state = PROBE_ASKS_INBOUND;
    else if (!explains)
        probe->worker++;
    if (explains)
        show(probe, all, false);
    else
        show_inbound(probe, all);
    free(rows);
}

bool control_probe_home(struct control *control, const struct parcel *parcel)
{
    for (size_t i = 0; i < CONTROL_PROBE_MAX; i++) {
        struct control_probe *probe = &control->probes[i];
        if (!probe->is_out ||
            (parcel->inquiry != &probe->talk && parcel->inquiry != &probe->inbound))
            continue;
        probe->is_out = false;
        if (probe->state == PROBE_PINGS)
            control_ping_home(probe, parcel);
        else
            home(probe);
        return true;
    }
    return false;
}

/* ---- the command ---- */

bool control_probe_tenant(struct control *control, struct client *client, struct span word,
                          struct s2s_domain *local)
{
    const struct config *config = control->options.config;
    const struct config_tenant *tenant = word.size == 0 && config->tenant_count == 1
                                             ? &config->tenants[0]
                                             : config_find_named(config, word);
    if (tenant != NULL && s2s_domain_read(local, span_of(tenant->domains[0].unicode)))
        return true;
    if (word.size > 0 && s2s_domain_read(local, word) &&
        config_find_tenant(config, s2s_domain_span(local)) != NULL)
        return true;
    control_client_say(client, word.size == 0
                                   ? "error: for which tenant? say tenant NAME\n"
                                   : "error: no tenant has this name or domain; see show "
                                     "tenants\n");
    return false;
}

static void explain_command(struct control *control, struct client *client, struct span command)
{
    struct s2s_domain local, remote;
    struct span domain = control_word(&command), tenant = SPAN_NONE;
    client->as_json = false;
    for (struct span word = control_word(&command); word.size > 0;
         word = control_word(&command)) {
        if (span_equal(word, SPAN("json")) && !client->as_json) {
            client->as_json = true;
        } else if (span_equal(word, SPAN("tenant")) && tenant.size == 0) {
            tenant = control_word(&command);
        } else {
            control_client_say(client, "error: explain DOMAIN [tenant NAME] [json]\n");
            return;
        }
    }
    if (!s2s_domain_read(&remote, domain)) {
        control_client_say(client, domain.size == 0
                                       ? "error: explain which domain?\n"
                                       : "error: explain DOMAIN: this is no XMPP domain\n");
        return;
    }
    if (!control_probe_tenant(control, client, tenant, &local))
        return;
    struct control_probe *probe = control_probe_take(control, client);
    if (probe == NULL)
        return;
    probe->talk.local = local;
    probe->talk.remote = remote;
    probe->state = PROBE_EXPLAINS;
    control_probe_wait(client);
}

bool control_probe_command(struct control *control, struct client *client, struct span command)
{
    struct span word = control_word(&command);
    bool explains = span_equal(word, SPAN("explain")), pings = span_equal(word, SPAN("ping"));
    if ((explains || pings) && control->options.mesh == NULL)
        control_client_say(client, "error: there is no thread to ask\n");
    else if (explains)
        explain_command(control, client, command);
    else if (pings)
        control_ping_command(control, client, command);
    return explains || pings;
}
