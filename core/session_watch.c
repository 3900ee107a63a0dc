/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The clock of a session: how long it may take to prove itself, how long it may say nothing,
   when its peer's certificate ends; and the blanks that keep its connection alive, ours and
   those that are wanted of the peer. */
#include "core/session_priv.h"

#include "core/intake.h"
#include "core/log.h"
#include "net/certificate.h"
#include "net/clock.h"

#define SPEAK_MIN_MS 5000 /* no blanks faster than that, whatever a peer says */

uint32_t session_pair_rule(const struct session *session, struct span local,
                           struct span remote, enum rule rule)
{
    const struct config *config = session->worker->thread->config;
    struct rules_stack rules = config_rules(config, config_find_tenant(config, local), remote);
    return rules_value(&rules, rule);
}

uint32_t session_rule(const struct session *session, enum rule rule)
{
    return session_pair_rule(session, s2s_domain_span(session_local(session)),
                             s2s_domain_span(session_remote(session)), rule);
}

/* When the certificate that proves the peer ends, on the clock of timers. */
static uint64_t expiry_ms(const struct session *session)
{
    struct certificate certificate;
    if (!session_read_leaf(session, &certificate) || !tls_peer_verified(session->tls, NULL) ||
        certificate.not_after <= 0)
        return UINT64_MAX;
    int64_t left_ms = certificate.not_after * 1000 - (int64_t)clock_wall_ms();
    return session->worker->thread->now_ms + (left_ms > 0 ? (uint64_t)left_ms : 0);
}

void session_expect(struct session *session)
{
    uint64_t end_ms = session->opened_ms + session_rule(session, RULE_NEGOTIATION_TIMEOUT);
    uint64_t now_ms = session->worker->thread->now_ms;
    session_arm(session, end_ms > now_ms ? end_ms - now_ms : 0);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the peer is to hear of us again: at the latest an interval of the rules after we last
   spoke, or half the time after which it ends streams on which we are silent (XEP-0478).
   UINT64_MAX: never. */
static uint64_t speak_ms(const struct session *session)
{
    uint64_t interval_ms = session_rule(session, RULE_KEEPALIVE_INTERVAL);
    uint32_t idle_seconds =
        session->outbound ? session->out.idle_seconds : session->in.idle_seconds;
    if (idle_seconds > 0) {
        uint64_t half_ms = (uint64_t)idle_seconds * 1000 / 2;
        half_ms = half_ms > SPEAK_MIN_MS ? half_ms : SPEAK_MIN_MS;
        interval_ms = interval_ms > 0 ? earlier(interval_ms, half_ms) : half_ms;
    }
    return interval_ms > 0 ? session->spoke_ms + interval_ms : UINT64_MAX;
}

/* When we shall have waited too long for the peer to say anything, be it a blank. UINT64_MAX:
   never. Streams of ours are not his to keep alive; what is not read may be behind. */
static uint64_t silent_ms(const struct session *session)
{
    uint64_t demand_ms = session_rule(session, RULE_KEEPALIVE_DEMAND);
    if (session->outbound || session->muted || demand_ms == 0)
        return UINT64_MAX;
    uint64_t heard_ms =
        session->heard_ms > session->unheld_ms ? session->heard_ms : session->unheld_ms;
    return heard_ms + demand_ms;
}

void session_watch(struct session *session)
{
    struct thread *thread = session->worker->thread;
    uint64_t end_ms = session->active_ms + session_rule(session, RULE_IDLE_TIMEOUT);
    end_ms = earlier(end_ms, silent_ms(session));
    if (session->expires_ms == UINT64_MAX)
        session->expires_ms = expiry_ms(session);
    end_ms = earlier(end_ms, earlier(session->retires_ms, session->expires_ms));
    end_ms = earlier(end_ms, session->settles_ms);
    timer_arm(&thread->timers, &session->timer, earlier(end_ms, speak_ms(session)));
}

/* RFC 6120 §4.6.1: a blank between stanzas; not within a restart of the stream, where none may
   stand (§6.3.5). */
static void keep_alive(struct session *session)
{
    bool is_restarting = !session->outbound && session->in.state == S2S_IN_HEADER;
    if (session->worker->thread->now_ms < speak_ms(session))
        return;
    session->spoke_ms = session->worker->thread->now_ms; /* no room: there is more to say */
    if (!is_restarting && session_write(session, SPAN(" "))) {
        stats_count(session->worker->thread->stats, STAT_KEEPALIVES);
        session_flush(session);
    }
}

/* RFC 6120 §4.6.2: the peer is taken to be gone. It may come back and resume a stream that was not
   closed (XEP-0198 §5). */
static void give_up(struct session *session)
{
    struct span text = SPAN("no sign of life for the time of keepalive_demand_ms");
    stats_count(session->worker->thread->stats, STAT_KEEPALIVES_MISSED);
    if (intake_is_resumable(session->intake))
        session_fail(session, text);
    else
        session_close(session, STREAM_ERROR_CONNECTION_TIMEOUT, text);
}

void session_timer(struct session *session)
{
    struct thread *thread = session->worker->thread;
    if (session->held && session->state == SESSION_OPEN)
        session->active_ms = session->heard_ms = thread->now_ms; /* it is we who are slow */
    if (session->state == SESSION_CLOSING && session->listening) {
        session_end(session);
    } else if (session->state == SESSION_CLOSING) {
        session_drop(session);
    } else if (session->state == SESSION_CONNECTING) {
        session_fail(session, SPAN("the connection attempt timed out"));
    } else if (!session_ready(session)) {
        session_close(session, STREAM_ERROR_CONNECTION_TIMEOUT,
                      SPAN("negotiation took too long"));
    } else if (thread->now_ms >= session->expires_ms) {
        /* RFC 6120 §4.9.3.16: what authenticated the stream is no longer valid. */
        session_close(session, STREAM_ERROR_RESET, SPAN("the certificate has expired"));
    } else if (thread->now_ms >= session->retires_ms) {
        session_close(session, STREAM_ERROR_NONE, SPAN("this pair is no longer served"));
    } else if (thread->now_ms >=
               session->active_ms + session_rule(session, RULE_IDLE_TIMEOUT)) {
        session_close(session, STREAM_ERROR_NONE, SPAN("idle"));
    } else if (thread->now_ms >= silent_ms(session)) {
        give_up(session);
    } else {
        keep_alive(session);
        session_offer(session);
        session_watch(session);
    }
}
