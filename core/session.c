/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/session_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/heap.h"
#include "core/intake.h"
#include "core/link.h"
#include "core/log.h"

/* What a session that waits for the relay may still be handed: every buffer of the ring, once
   before its pause is known to the kernel and once on the way. */
#define INPUT_MAX  (2 * 256 * 16384)
#define OUTPUT_MAX (512 * 1024)
/* Everything that waits, in TLS records, and what the handshake and alerts add. */
#define SEALED_MAX  (OUTPUT_MAX + OUTPUT_MAX / 128 + 64 * 1024)
#define OUTPUT_FULL (64 * 1024) /* links wait above this */

static bool policy_hosts(void *context, struct span local)
{
    const struct session *session = context;
    return config_find_tenant(session->worker->thread->config, local) != NULL;
}

static unsigned policy_proofs(void *context, struct span local, struct span remote)
{
    const struct session *session = context;
    return worker_pair_proofs_in(session->worker, local, remote);
}

static bool certified(void *context, struct span remote)
{
    return session_certified(context, remote);
}

static uint32_t idle_seconds(void *context)
{
    uint32_t idle_ms = session_rule(context, RULE_IDLE_TIMEOUT);
    uint32_t demand_ms = session_rule(context, RULE_KEEPALIVE_DEMAND);
    return (demand_ms > 0 && demand_ms < idle_ms ? demand_ms : idle_ms) / 1000;
}

static struct session *make(struct worker *worker, bool outbound, bool direct)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->magic = SESSION_MAGIC;
    session->worker = worker;
    session->outbound = outbound;
    session->direct = direct;
    session->opened_ms = session->active_ms = session->heard_ms = worker->thread->now_ms;
    session->expires_ms = session->retires_ms = UINT64_MAX;
    session->trust = TRUST_DANE; /* until it is told less */
    session->policy = (struct s2s_policy){
        .context = session,
        .hosts = policy_hosts,
        .proofs = policy_proofs,
        .certified = certified,
        .stream_management = worker->thread->config->stream_management,
        .max_bytes = (uint32_t)worker->thread->config->stanza_size_max,
        .idle_seconds = idle_seconds};
    session->timer.kind = WORKER_TIMER_SESSION;
    session->timer.owner = session;
    net_buffer_init(&session->input, INPUT_MAX);
    net_buffer_init(&session->plain, OUTPUT_MAX);
    net_buffer_init(&session->output, SEALED_MAX);
    net_buffer_init(&session->sending, SEALED_MAX);
    session->xml = xml_stream_open(&heap_memory, worker->xml_pool);
    if (session->xml == NULL) {
        free(session);
        return NULL;
    }
    session_enlist(session);
    stats_count(worker->thread->stats, STAT_SESSIONS_OPENED);
    return session;
}

static struct session_list *line_of(struct session *session)
{
    struct worker *worker = session->worker;
    if (session->rationed_by != NULL)
        return session->rationed_for == QUOTA_RATE ? &worker->paced : &worker->rationed;
    return intake_has_room(session->intake) ? &worker->held : &worker->full;
}

/* Takes it out of the list that will have it go on. */
static void leave_line(struct session *session)
{
    if (session->line != NULL)
        TAILQ_REMOVE(session->line, session, holding);
    quota_go_on(session->worker->quota, session->rationed_by);
    session->line = NULL;
    session->rationed_by = NULL;
}

void session_unhold(struct session *session)
{
    leave_line(session);
    if (session->held)
        session->unheld_ms = session->worker->thread->now_ms;
    session->held = false;
}

static void join_line(struct session *session)
{
    session->line = line_of(session);
    TAILQ_INSERT_TAIL(session->line, session, holding);
}

void session_hold(struct session *session)
{
    session->held = true;
    if (!session->muted && session->mover == NULL)
        join_line(session);
}

void session_ration(struct session *session, struct quota_account *account,
                    enum quota_verdict verdict)
{
    assert(session->rationed_by == NULL);
    session->rationed_by = account;
    session->rationed_for = verdict;
    quota_wait(session->worker->quota, account);
}

