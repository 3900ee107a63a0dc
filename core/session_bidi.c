/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What may be sent on a stream, and by whom. On one that the peer opened, by the peer: for each
 * pair of domains that it has proved there; by us: nothing, unless it goes both ways (XEP-0288),
 * then for the inverse of the pair in its header. On one that we opened, by the peer:
 * nothing, unless it goes both ways; then for the inverse of its one pair, once we are
 * authenticated. That our peer is the server of `remote` is as sure as if it had come and
 * proved itself by dialback: DNS leads to it, and what its certificate must say by the rules was
 * judged before the stream began (session_judge).
 */
#include "core/session_priv.h"

#include "core/intake.h"
#include "core/link_priv.h"

/* So long a peer that has just proved itself may keep silent before stanzas of ours go: it may
   want them acknowledged, or resume a stream. Prosody sends first what has waited. */
#define SETTLE_MS 2000
#define SPOKEN_MS 200
#define RESUME_MS 10000 /* … where there is something to resume, from its connection on */

bool session_hears(const struct session *session, struct span local, struct span remote)
{
    if (!session->outbound)
        return s2s_in_authorised(&session->in, local, remote);
    return session_hears_from(session, remote) &&
           span_equal(s2s_domain_span(&session->out.local), local);
}

bool session_hears_from(const struct session *session, struct span remote)
{
    if (!session->outbound)
        return s2s_in_authorised_remote(&session->in, remote);
    return session->out.bidi && session->out.proved &&
           span_equal(s2s_domain_span(&session->out.remote), remote);
}

bool session_hears_one(const struct session *session)
{
    return session->outbound || session->in.pair_count == 1;
}

struct span session_lang(const struct session *session)
{
    return span_of(session->outbound ? session->out.lang : session->in.lang);
}

bool session_is_leaving(const struct session *session)
{
    return session->state == SESSION_CLOSING || session->retires_ms != UINT64_MAX;
}

/* How the peer might prove itself on a stream of its own. */
static unsigned proofs_in(const struct session *session)
{
    return worker_pair_proofs_in(session->worker, s2s_domain_span(&session->out.local),
                                 s2s_domain_span(&session->out.remote));
}

/* Would it be let in there with what it has proved here? By dialback, which asks what
   session_judge has asked already, or by the certificate of the domain. */
static bool may_come(unsigned proofs, bool is_certified)
{
    return (proofs & S2S_PROOF_DIALBACK) != 0 ||
           ((proofs & S2S_PROOF_EXTERNAL) != 0 && is_certified);
}

void session_want_bidi(struct session *session)
{
    struct s2s_out *out = &session->out;
    unsigned proofs = proofs_in(session);
    bool is_certified = session_certified(session, s2s_domain_span(&out->remote));
    /* On a stream of its own that a certificate proves the peer has its stanzas acknowledged
       (XEP-0198), as they cannot be here where we have to prove ourselves by dialback. */
    bool loses_acks = is_certified && (proofs & S2S_PROOF_EXTERNAL) != 0 &&
                      session->worker->thread->config->stream_management;
    out->bidi_wanted = session->link->probe == NULL && session->link->asks_for == NULL &&
                       session_rule(session, RULE_BIDI) != 0 &&
                       !link_choice_is_heard(session->link) && may_come(proofs, is_certified);
    out->bidi_unmanaged = out->bidi_wanted && !loses_acks;
}

bool session_may_hear(const struct session *session)
{
    return !session->out.bidi ||
           may_come(proofs_in(session),
                    session_certified(session, s2s_domain_span(&session->out.remote)));
}

bool session_may_go_both_ways(const struct session *session)
{
    unsigned proofs = worker_pair_proofs(session->worker, s2s_domain_span(&session->in.local),
                                         s2s_domain_span(&session->in.remote));
    return session_rule(session, RULE_BIDI) != 0 && session_rule(session, RULE_STREAMS) == 1 &&
           (proofs & S2S_PROOF_TLS) != 0;
}

