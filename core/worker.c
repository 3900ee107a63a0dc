/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/breaker.h"
#include "core/heap.h"
#include "core/inquiry.h"
#include "core/intake.h"
#include "core/link.h"
#include "core/probe.h"
#include "core/relay_in.h"
#include "core/session.h"
#include "core/trouble.h"
#include "net/clock.h"
#include "net/digest.h"

/* Of one turn: thousands of connections may come to their deadlines at once, and messages are
   not to wait for all of them. */
#define TIMERS_MAX 16

bool worker_has_certificate(const struct worker *worker, const struct config_tenant *tenant)
{
    return (tenant != NULL && tenant->certificate != NULL) ||
           worker->thread->config->certificate != NULL;
}

uint16_t *worker_verifying(struct worker *worker, const union net_address *site)
{
    return &worker->verifying[net_address_hash(site) % WORKER_SITE_COUNT];
}

void worker_give(struct worker *worker, struct parcel **parcel)
{
    struct thread *thread = worker->thread;
    quota_leave(worker->quota, (*parcel)->account);
    worker->has_freed = true;
    mesh_give(thread->mesh, thread->self, parcel);
}

const struct config_tenant *worker_pair_tenant(const struct worker *worker, struct span local,
                                               struct span remote)
{
    const struct config *config = worker->thread->config;
    const struct config_tenant *tenant = config_find_tenant(config, local);
    /* Nobody is a partner under the name of a tenant: we would be our own authority. */
    if (tenant == NULL || config_find_tenant(config, remote) != NULL ||
        !config_partner_allowed(config, tenant, remote))
        return NULL;
    return tenant;
}

/* False when the pair is not served. */
static bool pair_rules(const struct worker *worker, struct span local, struct span remote,
                       struct rules_stack *rules)
{
    const struct config *config = worker->thread->config;
    const struct config_tenant *tenant = remote.size > 0
                                             ? worker_pair_tenant(worker, local, remote)
                                             : config_find_tenant(config, local);
    if (tenant == NULL)
        return false;
    *rules = config_rules(config, tenant, remote);
    return true;
}

unsigned worker_pair_proofs(const struct worker *worker, struct span local, struct span remote)
{
    struct rules_stack rules;
    return pair_rules(worker, local, remote, &rules) ? rules_proofs(&rules) : S2S_PROOF_NONE;
}

unsigned worker_pair_proofs_in(const struct worker *worker, struct span local,
                               struct span remote)
{
    struct rules_stack rules;
    return pair_rules(worker, local, remote, &rules) ? rules_proofs_in(&rules) : S2S_PROOF_NONE;
}

static int listen_on(struct worker *worker, const union net_address *address, bool direct,
                     char *error, size_t error_size)
{
    struct worker_listener *listener = &worker->listeners[worker->listener_count];
    listener->magic = WORKER_LISTENER_MAGIC;
    listener->direct = direct;
    listener->proxied = config_is_proxied(&worker->thread->config->xmpp_proxies, address);
    int result = ring_listen_stream(worker->thread->ring, address, listener, &listener->handle);
    if (result != 0) {
        char text[NET_ADDRESS_TEXT_SIZE];
        net_address_format(address, text);
        snprintf(error, error_size, "cannot listen for XMPP on %s: %s", text,
                 strerrordesc_np(-result));
        return result;
    }
    worker->listener_count++;
    return 0;
}

static int listen_all(struct worker *worker, char *error, size_t error_size)
{
    const struct config *config = worker->thread->config;
    int result = 0;
    worker->listeners = calloc(config->starttls_listen_count + config->direct_listen_count + 1,
                               sizeof(*worker->listeners));
    if (worker->listeners == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < config->starttls_listen_count && result == 0; i++)
        result = listen_on(worker, &config->starttls_listen[i], false, error, error_size);
    for (size_t i = 0; i < config->direct_listen_count && result == 0; i++)
        result = listen_on(worker, &config->direct_listen[i], true, error, error_size);
    return result;
}