void session_widen(struct session *session)
{
    if (session->line != &session->worker->full)
        return;
    leave_line(session);
    join_line(session);
}

void session_mute(struct session *session)
{
    if (session->muted)
        return;
    session->muted = true;
    leave_line(session);
}

static void leave(struct worker *worker, const union net_address *site, bool in_total_only)
{
    struct census *census = worker->thread->census;
    if (census != NULL && in_total_only)
        census_leave_own(census);
    else if (census != NULL)
        census_leave(census, site);
}

void session_free(struct session *session)
{
    struct worker *worker = session->worker;
    assert(session->magic == SESSION_MAGIC);
    session_delist(session);
    leave(worker, &session->site, session->in_total_only);
    if (session->counted != NULL)
        census_leave_partner(worker->thread->census, session->counted);
    session_unhold(session);
    if (session->mover != NULL)
        worker_give(worker, &session->mover);
    if (!session->outbound)
        s2s_in_fini(&session->in);
    intake_close(&session->intake);
    if (session->tls != NULL)
        tls_close(&session->tls);
    xml_stream_close(&session->xml);
    net_buffer_fini(&session->input);
    net_buffer_fini(&session->plain);
    net_buffer_fini(&session->output);
    net_buffer_fini(&session->sending);
    stats_count(worker->thread->stats, STAT_SESSIONS_CLOSED);
    session->magic = 0;
    free(session);
}

void session_arm(struct session *session, uint64_t after_ms)
{
    struct thread *thread = session->worker->thread;
    timer_arm(&thread->timers, &session->timer, thread->now_ms + after_ms);
}

void session_say_why(struct session *session, struct span text)
{
    struct span cut = span_to(text, sizeof(session->reason) - 1);
    if (session->reason[0] != '\0' || cut.size == 0)
        return;
    memcpy(session->reason, cut.data, cut.size);
    session->reason[cut.size] = '\0';
}

/* The link learns of the end once, when it is known what the kernel took and what not. */
static void leave_link(struct session *session)
{
    struct link *link = session->link;
    session->link = NULL;
    if (link != NULL)
        link_lost(link, session);
}

void session_drop(struct session *session)
{
    assert(session->magic == SESSION_MAGIC);
    if (session->state == SESSION_DROPPED)
        return;
    if (session->state != SESSION_CLOSING) {
        session->cut = session->broken = true;
        if (session->intake != NULL)
            intake_wait(session);
        session_log_end(session, STREAM_ERROR_NONE);
    }
    session->state = SESSION_DROPPED;
    session_unhold(session);
    timer_disarm(&session->worker->thread->timers, &session->timer);
    ring_drop(session->worker->thread->ring, session->handle);
    leave_link(session);
}

void session_fail(struct session *session, struct span text)
{
    session_say_why(session, text);
    session_drop(session);
}

size_t session_output_size(const struct session *session)
{
    return net_buffer_used(&session->plain) + net_buffer_used(&session->output);
}

void session_stalled(struct session *session)
{
    session_fail(session, SPAN("the peer does not read"));
}

bool session_ready(const struct session *session)
{
    return session->outbound ? session->out.state == S2S_OUT_READY
                             : s2s_in_authorised_any(&session->in);
}

bool session_has_room(const struct session *session)
{
    return session->state == SESSION_OPEN && session_output_size(session) < OUTPUT_FULL;
}

bool session_write(struct session *session, struct span text)
{
    struct net_buffer *queue = session->tls != NULL ? &session->plain : &session->output;
    if (text.size == 0)
        return true;
    if (session->state != SESSION_OPEN ||
        session_output_size(session) + text.size > OUTPUT_MAX ||
        net_buffer_add(queue, text.data, text.size) != 0)
        return false;
    session->written_total += text.size;
    return true;
}

