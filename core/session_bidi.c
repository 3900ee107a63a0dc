/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the peer may send on a stream. On one that it opened: for each pair of domains that it
 * has proved there. On one that we opened: nothing, unless the stream goes both ways
 * (XEP-0288); then for the inverse of its one pair, once we are authenticated. That our peer is
 * the server of `remote` is as sure as if it had come and proved itself by dialback: DNS leads
 * to it, and what its certificate must say by the rules was judged before the stream began
 * (session_judge).
 */
#include "core/session_priv.h"

#include "core/link_priv.h"

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
    out->bidi_wanted = session->link->probe == NULL && session_rule(session, RULE_BIDI) != 0 &&
                       !link_choice_is_heard(session->link) && may_come(proofs, is_certified);
    out->bidi_unmanaged = out->bidi_wanted && !loses_acks;
}

bool session_may_hear(const struct session *session)
{
    return !session->out.bidi ||
           may_come(proofs_in(session),
                    session_certified(session, s2s_domain_span(&session->out.remote)));
}
