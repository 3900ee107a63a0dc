/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The clock of a session: how long it may take to prove itself, how long it may say nothing,
   when its peer's certificate ends; and the blanks that keep its connection alive. */
#include "core/session_priv.h"

#include "core/log.h"
#include "net/certificate.h"
#include "net/clock.h"

uint32_t session_rule(const struct session *session, enum rule rule)
{
    const struct config *config = session->worker->thread->config;
    const struct s2s_domain *local =
        session->outbound ? &session->out.local : &session->in.local;
    const struct s2s_domain *remote =
        session->outbound ? &session->out.remote : &session->in.remote;
    struct rules_stack rules = config_rules(
        config, config_find_tenant(config, s2s_domain_span(local)), s2s_domain_span(remote));
    return rules_value(&rules, rule);
}

/* When the certificate that proves the peer ends, on the clock of timers. */
static uint64_t expiry_ms(const struct session *session)
{
    struct certificate certificate;
    size_t size = 0;
    const uint8_t *der =
        session->tls != NULL ? tls_peer_certificate(session->tls, &size) : NULL;
    if (der == NULL || !tls_peer_verified(session->tls, NULL) ||
        certificate_read(&certificate, der, size) != 0 || certificate.not_after <= 0)
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

void session_watch(struct session *session)
{
    struct thread *thread = session->worker->thread;
    uint32_t interval_ms = session_rule(session, RULE_KEEPALIVE_INTERVAL);
    uint64_t end_ms = session->active_ms + session_rule(session, RULE_IDLE_TIMEOUT);
    if (session->expires_ms == UINT64_MAX)
        session->expires_ms = expiry_ms(session);
    end_ms = earlier(end_ms, earlier(session->retires_ms, session->expires_ms));
    if (interval_ms > 0)
        end_ms = earlier(end_ms, session->kept_alive_ms + interval_ms);
    timer_arm(&thread->timers, &session->timer, end_ms);
}

/* RFC 6120 §4.6.1: a blank between stanzas, when nothing else was sent for a whole interval;
   not within a restart of the stream, where none may stand (§6.3.5). */
static void keep_alive(struct session *session)
{
    uint64_t now_ms = session->worker->thread->now_ms;
    uint32_t interval_ms = session_rule(session, RULE_KEEPALIVE_INTERVAL);
    if (interval_ms == 0 || now_ms < session->kept_alive_ms + interval_ms)
        return;
    bool is_silent = session->written_total == session->kept_alive_total;
    bool is_restarting = !session->outbound && session->in.state == S2S_IN_HEADER;
    session->kept_alive_ms = now_ms;
    if (is_silent && !is_restarting && session_write(session, SPAN(" "))) {
        stats_count(session->worker->thread->stats, STAT_KEEPALIVES);
        session_flush(session);
    }
    session->kept_alive_total = session->written_total;
}

void session_timer(struct session *session)
{
    struct thread *thread = session->worker->thread;
    if (session->held && session->state == SESSION_OPEN)
        session->active_ms = thread->now_ms; /* it is we who are slow */
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
    } else {
        keep_alive(session);
        session_watch(session);
    }
}