int worker_open(struct worker **opened, struct thread *thread, char *error, size_t error_size)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    int result = -ENOMEM;
    snprintf(error, error_size, "no memory for a worker");
    if (worker == NULL)
        return result;
    worker->thread = thread;
    digest_random(&worker->ping_last, sizeof(worker->ping_last) / 2);
    TAILQ_INIT(&worker->sessions);
    TAILQ_INIT(&worker->held);
    TAILQ_INIT(&worker->full);
    TAILQ_INIT(&worker->rationed);
    TAILQ_INIT(&worker->paced);
    worker->pace_timer.kind = WORKER_TIMER_PACE;
    TAILQ_INIT(&worker->unsent);
    table_init(&worker->sessions_by_ticket);
    table_init(&worker->links);
    table_init(&worker->both_ways);
    table_init(&worker->intakes);
    table_init(&worker->intakes_by_id);
    TAILQ_INIT(&worker->waiting_intakes);
    TAILQ_INIT(&worker->probes);
    worker->xml_pool = xml_pool_open(&heap_memory);
    worker->quota = quota_open();
    worker->breakers = breaker_open();
    if (worker->xml_pool != NULL && worker->quota != NULL && worker->breakers != NULL)
        result = tls_store_open(&worker->tls, thread, TLS_STORE_XMPP, error, error_size);
    if (result != 0)
        goto fail;
    if (thread->resolver != NULL) {
        snprintf(error, error_size, "cannot open a resolver port");
        result = resolver_port_open(&worker->resolver, thread->resolver, thread->ring);
        if (result != 0)
            goto fail;
    }
    result = listen_all(worker, error, error_size);
    if (result != 0)
        goto fail;
    *opened = worker;
    return 0;
fail:
    worker_close(&worker);
    return result;
}

static void ring_event(struct worker *worker, const struct ring_event *event)
{
    if (event->kind == RING_WOKEN || event->owner == NULL)
        return;
    const uint32_t *magic = event->owner;
    if (*magic == SESSION_MAGIC) {
        session_ring_event(event->owner, event);
    } else if (*magic == WORKER_LISTENER_MAGIC && event->kind == RING_ACCEPTED) {
        const struct worker_listener *listener = event->owner;
        session_accept(worker, event->accepted, &event->peer, listener);
    }
}

static void parcel_home(struct worker *worker, struct parcel *parcel)
{
    struct thread *thread = worker->thread;
    if (parcel->kind == PARCEL_MESSAGE_TO_SIP) {
        relay_in_outcome(worker, &parcel);
        return;
    }
    intake_settle(worker, parcel->receipt);
    if (parcel->kind == PARCEL_STANZA_TO_XMPP && parcel->outcome.kind == OUTCOME_FAILED) {
        stats_count(thread->stats, STAT_XMPP_ANSWERS_LOST);
        log_event(LOG_LEVEL_INFO, "xmpp.answer_lost", parcel->trace,
                  log_text("to", parcel->to.domain),
                  log_text("reason", parcel->outcome.fault.text));
    }
    if (parcel->kind == PARCEL_VERIFY) {
        uint16_t *verifying = worker_verifying(worker, &parcel->peer);
        assert(*verifying > 0);
        --*verifying;
        struct table_node *node = table_find(&worker->sessions_by_ticket, parcel->ticket);
        struct session *session = node != NULL ? node->owner : NULL;
        if (session != NULL)
            session_verified(session, parcel);
    }
    worker_give(worker, &parcel);
}

static void answer(const struct worker *worker, const struct inquiry *inquiry)
{
    const struct session *session;
    for (size_t i = 0; inquiry->kind == INQUIRY_LINKS && i < worker->links.size; i++)
        for (const struct table_node *node = worker->links.chains[i]; node != NULL;
             node = node->next)
            link_row(node->owner, inquiry->out);
    if (inquiry->kind != INQUIRY_SESSIONS)
        return;
    TAILQ_FOREACH(session, &worker->sessions, all)
    {
        if (session_concerns(session, inquiry->partner))
            session_report(session, inquiry->out);
    }
}

static void parcel_arrived(struct worker *worker, struct parcel *parcel)
{
    struct thread *thread = worker->thread;
    if (parcel->is_return) {
        parcel_home(worker, parcel);
        return;
    }
    if (thread_is_behind(thread, parcel))
        worker_reload(worker);
    switch (parcel->kind) {
    case PARCEL_STANZA_TO_XMPP:
    case PARCEL_VERIFY: link_take(worker, &parcel); return;
    case PARCEL_PROBE: probe_take(worker, &parcel); return;
    case PARCEL_SESSION: session_arrive(worker, parcel); break;
    case PARCEL_CONFIRM: link_confirm(worker, parcel); break;
    case PARCEL_INQUIRY: answer(worker, parcel->inquiry); break;
    case PARCEL_RELOAD: worker_reload(worker); break;
    case PARCEL_FREE:
    case PARCEL_MESSAGE_TO_SIP:
    case PARCEL_SIP_BYTES:
    case PARCEL_SIP_ANSWERED:
    case PARCEL_SIP_REPLY: assert(false); break; /* for egress threads */
    }
    mesh_return(thread->mesh, thread->self, &parcel);
}

