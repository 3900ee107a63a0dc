/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Stream management (XEP-0198) of the stanzas that a link sends. An acknowledgement says that
 * the other server has a stanza. It comes back on the link's own stream, while a refusal comes
 * on the other server's: only the answer to a ping, which comes there too, tells that there is
 * no refusal before it. So the ping decides between 200 and an error, and the acknowledgement
 * what is known when the answer does not come or the stream breaks.
 */
#include <assert.h>
#include <stdio.h>

#include "core/intake.h"
#include "core/link_priv.h"
#include "core/log.h"

bool link_is_counted(const struct session *session)
{
    return session->out.sm != S2S_OUT_SM_OFF;
}

uint32_t link_unacked(const struct link *link)
{
    return sm_unacked(&link->sm.sender);
}

bool link_is_settled(const struct link *link)
{
    return link_unacked(link) == 0 && (!link->ready || link_queue_is_empty(link));
}

uint32_t link_sm_sent(struct link *link)
{
    return link_is_counted(link->session) ? link->sm.sender.sent++ : 0;
}

void link_sm_ask(struct link *link)
{
    char memory[64];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct link_sm *sm = &link->sm;
    /* Who acknowledged less than was asked about says the rest when it knows more. */
    bool is_new = sm->asked_at != sm->sender.sent;
    if (!link_is_counted(link->session) || sm->asked || !is_new || link_unacked(link) == 0)
        return;
    sm_write_request(&writer);
    if (!session_write(link->session, writer_span(&writer)))
        return;
    sm->asked = true;
    sm->asked_at = sm->sender.sent;
}

uint64_t link_sm_shed_ms(const struct link *link)
{
    const struct parcel *parcel = link->fleeting.head;
    if (link->session == NULL || parcel == NULL || !link_is_counted(link->session) ||
        parcel->connection > link->session->sending_total)
        return UINT64_MAX;
    return parcel->born_ms + link->confirm_timeout_ms;
}

void link_sm_shed(struct link *link)
{
    uint64_t due_ms = link_sm_shed_ms(link);
    while (due_ms <= link->worker->thread->now_ms ||
           (due_ms != UINT64_MAX && link->fleeting.count > SM_UNACKED_LOOSE_MAX)) {
        link_finish(link, link_pop(&link->fleeting), OUTCOME_HANDED_OVER);
        due_ms = link_sm_shed_ms(link);
    }
}

bool link_sm_acked(struct link *link, uint32_t h)
{
    struct link_sm *sm = &link->sm;
    struct session *session = link->session;
    uint32_t before = sm->sender.acked;
    if (!sm_acknowledge(&sm->sender, h)) {
        struct s2s_action close;
        s2s_close_too_high(&close, &session->out.detail, h, sm->sender.sent);
        session_close(session, close.error, close.text);
        return false;
    }
    stats_add(link->worker->thread->stats, STAT_SM_ACKED, h - before);
    sm->asked = false;
    while (link->fleeting.head != NULL && sm_is_acked(&sm->sender, link->fleeting.head->number))
        link_finish(link, link_pop(&link->fleeting), OUTCOME_DELIVERED);
    session_flush(session);
    return true;
}

static void enabled(struct link *link, const struct sm_element *element)
{
    struct link_sm *sm = &link->sm;
    stats_count(link->worker->thread->stats, STAT_SM_STREAMS);
    log_event(LOG_LEVEL_DEBUG, "session.managed", 0,
              log_text("local", s2s_domain_span(&link->local)),
              log_text("remote", s2s_domain_span(&link->remote)),
              log_text("direction", SPAN("out")));
    if (!element->resume || element->id.size == 0 || element->id.size >= sizeof(sm->id))
        return;
    memcpy(sm->id, element->id.data, element->id.size);
    sm->id[element->id.size] = '\0';
    sm->max_s = element->max_s;
}

void link_managed(struct link *link, const struct s2s_action *action)
{
    assert(link->magic == LINK_MAGIC);
    if (action->kind == S2S_SM_ENABLED) {
        enabled(link, &action->sm);
    } else if (action->kind == S2S_SM_ACKED) {
        link_sm_acked(link, action->sm.h);
    } else if (action->kind == S2S_SM_FAILED) {
        link->sm = (struct link_sm){.asked = false};
    } else {
        link_resumed(link, action);
    }
}

void link_sm_end(struct link *link)
{
    stats_add(link->worker->thread->stats, STAT_SM_LOST, link_unacked(link));
    intake_close(&link->sm.intake);
    link->sm = (struct link_sm){.asked = false};
}
