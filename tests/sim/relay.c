/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/relay.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Longer than anything else in a run: a thread that nobody wakes shows as a stall. */
#define TURN_MS       3600000u
#define INQUIRY_SHARE 2 /* of control's turns, per mille */
#define PROBE_SHARE   4
#define LEAVE_SHARE   20 /* of a probe's rows: nobody listens any more */

/* ---- life ---- */

static void die(const char *what, const char *error)
{
    fprintf(stderr, "passerelle-sim: %s: %s\n", what, error);
    exit(EXIT_FAILURE);
}

static void open_thread(struct relay *relay, unsigned i)
{
    char error[512] = "";
    struct relay_thread *one = &relay->threads[i];
    struct thread *thread = &one->thread;
    struct ring_options options = {.socket_max = relay->config->sessions_max + 64};
    *thread =
        (struct thread){.self = i + 1,
                        .config = relay->config,
                        .offer = reload_offer(relay->reload, i + 1),
                        .mesh = relay->mesh,
                        .resolver = relay->resolver,
                        .consent = memories_consent(&relay->memories, relay->config, i + 1),
                        .stats = relay->stats[i + 1],
                        .stopping = &relay->stopping};
    timer_heap_init(&thread->timers);
    int rc = ring_open(&thread->ring, &options);
    assert(rc == 0);
    mesh_attach(relay->mesh, thread->self, thread->ring);
    if (i < relay->config->worker_count)
        rc = worker_open(&one->worker, thread, error, sizeof(error));
    else
        rc = egress_open(&one->egress, thread, error, sizeof(error));
    if (rc != 0)
        die("cannot open a thread", error);
}

static void open_all(struct relay *relay)
{
    char error[512] = "";
    if (config_open(&relay->config, relay->path, error, sizeof(error)) != 0)
        die("the configuration is refused", error);
    relay->thread_count = relay->config->worker_count + relay->config->egress_count;
    assert(relay->thread_count < RELAY_THREAD_MAX);
    for (unsigned i = 0; i <= relay->thread_count; i++) {
        relay->stats[i] = stats_open(relay->config->tenant_slots);
        assert(relay->stats[i] != NULL);
    }
    struct resolver_options resolver = {.timeout_ms = relay->config->dns_timeout_ms};
    int rc = mesh_open(&relay->mesh, relay->thread_count + 1, relay->config->parcel_count);
    if (rc == 0)
        rc = resolver_open(&relay->resolver, &resolver);
    struct reload_options reload = {.config = relay->config,
                                    .mesh = relay->mesh,
                                    .stats = relay->stats,
                                    .stats_count = relay->thread_count + 1};
    if (rc == 0)
        rc = reload_open(&relay->reload, &reload);
    if (rc == 0)
        rc = memories_open(&relay->memories, relay->config, NULL, error, sizeof(error));
    assert(rc == 0);
    for (unsigned i = 0; i < relay->thread_count; i++)
        open_thread(relay, i);
}

void relay_open_file(struct relay *relay, const char *path)
{
    memset(relay, 0, sizeof(*relay));
    (void)snprintf(relay->path, sizeof(relay->path), "%s", path);
    open_all(relay);
}

void relay_open(struct relay *relay, const struct plan *plan, const char *folder)
{
    memset(relay, 0, sizeof(*relay));
    relay->plan = plan;
    (void)snprintf(relay->path, sizeof(relay->path), "%s/relay.yaml", folder);
    relay_write_config(relay);
    open_all(relay);
}

bool relay_is_ready(const struct relay *relay, unsigned i)
{
    return network_is_ready(relay->threads[i].thread.ring);
}

uint64_t relay_wakes_ns(const struct relay *relay, unsigned i)
{
    return relay->threads[i].thread.ring->wakes_at_ns;
}

void relay_turn(struct relay *relay, unsigned i)
{
    struct relay_thread *one = &relay->threads[i];
    uint64_t wait_ms = relay->stopping ? 20 : TURN_MS;
    if (one->worker != NULL)
        worker_turn(one->worker, wait_ms);
    else
        egress_turn(one->egress, wait_ms);
}

/* ---- control ---- */

static void ask(struct relay *relay, struct inquiry *inquiry)
{
    struct parcel *parcel = mesh_take(relay->mesh, THREAD_CONTROL, MESH_CONTROL);
    assert(parcel != NULL);
    unsigned i = (unsigned)sim_below(relay->thread_count);
    inquiry->kind = relay->threads[i].worker != NULL ? INQUIRY_SESSIONS : INQUIRY_TRUNKS;
    inquiry->out = fopen("/dev/null", "w");
    if (inquiry->out == NULL)
        abort();
    parcel->kind = PARCEL_INQUIRY;
    parcel->inquiry = inquiry;
    mesh_post(relay->mesh, THREAD_CONTROL, i + 1, &parcel);
    mesh_flush(relay->mesh, THREAD_CONTROL);
}

