/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A managed stream of a link that broke goes on over a new connection (XEP-0198 §5). Until then
 * what was written and has no outcome waits at the head of the queue, in its order and with its
 * numbers, and ends there when it is too late or refused. The other side says how much it has;
 * the rest is written again in its place: who acknowledges late knows by the place what it has
 * seen. In the place of what needs no repetition, a ping or a stanza that has its outcome,
 * there is a ping. What is written again is not measured anew (XEP-0478): it fitted its stream,
 * and one that takes less now ends by it.
 *
 * One round of tries is made, at once; when no stream comes of it, or one that does not resume,
 * it is over. A stream that the partner opened (link_adopt.c) only the partner can resume: it
 * has a while for that. A <location/> that the other side prefers is not followed: DNS and the partner's
 * configuration say where its server is.
 */
#include <assert.h>

#include "core/intake.h"
#include "core/link_priv.h"
#include "core/log.h"

/* For the partner to come again and resume its stream, before another one is opened. */
#define AWAIT_MS 10000

/* Does the other side keep the stream, or do we for it, and can what is missing be written again?
 */
static bool is_resumable(const struct link *link)
{
    const struct link_sm *sm = &link->sm;
    bool is_kept = sm->adopted != 0
                       ? intake_keep_sender(link->worker, sm->adopted, &sm->sender)
                       : sm->id[0] != '\0';
    return is_kept && link_unacked(link) <= SM_RESEND_MAX;
}

/* The next stanza of the stream that broke, while there is one in the queue. */
static struct parcel *first_again(const struct link *link)
{
    struct parcel *parcel = link->queue.head;
    return parcel != NULL && parcel->is_again ? parcel : NULL;
}

/* Takes the one that was written first of what has no outcome; NULL: there is none. */
static struct parcel *pop_written(struct link *link)
{
    struct parcel_list *one = &link->unconfirmed, *two = &link->fleeting;
    bool is_two = one->head == NULL || (two->head != NULL && sm_is_before(two->head->number,
                                                                          one->head->number));
    return link_pop(is_two ? two : one);
}

void link_resume_later(struct link *link, struct session *session)
{
    struct thread *thread = link->worker->thread;
    struct parcel_list again = {NULL, NULL, 0};
    struct link_sm *sm = &link->sm;
    struct parcel *parcel;
    link->pinging = false;
    link->covered = 0;
    while ((parcel = pop_written(link)) != NULL) {
        parcel->is_again = true;
        parcel->has_left |= parcel->connection <= session->sending_total;
        link_push(&again, parcel);
    }
    link_prepend(&link->queue, &again);
    sm->is_broken = true;
    sm->again = 0;
    sm->until_ms = sm->max_s > 0 ? thread->now_ms + 1000ull * sm->max_s : UINT64_MAX;
    if (sm->adopted != 0)
        sm->until_ms = thread->now_ms + AWAIT_MS;
    if (session->outbound && session->broken && sm->intake == NULL)
        sm->intake = intake_detach(session);
    /* The other side cannot resume it, so that we do for its stanzas, too. */
    bool is_missed = first_again(link) != NULL || sm->intake != NULL;
    if (!session->broken || !is_resumable(link) || !is_missed)
        link_resume_end(link);
}

struct span link_resume_id(const struct link *link)
{
    const struct link_sm *sm = &link->sm;
    bool is_due = sm->is_broken && link->worker->thread->now_ms < sm->until_ms;
    return is_due ? span_of(sm->id) : SPAN_NONE;
}

static void log_resumed(const struct link *link, uint32_t h)
{
    log_event(LOG_LEVEL_DEBUG, "session.resumed", 0,
              log_text("local", s2s_domain_span(&link->local)),
              log_text("remote", s2s_domain_span(&link->remote)),
              log_text("direction", SPAN("out")), log_number("handled", h),
              log_number("again", link->sm.again));
}

/* What the other side has is delivered unless it says otherwise before the answer to a ping. */
static void keep_acked(struct link *link)
{
    struct parcel *parcel;
    while ((parcel = first_again(link)) != NULL &&
           sm_is_acked(&link->sm.sender, parcel->number)) {
        link_pop(&link->queue);
        parcel->is_again = false;
        parcel->connection = 0;
        if (parcel->wants_outcome)
            link_push(&link->unconfirmed, parcel);
        else
            link_finish(link, parcel, OUTCOME_DELIVERED);
    }
}

void link_resumed(struct link *link, const struct s2s_action *action)
{
    struct link_sm *sm = &link->sm;
    assert(sm->is_broken);
    bool is_told = action->kind == S2S_SM_RESUMED || action->sm.has_h;
    bool is_sane = !is_told || link_sm_acked(link, action->sm.h);
    if (action->kind != S2S_SM_RESUMED || !is_sane) {
        link_resume_end(link);
        return;
    }
    sm->is_broken = false;
    intake_attach(&sm->intake, link->session);
    sm->again = link_unacked(link);
    sm->asked_at = sm->sender.acked;
    keep_acked(link);
    stats_count(link->worker->thread->stats, STAT_SM_RESUMED);
    log_resumed(link, action->sm.h);
}

void link_resume_adopted(struct link *link)
{
    struct link_sm *sm = &link->sm;
    const struct intake *intake = link->session->intake;
    bool is_same = sm->is_broken && sm->adopted != 0 && sm->adopted == intake_ticket(intake);
    if (sm->is_broken && !is_same)
        link_resume_end(link);
    *sm = (struct link_sm){.asked = false};
    if (!session_counts(link->session))
        return;
    sm->adopted = intake_ticket(intake);
    sm->sender = intake_sender(intake);
    sm->again = link_unacked(link);
    sm->asked_at = sm->sender.acked;
    if (is_same)
        keep_acked(link);
}

bool link_awaits(const struct link *link)
{
    return link->sm.is_broken && link->sm.adopted != 0;
}

void link_resume_write(struct link *link)
{
    struct link_sm *sm = &link->sm;
    while (sm->again > 0 && session_has_room(link->session)) {
        const struct parcel *parcel = first_again(link);
        bool is_here = parcel != NULL && parcel->number == sm->sender.sent - sm->again;
        if (is_here ? !link_write(link) : link_write_ping(link) == 0)
            return;
        sm->again--;
        stats_count(link->worker->thread->stats, STAT_SM_RESENT);
    }
}

void link_resume_end(struct link *link)
{
    struct parcel_list fresh = {NULL, NULL, 0};
    struct parcel *parcel;
    while ((parcel = first_again(link)) != NULL) {
        link_pop(&link->queue);
        if (sm_is_acked(&link->sm.sender, parcel->number)) {
            link_finish(link, parcel, OUTCOME_DELIVERED);
        } else if (parcel->has_left) {
            /* It is our responsibility: its sender is told (XEP-0198 §4). */
            link_finish_failed(link, parcel, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                               span_of(link->reason));
        } else {
            parcel->is_again = false; /* no byte of it has left: it goes as a new one */
            link_push(&fresh, parcel);
        }
    }
    link_prepend(&link->queue, &fresh);
    link_sm_end(link);
}