void worker_pace(struct worker *worker, uint64_t until_ms)
{
    if (worker->pace_timer.position == 0 || worker->pace_timer.deadline_ms > until_ms)
        timer_arm(&worker->thread->timers, &worker->pace_timer, until_ms);
}

/* May it go on? If not, it stays in the line that it is in. */
static bool has_room(struct worker *worker, struct session *session)
{
    struct thread *thread = worker->thread;
    bool is_paced = session->rationed_for == QUOTA_RATE;
    if (is_paced && session->paced_until_ms <= thread->now_ms && !session_hears_one(session))
        return true;
    if (is_paced && session->paced_until_ms > thread->now_ms) {
        worker_pace(worker, session->paced_until_ms);
        return false;
    }
    if (quota_look(session->rationed_by, mesh_free(thread->mesh, thread->self),
                   thread->now_ms) != session->rationed_for)
        return true;
    if (is_paced) {
        session->paced_until_ms = thread->now_ms + quota_pace_ms(session->rationed_by);
        worker_pace(worker, session->paced_until_ms);
    }
    return false;
}

/* Sessions whose tenant has room again go on; each is looked at once. */
static void look_at(struct worker *worker, struct session_list *waiting)
{
    struct session *session;
    unsigned left = 0;
    TAILQ_FOREACH(session, waiting, holding)
    left++;
    for (; left > 0 && !TAILQ_EMPTY(waiting); left--) {
        session = TAILQ_FIRST(waiting);
        TAILQ_REMOVE(waiting, session, holding);
        TAILQ_INSERT_TAIL(waiting, session, holding);
        if (has_room(worker, session))
            session_resume(session);
    }
}

static void run_timers(struct worker *worker)
{
    struct thread *thread = worker->thread;
    struct timer *timer;
    for (unsigned n = 0; n < TIMERS_MAX; n++) {
        timer = timer_take_due(&thread->timers, thread->now_ms);
        if (timer == NULL)
            return;
        if (timer->kind == WORKER_TIMER_SESSION)
            session_timer(timer->owner);
        else if (timer->kind == WORKER_TIMER_INTAKE)
            intake_timer(timer->owner);
        else if (timer->kind == WORKER_TIMER_PROBE)
            probe_timer(timer->owner);
        else if (timer->kind == WORKER_TIMER_PACE)
            look_at(worker, &worker->paced);
        else
            link_timer(timer->owner);
    }
}

/* Sessions that stopped for want of parcels go on, in their order, as far as there are some. */
static void resume_held(struct worker *worker)
{
    struct session *session;
    while ((session = TAILQ_FIRST(&worker->held)) != NULL) {
        session_resume(session);
        if (session->line == &worker->held)
            return; /* still full: the others would find it so, too */
    }
}

/* So do those whose tenant has less in flight, when parcels have come home. */
static void resume_rationed(struct worker *worker)
{
    if (!worker->has_freed)
        return;
    worker->has_freed = false;
    look_at(worker, &worker->rationed);
}

static void send_all(struct worker *worker)
{
    struct session *session;
    while ((session = TAILQ_FIRST(&worker->unsent)) != NULL)
        session_send(session);
}

void worker_turn(struct worker *worker, uint64_t wait_ms)
{
    struct thread *thread = worker->thread;
    struct ring_event event;
    struct resolver_answer *answer;
    struct parcel *parcel;
    uint64_t deadline = timer_next_deadline(&thread->timers);
    thread->now_ms = clock_now_ns() / 1000000;
    if (deadline <= thread->now_ms)
        wait_ms = 0;
    else if (deadline - thread->now_ms < wait_ms)
        wait_ms = deadline - thread->now_ms;
    ring_wait(thread->ring, wait_ms * 1000000);
    thread->now_ms = clock_now_ns() / 1000000;
    while (ring_next(thread->ring, &event))
        ring_event(worker, &event);
    while (worker->resolver != NULL && resolver_next(worker->resolver, &answer))
        link_resolved(answer->owner, answer);
    while ((parcel = mesh_next(thread->mesh, thread->self)) != NULL)
        parcel_arrived(worker, parcel);
    run_timers(worker);
    resume_held(worker);
    resume_rationed(worker);
    send_all(worker);
    mesh_flush(thread->mesh, thread->self);
    thread_count_ring(thread);
}

