/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The loop of a session: TLS, XML and what the negotiation machine asks for. */
#include <assert.h>
#include <stdio.h>

#include "core/dialback.h"
#include "core/intake.h"
#include "core/link.h"
#include "core/log.h"
#include "core/relay_in.h"
#include "core/session_priv.h"
#include "net/digest.h"

#define READ_SIZE       16384
#define BLANK_WINDOW_MS 60000

void session_begin_tls(struct session *session)
{
    struct worker *worker = session->worker;
    enum tls_protocol alpn = session->direct ? TLS_ALPN_XMPP_SERVER : TLS_ALPN_NONE;
    int result;
    if (!session->outbound) {
        result =
            tls_accept(&session->tls, worker->tls.common, tls_store_choose, &worker->tls, alpn);
    } else {
        const struct config_tenant *tenant =
            config_find_tenant(worker->thread->config, s2s_domain_span(&session->out.local));
        result = tls_connect(&session->tls, tls_store_of(&worker->tls, tenant),
                             link_remote_ascii(session->link), alpn);
        if (result == 0 && link_target(session->link)->tlsa_count > 0)
            tls_keep_chain(session->tls);
    }
    if (result != 0) {
        session_fail(session, SPAN("there is no memory for TLS"));
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
    xml_stream_restart(session->xml);
    if (!session->outbound) {
        if (session->direct)
            session->in.secure = true;
        else
            s2s_in_tls_done(&session->in);
        return;
    }
    session_weigh(session);
    link_secured(session->link, session);
    if (!session_judge(session))
        return;
    session_want_bidi(session);
    if (session->direct)
        s2s_out_start(&session->out, true, &writer);
    else
        s2s_out_tls_done(&session->out, &writer);
    if (!session_write(session, writer_span(&writer)))
        session_fail(session, SPAN("the connection cannot be written"));
}

/* Outbound: does it show the certificate of its tenant, and not the relay's? */
static bool has_own_certificate(const struct session *session)
{
    const struct config_tenant *tenant = config_find_tenant(
        session->worker->thread->config, s2s_domain_span(session_local(session)));
    return tenant != NULL && tenant->certificate != NULL;
}

static bool pump_handshake(struct session *session)
{
    struct span input = session_input(session);
    tls_set_input(session->tls, (const uint8_t *)input.data, input.size);
    enum tls_result result = tls_handshake(session->tls, &session->output);
    session_input_use(session, input.size - tls_return_input(session->tls));
    switch (result) {
    case TLS_DONE: tls_done(session); return true;
    case TLS_MORE: return false;
    case TLS_CLOSED:
    case TLS_FAILED: break;
    }
    stats_count(session->worker->thread->stats, STAT_TLS_FAILURES);
    snprintf(session->reason, sizeof(session->reason), "the TLS handshake failed: %s",
             tls_error(session->tls));
    session->is_pairs_fault = has_own_certificate(session);
    /* The alert is in the output: it goes out before the socket is closed. */
    session_log_end(session, STREAM_ERROR_NONE);
    session->state = SESSION_CLOSING;
    session_end(session);
    return false;
}

/* Counts what comes between two events: no stanza is so long, so it is white space by the
   megabyte. False when that is too much in one minute. */
static bool bear_blank(struct session *session, size_t size)
{
    const struct thread *thread = session->worker->thread;
    session->heard_ms = thread->now_ms;
    if (thread->now_ms - session->blank_from_ms > BLANK_WINDOW_MS) {
        session->blank_from_ms = thread->now_ms;
        session->blank_size = 0;
    }
    session->blank_size += size;
    if (session->blank_size <= 2 * thread->config->stanza_size_max + READ_SIZE)
        return true;
    session_close(session, STREAM_ERROR_POLICY_VIOLATION, SPAN("too much white space"));
    return false;
}

static void on_tls_closed(struct session *session)
{
    session->ended = true;
    if (session->state == SESSION_CLOSING)
        session_end(session);
    else if (session->outbound ? session_is_managed(session)
                               : intake_is_resumable(session->intake))
        session_fail(session, SPAN("the peer ended TLS")); /* not the stream (XEP-0198 §7) */
    else
        session_close(session, STREAM_ERROR_NONE, SPAN("the peer ended TLS"));
}

/* Moves plaintext to the parser; false when there is none. */
static bool feed(struct session *session)
{
    struct span input = session_input(session);
    size_t size = 0;
    uint8_t *room = xml_stream_room(session->xml, READ_SIZE);
    if (room == NULL) {
        session_close(session, STREAM_ERROR_RESOURCE_CONSTRAINT, SPAN("no memory for input"));
        return false;
    }
    if (session->tls == NULL) {
        size = input.size < READ_SIZE ? input.size : READ_SIZE;
        if (size > 0)
            memcpy(room, input.data, size);
        session_input_use(session, size);
        if (size > 0)
            xml_stream_commit(session->xml, size);
        return size > 0 && bear_blank(session, size);
    }
    tls_set_input(session->tls, (const uint8_t *)input.data, input.size);
    enum tls_result result = tls_read(session->tls, room, READ_SIZE, &size, &session->output);
    session_input_use(session, input.size - tls_return_input(session->tls));
    if (result == TLS_DONE && size > 0)
        xml_stream_commit(session->xml, size);
    else if (result == TLS_CLOSED)
        on_tls_closed(session);
    else if (result == TLS_FAILED)
        session_fail(session, SPAN("a TLS record is broken"));
    return result == TLS_DONE && size > 0 && bear_blank(session, size);
}

/* The first domain that is proved on a stream has it counted as one of its own; false, and the
   stream is closed, when it has too many. */
static bool count_partner(struct session *session, struct span local, struct span remote)
{
    struct thread *thread = session->worker->thread;
    if (session->outbound || session->counted != NULL || thread->census == NULL)
        return true;
    session->counted = census_enter_partner(
        thread->census, remote, session_pair_rule(session, local, remote, RULE_SESSIONS_MAX));
    if (session->counted != NULL)
        return true;
    stats_count(thread->stats, STAT_SESSIONS_REFUSED);
    session_close(session, STREAM_ERROR_RESOURCE_CONSTRAINT,
                  SPAN("your domain has too many streams here"));
    return false;
}

static void authorised(struct session *session, const struct s2s_action *action,
                       enum trust trust)
{
    session->trust = trust < session->trust ? trust : session->trust;
    struct thread *thread = session->worker->thread;
    if (!count_partner(session, action->local, action->remote))
        return;
    xml_stream_set_stanza_size_max(session->xml, thread->config->stanza_size_max);
    session_watch(session);
    stats_count(thread->stats, STAT_SESSIONS_AUTHENTICATED);
    log_event(LOG_LEVEL_INFO, "session.authorised", 0, log_text("local", action->local),
              log_text("remote", action->remote),
              log_text("direction", session->outbound ? SPAN("out") : SPAN("in")));
}

/* Outbound: stanzas may go, behind those of a stream that is resumed. */
static void ready(struct session *session, struct s2s_action *action)
{
    action->local = s2s_domain_span(&session->out.local);
    action->remote = s2s_domain_span(&session->out.remote);
    authorised(session, action, session->trust);
    if (session->out.bidi)
        stats_count(session->worker->thread->stats, STAT_SESSIONS_BIDI);
    if (session->link != NULL && action->kind != S2S_READY)
        link_managed(session->link, action);
}

/* What the other side says of stream management on a stream of ours. */
static void managed(struct session *session, const struct s2s_action *action)
{
    if (action->kind == S2S_SM_ENABLED && session->out.bidi)
        intake_begin(session);
    if (session->link != NULL)
        link_managed(session->link, action);
}

/* Asks the worker that owns the link to the authority; the answer comes home by the ticket. */
static void ask_verify(struct session *session, const struct s2s_action *action)
{
    struct thread *thread = session->worker->thread;
    uint16_t *verifying = worker_verifying(session->worker, &session->site);
    struct parcel *parcel = NULL;
    if (*verifying < DIALBACK_CHECKS_PER_ADDRESS_MAX)
        parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL) {
        struct s2s_action refused = *action, ignored;
        char memory[2048];
        struct writer writer = writer_make(memory, sizeof(memory));
        refused.verdict = S2S_ERROR;
        refused.fault = STANZA_ERROR_RESOURCE_CONSTRAINT;
        session_tell_refused_claim(session, &refused);
        s2s_in_verified(&session->in, &refused, &writer, &ignored);
        if (!session_write(session, writer_span(&writer)))
            session_fail(session, SPAN("the connection cannot be written"));
        return;
    }
    parcel->kind = PARCEL_VERIFY;
    parcel->snapshot = thread->config->snapshot;
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
    parcel->peer = session->site;
    ++*verifying;
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
    /* The authority's stream may have stood since before the rules asked for more. */
    bool is_trusted = parcel->trust >= session_pair_rule(session, answer.local, answer.remote,
                                                         RULE_TRUST);
    bool is_confirmed = parcel->outcome.kind == OUTCOME_DELIVERED;
    if (is_confirmed && !is_trusted)
        answer.fault = STANZA_ERROR_NOT_AUTHORIZED; /* XEP-0220 §2.5 */
    if (is_confirmed && is_trusted)
        answer.verdict = S2S_VALID;
    else
        answer.verdict = answer.fault == STANZA_ERROR_FORBIDDEN ? S2S_INVALID : S2S_ERROR;
    if (answer.verdict != S2S_VALID)
        session_tell_refused_claim(session, &answer);
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct s2s_action action;
    s2s_in_verified(&session->in, &answer, &writer, &action);
    if (!session_write(session, writer_span(&writer))) {
        session_fail(session, SPAN("the connection cannot be written"));
        return;
    }
    if (action.kind == S2S_PAIR_AUTHORISED)
        authorised(session, &action, (enum trust)parcel->trust);
    else if (action.kind == S2S_CLOSE)
        session_close(session, action.error, action.text);
    session_flush(session);
}