/* ---- a probe ---- */

static void probe_post(struct relay *relay)
{
    struct probe_talk *talk = &relay->talk;
    struct parcel *parcel = mesh_take(relay->mesh, THREAD_CONTROL, MESH_CONTROL);
    assert(parcel != NULL);
    talk->is_cancelled = relay->stopping || sim_chance(LEAVE_SHARE);
    talk->out = fopen("/dev/null", "w");
    if (talk->out == NULL)
        abort();
    parcel->kind = PARCEL_PROBE;
    parcel->inquiry = talk;
    relay->probe_is_out = true;
    mesh_post(relay->mesh, THREAD_CONTROL,
              route_link(reload_config(relay->reload), s2s_domain_span(&talk->local),
                         s2s_domain_span(&talk->remote)),
              &parcel);
    mesh_flush(relay->mesh, THREAD_CONTROL);
}

/* Has some partner explained, in the middle of its traffic. */
static void probe_sometimes(struct relay *relay)
{
    const struct plan *plan = relay->plan;
    if (relay->probes || relay->is_restored || !sim_chance(PROBE_SHARE))
        return;
    relay->talk = (struct probe_talk){.is_over = false};
    const char *local = plan->tenants[sim_below(plan->tenant_count)].domain;
    const char *remote = plan->partners[sim_below(plan->partner_count)].domain;
    bool are_domains = s2s_domain_read(&relay->talk.local, span_of(local)) &&
                       s2s_domain_read(&relay->talk.remote, span_of(remote));
    assert(are_domains);
    relay->probes = true;
    probe_post(relay);
}

static void probe_home(struct relay *relay)
{
    struct probe_talk *talk = &relay->talk;
    (void)fclose(talk->out);
    relay->probe_is_out = false;
    relay->probes = !talk->is_over;
    if (relay->probes) {
        probe_post(relay);
        return;
    }
    sim_trace("probe: %s", talk->text);
}

static void inquiry_end(struct inquiry *inquiry)
{
    if (inquiry->out != NULL)
        (void)fclose(inquiry->out);
    inquiry->out = NULL;
}

static void take_answers(struct relay *relay)
{
    struct parcel *parcel;
    while ((parcel = mesh_next(relay->mesh, THREAD_CONTROL)) != NULL) {
        assert(parcel->is_return);
        if (parcel->kind == PARCEL_RELOAD) {
            reload_taken(relay->reload, &parcel);
            continue;
        }
        bool is_probe = parcel->kind == PARCEL_PROBE;
        assert(is_probe || parcel->kind == PARCEL_INQUIRY);
        if (!is_probe)
            inquiry_end(parcel->inquiry);
        mesh_give(relay->mesh, THREAD_CONTROL, &parcel);
        if (is_probe)
            probe_home(relay);
    }
}

/* A good edition, or one with a mistake, which must change nothing. */
static void read_again(struct relay *relay, bool is_good)
{
    char *answer = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&answer, &size);
    if (out == NULL)
        abort();
    relay->edition++;
    relay_write_config(relay);
    if (!is_good) {
        FILE *file = fopen(relay->path, "a");
        if (file == NULL ||
            fputs("  - domain: s0.example\n  - domain: s0.example\n", file) < 0 ||
            fclose(file) != 0)
            abort();
    }
    bool taken = reload_start(relay->reload, out);
    (void)fclose(out);
    sim_trace("reload %u: %.5s", relay->edition, answer);
    if (taken != is_good)
        sim_fail("reload %u: %s", relay->edition, answer);
    free(answer);
}

/* Removes a tenant or brings it back. */
static void change_tenants(struct relay *relay)
{
    unsigned i = (unsigned)sim_below(relay->plan->tenant_count);
    relay->is_missing[i] = !relay->is_missing[i];
    relay->tenant_told(i, relay->is_missing[i]);
}

static void reload_sometimes(struct relay *relay)
{
    if (relay->is_restored || reload_is_running(relay->reload) ||
        !sim_chance(relay->plan->reloads))
        return;
    bool is_good = !sim_chance(200);
    if (is_good && relay->plan->removes && sim_chance(300))
        change_tenants(relay);
    read_again(relay, is_good);
}

