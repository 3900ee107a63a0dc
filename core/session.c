/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/session.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/dialback.h"
#include "core/link.h"
#include "core/log.h"
#include "core/relay_in.h"
#include "net/certificate.h"
#include "net/digest.h"
#include "proto/jid.h"

#define INPUT_MAX   (256 * 1024)
#define OUTPUT_MAX  (512 * 1024)
#define OUTPUT_FULL (64 * 1024) /* links wait above this */
#define READ_SIZE   16384
#define CLOSE_MS    2000

static bool policy_hosts(void *context, struct span local)
{
    const struct session *session = context;
    return config_find_tenant(session->worker->thread->config, local) != NULL;
}

static enum s2s_auth policy_pair(void *context, struct span local, struct span remote)
{
    const struct session *session = context;
    return worker_pair_policy(session->worker, local, remote);
}

static bool policy_certified(void *context, struct span remote)
{
    const struct session *session = context;
    char memory[JID_SIZE_MAX], name[DOMAIN_SIZE_MAX + 1], ascii_name[DOMAIN_SIZE_MAX + 1];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct span ascii;
    size_t der_size = 0;
    if (session->tls == NULL || !tls_peer_verified(session->tls, NULL) ||
        jid_domain_to_ascii(remote, &writer, &ascii) != JID_OK ||
        ascii.size > DOMAIN_SIZE_MAX || remote.size > DOMAIN_SIZE_MAX)
        return false;
    memcpy(name, remote.data, remote.size);
    name[remote.size] = '\0';
    memcpy(ascii_name, ascii.data, ascii.size);
    ascii_name[ascii.size] = '\0';
    const uint8_t *der = tls_peer_certificate(session->tls, &der_size);
    struct certificate certificate;
    return der != NULL && certificate_read(&certificate, der, der_size) == 0 &&
           certificate_matches_xmpp(&certificate, ascii_name, name);
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
    session->ticket = ++worker->ticket_next;
    session->opened_ms = session->active_ms = worker->thread->now_ms;
    session->policy =
        (struct s2s_policy){session, policy_hosts, policy_pair, policy_certified};
    session->timer.kind = WORKER_TIMER_SESSION;
    session->timer.owner = session;
    net_buffer_init(&session->input, INPUT_MAX);
    net_buffer_init(&session->output, OUTPUT_MAX);
    net_buffer_init(&session->sending, OUTPUT_MAX);
    session->xml = xml_stream_open(&worker->memory);
    if (session->xml == NULL) {
        free(session);
        return NULL;
    }
    session->next = worker->sessions;
    if (session->next != NULL)
        session->next->previous = session;
    worker->sessions = session;
    worker->session_count++;
    stats_count(worker->thread->stats, STAT_SESSIONS_OPENED);
    return session;
}

void session_free(struct session *session)
{
    struct worker *worker = session->worker;
    assert(session->magic == SESSION_MAGIC);
    timer_disarm(&worker->thread->timers, &session->timer);
    if (session->previous != NULL)
        session->previous->next = session->next;
    else
        worker->sessions = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    worker->session_count--;
    if (session->held)
        worker->paused_count--;
    if (!session->outbound)
        s2s_in_fini(&session->in);
    if (session->tls != NULL)
        tls_close(&session->tls);
    xml_stream_close(&session->xml);
    net_buffer_fini(&session->input);
    net_buffer_fini(&session->output);
    net_buffer_fini(&session->sending);
    stats_count(worker->thread->stats, STAT_SESSIONS_CLOSED);
    session->magic = 0;
    free(session);
}

static void arm(struct session *session, uint64_t after_ms)
{
    struct thread *thread = session->worker->thread;
    timer_arm(&thread->timers, &session->timer, thread->now_ms + after_ms);
}

static void say_why(struct session *session, struct span text)
{
    struct span cut = span_to(text, sizeof(session->reason) - 1);
    if (session->reason[0] != '\0' || cut.size == 0)
        return;
    memcpy(session->reason, cut.data, cut.size);
    session->reason[cut.size] = '\0';
}

/* The link learns of the end once, as soon as nothing can be sent any more. */
static void leave_link(struct session *session)
{
    struct link *link = session->link;
    session->link = NULL;
    if (link != NULL)
        link_lost(link, session);
}

