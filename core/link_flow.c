/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What goes over the stream of a link, and how the relay knows what became of it. */
#include "core/link_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"

void link_finish(struct link *link, struct parcel *parcel, enum outcome_kind kind)
{
    struct thread *thread = link->worker->thread;
    assert(parcel->magic == PARCEL_MAGIC);
    if (link->spread != NULL)
        link_choice_leave(link, parcel);
    parcel->outcome.kind = kind;
    mesh_return(thread->mesh, thread->self, &parcel);
}

void link_finish_failed(struct link *link, struct parcel *parcel, enum stanza_error error,
                        struct span text)
{
    parcel->outcome.fault = (struct stanza_fault){.error = error};
    parcel->outcome.fault.text = parcel_copy(parcel, text);
    link_finish(link, parcel, OUTCOME_FAILED);
}

void link_fail_list(struct link *link, struct parcel_list *list, enum stanza_error error)
{
    for (struct parcel *parcel = link_pop(list); parcel != NULL; parcel = link_pop(list))
        link_finish_failed(link, parcel, error, span_of(link->reason));
}

/* Nothing is left to do: neither a stream nor a question nor a parcel. */
static bool is_unused(const struct link *link)
{
    return link->state == LINK_IDLE && link->session == NULL && link_waiting(link) == 0 &&
           link->asked.head == NULL && link->unconfirmed.head == NULL &&
           link->fleeting.head == NULL && link->asker == NULL;
}

void link_arm(struct link *link)
{
    struct thread *thread = link->worker->thread;
    const struct parcel *waiting[] = {link->queue.head, link->later.head, link->verify.head,
                                      link->asked.head};
    uint64_t deadline = link->race.next_ms;
    if (link->pinging && link->ping_deadline_ms < deadline)
        deadline = link->ping_deadline_ms;
    if (link->probe != NULL)
        return; /* its time is the probe's business */
    link_queue_show(link);
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
        if (waiting[i] == NULL)
            continue;
        uint64_t end = waiting[i]->born_ms + link->deliver_timeout_ms;
        deadline = end < deadline ? end : deadline;
    }
    if (link_awaits(link) && link->sm.until_ms < deadline)
        deadline = link->sm.until_ms;
    uint64_t shed_ms = link_sm_shed_ms(link);
    deadline = shed_ms < deadline ? shed_ms : deadline;
    if (deadline == UINT64_MAX && is_unused(link))
        deadline = link->forget_ms;
    if (deadline == UINT64_MAX)
        timer_disarm(&thread->timers, &link->timer);
    else if (link->timer.position == 0 || deadline < link->timer.deadline_ms)
        timer_arm(&thread->timers, &link->timer, deadline);
}

static void write_verify(struct link *link)
{
    while (link->verify.head != NULL && session_has_room(link->session)) {
        struct parcel *parcel = link_pop(&link->verify);
        struct s2s_action pair = {.local = parcel->from.domain,
                                  .remote = parcel->to.domain,
                                  .id = parcel->stream_id,
                                  .key = parcel->bytes};
        struct writer writer =
            writer_make(link->worker->scratch, sizeof(link->worker->scratch));
        s2s_write_verify(&writer, &pair);
        if (writer.overflow || !session_write(link->session, writer_span(&writer)))
            link_finish_failed(link, parcel, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                               SPAN("The link is full"));
        else
            link_push(&link->asked, parcel);
    }
}

static void finish_sent(struct link *link, uint64_t sent)
{
    while (link->fleeting.head != NULL && link->fleeting.head->connection <= sent)
        link_finish(link, link_pop(&link->fleeting), OUTCOME_HANDED_OVER);
}

/* From now on its time counts that it may stay unacknowledged. */
static void keep_fleeting(struct link *link, struct parcel *parcel)
{
    parcel->born_ms = link->worker->thread->now_ms;
    link_push(&link->fleeting, parcel);
}

/* The peer would end the stream for it (XEP-0478 §3): its sender is told instead. */
static bool refuse_long(struct link *link)
{
    char text[100];
    struct parcel *parcel = link->queue.head;
    uint32_t max = session_max_bytes(link->session);
    if (max == 0 || parcel->bytes.size <= max)
        return false;
    (void)snprintf(text, sizeof(text), "The remote server takes no more than %" PRIu32 " bytes",
                   max);
    link_pop(&link->queue);
    link_finish_failed(link, parcel, STANZA_ERROR_POLICY_VIOLATION, span_of(text));
    return true;
}

