/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What another configuration means for the links and streams of a worker. Nothing of them
 * points into a snapshot; but a pair of domains may be served no longer, or only with a better
 * proof. Then an incoming stream gets our closing tag: what the peer has on its way is still
 * heard, and what is for others on the same stream comes again over another one. An outgoing
 * one, or one that goes both ways and that a link has taken, closes a little later: it brings
 * home the errors for what was under way.
 */
#include <assert.h>

#include "core/breaker.h"
#include "core/link_priv.h"
#include "core/log.h"
#include "core/reload.h"
#include "core/session_priv.h"

#define RETIRE_MS 4000 /* longer than an incoming stream is heard after its closing tag */

static const struct span retired = SPAN("this pair of domains is no longer served");

/* May the pair go on as it has proved itself? A better proof than the policy wants now is as
   good. */
static bool is_served(const struct session *session, struct span local, struct span remote,
                      unsigned proof)
{
    unsigned this_or_weaker = 2 * proof - 1;
    unsigned proofs = session->outbound ? worker_pair_proofs(session->worker, local, remote)
                                        : worker_pair_proofs_in(session->worker, local, remote);
    if ((proofs & this_or_weaker) == 0)
        return false;
    return session->trust >= session_pair_rule(session, local, remote, RULE_TRUST);
}

/* Another reload gives it no more time. */
static void retire(struct session *session)
{
    if (session->retires_ms == UINT64_MAX)
        session->retires_ms = session->worker->thread->now_ms + RETIRE_MS;
    session_watch(session);
}

/* May all its pairs go on? */
static bool is_served_in(const struct session *session)
{
    const struct s2s_in *in = &session->in;
    for (unsigned i = 0; i < in->pair_count; i++) {
        const struct s2s_pair *pair = &in->pairs[i];
        if (pair->authorised && !is_served(session, s2s_domain_span(&pair->local),
                                           s2s_domain_span(&pair->remote), pair->proof))
            return false;
    }
    return session->link == NULL || session_may_speak_as(session, session->shown);
}

static void reload_in(struct session *session)
{
    if (is_served_in(session))
        session->retires_ms = UINT64_MAX; /* its tenant may have come back */
    else if (session->link != NULL)
        retire(session);
    else
        session_close(session, STREAM_ERROR_NONE, retired);
}

static void reload_out(struct session *session)
{
    struct s2s_out *out = &session->out;
    struct span local = s2s_domain_span(&out->local), remote = s2s_domain_span(&out->remote);
    unsigned proofs = worker_pair_proofs(session->worker, local, remote);
    unsigned proof = session_is_external(session) ? S2S_PROOF_EXTERNAL
                     : session->tls != NULL       ? S2S_PROOF_DIALBACK
                                                  : S2S_PROOF_CLEAR;
    if (out->state == S2S_OUT_READY) {
        if (is_served(session, local, remote, proof) && session_may_hear(session)) {
            session->retires_ms = UINT64_MAX; /* its tenant may have come back */
            return;
        }
        retire(session);
    } else if (proofs == S2S_PROOF_NONE || (out->proofs & ~proofs) != 0 ||
               session->trust < session_rule(session, RULE_TRUST)) {
        /* Begun under other rules: the link begins again, if it still may. */
        if (session->link != NULL)
            link_race_again(session->link, session);
        session_fail(session, retired);
    }
}

static void reload_session(struct session *session)
{
    bool is_alive = session->state == SESSION_CONNECTING ||
                    session->state == SESSION_HANDSHAKE || session->state == SESSION_OPEN;
    if (is_alive && session->outbound)
        reload_out(session);
    else if (is_alive)
        reload_in(session);
}

void worker_reload(struct worker *worker)
{
    struct thread *thread = worker->thread;
    struct reload_offer *offer = thread->offer;
    if (offer == NULL || offer->config == NULL || offer->config == thread->config)
        return;
    thread->config = offer->config;
    if (offer->context != NULL)
        tls_store_renew(&worker->tls, &offer->context);
    breaker_reset(worker->breakers); /* what was wrong may be mended */
    /* New ones stand at the head of the list, and none is freed before the ring lets go of it.
     */
    struct session *session;
    TAILQ_FOREACH(session, &worker->sessions, all)
    reload_session(session);
    for (size_t i = 0; i < worker->links.size; i++) {
        const struct table_node *node = worker->links.chains[i];
        for (; node != NULL; node = node->next)
            link_reload(node->owner);
    }
    log_event(LOG_LEVEL_DEBUG, "reload.taken", 0,
              log_number("snapshot", thread->config->snapshot));
}