static void log_end(const struct session *session, enum stream_error error)
{
    char peer[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&session->peer, peer);
    log_event(LOG_LEVEL_INFO, "session.close", 0, log_text("peer", span_of(peer)),
              log_text("direction", session->outbound ? SPAN("out") : SPAN("in")),
              log_text("local", session->outbound ? s2s_domain_span(&session->out.local)
                                                  : s2s_domain_span(&session->in.local)),
              log_text("remote", session->outbound ? s2s_domain_span(&session->out.remote)
                                                   : s2s_domain_span(&session->in.remote)),
              log_text("error", stream_error_name(error)),
              log_text("reason", span_of(session->reason)));
}

void session_drop(struct session *session)
{
    assert(session->magic == SESSION_MAGIC);
    if (session->state == SESSION_DROPPED)
        return;
    if (session->state != SESSION_CLOSING)
        log_end(session, STREAM_ERROR_NONE);
    session->state = SESSION_DROPPED;
    timer_disarm(&session->worker->thread->timers, &session->timer);
    ring_drop(session->worker->thread->ring, session->handle);
    leave_link(session);
}

static void fail(struct session *session, struct span text)
{
    say_why(session, text);
    session_drop(session);
}

bool session_has_room(const struct session *session)
{
    return session->state == SESSION_OPEN && net_buffer_used(&session->output) < OUTPUT_FULL;
}

bool session_write(struct session *session, struct span text)
{
    size_t before = net_buffer_used(&session->output);
    if (text.size == 0)
        return true;
    if (session->state != SESSION_OPEN)
        return false;
    if (session->tls == NULL) {
        if (net_buffer_add(&session->output, text.data, text.size) != 0)
            return false;
    } else {
        if (before + tls_write_size(text.size) > OUTPUT_MAX ||
            tls_write(session->tls, text.data, text.size, &session->output) != TLS_DONE)
            return false;
    }
    session->output_total += net_buffer_used(&session->output) - before;
    return true;
}

void session_flush(struct session *session)
{
    if (session->in_flight || session->state == SESSION_CONNECTING ||
        session->state == SESSION_DROPPED)
        return;
    size_t size = net_buffer_used(&session->output);
    if (size == 0) {
        if (session->state == SESSION_CLOSING)
            session_drop(session);
        return;
    }
    /* The kernel reads the bytes until RING_SENT, so what comes meanwhile goes elsewhere. */
    struct net_buffer ready = session->output;
    session->output = session->sending;
    session->sending = ready;
    session->sending_size = size;
    int result = ring_send(session->worker->thread->ring, session->handle,
                           net_buffer_front(&session->sending), size);
    if (result != 0)
        fail(session, SPAN("the connection cannot be written"));
    else
        session->in_flight = true;
}

void session_close(struct session *session, enum stream_error error, struct span text)
{
    struct worker *worker = session->worker;
    if (session->state == SESSION_CLOSING || session->state == SESSION_DROPPED)
        return;
    say_why(session, text);
    if (session->state != SESSION_OPEN) {
        session_drop(session);
        return;
    }
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    if (!session->outbound) {
        if (session->in.id[0] == '\0')
            s2s_in_set_id(&session->in, SPAN("0"));
        s2s_in_write_close(&session->in, &writer, error, text);
    } else {
        s2s_out_write_close(&session->out, &writer, error, text);
    }
    if (error != STREAM_ERROR_NONE)
        stats_count(worker->thread->stats, STAT_STREAM_ERRORS_SENT);
    bool written = !writer.overflow && session_write(session, writer_span(&writer));
    if (written && session->tls != NULL)
        tls_shutdown(session->tls, &session->output);
    log_end(session, error);
    session->state = SESSION_CLOSING;
    arm(session, CLOSE_MS);
    leave_link(session);
    session_flush(session);
}

static void begin_tls(struct session *session)
{
    struct worker *worker = session->worker;
    enum tls_protocol alpn = session->direct ? TLS_ALPN_XMPP_SERVER : TLS_ALPN_NONE;
    int result;
    if (!session->outbound) {
        result = tls_accept(&session->tls, worker->context, worker_choose_context, worker, alpn);
    } else {
        const struct config_tenant *tenant = config_find_tenant(
            worker->thread->config, s2s_domain_span(&session->out.local));
        result = tls_connect(&session->tls, worker_tls_context(worker, tenant),
                             link_remote_ascii(session->link), alpn);
    }
    if (result != 0) {
        fail(session, SPAN("there is no memory for TLS"));
        return;
    }
    session->state = SESSION_HANDSHAKE;
}