static void restart(struct session *session, const struct s2s_action *action)
{
    xml_stream_restart(session->xml);
    if (!session->outbound)
        authorised(session, action, TRUST_PKIX);
}

static void start_tls(struct session *session)
{
    /* Nothing may stand behind <starttls/> or <proceed/> in clear (RFC 6120 §5.4.3.3). */
    struct xml_event behind;
    if (session_input(session).size > 0 ||
        xml_stream_next(session->xml, &behind) != XML_EVENT_NONE)
        session_fail(session, SPAN("plaintext behind STARTTLS"));
    else
        session_begin_tls(session);
}

static void on_close(struct session *session, const struct s2s_action *action)
{
    session->fault = action->fault;
    session->is_pairs_fault = !action->received || stream_error_is_about_from(action->error);
    session->cut = action->received || session->event.kind == XML_EVENT_CLOSE;
    if (session->event.kind == XML_EVENT_CLOSE)
        session->ended = true;
    if (!action->received) {
        session_close(session, action->error, action->text);
        return;
    }
    stats_count(session->worker->thread->stats, STAT_STREAM_ERRORS_RECEIVED);
    if (action->error == STREAM_ERROR_HOST_UNKNOWN || action->error == STREAM_ERROR_HOST_GONE)
        session->fault = STANZA_ERROR_REMOTE_SERVER_NOT_FOUND;
    /* In clear anybody on the way could say so. */
    if (session->link != NULL && session->tls != NULL && action->host.size > 0)
        link_see_other(session->link, action->host);
    struct span name = stream_error_name(action->error);
    snprintf(session->reason, sizeof(session->reason),
             "the remote server closed the stream: %.*s", (int)name.size, name.data);
    session_close(session, STREAM_ERROR_NONE, SPAN_NONE);
}