bool session_seal(struct session *session)
{
    size_t size = net_buffer_used(&session->plain);
    if (size == 0)
        return true;
    enum tls_result result =
        tls_write(session->tls, net_buffer_front(&session->plain), size, &session->output);
    net_buffer_consume(&session->plain, size);
    net_buffer_trim(&session->plain, 0);
    return result == TLS_DONE;
}

void session_flush(struct session *session)
{
    if (session->unsent || session->state == SESSION_DROPPED)
        return;
    session->unsent = true;
    TAILQ_INSERT_TAIL(&session->worker->unsent, session, sending_next);
}

void session_send(struct session *session)
{
    assert(session->unsent);
    session->unsent = false;
    TAILQ_REMOVE(&session->worker->unsent, session, sending_next);
    if (session->state == SESSION_CONNECTING || session->state == SESSION_DROPPED)
        return;
    if (session->link != NULL)
        link_pump(session->link);
    if (session->intake != NULL)
        intake_tell(session->intake, false);
    if (session->in_flight)
        return;
    if (!session_seal(session)) {
        session_fail(session, SPAN("TLS cannot write"));
        return;
    }
    size_t size = net_buffer_used(&session->output);
    if (size == 0) {
        if (session->mover != NULL)
            ring_detach(session->worker->thread->ring, session->handle);
        if (session->state == SESSION_CLOSING)
            leave_link(session);
        if (session->state == SESSION_CLOSING && session->ended)
            session_drop(session);
        return;
    }
    /* The kernel reads the bytes until RING_SENT, so what comes meanwhile goes elsewhere. */
    struct net_buffer ready = session->output;
    session->output = session->sending;
    session->sending = ready;
    session->sending_total = session->written_total;
    session->spoke_ms = session->worker->thread->now_ms;
    int result = ring_send(session->worker->thread->ring, session->handle,
                           net_buffer_front(&session->sending), size);
    if (result != 0)
        session_fail(session, SPAN("the connection cannot be written"));
    else
        session->in_flight = true;
}

static void on_connected(struct session *session, int result)
{
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    if (result != 0) {
        snprintf(session->reason, sizeof(session->reason), "the connection failed: %s",
                 strerrordesc_np(-result));
        session_drop(session);
        return;
    }
    link_connected(session->link, session);
    session->opened_ms = session->worker->thread->now_ms;
    session_expect(session);
    if (session->direct) {
        session_begin_tls(session);
    } else {
        session->state = SESSION_OPEN;
        s2s_out_start(&session->out, false, &writer);
        if (!session_write(session, writer_span(&writer)))
            session_fail(session, SPAN("the connection cannot be written"));
    }
    session_pump(session);
}

struct span session_input(const struct session *session)
{
    size_t size = net_buffer_used(&session->input);
    return size > 0 ? span_make(net_buffer_front(&session->input), size) : session->arrived;
}

void session_input_use(struct session *session, size_t size)
{
    if (net_buffer_used(&session->input) > 0) {
        net_buffer_consume(&session->input, size);
        return;
    }
    assert(size <= session->arrived.size);
    session->arrived = span_from(session->arrived, size);
}

/* False when the session was dropped for it. */
static bool keep_input(struct session *session, struct span bytes)
{
    if (net_buffer_add(&session->input, bytes.data, bytes.size) == 0)
        return true;
    session_fail(session, SPAN("the input buffer is full"));
    return false;
}

static void on_received(struct session *session, const struct ring_event *event)
{
    if (session->state == SESSION_DROPPED || session->muted ||
        (session->state == SESSION_CLOSING && !session->listening))
        return;
    /* Mostly all of it is used at once, and nothing is copied. */
    bool is_direct = net_buffer_used(&session->input) == 0 && !session->held;
    if (is_direct)
        session->arrived = span_make(event->data, event->size);
    else if (!keep_input(session, span_make(event->data, event->size)))
        return;
    if (session->held)
        return;
    session_pump(session);
    struct span left = session->arrived;
    session->arrived = SPAN_NONE;
    if (session->state == SESSION_DROPPED || !keep_input(session, left))
        return;
    if (session->held && session->mover == NULL) {
        ring_pause(session->worker->thread->ring, session->handle);
        stats_count(session->worker->thread->stats, STAT_BACKPRESSURE_PAUSES);
    }
    net_buffer_trim(&session->input, 0);
}

