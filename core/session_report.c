/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a session ends up in the log and in `show sess`. */
#include <inttypes.h>

#include "core/intake.h"
#include "core/link.h"
#include "core/session_priv.h"
#include "core/trouble.h"

static void put_pair(FILE *out, const struct s2s_domain *from, const struct s2s_domain *to,
                     bool is_authorised)
{
    if (from->size == 0 && to->size == 0)
        fputc('-', out);
    else
        fprintf(out, is_authorised ? "%s>%s" : "(%s>%s)", from->text, to->text);
}

static void put_pairs(FILE *out, const struct session *session)
{
    const struct s2s_in *in = &session->in;
    if (session->outbound) {
        put_pair(out, &session->out.local, &session->out.remote,
                 session->out.state == S2S_OUT_READY);
        if (session->out.bidi) {
            fputc(',', out);
            put_pair(out, &session->out.remote, &session->out.local, session->out.proved);
        }
        return;
    }
    for (unsigned i = 0; i < in->pair_count; i++) {
        if (i > 0)
            fputc(',', out);
        put_pair(out, &in->pairs[i].remote, &in->pairs[i].local, in->pairs[i].authorised);
    }
    if (in->bidi && in->pair_count > 0) {
        fputc(',', out);
        put_pair(out, &in->local, &in->remote, session->link != NULL);
    }
    if (in->pair_count == 0)
        put_pair(out, &in->remote, &in->local, false);
}

bool session_concerns(const struct session *session, struct span partner)
{
    const struct s2s_in *in = &session->in;
    if (partner.data == NULL)
        return true;
    if (session->outbound)
        return session_hears_from(session, partner);
    bool is_named = span_equal(s2s_domain_span(&in->remote), partner);
    for (unsigned i = 0; i < in->pair_count && !is_named; i++)
        is_named = span_equal(s2s_domain_span(&in->pairs[i].remote), partner);
    return is_named;
}

void session_report(const struct session *session, FILE *out)
{
    static const char *const states[] = {"connecting", "proxied", "handshake",
                                         "open",       "closing", "gone"};
    uint64_t now_ms = session->worker->thread->now_ms;
    char peer[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&session->peer, peer);
    const char *auth = !session_ready(session)        ? "none"
                       : session_is_external(session) ? "external"
                                                      : "dialback";
    const char *trust = session_ready(session) ? trust_name(session->trust) : "-";
    bool has_tls = session->tls != NULL && session->state == SESSION_OPEN;
    fprintf(out, "%u\t%s\t%s\t%s\t%s\t",
            session->worker->thread->self - 1, /* as the thread is named */
            session->outbound ? "out" : "in", peer, session_local(session)->text,
            session_remote(session)->text);
    put_pairs(out, session);
    fprintf(out,
            "\t%s\t%s\t%s\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64
            "\t%zu\t%s\t%" PRIu32,
            states[session->state], auth, trust,
            has_tls ? tls_protocol_name(session->tls) : "-",
            has_tls ? tls_cipher_name(session->tls) : "-", (now_ms - session->opened_ms) / 1000,
            (now_ms - session->active_ms) / 1000, (now_ms - session->heard_ms) / 1000,
            session->stanzas_in, session->stanzas_out, session_output_size(session),
            session_is_managed(session) ? "on" : "-",
            (session->link != NULL ? link_unacked(session->link) : 0) +
                intake_open_count(session->intake));
    if (session->link != NULL)
        link_report(session->link, out);
    else
        fputs("\t-\t-\t-", out);
    fputc('\n', out);
}

/* Who came in and was turned away. What a stranger says of itself does not make a row of its
   own: that is by its address. */
static void tell_refused(const struct session *session)
{
    struct thread *thread = session->worker->thread;
    bool is_known = session_ready(session);
    const struct s2s_in *in = &session->in;
    const struct config_tenant *tenant =
        config_find_tenant(thread->config, s2s_domain_span(&in->local));
    char reason[512], host[NET_ADDRESS_TEXT_SIZE];
    net_address_format_host(&session->peer, host);
    snprintf(reason, sizeof(reason), "%s%s: %s",
             in->remote.size > 0 ? in->remote.text : "A server that did not say its name",
             is_known || in->remote.size == 0 ? "" : " (as it says)", session->reason);
    stats_error(thread->stats,
                &(struct stats_trouble){.event = "session.close",
                                        .tenant = config_tenant_name(tenant),
                                        .partner = is_known ? s2s_domain_span(&in->remote)
                                                            : span_of(host),
                                        .reason = span_of(reason)});
}

void session_tell_refused_claim(const struct session *session, const struct s2s_action *action)
{
    struct thread *thread = session->worker->thread;
    const struct config_tenant *tenant = config_find_tenant(thread->config, action->local);
    char reason[256], host[NET_ADDRESS_TEXT_SIZE];
    net_address_format_host(&session->peer, host);
    if (action->kind == S2S_UNSOLICITED)
        snprintf(reason, sizeof(reason), "%s answers a dialback request that nobody made", host);
    else if (action->verdict == S2S_INVALID)
        snprintf(reason, sizeof(reason),
                 "%s claims to be it, and its own server calls the dialback key invalid", host);
    else
        snprintf(reason, sizeof(reason), "a dialback request of %s for %.*s is refused: %.*s", host,
                 (int)action->local.size, action->local.data,
                 (int)stanza_error_name(action->fault).size,
                 stanza_error_name(action->fault).data);
    stats_count(thread->stats, STAT_DIALBACK_REFUSED);
    trouble_tell(thread, LOG_LEVEL_INFO,
                 &(struct stats_trouble){
                     .event = "dialback.refused",
                     .tenant = config_tenant_name(tenant),
                     .partner = action->remote.size > 0 ? action->remote : span_of(host),
                     .reason = span_of(reason)});
}

void session_log_refusal(const union net_address *peer, struct span reason)
{
    char text[NET_ADDRESS_TEXT_SIZE];
    net_address_format(peer, text);
    log_event(LOG_LEVEL_DEBUG, "session.refused", 0, log_text("peer", span_of(text)),
              log_text("reason", reason));
}

void session_log_end(const struct session *session, enum stream_error error)
{
    char peer[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&session->peer, peer);
    log_event(LOG_LEVEL_INFO, "session.close", 0, log_text("peer", span_of(peer)),
              log_text("direction", session->outbound ? SPAN("out") : SPAN("in")),
              log_text("local", s2s_domain_span(session_local(session))),
              log_text("remote", s2s_domain_span(session_remote(session))),
              log_text("error", stream_error_name(error)),
              log_text("reason", span_of(session->reason)));
    bool is_trouble =
        error != STREAM_ERROR_NONE || (!session_ready(session) && !session->is_check);
    if (!session->outbound && !session->worker->draining && is_trouble)
        tell_refused(session);
}