bool link_write(struct link *link)
{
    struct session *session = link->session;
    struct parcel *parcel = link->queue.head;
    if (!session_write(session, parcel->bytes))
        return false;
    link_pop(&link->queue);
    if (link->spread != NULL)
        link_choice_wrote(link, parcel);
    session->stanzas_out++;
    log_event(LOG_LEVEL_DEBUG, "xmpp.written", parcel->trace,
              log_text("local", parcel->from.domain), log_text("remote", parcel->to.domain),
              log_text("id", parcel->stanza_id));
    session->active_ms = link->worker->thread->now_ms;
    stats_count(link->worker->thread->stats, STAT_XMPP_STANZAS_SENT);
    parcel->connection = session->written_total;
    parcel->number = parcel->is_again ? parcel->number : link_sm_sent(link);
    parcel->is_again = false;
    if (parcel->wants_answer)
        link_push(&link->asked, parcel);
    else if (parcel->wants_outcome)
        link_push(&link->unconfirmed, parcel);
    else
        keep_fleeting(link, parcel);
    return true;
}

/* How it was found is of no interest any more. */
void link_become_ready(struct link *link)
{
    link->ready = true;
    link->failures = 0;
    link->sent_away = false;
    free(link->answer);
    link->answer = NULL;
    link_pace_begin(&link->pace, link->session->written_total);
}

static void write_waiting(struct link *link)
{
    bool goes_on = true;
    struct link_hearing hearing = {0};
    while (goes_on && !link_queue_is_empty(link) && link_has_room(link, &hearing)) {
        link_queue_choose(link);
        goes_on = refuse_long(link) || link_write(link);
    }
}

void link_pump(struct link *link)
{
    struct session *session = link->session;
    assert(link->magic == LINK_MAGIC);
    if (session == NULL || session->state != SESSION_OPEN)
        return;
    /* The peer may hold its db:result until we have verified its own: never wait for ours. */
    if (session->outbound &&
        (session->out.state == S2S_OUT_RESULT || session->out.state == S2S_OUT_READY))
        write_verify(link);
    if (!session_carries(session)) {
        link_arm(link);
        return;
    }
    if (link->probe != NULL) {
        link_breaker_worked(link);
        session_close(session, STREAM_ERROR_NONE, SPAN("it was only asked whether it works"));
        return;
    }
    if (!link->ready) {
        link_breaker_worked(link);
        link_become_ready(link);
    }
    if (link->sm.is_broken)
        link_resume_end(link);
    if (session_counts(session))
        link_sm_shed(link);
    else
        finish_sent(link, session->sending_total);
    link_resume_write(link);
    if (link->sm.again == 0) {
        write_waiting(link);
        link_ping(link);
        link_sm_ask(link);
    }
    link_arm(link);
    if (link_choice_is_surplus(link))
        session_close(session, STREAM_ERROR_NONE, SPAN("fewer streams are wanted by now"));
}

void link_verified(struct link *link, const struct s2s_action *action)
{
    struct parcel *previous = NULL;
    for (struct parcel *parcel = link->asked.head; parcel != NULL; parcel = parcel->next) {
        if (parcel->kind == PARCEL_VERIFY && span_equal(parcel->from.domain, action->local) &&
            span_equal(parcel->to.domain, action->remote) &&
            span_equal(parcel->stream_id, action->id)) {
            link_unhook(&link->asked, previous, parcel);
            parcel->trust = (uint8_t)link->session->trust;
            if (action->verdict == S2S_VALID)
                link_finish(link, parcel, OUTCOME_DELIVERED);
            else
                /* XEP-0220 §2.2.2: an error of the authority is remote-server-not-found. */
                link_finish_failed(link, parcel,
                                   action->verdict == S2S_INVALID
                                       ? STANZA_ERROR_FORBIDDEN
                                       : STANZA_ERROR_REMOTE_SERVER_NOT_FOUND,
                                   SPAN("The authoritative server did not confirm the key"));
            return;
        }
        previous = parcel;
    }
    stats_count(link->worker->thread->stats, STAT_DIALBACK_REFUSED);
}