/* A moment for <enable/> or <resume/>: all of it while nothing was said, or while there is
   something to resume; less behind a stanza. */
static bool is_settled(struct session *session)
{
    uint64_t now_ms = session->worker->thread->now_ms, before_ms = session->settles_ms;
    bool is_silent = session->stanzas_in == 0;
    bool may_resume = is_silent && now_ms < session->opened_ms + RESUME_MS;
    if (!s2s_in_sm_may_come(&session->in))
        return true;
    if (before_ms == UINT64_MAX || (may_resume && intake_is_awaited(session)))
        session->settles_ms = now_ms + SETTLE_MS;
    if (!is_silent && session->settles_ms > now_ms + SPOKEN_MS)
        session->settles_ms = now_ms + SPOKEN_MS;
    if (session->settles_ms != before_ms)
        session_watch(session);
    return now_ms >= session->settles_ms;
}

void session_offer(struct session *session)
{
    struct worker *worker = session->worker;
    struct span local = s2s_domain_span(&session->in.local);
    struct span remote = s2s_domain_span(&session->in.remote);
    if (session->outbound || session->is_settled || session->state != SESSION_OPEN ||
        !s2s_in_is_both_ways(&session->in) || !thread_owns_pair(worker->thread, local, remote))
        return; /* … or its link lives elsewhere */
    if (session->by_pair.owner == NULL) {
        table_add(&worker->both_ways, &session->by_pair, link_pair_hash(local, remote), session);
        stats_count(worker->thread->stats, STAT_SESSIONS_BIDI);
    }
    if (!is_settled(session))
        return;
    session->is_settled = true;
    session->settles_ms = UINT64_MAX;
    link_offered(worker, local, remote);
}

void session_withdraw(struct session *session)
{
    if (session->by_pair.owner == NULL)
        return;
    table_remove(&session->worker->both_ways, &session->by_pair);
    if (!session->is_settled)
        link_offered(session->worker, s2s_domain_span(&session->in.local),
                     s2s_domain_span(&session->in.remote));
}

/* The first of the pair from `node` on. */
static struct session *first_of(struct table_node *node, struct span local, struct span remote)
{
    for (; node != NULL; node = table_next(node)) {
        struct session *session = node->owner;
        if (span_equal(s2s_domain_span(&session->in.local), local) &&
            span_equal(s2s_domain_span(&session->in.remote), remote))
            return session;
    }
    return NULL;
}

struct session *session_find_both_ways(const struct worker *worker, struct span local,
                                       struct span remote)
{
    struct session *found = NULL;
    struct session *session =
        first_of(table_find(&worker->both_ways, link_pair_hash(local, remote)), local, remote);
    for (; session != NULL;
         session = first_of(table_next(&session->by_pair), local, remote))
        if (session->is_settled && session->link == NULL && session_carries(session) &&
            (found == NULL || session->ticket > found->ticket))
            found = session;
    return found;
}

bool session_is_settling(const struct worker *worker, struct span local, struct span remote)
{
    const struct session *session =
        first_of(table_find(&worker->both_ways, link_pair_hash(local, remote)), local, remote);
    while (session != NULL && session->is_settled)
        session = first_of(table_next(&session->by_pair), local, remote);
    return session != NULL;
}

bool session_carries(const struct session *session)
{
    return session->state == SESSION_OPEN &&
           (session->outbound ? session->out.state == S2S_OUT_READY
                              : s2s_in_is_both_ways(&session->in));
}

bool session_counts(const struct session *session)
{
    return session->outbound ? session->out.sm != S2S_OUT_SM_OFF
                             : session->in.bidi && session->in.sm_on;
}

uint32_t session_max_bytes(const struct session *session)
{
    return session->outbound ? session->out.max_bytes : session->in.max_bytes;
}

struct s2s_detail *session_detail(struct session *session)
{
    return session->outbound ? &session->out.detail : &session->in.detail;
}
