/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/intake.h"

#include <assert.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/session_priv.h"

#define INTAKE_MAGIC 0x494e544bu
#define TELL_EVERY   32 /* a peer that never asks is told so often */

struct intake {
    uint32_t magic;
    struct worker *worker;
    struct session *session;
    struct table_node by_ticket; /* what receipts name */
    uint64_t ticket;
    struct sm_receiver receiver;
    bool asked;        /* <r/> waits for its answer */
    uint32_t told;     /* the last h */
    uint32_t asked_at; /* what was received at the last <r/> */
};

static struct intake *make(struct session *session)
{
    struct worker *worker = session->worker;
    struct intake *intake = calloc(1, sizeof(*intake));
    if (intake == NULL)
        return NULL;
    intake->magic = INTAKE_MAGIC;
    intake->worker = worker;
    intake->session = session;
    intake->ticket = ++worker->ticket_next;
    table_add(&worker->intakes, &intake->by_ticket, intake->ticket, intake);
    return intake;
}

static struct intake *find(struct worker *worker, uint64_t ticket)
{
    struct table_node *node = table_find(&worker->intakes, ticket);
    return node != NULL ? node->owner : NULL;
}

static void log_managed(const struct session *session)
{
    stats_count(session->worker->thread->stats, STAT_SM_STREAMS);
    log_event(LOG_LEVEL_DEBUG, "session.managed", 0,
              log_text("local", s2s_domain_span(&session->in.local)),
              log_text("remote", s2s_domain_span(&session->in.remote)),
              log_text("direction", SPAN("in")));
}

void intake_enable(struct session *session, const struct s2s_action *action)
{
    char memory[256];
    struct writer writer = writer_make(memory, sizeof(memory));
    assert(action->kind == S2S_SM_ENABLE);
    assert(session->intake == NULL);
    session->intake = make(session);
    if (session->intake != NULL)
        s2s_in_sm_enabled(&session->in, &writer, SPAN_NONE, 0);
    else
        sm_write_failed(&writer, STANZA_ERROR_RESOURCE_CONSTRAINT);
    if (session->intake != NULL)
        log_managed(session);
    if (!session_write(session, writer_span(&writer)))
        session_stalled(session);
}

void intake_close(struct intake **closed)
{
    struct intake *intake = *closed;
    *closed = NULL;
    if (intake == NULL)
        return;
    assert(intake->magic == INTAKE_MAGIC);
    table_remove(&intake->worker->intakes, &intake->by_ticket);
    intake->magic = 0;
    free(intake);
}

bool intake_has_room(const struct intake *intake)
{
    return intake == NULL || sm_has_room(&intake->receiver);
}

uint32_t intake_open_count(const struct intake *intake)
{
    return intake != NULL ? sm_open(&intake->receiver) : 0;
}

struct receipt intake_take(struct intake *intake)
{
    if (intake == NULL)
        return (struct receipt){0, 0};
    assert(intake->magic == INTAKE_MAGIC);
    return (struct receipt){intake->ticket, sm_receive(&intake->receiver)};
}

/* Numbers wrap: is `number` before `other`? */
static bool is_before(uint32_t number, uint32_t other)
{
    return number != other && other - number < UINT32_MAX / 2;
}

/* When what was open at the last question is known, when nothing is open any more, and else now
   and then: not with each outcome. */
static bool is_due(const struct intake *intake)
{
    uint32_t handled = intake->receiver.handled;
    if (intake->asked)
        return true;
    return handled != intake->told &&
           (sm_open(&intake->receiver) == 0 || handled - intake->told >= TELL_EVERY ||
            (is_before(intake->told, intake->asked_at) &&
             !is_before(handled, intake->asked_at)));
}

void intake_settle(struct worker *worker, struct receipt receipt)
{
    struct intake *intake = receipt.intake != 0 ? find(worker, receipt.intake) : NULL;
    if (intake == NULL)
        return;
    assert(intake->magic == INTAKE_MAGIC);
    sm_settle(&intake->receiver, receipt.number);
    if (is_due(intake))
        session_flush(intake->session);
    if (sm_has_room(&intake->receiver))
        session_widen(intake->session);
}

void intake_ask(struct intake *intake)
{
    assert(intake->magic == INTAKE_MAGIC);
    intake->asked = true;
    intake->asked_at = intake->receiver.received;
    session_flush(intake->session);
}

void intake_tell(struct intake *intake, bool last)
{
    char memory[96];
    struct writer writer = writer_make(memory, sizeof(memory));
    assert(intake->magic == INTAKE_MAGIC);
    if (intake->session->ended)
        return; /* nobody hears it, and a reset would take what is still unread */
    if (!is_due(intake) && !(last && intake->told != intake->receiver.handled))
        return;
    sm_write_answer(&writer, intake->receiver.handled);
    if (!session_write(intake->session, writer_span(&writer)))
        return;
    intake->asked = false;
    intake->told = intake->receiver.handled;
}