static void answer_verify(struct session *session, struct s2s_action *action)
{
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    bool valid = dialback_check(session->worker->thread->config->dialback_secret,
                                action->remote, action->local, action->id, action->key);
    action->verdict = valid ? S2S_VALID : S2S_INVALID;
    s2s_write_verified(&writer, action);
    if (writer.overflow)
        session_close(session, STREAM_ERROR_POLICY_VIOLATION, SPAN("the id is too long"));
    else if (!session_write(session, writer_span(&writer)))
        session_fail(session, SPAN("the connection cannot be written"));
}

static void send_key(struct session *session, const struct s2s_action *action)
{
    char memory[2048], key[DIALBACK_KEY_SIZE];
    struct writer writer = writer_make(memory, sizeof(memory));
    if (session->tls == NULL) {
        session_weigh(session);
        if (!session_judge(session))
            return;
    }
    dialback_key(session->worker->thread->config->dialback_secret, action->remote,
                 action->local, action->id, key);
    s2s_out_send_key(&session->out, span_of(key), &writer);
    if (!session_write(session, writer_span(&writer)))
        session_fail(session, SPAN("the connection cannot be written"));
}

/* False when the relay is full: the same event is to be handled again. */
static bool act(struct session *session, struct s2s_action *action)
{
    switch (action->kind) {
    case S2S_NOTHING: break;
    case S2S_START_TLS: start_tls(session); break;
    case S2S_RESTART: restart(session, action); break;
    case S2S_PAIR_AUTHORISED: authorised(session, action, TRUST_PKIX); break;
    case S2S_VERIFY: ask_verify(session, action); break;
    case S2S_ANSWER_VERIFY: answer_verify(session, action); break;
    case S2S_NEED_KEY: send_key(session, action); break;
    case S2S_VERIFIED:
        if (session->link != NULL)
            link_verified(session->link, action);
        break;
    case S2S_READY: ready(session, action); break;
    case S2S_STANZA: return relay_in_stanza(session, session->event.node);
    case S2S_SM_ENABLE: intake_enable(session, action); break;
    case S2S_SM_RESUME: intake_resume(session, action); break;
    case S2S_SM_REQUEST: intake_ask(session->intake); break;
    case S2S_SM_RESUMED:
    case S2S_SM_REFUSED: ready(session, action); break;
    case S2S_SM_ENABLED:
    case S2S_SM_ACKED:
    case S2S_SM_FAILED: managed(session, action); break;
    case S2S_UNSOLICITED:
    case S2S_PAIR_REFUSED: session_tell_refused_claim(session, action); break;
    case S2S_CLOSE: on_close(session, action); break;
    }
    return true;
}