static void tls_done(struct session *session)
{
    struct worker *worker = session->worker;
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    stats_count(worker->thread->stats, STAT_TLS_HANDSHAKES);
    session->state = SESSION_OPEN;
    if (!xml_stream_restart(session->xml)) {
        fail(session, SPAN("there is no memory for a stream"));
        return;
    }
    if (!session->outbound) {
        if (session->direct)
            session->in.secure = true;
        else
            s2s_in_tls_done(&session->in);
        return;
    }
    const char *why = "it speaks for other names";
    if (session->out.auth == S2S_AUTH_EXTERNAL &&
        !policy_certified(session, s2s_domain_span(&session->out.remote))) {
        tls_peer_verified(session->tls, &why);
        snprintf(session->reason, sizeof(session->reason),
                 "the certificate of the remote server is not acceptable: %s",
                 why != NULL ? why : "it speaks for other names");
        session_drop(session);
        return;
    }
    if (session->direct)
        s2s_out_start(&session->out, true, &writer);
    else
        s2s_out_tls_done(&session->out, &writer);
    if (!session_write(session, writer_span(&writer)))
        fail(session, SPAN("the connection cannot be written"));
}

static bool pump_handshake(struct session *session)
{
    size_t used = net_buffer_used(&session->input);
    tls_set_input(session->tls, used > 0 ? net_buffer_front(&session->input) : NULL, used);
    enum tls_result result = tls_handshake(session->tls, &session->output);
    net_buffer_consume(&session->input, used - tls_input_left(session->tls));
    switch (result) {
    case TLS_DONE: tls_done(session); return true;
    case TLS_MORE: return false;
    case TLS_CLOSED:
    case TLS_FAILED: break;
    }
    stats_count(session->worker->thread->stats, STAT_TLS_FAILURES);
    snprintf(session->reason, sizeof(session->reason), "the TLS handshake failed: %s",
             tls_error(session->tls));
    /* The alert is in the output: it goes out before the socket is closed. */
    log_end(session, STREAM_ERROR_NONE);
    session->state = SESSION_CLOSING;
    arm(session, CLOSE_MS);
    leave_link(session);
    return false;
}

/* Moves plaintext to the parser; false when there is none. */
static bool feed(struct session *session)
{
    size_t used = net_buffer_used(&session->input), size = 0;
    uint8_t *room = xml_stream_room(session->xml, READ_SIZE);
    if (room == NULL) {
        session_close(session, STREAM_ERROR_RESOURCE_CONSTRAINT, SPAN("no memory for input"));
        return false;
    }
    if (session->tls == NULL) {
        size = used < READ_SIZE ? used : READ_SIZE;
        if (size > 0)
            memcpy(room, net_buffer_front(&session->input), size);
        net_buffer_consume(&session->input, size);
        if (size > 0)
            xml_stream_commit(session->xml, size);
        return size > 0;
    }
    tls_set_input(session->tls, used > 0 ? net_buffer_front(&session->input) : NULL, used);
    enum tls_result result =
        tls_read(session->tls, room, READ_SIZE, &size, &session->output);
    net_buffer_consume(&session->input, used - tls_input_left(session->tls));
    if (result == TLS_DONE && size > 0)
        xml_stream_commit(session->xml, size);
    else if (result == TLS_CLOSED)
        session_close(session, STREAM_ERROR_NONE, SPAN("the peer ended TLS"));
    else if (result == TLS_FAILED)
        fail(session, SPAN("a TLS record is broken"));
    return result == TLS_DONE && size > 0;
}

static void authorised(struct session *session, const struct s2s_action *action)
{
    struct thread *thread = session->worker->thread;
    xml_stream_set_stanza_size_max(session->xml, thread->config->stanza_size_max);
    arm(session, thread->config->idle_timeout_ms);
    stats_count(thread->stats, STAT_SESSIONS_AUTHENTICATED);
    log_event(LOG_LEVEL_INFO, "session.authorised", 0, log_text("local", action->local),
              log_text("remote", action->remote),
              log_text("direction", session->outbound ? SPAN("out") : SPAN("in")));
}

