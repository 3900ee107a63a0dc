/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/trunk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"

#define TRUNK_MISSES_MAX   3u
#define TRUNK_BREAK_MS     30000u /* how long a broken circuit stays open */
#define TRUNK_DNS_RETRY_MS 30000u

struct trunk_table {
    struct thread *thread;
    struct resolver_port *port; /* NULL when the thread has no resolver */
    size_t count;
    struct trunk trunks[];
};

static void set_status(struct trunk *trunk, enum trunk_status status)
{
    static const struct span names[] = {SPAN("unknown"), SPAN("up"), SPAN("down")};
    assert(status <= TRUNK_DOWN);
    if (trunk->status == status)
        return;
    trunk->status = status;
    log_event(status == TRUNK_DOWN ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "trunk.status", 0,
              log_text("trunk", span_of(trunk->config->name)),
              log_text("status", names[status]), log_number("last", trunk->last_status));
}

static uint16_t default_port(const struct config_trunk *config)
{
    if (config->port != 0)
        return config->port;
    return config->transport == SIP_TRANSPORT_TLS ? 5061 : 5060; /* RFC 3261 §19.1.2 */
}

/* RFC 3263 §4.2: with a port there is no SRV; the transport is the configured one. */
static void ask(struct trunk *trunk)
{
    static const char *const prefixes[] = {"_sip._udp", "_sip._tcp", "_sips._tcp"};
    struct trunk_table *table = trunk->table;
    struct resolver_question question = {.owner = trunk,
                                         .fallback_port = default_port(trunk->config)};
    size_t size = strlen(trunk->config->host);
    if (table->port == NULL || size >= sizeof(question.domain))
        return;
    memcpy(question.domain, trunk->config->host, size + 1);
    if (trunk->config->port == 0) {
        question.services[0].prefix = prefixes[trunk->config->transport];
        question.services[0].dot_is_final = true;
        question.service_count = 1;
    }
    trunk->resolving = resolver_ask(table->port, &question) == 0;
    trunk->resolve_at_ms = trunk->resolving ? 0 : table->thread->now_ms + TRUNK_DNS_RETRY_MS;
}

static bool is_named(const struct trunk *trunk)
{
    union net_address address;
    return trunk->config->locate ||
           net_address_parse_host(&address, trunk->config->host, 5060) < 0;
}

/* For the next keep-alive or the next question to DNS, whichever comes first. */
static void arm_next(struct trunk *trunk)
{
    struct thread *thread = trunk->table->thread;
    uint64_t next_ms = trunk->resolve_at_ms != 0 ? trunk->resolve_at_ms : UINT64_MAX;
    if (trunk->config->options_interval_s != 0 && trunk->target_count > 0) {
        uint64_t keep_alive_ms = thread->now_ms + 1000ull * trunk->config->options_interval_s;
        next_ms = keep_alive_ms < next_ms ? keep_alive_ms : next_ms;
    }
    if (next_ms != UINT64_MAX)
        timer_arm(&thread->timers, &trunk->timer, next_ms);
}

static void start(struct trunk *trunk)
{
    struct thread *thread = trunk->table->thread;
    if (is_named(trunk)) {
        ask(trunk);
        arm_next(trunk);
        return;
    }
    int error = net_address_parse_host(&trunk->literal.address, trunk->config->host,
                                       default_port(trunk->config));
    assert(error == 0);
    trunk->targets = &trunk->literal;
    trunk->target_count = 1;
    /* One a millisecond: the first keep-alive of ten thousand trunks is no burst. */
    if (trunk->config->options_interval_s != 0)
        timer_arm(&thread->timers, &trunk->timer, thread->now_ms + trunk->config->index);
}