static void on_sent(struct session *session, int result)
{
    session->in_flight = false;
    if (session->state == SESSION_DROPPED)
        return;
    if (result != 0) {
        session_fail(session, SPAN("the connection broke while sending"));
        return;
    }
    session->sent_total = session->sending_total;
    net_buffer_consume(&session->sending, net_buffer_used(&session->sending));
    net_buffer_trim(&session->sending, 0);
    if (session->link != NULL || session->state == SESSION_CLOSING || session->mover != NULL ||
        session_output_size(session) > 0)
        session_flush(session);
}

void session_ring_event(struct session *session, const struct ring_event *event)
{
    assert(session->magic == SESSION_MAGIC);
    switch (event->kind) {
    case RING_CONNECTED: on_connected(session, event->result); break;
    case RING_RECEIVED: on_received(session, event); break;
    case RING_SENT: on_sent(session, event->result); break;
    case RING_END: session_ended(session, event->result); break;
    case RING_DETACHED: session_depart(session, event->result); break;
    case RING_GONE: session_free(session); break;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_WOKEN: break;
    }
}

/* May it come in, and is it counted now? */
static bool enter(struct worker *worker, const union net_address *peer,
                  const union net_address *site, const struct worker_listener *listener)
{
    struct thread *thread = worker->thread;
    if (worker->draining)
        return false;
    if (listener->proxied && !config_is_proxy(&thread->config->xmpp_proxies, peer)) {
        session_log_refusal(peer, SPAN("it is no proxy of xmpp.proxy_sources"));
        stats_count(thread->stats, STAT_PROXY_REFUSED);
        return false;
    }
    if (thread->census != NULL && listener->proxied) {
        census_enter_own(thread->census);
    } else if (thread->census != NULL && !census_enter(thread->census, site)) {
        session_log_refusal(peer, SPAN("too many connections"));
        stats_count(thread->stats, STAT_SESSIONS_REFUSED);
        return false;
    }
    return true;
}

void session_accept(struct worker *worker, ring_handle handle, const union net_address *peer,
                    const struct worker_listener *listener)
{
    struct thread *thread = worker->thread;
    union net_address site;
    net_address_site(&site, peer);
    bool entered = enter(worker, peer, &site, listener);
    struct session *session = entered ? make(worker, false, listener->direct) : NULL;
    if (session == NULL) {
        if (entered)
            leave(worker, &site, listener->proxied);
        ring_drop(thread->ring, handle);
        return;
    }
    session->handle = handle;
    session->peer = *peer;
    session->site = site;
    session->in_total_only = listener->proxied;
    session->state = listener->proxied ? SESSION_PROXIED : SESSION_OPEN;
    s2s_in_init(&session->in, &heap_memory, &session->policy, false);
    ring_set_owner(thread->ring, handle, session);
    session_expect(session);
    if (listener->direct && !listener->proxied)
        session_begin_tls(session);
}

int session_connect(struct session **result, struct worker *worker, struct link *link,
                    const union net_address *target, bool direct)
{
    struct session *session = make(worker, true, direct);
    if (session == NULL)
        return -ENOMEM;
    session->peer = *target;
    session->state = SESSION_CONNECTING;
    session->in_total_only = true;
    if (worker->thread->census != NULL)
        census_enter_own(worker->thread->census);
    link_prepare(link, &session->out);
    int error = ring_connect(worker->thread->ring, target, NULL, session, &session->handle);
    if (error != 0) {
        session_free(session);
        return error;
    }
    session->link = link;
    session_arm(session, worker->thread->config->connect_timeout_ms);
    *result = session;
    return 0;
}