/* Asks the worker that owns the link to the authority; the answer comes home by the ticket. */
static void ask_verify(struct session *session, const struct s2s_action *action)
{
    struct thread *thread = session->worker->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL) {
        struct s2s_action refused = *action, ignored;
        char memory[2048];
        struct writer writer = writer_make(memory, sizeof(memory));
        refused.verdict = S2S_ERROR;
        refused.fault = STANZA_ERROR_RESOURCE_CONSTRAINT;
        s2s_in_verified(&session->in, &refused, &writer, &ignored);
        if (!session_write(session, writer_span(&writer)))
            fail(session, SPAN("the connection cannot be written"));
        return;
    }
    parcel->kind = PARCEL_VERIFY;
    parcel->ticket = session->ticket;
    parcel->born_ms = thread->now_ms;
    parcel->wants_outcome = true;
    parcel->from.domain = parcel_copy(parcel, action->local);
    parcel->to.domain = parcel_copy(parcel, action->remote);
    parcel->stream_id = parcel_copy(parcel, action->id);
    parcel->bytes = parcel_copy(parcel, action->key);
    if (parcel->bytes.data == NULL) {
        mesh_give(thread->mesh, thread->self, &parcel);
        session_close(session, STREAM_ERROR_POLICY_VIOLATION, SPAN("the key is too long"));
        return;
    }
    mesh_post(thread->mesh, thread->self,
              route_link(thread->config, action->local, action->remote), &parcel);
}

void session_verified(struct session *session, const struct parcel *parcel)
{
    if (session->state != SESSION_OPEN || session->outbound)
        return;
    struct s2s_action answer = {.local = parcel->from.domain,
                                .remote = parcel->to.domain,
                                .id = parcel->stream_id,
                                .fault = parcel->outcome.fault.error};
    if (parcel->outcome.kind == OUTCOME_DELIVERED)
        answer.verdict = S2S_VALID;
    else
        answer.verdict =
            answer.fault == STANZA_ERROR_FORBIDDEN ? S2S_INVALID : S2S_ERROR;
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct s2s_action action;
    s2s_in_verified(&session->in, &answer, &writer, &action);
    if (!session_write(session, writer_span(&writer))) {
        fail(session, SPAN("the connection cannot be written"));
        return;
    }
    if (action.kind == S2S_PAIR_AUTHORISED)
        authorised(session, &action);
    else if (action.kind == S2S_CLOSE)
        session_close(session, action.error, action.text);
    session_flush(session);
}

static void restart(struct session *session, const struct s2s_action *action)
{
    if (!xml_stream_restart(session->xml))
        fail(session, SPAN("there is no memory for a stream"));
    else if (!session->outbound)
        authorised(session, action);
}

static void start_tls(struct session *session)
{
    /* Nothing may stand behind <starttls/> or <proceed/> in clear (RFC 6120 §5.4.3.3). */
    struct xml_event behind;
    if (net_buffer_used(&session->input) > 0 ||
        xml_stream_next(session->xml, &behind) != XML_EVENT_NONE)
        fail(session, SPAN("plaintext behind STARTTLS"));
    else
        begin_tls(session);
}

static void on_close(struct session *session, const struct s2s_action *action)
{
    session->fault = action->fault;
    if (!action->received) {
        session_close(session, action->error, action->text);
        return;
    }
    stats_count(session->worker->thread->stats, STAT_STREAM_ERRORS_RECEIVED);
    if (action->error == STREAM_ERROR_HOST_UNKNOWN || action->error == STREAM_ERROR_HOST_GONE)
        session->fault = STANZA_ERROR_REMOTE_SERVER_NOT_FOUND;
    struct span name = stream_error_name(action->error);
    snprintf(session->reason, sizeof(session->reason),
             "the remote server closed the stream: %.*s", (int)name.size, name.data);
    session_close(session, STREAM_ERROR_NONE, SPAN_NONE);
}