int trunk_open(struct trunk_table **table, struct thread *thread)
{
    const struct config *config = thread->config;
    size_t size = sizeof(**table) + config->trunk_count * sizeof(struct trunk);
    struct trunk_table *made = calloc(1, size);
    if (made == NULL)
        return -ENOMEM;
    made->thread = thread;
    made->count = config->trunk_count;
    int error = thread->resolver == NULL
                    ? 0
                    : resolver_port_open(&made->port, thread->resolver, thread->ring);
    if (error < 0) {
        free(made);
        return error;
    }
    for (size_t i = 0; i < config->tenant_count; i++) {
        for (size_t j = 0; j < config->tenants[i].trunk_count; j++) {
            const struct config_trunk *trunk = &config->tenants[i].trunks[j];
            assert(trunk->index < made->count);
            made->trunks[trunk->index] = (struct trunk){.config = trunk, .table = made};
            made->trunks[trunk->index].timer.kind = EGRESS_TIMER_TRUNK;
            made->trunks[trunk->index].timer.owner = &made->trunks[trunk->index];
            start(&made->trunks[trunk->index]);
        }
    }
    *table = made;
    return 0;
}

static void targets_free(struct trunk *trunk)
{
    if (trunk->targets != &trunk->literal)
        free(trunk->targets);
    trunk->targets = NULL;
    trunk->target_count = 0;
}

void trunk_close(struct trunk_table **table)
{
    struct trunk_table *closed = *table;
    if (closed == NULL)
        return;
    for (size_t i = 0; i < closed->count; i++) {
        timer_disarm(&closed->thread->timers, &closed->trunks[i].timer);
        targets_free(&closed->trunks[i]);
    }
    if (closed->port != NULL)
        resolver_port_close(&closed->port);
    free(closed);
    *table = NULL;
}

struct trunk *trunk_find(struct trunk_table *table, uint32_t index)
{
    assert(index < table->count);
    return &table->trunks[index];
}

/* The first target that is not blocked, from target_next on; target_count when all are. */
static unsigned free_target(const struct trunk *trunk, uint64_t now_ms)
{
    for (unsigned i = 0; i < trunk->target_count; i++) {
        unsigned index = (trunk->target_next + i) % trunk->target_count;
        if (now_ms >= trunk->targets[index].blocked_until_ms)
            return index;
    }
    return trunk->target_count;
}

bool trunk_usable(const struct trunk *trunk, uint64_t now_ms)
{
    if (free_target(trunk, now_ms) == trunk->target_count)
        return false;
    /* Half open: one request may try while the trunk is down. */
    return trunk->status != TRUNK_DOWN || trunk->in_flight == 0;
}

const union net_address *trunk_target(const struct trunk *trunk, uint64_t now_ms)
{
    assert(trunk->target_count > 0);
    unsigned index = free_target(trunk, now_ms);
    return &trunk->targets[index == trunk->target_count ? 0 : index].address;
}

static bool is_broken(const struct trunk *trunk)
{
    for (unsigned i = 0; i < trunk->target_count; i++)
        if (trunk->targets[i].misses < TRUNK_MISSES_MAX)
            return false;
    return true;
}

void trunk_note(struct trunk *trunk, const union net_address *target, int status,
                long retry_after_s)
{
    uint64_t now_ms = trunk->table->thread->now_ms;
    bool failed = status == 0 || status == 408;
    unsigned index = 0;
    trunk->last_status = status;
    trunk->failed += failed;
    while (index < trunk->target_count &&
           !net_address_equal(&trunk->targets[index].address, target))
        index++;
    if (index == trunk->target_count)
        return; /* DNS no longer names it */
    struct trunk_target *noted = &trunk->targets[index];
    if (failed && ++noted->misses >= TRUNK_MISSES_MAX)
        noted->blocked_until_ms = now_ms + TRUNK_BREAK_MS;
    if (!failed)
        noted->misses = 0;
    if (status == 503 && retry_after_s >= 0) {
        /* RFC 3261 §21.5.4: no request to that server meanwhile; an hour at most. */
        uint64_t wait_s = retry_after_s > 3600 ? 3600 : (uint64_t)retry_after_s;
        noted->blocked_until_ms = now_ms + 1000 * wait_s;
    } else if (!failed) {
        trunk->target_next = index;
        set_status(trunk, TRUNK_UP);
        return;
    }
    /* Once, however many requests failed there together. */
    if (trunk->target_next == index)
        trunk->target_next = (index + 1) % trunk->target_count;
    if (failed && is_broken(trunk))
        set_status(trunk, TRUNK_DOWN);
}