static void finish_covered(struct link *link, enum outcome_kind kind)
{
    for (; link->covered > 0; link->covered--)
        link_finish(link, link_pop(&link->unconfirmed), kind);
    link->pinging = false;
    if (link->session != NULL &&
        (link->unconfirmed.count + link_waiting(link) > 0 || link_choice_is_surplus(link)))
        session_flush(link->session);
}

static struct span stanza_id(const struct parcel *parcel)
{
    if (parcel->stanza_id.size > 0)
        return parcel->stanza_id;
    /* Written by ourselves, so the start tag is known: id='…' before the first '>'. */
    struct span tag = span_to(parcel->bytes, span_find(parcel->bytes, '>'));
    for (; tag.size > 5; tag = span_from(tag, 1)) {
        if (span_starts(tag, SPAN(" id='"))) {
            struct span rest = span_from(tag, 5);
            return span_to(rest, span_find(rest, '\''));
        }
    }
    return SPAN_NONE;
}

static void finish_refused(struct link *link, struct parcel *parcel, const struct parcel *word)
{
    parcel->outcome.fault = word->outcome.fault;
    parcel->outcome.fault.type = parcel_copy(parcel, word->outcome.fault.type);
    parcel->outcome.fault.text = parcel_copy(parcel, word->outcome.fault.text);
    parcel->outcome.fault.address = parcel_copy(parcel, word->outcome.fault.address);
    parcel->outcome.fault.by = parcel_copy(parcel, word->outcome.fault.by);
    link_finish(link, parcel, OUTCOME_FAILED);
}

/* Perhaps it is the answer to a request of this link, a result or an error. */
static bool answered(struct link *link, const struct parcel *word)
{
    struct parcel *previous = NULL;
    for (struct parcel *parcel = link->asked.head; parcel != NULL; parcel = parcel->next) {
        if (parcel->wants_answer && span_equal(parcel->stanza_id, word->stanza_id) &&
            span_equal(parcel->to.local, word->to.local)) {
            link_unhook(&link->asked, previous, parcel);
            if (word->outcome.kind == OUTCOME_FAILED)
                finish_refused(link, parcel, word);
            else
                link_finish(link, parcel, OUTCOME_DELIVERED);
            return true;
        }
        previous = parcel;
    }
    return false;
}

/* Fails the parcel of `list` that the error is about; its position, or UINT_MAX. In the queue
   only those were sent that are to be sent again. */
static unsigned refuse_one(struct link *link, struct parcel_list *list,
                           const struct parcel *word)
{
    struct parcel *previous = NULL;
    unsigned position = 0;
    for (struct parcel *parcel = list->head; parcel != NULL; parcel = parcel->next) {
        if (list == &link->queue && !parcel->is_again)
            break;
        if (span_equal(stanza_id(parcel), word->stanza_id) &&
            span_equal(parcel->to.local, word->to.local)) {
            link_unhook(list, previous, parcel);
            finish_refused(link, parcel, word);
            return position;
        }
        previous = parcel;
        position++;
    }
    return UINT_MAX;
}

/* Perhaps it is about a message of this link. */
static bool confirm_error(struct link *link, const struct parcel *word)
{
    unsigned position = refuse_one(link, &link->unconfirmed, word);
    if (position == UINT_MAX)
        return refuse_one(link, &link->queue, word) != UINT_MAX;
    link->covered -= position < link->covered;
    return true;
}

/* Perhaps it answers a ping of this link. A late answer says no more what became of messages,
 * but still how far they were read. */
static bool pinged_back(struct link *link, uint64_t ping, uint64_t read_ms)
{
    if (!link_ping_is_known(link, ping))
        return false;
    link_ping_answered(link, ping, read_ms);
    if (link->pinging && ping == link->ping)
        finish_covered(link, OUTCOME_DELIVERED);
    else if (link->session != NULL && link_waiting(link) > 0)
        session_flush(link->session);
    return true;
}

/* False: it is not about anything of this link. */
static bool heard(struct link *link, const struct parcel *word)
{
    if (word->outcome.kind == OUTCOME_FAILED && !word->wants_answer)
        return confirm_error(link, word);
    /* An error answers a ping as well as a result does (XEP-0199 §4.2). */
    uint64_t ping = link_ping_read(word->stanza_id);
    return ping == 0 ? answered(link, word) : pinged_back(link, ping, word->born_ms);
}