/* Managed streams stay until the outcome of what they brought is known, so that their peers
   hear of it; nothing more is read from them, or taken where they go both ways: there the
   answers to our own stanzas come. So do links with stanzas that are not acknowledged or not
   yet written, and with them all others: an outcome may be an error stanza. */
static bool settle_managed(struct worker *worker)
{
    struct session *session;
    bool is_busy = false;
    TAILQ_FOREACH(session, &worker->sessions, all)
    {
        if (session->state != SESSION_OPEN)
            continue;
        if (session->link != NULL && !link_is_settled(session->link))
            is_busy = true;
        if (intake_open_count(session->intake) == 0)
            continue;
        if (!session->outbound && session->link == NULL)
            session_mute(session);
        is_busy = true;
    }
    return is_busy;
}

/* Does it bring stanzas whose outcome its peer does not wait for? */
static bool is_loose(const struct session *session)
{
    bool brings = !session->outbound || session->out.bidi;
    bool is_managed =
        (session->outbound || session->link != NULL) && session_counts(session);
    return brings && !is_managed && intake_open_count(session->intake) == 0;
}

static void begin_to_drain(struct worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; i++)
        ring_drop(worker->thread->ring, worker->listeners[i].handle);
    worker->draining = true;
    for (size_t i = 0; i < worker->links.size; i++)
        for (const struct table_node *node = worker->links.chains[i]; node != NULL;
             node = node->next)
            link_drain(node->owner);
}

bool worker_drain(struct worker *worker, bool force)
{
    struct thread *thread = worker->thread;
    struct session *session;
    if (!worker->draining)
        begin_to_drain(worker);
    /* Closing frees none: that takes a RING_GONE. */
    bool is_busy = !force && settle_managed(worker);
    TAILQ_FOREACH(session, &worker->sessions, all)
    if (!is_busy || is_loose(session))
        session_close(session, STREAM_ERROR_SYSTEM_SHUTDOWN, SPAN("the relay is stopping"));
    send_all(worker);
    mesh_flush(thread->mesh, thread->self);
    return worker->session_count == 0 || force;
}

static void close_links(struct worker *worker)
{
    struct table_node *node;
    while ((node = table_any(&worker->links)) != NULL) {
        struct link *link = node->owner;
        if (worker->resolver != NULL)
            resolver_forget(worker->resolver, link);
        link_close(link);
    }
    table_fini(&worker->links);
}

/* What is still out will not come home any more: the other threads end too. */
static void drop_waiting(struct worker *worker)
{
    if (worker->waiting == 0)
        return;
    stats_add(worker->thread->stats, STAT_XMPP_MESSAGES_DROPPED, worker->waiting);
    log_event(LOG_LEVEL_WARN, "xmpp.messages_dropped", 0,
              log_number("count", (int64_t)worker->waiting),
              log_text("reason", SPAN("the relay stops")));
}

/* Streams that others sent here before they began to drain: no more will come. */
static void take_moving(struct worker *worker)
{
    struct parcel *parcel;
    while ((parcel = mesh_next(worker->thread->mesh, worker->thread->self)) != NULL) {
        if (parcel->kind == PARCEL_SESSION && !parcel->is_return)
            session_arrive(worker, parcel);
    }
}

void worker_close(struct worker **closed)
{
    struct worker *worker = *closed;
    *closed = NULL;
    if (worker == NULL)
        return;
    probe_close_all(worker);
    take_moving(worker);
    struct session *session;
    while ((session = TAILQ_FIRST(&worker->sessions)) != NULL) {
        ring_drop(worker->thread->ring, session->handle);
        session_free(session);
    }
    table_fini(&worker->sessions_by_ticket);
    table_fini(&worker->both_ways);
    close_links(worker);
    intake_close_waiting(worker);
    table_fini(&worker->intakes);
    table_fini(&worker->intakes_by_id);
    drop_waiting(worker);
    if (worker->resolver != NULL)
        resolver_port_close(&worker->resolver);
    tls_store_close(&worker->tls);
    quota_close(&worker->quota);
    breaker_close(&worker->breakers);
    xml_pool_close(&worker->xml_pool);
    free(worker->listeners);
    free(worker);
}
