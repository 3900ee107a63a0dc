/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/trunk_priv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/trouble.h"

#define TRUNK_MISSES_MAX   3u
#define TRUNK_BREAK_MS     30000u /* how long a broken circuit stays open */
#define TRUNK_DNS_RETRY_MS 30000u

static struct span tenant_of(const struct trunk *trunk)
{
    return span_of(config_tenant_at(trunk->table->thread->config, trunk->config->tenant)->name);
}

static void tell(struct trunk *trunk, const char *event, struct span reason)
{
    trouble_tell(trunk->table->thread, LOG_LEVEL_WARN,
                 &(struct stats_trouble){.event = event,
                                         .tenant = tenant_of(trunk),
                                         .partner = span_of(trunk->config->name),
                                         .status = trunk->last_status,
                                         .reason = reason});
}

static void set_status(struct trunk *trunk, enum trunk_status status)
{
    assert(status <= TRUNK_DOWN);
    if (trunk->status == status)
        return;
    trunk->status = status;
    trunk->changed_ms = trunk->table->thread->now_ms;
    if (status == TRUNK_DOWN)
        tell(trunk, "trunk.down",
             trunk->last_status == 0 ? SPAN("The trunk is down: it cannot be reached")
                                     : SPAN("The trunk is down: it does not answer"));
    else
        log_event(LOG_LEVEL_INFO, "trunk.up", 0, log_text("tenant", tenant_of(trunk)),
                  log_text("partner", span_of(trunk->config->name)),
                  log_number("status", trunk->last_status));
}

static uint16_t default_port(enum sip_transport transport)
{
    return transport == SIP_TRANSPORT_TLS ? 5061 : 5060; /* RFC 3261 §19.1.2 */
}

static const struct trunk_service {
    enum sip_transport transport;
    struct resolver_service service;
} services[] = {{SIP_TRANSPORT_TLS, {"_sips._tcp", true, "SIPS+D2T"}},
                {SIP_TRANSPORT_TCP, {"_sip._tcp", true, "SIP+D2T"}},
                {SIP_TRANSPORT_UDP, {"_sip._udp", true, "SIP+D2U"}}};

#define SERVICE_COUNT (sizeof(services) / sizeof(services[0]))
_Static_assert(SERVICE_COUNT <= RESOLVER_SERVICE_MAX, "all transports in one question");

/* A transport that DNS may choose: one we listen on, so that the relay is its equal there. */
static bool is_enabled(const struct config *config, enum sip_transport transport)
{
    switch (transport) {
    case SIP_TRANSPORT_UDP: return config->udp_listen_count > 0;
    case SIP_TRANSPORT_TCP: return config->tcp_listen_count > 0;
    case SIP_TRANSPORT_TLS: return config->tls_listen_count > 0;
    }
    return false;
}

/* The services to ask for, the preferred one first (RFC 3263 §4.1 leaves that to the client);
   the question and its answer count them alike. */
static unsigned list_services(const struct trunk *trunk,
                              const struct trunk_service *list[SERVICE_COUNT])
{
    const struct config_trunk *config = trunk->config;
    unsigned count = 0;
    for (size_t i = 0; i < SERVICE_COUNT; i++) {
        bool wanted = config->any_transport
                          ? is_enabled(trunk->table->thread->config, services[i].transport)
                          : config->transport == services[i].transport;
        if (wanted)
            list[count++] = &services[i];
    }
    return count;
}

/* Without SRV records: the configured transport; when there is none UDP (RFC 3263 §4.1), or
   what there is in its stead. */
static enum sip_transport fallback_transport(const struct trunk *trunk)
{
    const struct trunk_service *list[SERVICE_COUNT];
    unsigned count = list_services(trunk, list);
    return count > 0 ? list[count - 1]->transport : trunk->config->transport;
}

