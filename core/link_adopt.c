/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A stream that the partner has opened and that goes both ways (XEP-0288) is as good for a link
 * as one of its own, when the partner has proved itself on it as a server must that we call. So
 * the link asks DNS as ever, for TLSA records are the last word on certificates, and before it
 * connects it looks whether there is such a stream. A stream of its own that is good for stanzas
 * is never given up for one; one that is not yet is.
 *
 * Nobody is asked about a dialback key on a stream that he has opened (XEP-0288 §2.2 forbids the
 * one the key came on, Prosody answers on none): beside such a stream a link has another link,
 * the asker, that carries db:verify and nothing else.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/breaker.h"
#include "core/link_priv.h"
#include "core/log.h"

static const struct span outdone =
    SPAN("the other server has opened a stream that goes both ways");

/* Does it need a stream of its own, for what can go over no other: db:verify, and what is to be
   resumed? */
static bool is_bound(const struct link *link)
{
    if (link->sm.is_broken && link->sm.adopted == 0)
        return true;
    for (const struct parcel *parcel = link->asked.head; parcel != NULL; parcel = parcel->next)
        if (parcel->kind == PARCEL_VERIFY)
            return true;
    return link->verify.head != NULL;
}

static void stop_own(struct link *link)
{
    struct session *session = link->session;
    link_race_stop(link, outdone);
    link->session = NULL;
    if (session == NULL)
        return;
    session->link = NULL;
    session_close(session, STREAM_ERROR_NONE, outdone);
}

bool link_adopt(struct link *link)
{
    struct worker *worker = link->worker;
    struct span local = s2s_domain_span(&link->local), remote = s2s_domain_span(&link->remote);
    assert(!link->ready);
    assert(link->answer != NULL);
    bool is_one_of_several = link->spread != NULL && !link_awaits(link);
    /* What DNS says of another host, that a server has named, does not tell who may call. */
    if (link->probe != NULL || link->asks_for != NULL || link->elsewhere || is_one_of_several ||
        is_bound(link))
        return false;
    struct session *session = session_find_both_ways(worker, local, remote);
    if (session == NULL || !session_may_carry(session, link->answer, &session->shown))
        return false;
    stop_own(link);
    link_uncount(link);
    link->session = session;
    session->link = link;
    link->state = LINK_CONNECTING;
    link_become_ready(link);
    link_resume_adopted(link);
    session->in.is_uncounted = !session->in.sm_on;
    breaker_undecided(worker->breakers, remote, link->node.hash, worker->thread->now_ms);
    stats_count(worker->thread->stats, STAT_SESSIONS_ADOPTED);
    log_event(LOG_LEVEL_DEBUG, "session.adopted", 0, log_text("local", local),
              log_text("remote", remote),
              log_text("trust", span_of(trust_name(session->shown))));
    session_flush(session);
    link_arm(link);
    return true;
}

void link_offered(struct worker *worker, struct span local, struct span remote)
{
    struct link *link = link_find(worker, local, remote);
    if (link == NULL || link->ready || worker->draining)
        return;
    link->backoff_until_ms = 0; /* its partner lives */
    if (session_find_both_ways(worker, local, remote) == NULL && link_holds(link))
        return;
    if (link->state == LINK_CONNECTING && link->answer != NULL)
        (void)link_adopt(link);
    else if (link->state == LINK_IDLE && link_wants_stream(link))
        link_start(link);
}

bool link_holds(const struct link *link)
{
    if (link->probe != NULL || link->asks_for != NULL || is_bound(link))
        return false;
    return link_awaits(link) ||
           (link->spread == NULL &&
            session_is_settling(link->worker, s2s_domain_span(&link->local),
                                s2s_domain_span(&link->remote)));
}

void link_await_end(struct link *link)
{
    link_resume_end(link);
    if (link->state == LINK_IDLE && link->session == NULL && link_wants_stream(link) &&
        !link_holds(link))
        link_start(link);
}

struct link *link_asker(struct link *link)
{
    bool is_free = link->session == NULL || link->session->outbound;
    if (link->asker != NULL || (is_free && !link_awaits(link)))
        return link->asker != NULL ? link->asker : link;
    struct link *asker =
        link_make(link->worker, s2s_domain_span(&link->local), s2s_domain_span(&link->remote));
    if (asker == NULL)
        return NULL;
    asker->asks_for = link;
    asker->node.hash = link->node.hash; /* to the breaker it is the same pair */
    link->asker = asker;
    stats_count(link->worker->thread->stats, STAT_LINKS_OPENED);
    return asker;
}

void link_asker_close(struct link *link)
{
    struct link *asker = link->asker;
    if (link->asks_for != NULL) {
        link->asks_for->asker = NULL;
        link_arm(link->asks_for);
    }
    if (asker == NULL)
        return;
    link->asker = NULL;
    asker->asks_for = NULL;
    if (link->worker->resolver != NULL)
        resolver_forget(link->worker->resolver, asker);
    link_close(asker);
}