bool relay_restore(struct relay *relay)
{
    bool is_whole = true;
    relay->is_restored = true;
    take_answers(relay);
    for (unsigned i = 0; i < relay->plan->tenant_count; i++) {
        if (!relay->is_missing[i])
            continue;
        if (reload_is_running(relay->reload))
            return false;
        is_whole = relay->is_missing[i] = false;
        relay->tenant_told(i, false);
    }
    if (!is_whole)
        read_again(relay, true);
    return !reload_is_running(relay->reload);
}

void relay_control(struct relay *relay)
{
    take_answers(relay);
    if (!relay->stopping && relay->plan->reloads > 0)
        reload_sometimes(relay);
    if (!relay->stopping)
        probe_sometimes(relay);
    if (relay->stopping || !sim_chance(INQUIRY_SHARE))
        return;
    struct inquiry *inquiry = &relay->inquiries[sim_below(RELAY_INQUIRY_MAX)];
    if (inquiry->out == NULL)
        ask(relay, inquiry);
}

/* ---- the end ---- */

bool relay_is_settled(const struct relay *relay)
{
    for (unsigned i = 0; i <= relay->thread_count; i++)
        if (mesh_out(relay->mesh, i) > 0)
            return false;
    return true;
}

bool relay_drain(struct relay *relay)
{
    bool all = true;
    relay->stopping = true;
    for (unsigned i = 0; i < relay->thread_count; i++) {
        struct relay_thread *one = &relay->threads[i];
        bool done = one->worker != NULL ? worker_drain(one->worker, false)
                                        : egress_drain(one->egress, false);
        all = all && done;
    }
    return all;
}

static uint64_t sum(const struct relay *relay, enum stats_counter stat)
{
    return stats_sum(relay->stats, relay->thread_count + 1, stat);
}

static void check_books(const struct relay *relay)
{
    uint64_t accepted = sum(relay, STAT_XMPP_MESSAGES_ACCEPTED);
    uint64_t ended = sum(relay, STAT_XMPP_MESSAGES_DELIVERED) +
                     sum(relay, STAT_XMPP_MESSAGES_FAILED) +
                     sum(relay, STAT_XMPP_MESSAGES_DROPPED);
    if (accepted != ended)
        sim_fail("the books: XMPP messages accepted %" PRIu64 ", ended %" PRIu64, accepted,
                 ended);
    accepted = sum(relay, STAT_SIP_MESSAGES_ACCEPTED);
    ended = sum(relay, STAT_SIP_MESSAGES_DELIVERED) +
            sum(relay, STAT_SIP_MESSAGES_HANDED_OVER) + sum(relay, STAT_SIP_MESSAGES_FAILED) +
            sum(relay, STAT_SIP_MESSAGES_DROPPED);
    if (accepted != ended)
        sim_fail("the books: SIP messages accepted %" PRIu64 ", ended %" PRIu64, accepted,
                 ended);
    if (sum(relay, STAT_SESSIONS_OPENED) != sum(relay, STAT_SESSIONS_CLOSED))
        sim_fail("the books: %" PRIu64 " sessions opened, %" PRIu64 " closed",
                 sum(relay, STAT_SESSIONS_OPENED), sum(relay, STAT_SESSIONS_CLOSED));
}

/* The threads end in any order, as the real ones do. */
static void close_threads(struct relay *relay)
{
    bool closed[RELAY_THREAD_MAX] = {false};
    for (unsigned left = relay->thread_count; left > 0; left--) {
        unsigned i = (unsigned)sim_below(relay->thread_count);
        while (closed[i])
            i = (i + 1) % relay->thread_count;
        closed[i] = true;
        struct relay_thread *one = &relay->threads[i];
        if (one->worker != NULL) {
            worker_drain(one->worker, true);
            worker_close(&one->worker);
        } else {
            egress_drain(one->egress, true);
            egress_close(&one->egress);
        }
        mesh_attach(relay->mesh, one->thread.self, NULL);
        ring_close(&one->thread.ring);
        timer_heap_fini(&one->thread.timers);
    }
}

void relay_close(struct relay *relay)
{
    close_threads(relay);
    for (unsigned i = 0; i < RELAY_INQUIRY_MAX; i++)
        inquiry_end(&relay->inquiries[i]); /* not all were answered */
    if (relay->probe_is_out)
        (void)fclose(relay->talk.out);
    check_books(relay);
    memories_close(&relay->memories);
    resolver_close(&relay->resolver);
    for (unsigned i = 0; i <= relay->thread_count; i++)
        stats_close(&relay->stats[i]);
    mesh_close(&relay->mesh);
    reload_close(&relay->reload);
    if (relay->plan != NULL)
        (void)unlink(relay->path);
}
