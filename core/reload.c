/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/reload.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/tls_store.h"
#include "net/clock.h"

#define RELOAD_KEY_MAX    32
#define RELOAD_ERROR_SIZE 640

struct reload {
    struct reload_options options;
    struct config *current;
    struct config *former; /* some thread may still have it */
    struct reload_offer offers[MESH_THREAD_MAX];
    uint64_t stamps[2]; /* of the threads' common contexts, by side; 0: they have none */
    unsigned out;       /* threads that have not taken theirs */
    uint64_t began_ns;
};

/* The stamps of the common contexts that the threads need; 0: none. */
static void stamps_of(const struct config *config, uint64_t stamps[2])
{
    stamps[TLS_STORE_XMPP] = config->stamp;
    stamps[TLS_STORE_SIP] = tls_store_wants_sip(config) ? config->sip_stamp : 0;
}

int reload_open(struct reload **reload, const struct reload_options *options)
{
    struct reload *made = calloc(1, sizeof(*made));
    *reload = made;
    if (made == NULL) {
        struct config *config = options->config;
        config_close(&config);
        return -ENOMEM;
    }
    made->options = *options;
    made->current = options->config;
    stamps_of(made->current, made->stamps);
    return 0;
}

void reload_close(struct reload **reload)
{
    struct reload *closed = *reload;
    *reload = NULL;
    if (closed == NULL)
        return;
    for (size_t i = 0; i < MESH_THREAD_MAX; i++)
        tls_context_close(&closed->offers[i].context);
    config_close(&closed->former);
    config_close(&closed->current);
    free(closed);
}

struct reload_offer *reload_offer(struct reload *reload, unsigned self)
{
    assert(self < MESH_THREAD_MAX);
    return &reload->offers[self];
}

const struct config *reload_config(const struct reload *reload)
{
    return reload->current;
}

bool reload_is_running(const struct reload *reload)
{
    return reload->out > 0;
}

/* ---- what is new ---- */

static bool is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_same_trunk(const struct config_trunk *a, const struct config_trunk *b)
{
    bool same = a->serial == b->serial && a->priority == b->priority &&
                a->options_interval_s == b->options_interval_s &&
                a->source_count == b->source_count;
    for (size_t i = 0; same && i < a->source_count; i++)
        same = a->sources[i].prefix_size == b->sources[i].prefix_size &&
               net_address_equal(&a->sources[i].address, &b->sources[i].address);
    return same;
}

static bool is_same_domains(const struct config_domain *a, const struct config_domain *b,
                            size_t count)
{
    size_t i = 0;
    while (i < count && strcmp(a[i].unicode, b[i].unicode) == 0)
        i++;
    return i == count;
}

static bool is_same_rules(const struct rules *a, const struct rules *b)
{
    return memcmp(a, b, sizeof(*a)) == 0; /* no padding, and 0 where nothing is given */
}

static bool is_same_pairs(const struct config_tenant *a, const struct config_tenant *b)
{
    bool same = a->pair_count == b->pair_count;
    for (size_t i = 0; same && i < a->pair_count; i++)
        same = is_same_rules(&a->pairs[i].rules, &b->pairs[i].rules) &&
               strcmp(a->pairs[i].domain.unicode, b->pairs[i].domain.unicode) == 0;
    return same;
}

static bool is_same_users(const struct config_tenant *a, const struct config_tenant *b)
{
    bool same = a->users_allowed == b->users_allowed && a->user_count == b->user_count &&
                a->user_allow_count == b->user_allow_count;
    for (size_t i = 0; same && i < a->user_count; i++)
        same = strcmp(a->users[i], b->users[i]) == 0;
    return same;
}

static bool is_same_tenant(const struct config_tenant *a, const struct config_tenant *b)
{
    bool same =
        a->domain_count == b->domain_count && a->partner_count == b->partner_count &&
        a->trunk_count == b->trunk_count && a->policy == b->policy && a->stamp == b->stamp &&
        is_same_text(a->certificate, b->certificate) && is_same_text(a->key, b->key) &&
        is_same_domains(a->domains, b->domains, a->domain_count) &&
        is_same_rules(&a->rules, &b->rules) && is_same_pairs(a, b) && is_same_users(a, b) &&
        is_same_domains(a->partners, b->partners, a->partner_count);
    for (size_t i = 0; same && i < a->trunk_count; i++)
        same = is_same_trunk(&a->trunks[i], &b->trunks[i]);
    return same;
}

struct reload_changes {
    size_t added, removed, changed;
};

static struct reload_changes compare(const struct config *config, const struct config *former)
{
    struct reload_changes changes = {0};
    size_t kept = 0;
    for (size_t i = 0; i < config->tenant_count; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        const struct config_tenant *before = config_tenant_at(former, tenant->index);
        kept += before != NULL;
        changes.added += before == NULL;
        changes.changed += before != NULL && !is_same_tenant(tenant, before);
    }
    changes.removed = former->tenant_count - kept;
    return changes;
}

/* ---- before the threads are told ---- */

/* Room for the counters of new tenants, which begin at 0 also where another's were. */
static bool prepare_stats(struct reload *reload, const struct config *config)
{
    const struct reload_options *options = &reload->options;
    for (size_t i = 0; i < options->stats_count; i++)
        if (stats_reserve(options->stats[i], config->tenant_slots) != 0)
            return false;
    for (size_t i = 0; i < config->tenant_count; i++) {
        uint32_t index = config->tenants[i].index;
        if (config_tenant_at(reload->current, index) != NULL)
            continue;
        for (size_t j = 0; j < options->stats_count; j++)
            stats_clear(options->stats[j], index);
    }
    return true;
}