static void answer_verify(struct session *session, struct s2s_action *action)
{
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    bool valid = dialback_check(session->worker->thread->config->dialback_secret, action->remote,
                                action->local, action->id, action->key);
    action->verdict = valid ? S2S_VALID : S2S_INVALID;
    s2s_write_verified(&writer, action);
    if (writer.overflow)
        session_close(session, STREAM_ERROR_POLICY_VIOLATION, SPAN("the id is too long"));
    else if (!session_write(session, writer_span(&writer)))
        fail(session, SPAN("the connection cannot be written"));
}

static void send_key(struct session *session, const struct s2s_action *action)
{
    char memory[2048], key[DIALBACK_KEY_SIZE];
    struct writer writer = writer_make(memory, sizeof(memory));
    dialback_key(session->worker->thread->config->dialback_secret, action->remote,
                 action->local, action->id, key);
    s2s_out_send_key(&session->out, span_of(key), &writer);
    if (!session_write(session, writer_span(&writer)))
        fail(session, SPAN("the connection cannot be written"));
}

/* False when the relay is full: the same event is to be handled again. */
static bool act(struct session *session, struct s2s_action *action)
{
    switch (action->kind) {
    case S2S_NOTHING: break;
    case S2S_START_TLS: start_tls(session); break;
    case S2S_RESTART: restart(session, action); break;
    case S2S_PAIR_AUTHORISED: authorised(session, action); break;
    case S2S_VERIFY: ask_verify(session, action); break;
    case S2S_ANSWER_VERIFY: answer_verify(session, action); break;
    case S2S_NEED_KEY: send_key(session, action); break;
    case S2S_VERIFIED:
        if (session->link != NULL)
            link_verified(session->link, action);
        break;
    case S2S_READY:
        action->local = s2s_domain_span(&session->out.local);
        action->remote = s2s_domain_span(&session->out.remote);
        authorised(session, action);
        break;
    case S2S_STANZA: return relay_in_stanza(session, session->event.node);
    case S2S_UNSOLICITED:
        stats_count(session->worker->thread->stats, STAT_DIALBACK_REFUSED);
        break;
    case S2S_CLOSE: on_close(session, action); break;
    }
    return true;
}

static bool on_event(struct session *session)
{
    struct worker *worker = session->worker;
    struct writer writer = writer_make(worker->scratch, sizeof(worker->scratch));
    struct s2s_action action;
    if (session->event.kind == XML_EVENT_OPEN && !session->outbound) {
        uint8_t random[16];
        char id[33];
        struct writer hex = writer_make(id, sizeof(id));
        digest_random(random, sizeof(random));
        writer_put_hex(&hex, random, sizeof(random));
        s2s_in_set_id(&session->in, writer_span(&hex));
    }
    if (session->outbound)
        s2s_out_event(&session->out, &session->event, &writer, &action);
    else
        s2s_in_event(&session->in, &session->event, &writer, &action);
    if (writer.overflow || !session_write(session, writer_span(&writer))) {
        fail(session, SPAN("the peer does not read"));
        return true;
    }
    if (!act(session, &action))
        return false;
    if (session->link != NULL && session->state == SESSION_OPEN)
        link_pump(session->link);
    return true;
}

static bool pump_stream(struct session *session)
{
    struct worker *worker = session->worker;
    if (session->held) {
        session->held = false;
        worker->paused_count--;
    } else if (xml_stream_next(session->xml, &session->event) == XML_EVENT_NONE) {
        return feed(session);
    }
    if (on_event(session))
        return true;
    session->held = true;
    worker->paused_count++;
    return false;
}

void session_pump(struct session *session)
{
    bool more = true;
    while (more) {
        switch (session->state) {
        case SESSION_HANDSHAKE: more = pump_handshake(session); break;
        case SESSION_OPEN: more = pump_stream(session); break;
        case SESSION_CONNECTING:
        case SESSION_CLOSING:
        case SESSION_DROPPED: more = false; break;
        }
    }
    session_flush(session);
}

void session_resume(struct session *session)
{
    assert(session->held);
    if (session->state == SESSION_OPEN)
        session_pump(session);
    if (!session->held && session->state == SESSION_OPEN)
        ring_resume(session->worker->thread->ring, session->handle);
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
    arm(session, session->worker->thread->config->negotiation_timeout_ms);
    if (session->direct) {
        begin_tls(session);
    } else {
        session->state = SESSION_OPEN;
        s2s_out_start(&session->out, false, &writer);
        if (!session_write(session, writer_span(&writer)))
            fail(session, SPAN("the connection cannot be written"));
    }
    session_pump(session);
}