void link_confirm(struct worker *worker, const struct parcel *word)
{
    struct link *link = link_find(worker, word->from.domain, word->to.domain);
    while (word->stanza_id.size > 0 && link != NULL && !heard(link, word))
        link = link_next(link);
}

/* Its stream is over, and it was we who ended it or nothing was counted. */
static void lost(struct link *link, const struct session *session, struct parcel *parcel,
                 struct parcel_list *again)
{
    if (parcel->connection > session->sending_total && !parcel->has_left)
        link_push(again, parcel); /* no byte of it has left: the next stream takes it */
    else if (session_counts(session) && sm_is_acked(&link->sm.sender, parcel->number))
        link_finish(link, parcel, OUTCOME_DELIVERED);
    else if (parcel->connection <= session->sent_total || !parcel->wants_outcome)
        link_finish(link, parcel, OUTCOME_HANDED_OVER);
    else
        link_finish_failed(link, parcel, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                           span_of(link->reason));
}

void link_unconfirmed_lost(struct link *link, const struct session *session)
{
    struct parcel_list again = {NULL, NULL, 0};
    struct parcel *parcel;
    link->pinging = false;
    link->covered = 0;
    while ((parcel = link_pop(&link->unconfirmed)) != NULL)
        lost(link, session, parcel, &again);
    while ((parcel = link_pop(&link->fleeting)) != NULL)
        lost(link, session, parcel, &again);
    link_prepend(&link->queue, &again);
    link_sm_end(link);
}

/* How many there were. */
static unsigned expire(struct link *link, struct parcel_list *list, struct span text)
{
    struct thread *thread = link->worker->thread;
    unsigned count = 0;
    for (; list->head != NULL &&
           list->head->born_ms + link->deliver_timeout_ms <= thread->now_ms;
         count++)
        link_finish_failed(link, link_pop(list), STANZA_ERROR_REMOTE_SERVER_TIMEOUT, text);
    return count;
}

/* No word came in time. What was acknowledged is delivered; else what the kernel took is handed
   over. What it could not take is not, and a peer that has not read for as long as a delivery
   may take is given up. */
static void confirm_late(struct link *link)
{
    struct session *session = link->session;
    struct thread *thread = link->worker->thread;
    for (; link->covered > 0; link->covered--) {
        struct parcel *parcel = link->unconfirmed.head;
        bool is_acked =
            session_counts(session) && sm_is_acked(&link->sm.sender, parcel->number);
        if (parcel->connection > session->sent_total)
            break;
        link_finish(link, link_pop(&link->unconfirmed),
                    is_acked ? OUTCOME_DELIVERED : OUTCOME_HANDED_OVER);
    }
    link->sm.asked = false; /* and asked again with the next stanza */
    link_ping_late(link);
    if (link->covered == 0)
        finish_covered(link, OUTCOME_HANDED_OVER);
    else if (link->unconfirmed.head->born_ms + link->deliver_timeout_ms <=
             thread->now_ms)
        session_stalled(session);
    else
        link->ping_deadline_ms = thread->now_ms + link->confirm_timeout_ms;
}

void link_timer(struct link *link)
{
    assert(link->magic == LINK_MAGIC);
    const struct span late = link->ready
                                 ? SPAN("The remote server takes what waits for it too slowly")
                                 : SPAN("The remote server did not become reachable in time");
    unsigned expired = expire(link, &link->queue, late) + expire(link, &link->later, late);
    stats_add(link->worker->thread->stats, STAT_XMPP_QUEUE_EXPIRED, expired);
    (void)expire(link, &link->verify, late);
    (void)expire(link, &link->asked, SPAN("The remote server did not answer in time"));
    if (link->pinging && link->worker->thread->now_ms >= link->ping_deadline_ms)
        confirm_late(link);
    if (link->worker->thread->now_ms >= link->race.next_ms)
        link_race_next(link);
    if (link_awaits(link) && link->worker->thread->now_ms >= link->sm.until_ms)
        link_await_end(link);
    link_sm_shed(link);
    if (link_is_stalled(link))
        session_stalled(link->session);
    else if (link_is_lost(link))
        session_close(link->session, STREAM_ERROR_CONNECTION_TIMEOUT,
                      SPAN("your server answers no pings any more"));
    if (is_unused(link) && link->worker->thread->now_ms >= link->forget_ms)
        link_close(link);
    else
        link_arm(link);
}