/* Common contexts are opened here and not where traffic would wait for it; only when their
   files have changed, as sessions keep the trust anchors of their time, which are large. */
static bool prepare_contexts(struct reload *reload, const struct config *config,
                             const uint64_t stamps[2], char *error, size_t error_size)
{
    unsigned threads = config->worker_count + config->egress_count;
    for (unsigned i = 1; i <= threads; i++) {
        enum tls_store_side side = i <= config->worker_count ? TLS_STORE_XMPP : TLS_STORE_SIP;
        if (stamps[side] != 0 && stamps[side] != reload->stamps[side] &&
            tls_store_context(config, side, &reload->offers[i].context, error, error_size) != 0)
            return false;
    }
    return true;
}

static bool prepare(struct reload *reload, struct config *config, char *error,
                    size_t error_size)
{
    uint64_t stamps[2];
    stamps_of(config, stamps);
    bool ready = prepare_contexts(reload, config, stamps, error, error_size);
    if (ready && !prepare_stats(reload, config)) {
        (void)snprintf(error, error_size, "no memory for the counters of the tenants");
        ready = false;
    }
    for (size_t i = 0; !ready && i < MESH_THREAD_MAX; i++)
        tls_context_close(&reload->offers[i].context);
    for (size_t i = 0; ready && i < 2; i++)
        if (stamps[i] != 0)
            reload->stamps[i] = stamps[i];
    return ready;
}

/* First all offers, then all parcels: whoever hears of the new snapshot, from whomever, finds
   his own offer there. */
static void publish(struct reload *reload, struct config *config)
{
    struct mesh *mesh = reload->options.mesh;
    unsigned threads = config->worker_count + config->egress_count;
    reload->former = reload->current;
    reload->current = config;
    for (unsigned i = 1; i <= threads; i++)
        reload->offers[i].config = config;
    for (unsigned i = 1; i <= threads; i++) {
        struct parcel *parcel = mesh_take(mesh, THREAD_CONTROL, MESH_CONTROL);
        assert(parcel != NULL);
        parcel->kind = PARCEL_RELOAD;
        mesh_post(mesh, THREAD_CONTROL, i, &parcel);
    }
    reload->out = threads;
    mesh_flush(mesh, THREAD_CONTROL);
}

static bool refuse(struct reload *reload, const char *error, FILE *answer)
{
    stats_count(reload->options.stats[THREAD_CONTROL], STAT_RELOADS_REFUSED);
    log_event(LOG_LEVEL_WARN, "reload.refused", 0, log_text("reason", span_of(error)));
    fprintf(answer, "error: %s\n", error);
    return false;
}

static void tell(const struct config *config, const struct reload_changes *changes,
                 uint64_t took_ms, FILE *answer)
{
    fprintf(answer, "done: %zu tenants (%zu added, %zu removed, %zu changed), %zu partners\n",
            config->tenant_count, changes->added, changes->removed, changes->changed,
            config->partner_count);
    log_event(LOG_LEVEL_INFO, "reload.read", 0, log_text("config", span_of(config->path)),
              log_number("tenants", (int64_t)config->tenant_count),
              log_number("added", (int64_t)changes->added),
              log_number("removed", (int64_t)changes->removed),
              log_number("changed", (int64_t)changes->changed),
              log_number("ms", (int64_t)took_ms));
}

static void tell_fixed(const char *const *keys, int count, FILE *answer)
{
    for (int i = 0; i < count; i++) {
        fprintf(answer, "needs a restart: %s\n", keys[i]);
        log_event(LOG_LEVEL_WARN, "reload.needs_restart", 0, log_text("key", span_of(keys[i])));
    }
}

bool reload_start(struct reload *reload, FILE *answer)
{
    assert(!reload_is_running(reload));
    const struct config *former = reload->current;
    char error[RELOAD_ERROR_SIZE] = "";
    const char *keys[RELOAD_KEY_MAX];
    struct config *config = NULL;
    reload->began_ns = clock_now_ns();
    const struct config_source source = {.path = former->is_embedded ? NULL : former->path,
                                         .previous = former};
    if (config_read(&config, &source, error, sizeof(error)) != 0)
        return refuse(reload, error, answer);
    int count = config_keep_fixed(config, former, keys, RELOAD_KEY_MAX);
    if (count < 0)
        (void)snprintf(error, sizeof(error), "out of memory");
    if (count < 0 || !prepare(reload, config, error, sizeof(error))) {
        config_close(&config);
        return refuse(reload, error, answer);
    }
    struct reload_changes changes = compare(config, former);
    if (config->log_level != former->log_level)
        log_set_level((enum log_level)config->log_level);
    tell(config, &changes, (clock_now_ns() - reload->began_ns) / 1000000, answer);
    tell_fixed(keys, count, answer);
    config_tell_warnings(config, answer);
    config_tell_warnings(config, NULL);
    publish(reload, config);
    return true;
}

void reload_taken(struct reload *reload, struct parcel **parcel)
{
    assert((*parcel)->kind == PARCEL_RELOAD);
    assert(reload->out > 0);
    mesh_give(reload->options.mesh, THREAD_CONTROL, parcel);
    if (--reload->out > 0)
        return;
    config_close(&reload->former);
    stats_count(reload->options.stats[THREAD_CONTROL], STAT_RELOADS);
    log_event(LOG_LEVEL_INFO, "reload.done", 0,
              log_number("snapshot", reload->current->snapshot),
              log_number("ms", (int64_t)((clock_now_ns() - reload->began_ns) / 1000000)));
}