/* RFC 3263 §4.2: with a port there is no SRV. */
static void ask(struct trunk *trunk)
{
    struct trunk_table *table = trunk->table;
    const struct config_trunk *config = trunk->config;
    struct resolver_question question = {
        .owner = trunk,
        .fallback_port =
            config->port != 0 ? config->port : default_port(fallback_transport(trunk))};
    const struct trunk_service *list[SERVICE_COUNT];
    size_t size = strlen(config->host);
    if (table->port == NULL || size >= sizeof(question.domain))
        return;
    memcpy(question.domain, config->host, size + 1);
    if (config->port == 0)
        question.service_count = list_services(trunk, list);
    for (unsigned i = 0; i < question.service_count; i++) {
        question.services[i] = list[i]->service;
        if (!config->any_transport)
            question.services[i].naptr = NULL;
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
void trunk_arm_next(struct trunk *trunk)
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

int trunk_start(struct trunk *trunk)
{
    struct thread *thread = trunk->table->thread;
    if (is_named(trunk)) {
        ask(trunk);
        trunk_arm_next(trunk);
        return 0;
    }
    uint16_t port =
        trunk->config->port != 0 ? trunk->config->port : default_port(trunk->config->transport);
    int error = net_address_parse_host(&trunk->literal.at.address, trunk->config->host, port);
    trunk->literal.at.transport = trunk->config->transport;
    assert(error == 0);
    error = trunk_server_join(trunk, &trunk->literal);
    if (error < 0)
        return error;
    trunk->targets = &trunk->literal;
    trunk->target_count = 1;
    /* One a millisecond: the first keep-alive of ten thousand trunks is no burst. */
    if (trunk->config->options_interval_s != 0)
        timer_arm(&thread->timers, &trunk->timer, thread->now_ms + trunk->config->index);
    return 0;
}

int trunk_open(struct trunk_table **table, struct thread *thread)
{
    struct trunk_table *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->thread = thread;
    table_init(&made->servers);
    int error = table_reserve(&made->servers);
    if (error == 0 && thread->resolver != NULL)
        error = resolver_port_open(&made->port, thread->resolver, thread->ring);
    if (error == 0)
        error = trunk_take_config(made);
    if (error < 0)
        trunk_close(&made);
    *table = made;
    return error;
}

void trunk_targets_free(struct trunk *trunk)
{
    for (unsigned i = 0; i < trunk->target_count; i++)
        trunk_server_leave(trunk->table, &trunk->targets[i]);
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
    for (size_t i = 0; i < closed->count; i++)
        if (closed->trunks[i] != NULL)
            trunk_retire(closed->trunks[i]);
    trunk_free_retired(closed, true);
    if (closed->port != NULL)
        resolver_port_close(&closed->port);
    assert(closed->servers.count == 0);
    table_fini(&closed->servers);
    free(closed->trunks);
    free(closed);
    *table = NULL;
}

struct trunk *trunk_find(struct trunk_table *table, uint32_t index)
{
    assert(index < table->count);
    assert(table->trunks[index] != NULL);
    return table->trunks[index];
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

const struct sip_target *trunk_target(const struct trunk *trunk, uint64_t now_ms)
{
    assert(trunk->target_count > 0);
    unsigned index = free_target(trunk, now_ms);
    return &trunk->targets[index == trunk->target_count ? 0 : index].at;
}

static bool is_broken(const struct trunk *trunk)
{
    for (unsigned i = 0; i < trunk->target_count; i++)
        if (trunk->targets[i].misses < TRUNK_MISSES_MAX)
            return false;
    return true;
}

static void note_answer(struct trunk *trunk, unsigned index, uint64_t answered_ms)
{
    trunk->answered_ms = answered_ms;
    trunk->targets[index].misses = 0;
    trunk->target_next = index;
    set_status(trunk, TRUNK_UP);
}

/* The next request goes to the next target: once, however many requests failed there
   together. */
static void pass_over(struct trunk *trunk, unsigned index)
{
    if (trunk->target_next == index)
        trunk->target_next = (index + 1) % trunk->target_count;
}

/* `misses`: how many there are now. */
static void note_miss(struct trunk *trunk, unsigned index, unsigned misses)
{
    struct trunk_target *noted = &trunk->targets[index];
    noted->misses = misses;
    if (misses >= TRUNK_MISSES_MAX)
        noted->blocked_until_ms = trunk->table->thread->now_ms + TRUNK_BREAK_MS;
    pass_over(trunk, index);
    if (is_broken(trunk))
        set_status(trunk, TRUNK_DOWN);
}

void trunk_note(struct trunk *trunk, const struct trunk_result *result)
{
    uint64_t now_ms = trunk->table->thread->now_ms;
    int status = result->status;
    unsigned index = 0;
    if (trunk->config == NULL)
        return;
    bool failed = trunk_is_failure(result);
    trunk->last_status = status;
    if (failed)
        trunk->failed++;
    while (index < trunk->target_count &&
           !sip_target_equal(&trunk->targets[index].at, result->target))
        index++;
    if (index == trunk->target_count)
        return; /* DNS no longer names it */
    struct trunk_target *noted = &trunk->targets[index];
    trunk_server_note(noted->server, result, now_ms);
    if (failed) {
        /* All requests on a connection fail with it, in one turn: that says one thing once. */
        bool known = status == 0 && noted->lost_ms == now_ms;
        if (status == 0)
            noted->lost_ms = now_ms;
        note_miss(trunk, index, noted->misses + (known ? 0 : 1));
    } else if (status == 503 && result->retry_after_s >= 0) {
        /* RFC 3261 §21.5.4: no request to that server meanwhile; an hour at most. */
        uint64_t wait_s = result->retry_after_s > 3600 ? 3600 : (uint64_t)result->retry_after_s;
        trunk->answered_ms = now_ms;
        noted->misses = 0;
        noted->blocked_until_ms = now_ms + 1000 * wait_s;
        pass_over(trunk, index);
    } else {
        note_answer(trunk, index, now_ms);
    }
}

/* What another trunk's keep-alives say of the server, as if they were this one's. */
static void learn(struct trunk *trunk, unsigned index)
{
    const struct trunk_server *server = trunk->targets[index].server;
    if (server->misses > trunk->targets[index].misses) {
        trunk->last_status = 408;
        note_miss(trunk, index, server->misses);
    } else if (server->misses == 0 && server->answered_ms > trunk->answered_ms) {
        trunk->last_status = server->status;
        note_answer(trunk, index, server->answered_ms);
    }
}

/* In the order of the services, and within one as the resolver has put them. What is known of a
   target stays known. */
static void fill_targets(const struct trunk *trunk, const struct resolver_answer *answer,
                         struct trunk_target *targets)
{
    const struct trunk_service *list[SERVICE_COUNT];
    unsigned service_count = trunk->config->port == 0 ? list_services(trunk, list) : 0;
    unsigned count = 0;
    for (unsigned rank = 0; rank <= SERVICE_COUNT; rank++) {
        for (unsigned i = 0; i < answer->target_count; i++) {
            const struct resolver_target *found = &answer->targets[i];
            if (found->rank != rank)
                continue;
            struct trunk_target target = {.at = {found->address, fallback_transport(trunk)}};
            if (found->service < service_count)
                target.at.transport = list[found->service]->transport;
            for (unsigned j = 0; j < trunk->target_count; j++)
                if (sip_target_equal(&target.at, &trunk->targets[j].at))
                    target = trunk->targets[j];
            targets[count++] = target;
        }
    }
    assert(count == answer->target_count);
}

/* The targets of an answer; NULL when memory runs out. */
static struct trunk_target *make_targets(const struct trunk *trunk,
                                         const struct resolver_answer *answer)
{
    unsigned joined = 0;
    struct trunk_target *targets = malloc(answer->target_count * sizeof(*targets));
    if (targets == NULL)
        return NULL;
    fill_targets(trunk, answer, targets);
    while (joined < answer->target_count && trunk_server_join(trunk, &targets[joined]) == 0)
        joined++;
    if (joined == answer->target_count)
        return targets;
    while (joined > 0)
        trunk_server_leave(trunk->table, &targets[--joined]);
    free(targets);
    return NULL;
}

static void take_answer(struct trunk *trunk, const struct resolver_answer *answer)
{
    struct thread *thread = trunk->table->thread;
    bool first = trunk->target_count == 0;
    trunk->resolving = false;
    bool found = answer->status == RESOLVER_FOUND && answer->target_count > 0;
    struct trunk_target *targets = found ? make_targets(trunk, answer) : NULL;
    if (targets == NULL) {
        tell(trunk, "trunk.dns",
             found ? SPAN("out of memory") : span_of(resolver_status_text(answer->status)));
        trunk->resolve_at_ms = thread->now_ms + TRUNK_DNS_RETRY_MS;
        trunk_arm_next(trunk);
        return;
    }
    trunk_targets_free(trunk);
    trunk->targets = targets;
    trunk->target_count = answer->target_count;
    trunk->target_next = 0;
    trunk->resolve_at_ms = thread->now_ms + 1000ull * answer->ttl_s;
    if (first && trunk->config->options_interval_s != 0)
        timer_arm(&thread->timers, &trunk->timer, thread->now_ms);
    else
        trunk_arm_next(trunk);
}

void trunk_pump(struct trunk_table *table)
{
    struct resolver_answer *answer = NULL;
    trunk_free_retired(table, false);
    while (table->port != NULL && resolver_next(table->port, &answer)) {
        take_answer(answer->owner, answer);
        free(answer);
    }
}

bool trunk_tick(struct trunk_table *table, struct timer *timer, struct trunk **trunk)
{
    struct trunk *due = timer->owner;
    assert(due->table == table);
    uint64_t now_ms = table->thread->now_ms;
    unsigned index = free_target(due, now_ms);
    bool wants_options = due->config->options_interval_s != 0 && index < due->target_count;
    if (wants_options && !trunk_server_ask(due->targets[index].server, due, now_ms)) {
        learn(due, index);
        wants_options = false;
    }
    if (due->resolve_at_ms != 0 && now_ms >= due->resolve_at_ms)
        ask(due);
    trunk_arm_next(due);
    *trunk = due;
    return wants_options;
}

void trunk_reset_queued(struct trunk_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->trunks[i] != NULL)
            table->trunks[i]->queued = 0;
}

void trunk_report(const struct trunk_table *table, FILE *out)
{
    static const char *const names[] = {"unknown", "up", "down"};
    static const char *const transports[] = {"udp", "tcp", "tls"};
    const struct config *config = table->thread->config;
    uint64_t now_ms = table->thread->now_ms;
    for (size_t i = 0; i < table->count; i++) {
        const struct trunk *trunk = table->trunks[i];
        if (trunk == NULL)
            continue;
        char target[NET_ADDRESS_TEXT_SIZE] = "-", answered[24] = "-";
        enum sip_transport transport = trunk->config->transport;
        if (trunk->target_count > 0) {
            const struct sip_target *next = trunk_target(trunk, now_ms);
            net_address_format(&next->address, target);
            transport = next->transport;
        }
        if (trunk->answered_ms != 0)
            snprintf(answered, sizeof(answered), "%" PRIu64,
                     (now_ms - trunk->answered_ms) / 1000);
        fprintf(out,
                "%u\t%s\t%s\t%s\t%s\t%s\t%" PRIu64 "\t%d\t%s\t%" PRIu64 "\t%" PRIu64
                "\t%" PRIu64 "\t%" PRIu64 "\n",
                table->thread->self - 1 - config->worker_count, /* as the thread is named */
                tenant_of(trunk).data, trunk->config->name, transports[transport], target,
                names[trunk->status], (now_ms - trunk->changed_ms) / 1000, trunk->last_status,
                answered, trunk->in_flight, trunk->queued, trunk->sent, trunk->failed);
    }
}