static bool on_event(struct session *session)
{
    struct worker *worker = session->worker;
    struct writer writer = writer_make(worker->scratch, sizeof(worker->scratch));
    struct s2s_action action;
    session->active_ms = worker->thread->now_ms;
    if (session->state == SESSION_CLOSING)
        return session_late_event(session);
    if (session->event.kind == XML_EVENT_OPEN && !session->outbound) {
        if (session_moves(session))
            return false;
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
        session_fail(session, SPAN("the peer does not read"));
        return true;
    }
    if (session->link != NULL)
        link_saw(session->link, session, &action);
    /* Its header says whose rules hold. */
    if (session->event.kind == XML_EVENT_OPEN && !session_ready(session))
        session_expect(session);
    return act(session, &action);
}

static bool pump_stream(struct session *session)
{
    if (session->held) {
        session_unhold(session);
    } else if (xml_stream_next(session->xml, &session->event) == XML_EVENT_NONE) {
        return feed(session);
    }
    session->blank_size = 0;
    if (on_event(session))
        return true;
    session_hold(session);
    return false;
}

void session_pump(struct session *session)
{
    bool more = true;
    while (more) {
        switch (session->state) {
        case SESSION_PROXIED: more = session_proxy_read(session); break;
        case SESSION_HANDSHAKE: more = pump_handshake(session); break;
        case SESSION_OPEN: more = pump_stream(session); break;
        case SESSION_CLOSING: more = session->listening && pump_stream(session); break;
        case SESSION_CONNECTING:
        case SESSION_DROPPED: more = false; break;
        }
    }
    if (!session->held)
        xml_stream_rest(session->xml);
    session_flush(session);
}

void session_resume(struct session *session)
{
    assert(session->held);
    assert(session->state == SESSION_OPEN || session->listening);
    session_pump(session);
    if (session->held || session->state == SESSION_DROPPED)
        return;
    if (session->ended)
        session_ended(session, 0);
    else
        ring_resume(session->worker->thread->ring, session->handle);
}