static void take_answer(struct trunk *trunk, const struct resolver_answer *answer)
{
    struct thread *thread = trunk->table->thread;
    bool first = trunk->target_count == 0;
    trunk->resolving = false;
    bool found = answer->status == RESOLVER_FOUND && answer->target_count > 0;
    struct trunk_target *targets =
        found ? malloc(answer->target_count * sizeof(*targets)) : NULL;
    if (targets == NULL) {
        log_event(LOG_LEVEL_WARN, "trunk.dns", 0,
                  log_text("trunk", span_of(trunk->config->name)),
                  log_text("reason", found ? SPAN("out of memory")
                                           : span_of(resolver_status_text(answer->status))));
        trunk->resolve_at_ms = thread->now_ms + TRUNK_DNS_RETRY_MS;
        arm_next(trunk);
        return;
    }
    for (unsigned i = 0; i < answer->target_count; i++) {
        targets[i] = (struct trunk_target){.address = answer->targets[i].address};
        for (unsigned j = 0; j < trunk->target_count; j++)
            if (net_address_equal(&targets[i].address, &trunk->targets[j].address))
                targets[i] = trunk->targets[j]; /* what is known of it stays known */
    }
    targets_free(trunk);
    trunk->targets = targets;
    trunk->target_count = answer->target_count;
    trunk->target_next = 0;
    trunk->resolve_at_ms = thread->now_ms + 1000ull * answer->ttl_s;
    if (first && trunk->config->options_interval_s != 0)
        timer_arm(&thread->timers, &trunk->timer, thread->now_ms);
    else
        arm_next(trunk);
}

void trunk_pump(struct trunk_table *table)
{
    struct resolver_answer *answer = NULL;
    while (table->port != NULL && resolver_next(table->port, &answer)) {
        take_answer(answer->owner, answer);
        free(answer);
    }
}

bool trunk_tick(struct trunk_table *table, struct timer *timer, struct trunk **trunk)
{
    struct trunk *due = timer->owner;
    assert(due->table == table);
    bool wants_options = due->config->options_interval_s != 0 && 
                         free_target(due, table->thread->now_ms) < due->target_count;
    if (due->resolve_at_ms != 0 && table->thread->now_ms >= due->resolve_at_ms)
        ask(due);
    arm_next(due);
    *trunk = due;
    return wants_options;
}

void trunk_reset_queued(struct trunk_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        table->trunks[i].queued = 0;
}

void trunk_report(const struct trunk_table *table, FILE *out)
{
    static const char *const names[] = {"unknown", "up", "down"};
    static const char *const transports[] = {"udp", "tcp", "tls"};
    const struct config *config = table->thread->config;
    for (size_t i = 0; i < table->count; i++) {
        const struct trunk *trunk = &table->trunks[i];
        char target[NET_ADDRESS_TEXT_SIZE] = "-";
        if (trunk->target_count > 0)
            net_address_format(trunk_target(trunk, table->thread->now_ms), target);
        fprintf(out, "%u\t%s\t%s\t%s\t%s\t%s\t%llu\t%llu\t%llu\t%llu\t%d\n",
                table->thread->self - 1 - config->worker_count, /* as the thread is named */
                config->tenants[trunk->config->tenant].name, trunk->config->name,
                transports[trunk->config->transport], target, names[trunk->status],
                (unsigned long long)trunk->in_flight, (unsigned long long)trunk->queued,
                (unsigned long long)trunk->sent,
                (unsigned long long)trunk->failed, trunk->last_status);
    }
}