static void on_received(struct session *session, const struct ring_event *event)
{
    if (session->state == SESSION_CLOSING || session->state == SESSION_DROPPED)
        return;
    session->active_ms = session->worker->thread->now_ms;
    if (net_buffer_add(&session->input, event->data, event->size) != 0) {
        fail(session, SPAN("the input buffer is full"));
        return;
    }
    if (session->held)
        return;
    session_pump(session);
    if (session->held) {
        ring_pause(session->worker->thread->ring, session->handle);
        stats_count(session->worker->thread->stats, STAT_BACKPRESSURE_PAUSES);
    }
    net_buffer_trim(&session->input, 4096);
}

static void on_sent(struct session *session, int result)
{
    session->in_flight = false;
    if (session->state == SESSION_DROPPED)
        return;
    if (result != 0) {
        fail(session, SPAN("the connection broke while sending"));
        return;
    }
    session->sent_total += session->sending_size;
    net_buffer_consume(&session->sending, session->sending_size);
    net_buffer_trim(&session->sending, 16384);
    if (session->link != NULL && session->state == SESSION_OPEN)
        link_pump(session->link);
    session_flush(session);
}

void session_ring_event(struct session *session, const struct ring_event *event)
{
    assert(session->magic == SESSION_MAGIC);
    switch (event->kind) {
    case RING_CONNECTED: on_connected(session, event->result); break;
    case RING_RECEIVED: on_received(session, event); break;
    case RING_SENT: on_sent(session, event->result); break;
    case RING_END: fail(session, SPAN("the connection ended")); break;
    case RING_GONE: session_free(session); break;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_WOKEN: break;
    }
}

void session_timer(struct session *session)
{
    struct thread *thread = session->worker->thread;
    bool ready = session->outbound ? session->out.state == S2S_OUT_READY
                                   : s2s_in_authorised_any(&session->in);
    if (session->state == SESSION_CLOSING || session->state == SESSION_CONNECTING) {
        fail(session, SPAN("the connection attempt timed out"));
    } else if (!ready) {
        session_close(session, STREAM_ERROR_CONNECTION_TIMEOUT, SPAN("negotiation took too long"));
    } else if (thread->now_ms < session->active_ms + thread->config->idle_timeout_ms) {
        timer_arm(&thread->timers, &session->timer,
                  session->active_ms + thread->config->idle_timeout_ms);
    } else {
        session_close(session, STREAM_ERROR_NONE, SPAN("idle"));
    }
}

static bool too_many(const struct worker *worker, const union net_address *peer)
{
    const struct config *config = worker->thread->config;
    unsigned count = 0;
    if (config->sessions_max > 0 && worker->session_count >= config->sessions_max)
        return true;
    for (const struct session *one = worker->sessions; one != NULL; one = one->next)
        count += !one->outbound && net_address_equal_host(&one->peer, peer);
    return config->sessions_per_address_max > 0 && count >= config->sessions_per_address_max;
}

void session_accept(struct worker *worker, ring_handle handle, const union net_address *peer,
                    bool direct)
{
    struct session *session =
        worker->draining || too_many(worker, peer) ? NULL : make(worker, false, direct);
    if (session == NULL) {
        ring_drop(worker->thread->ring, handle);
        return;
    }
    session->handle = handle;
    session->peer = *peer;
    session->state = SESSION_OPEN;
    s2s_in_init(&session->in, &worker->memory, &session->policy, false);
    ring_set_owner(worker->thread->ring, handle, session);
    arm(session, worker->thread->config->negotiation_timeout_ms);
    if (direct)
        begin_tls(session);
}

int session_connect(struct session **result, struct worker *worker, struct link *link,
                    const union net_address *target, bool direct)
{
    struct session *session = make(worker, true, direct);
    if (session == NULL)
        return -ENOMEM;
    session->peer = *target;
    session->state = SESSION_CONNECTING;
    link_prepare(link, &session->out);
    int error = ring_connect(worker->thread->ring, target, NULL, session, &session->handle);
    if (error != 0) {
        session_free(session);
        return error;
    }
    session->link = link;
    arm(session, worker->thread->config->connect_timeout_ms);
    *result = session;
    return 0;
}
