/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/intake.h"

#include <assert.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/session_priv.h"
#include "net/digest.h"

#define INTAKE_MAGIC     0x494e544bu
#define TELL_EVERY       32 /* a peer that never asks is told so often */
/* A question may wait so long for the outcomes it is about: in full flow each answer is a packet,
   and an answer that is early says nothing new (XEP-0198 §4). */
#define ANSWER_MS        20
#define ID_SIZE          32 /* 128 random bits in hex */
#define PAIR_WAITING_MAX 4  /* broken streams that are kept of one pair */

struct intake {
    uint32_t magic;
    struct worker *worker;
    struct session *session;     /* NULL: the stream broke */
    struct table_node by_ticket; /* what receipts name */
    struct table_node by_id;     /* in the table while it can be resumed */
    TAILQ_ENTRY(intake) waiting; /* without a session */
    struct timer timer;
    char id[ID_SIZE];
    struct s2s_domain local, remote; /* whose stream it is */
    uint32_t seen_left;              /* of the next stanzas so many were here before */
    uint64_t ticket;
    struct sm_receiver receiver;
    struct sm_sender sender; /* of our stanzas, while no link has it */
    bool asked;          /* <r/> waits for its answer … */
    uint64_t answer_ms;  /* … by then */
    uint32_t told;       /* the last h */
    uint32_t asked_at;   /* what was received at the last <r/> */
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
    intake->local = *session_local(session);
    intake->remote = *session_remote(session);
    intake->timer.kind = WORKER_TIMER_INTAKE;
    intake->timer.owner = intake;
    table_add(&worker->intakes, &intake->by_ticket, intake->ticket, intake);
    return intake;
}

static uint64_t id_hash(struct span id)
{
    return thread_hash(0, id);
}

static void make_resumable(struct intake *intake)
{
    uint8_t random[ID_SIZE / 2];
    struct writer writer = writer_make(intake->id, sizeof(intake->id));
    digest_random(random, sizeof(random));
    writer_put_hex(&writer, random, sizeof(random));
    assert(writer.used == ID_SIZE);
    table_add(&intake->worker->intakes_by_id, &intake->by_id, id_hash(writer_span(&writer)),
              intake);
}

bool intake_is_resumable(const struct intake *intake)
{
    return intake != NULL && intake->by_id.owner != NULL;
}

static struct span id_of(const struct intake *intake)
{
    return span_make(intake->id, intake_is_resumable(intake) ? ID_SIZE : 0);
}

static struct intake *find(struct worker *worker, uint64_t ticket)
{
    struct table_node *node = table_find(&worker->intakes, ticket);
    return node != NULL ? node->owner : NULL;
}

static void log_managed(const struct session *session, bool is_resumed)
{
    log_event(LOG_LEVEL_DEBUG, is_resumed ? "session.resumed" : "session.managed", 0,
              log_text("local", s2s_domain_span(&session->in.local)),
              log_text("remote", s2s_domain_span(&session->in.remote)),
              log_text("direction", SPAN("in")));
}

void intake_begin(struct session *session)
{
    assert(session->intake == NULL);
    session->intake = make(session);
    if (session->intake == NULL)
        session_fail(session, SPAN("there is no memory for stream management"));
}

void intake_enable(struct session *session, const struct s2s_action *action)
{
    char memory[256];
    struct writer writer = writer_make(memory, sizeof(memory));
    assert(action->kind == S2S_SM_ENABLE);
    assert(session->intake == NULL);
    session->intake = make(session);
    unsigned timeout_ms = session->worker->thread->config->resume_timeout_ms;
    if (session->intake != NULL && action->sm.resume && timeout_ms > 0)
        make_resumable(session->intake);
    if (session->intake != NULL)
        s2s_in_sm_enabled(&session->in, &writer, id_of(session->intake),
                          (timeout_ms + 999) / 1000);
    else
        sm_write_failed(&writer, STANZA_ERROR_RESOURCE_CONSTRAINT);
    if (session->intake != NULL) {
        stats_count(session->worker->thread->stats, STAT_SM_STREAMS);
        log_managed(session, false);
    }
    if (!session_write(session, writer_span(&writer)))
        session_stalled(session);
}

/* Only for who proved the same names: an id that leaked is of no use to others. */
static struct intake *find_resumable(const struct session *session, struct span id)
{
    const struct s2s_in *in = &session->in;
    struct table_node *node = table_find(&session->worker->intakes_by_id, id_hash(id));
    for (; node != NULL; node = table_next(node)) {
        struct intake *intake = node->owner;
        if (!span_equal(id_of(intake), id))
            continue;
        struct span local = s2s_domain_span(&intake->local);
        struct span remote = s2s_domain_span(&intake->remote);
        bool is_same = span_equal(s2s_domain_span(&in->local), local) &&
                       span_equal(s2s_domain_span(&in->remote), remote) &&
                       s2s_in_authorised(in, local, remote);
        bool is_free = intake->session == NULL || intake->session->state == SESSION_OPEN;
        return is_same && is_free ? intake : NULL;
    }
    return NULL;
}

static void leave_list(struct intake *intake)
{
    if (intake->session != NULL)
        return;
    timer_disarm(&intake->worker->thread->timers, &intake->timer);
    TAILQ_REMOVE(&intake->worker->waiting_intakes, intake, waiting);
    intake->worker->waiting_intake_count--;
}

/* The peer sends again what is behind the h that it was told last. */
static void move(struct intake *intake, struct session *session)
{
    assert(session->intake == NULL);
    intake->session = session;
    session->intake = intake;
    intake->asked = false;
    intake->seen_left = intake->receiver.received - intake->told;
}

struct intake *intake_detach(struct session *session)
{
    struct intake *intake = session->intake;
    session->intake = NULL;
    if (intake == NULL)
        return NULL;
    intake->session = NULL;
    timer_disarm(&intake->worker->thread->timers, &intake->timer);
    return intake;
}

uint32_t intake_handled(const struct intake *intake)
{
    return intake != NULL ? intake->receiver.handled : 0;
}

void intake_attach(struct intake **detached, struct session *session)
{
    struct intake *intake = *detached;
    *detached = NULL;
    if (intake == NULL)
        return;
    intake->told = session->out.sm_handled;
    move(intake, session);
}

uint64_t intake_ticket(const struct intake *intake)
{
    return intake != NULL ? intake->ticket : 0;
}

struct sm_sender intake_sender(const struct intake *intake)
{
    return intake->sender;
}

bool intake_keep_sender(struct worker *worker, uint64_t ticket, const struct sm_sender *sender)
{
    struct intake *intake = find(worker, ticket);
    if (intake == NULL || intake->session != NULL)
        return false;
    intake->sender = *sender;
    return true;
}

static void close_too_high(struct session *session, uint32_t h, uint32_t sent)
{
    struct s2s_action close;
    s2s_close_too_high(&close, session_detail(session), h, sent);
    session_close(session, close.error, close.text);
}

void intake_acked(struct session *session, uint32_t h)
{
    struct sm_sender *sender = &session->intake->sender;
    if (!sm_acknowledge(sender, h))
        close_too_high(session, h, sender->sent);
}

/* It belongs to no session now; the one that had it goes. */
static void take_away(struct intake *intake)
{
    struct session *former = intake->session;
    leave_list(intake);
    intake->session = NULL;
    if (former == NULL)
        return;
    former->intake = NULL;
    session_yield(former);
    session_close(former, STREAM_ERROR_CONFLICT, SPAN("the stream was resumed"));
}

void intake_resume(struct session *session, const struct s2s_action *action)
{
    char memory[256];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct stats *stats = session->worker->thread->stats;
    struct intake *intake = find_resumable(session, action->sm.id);
    if (intake == NULL) {
        stats_count(stats, STAT_SM_RESUME_REFUSED);
        sm_write_failed(&writer, STANZA_ERROR_ITEM_NOT_FOUND);
    } else {
        session->is_settled = false; /* no link takes it before it has what was resumed */
        take_away(intake);
        if (session->in.bidi && !sm_acknowledge(&intake->sender, action->sm.h)) {
            close_too_high(session, action->sm.h, intake->sender.sent);
            intake_close(&intake);
            return;
        }
        intake->told = intake->receiver.handled;
        s2s_in_sm_resumed(&session->in, &writer, id_of(intake), intake->told);
        move(intake, session);
        stats_count(stats, STAT_SM_RESUMED);
        log_managed(session, true);
    }
    if (!session_write(session, writer_span(&writer)))
        session_stalled(session);
}

static void forget(struct intake *intake)
{
    log_event(LOG_LEVEL_DEBUG, "session.forgotten", 0,
              log_text("local", s2s_domain_span(&intake->local)),
              log_text("remote", s2s_domain_span(&intake->remote)));
    leave_list(intake);
    intake_close(&intake);
}

static bool is_of(const struct intake *intake, const struct s2s_domain *local,
                  const struct s2s_domain *remote)
{
    return span_equal(s2s_domain_span(&intake->local), s2s_domain_span(local)) &&
           span_equal(s2s_domain_span(&intake->remote), s2s_domain_span(remote));
}

bool intake_is_awaited(const struct session *session)
{
    const struct intake *intake;
    TAILQ_FOREACH(intake, &session->worker->waiting_intakes, waiting)
    if (is_of(intake, session_local(session), session_remote(session)))
        return true;
    return false;
}

/* Room for one more: the oldest of the same pair goes first, then the oldest of all. */
static void make_room(struct worker *worker, const struct intake *newcomer)
{
    struct intake *intake, *oldest = NULL;
    unsigned count = 0;
    TAILQ_FOREACH(intake, &worker->waiting_intakes, waiting)
    {
        if (!is_of(intake, &newcomer->local, &newcomer->remote))
            continue;
        if (count++ == 0)
            oldest = intake;
    }
    if (count >= PAIR_WAITING_MAX)
        forget(oldest);
    else if (worker->waiting_intake_count >= SM_WAITING_MAX)
        forget(TAILQ_FIRST(&worker->waiting_intakes));
}

void intake_wait(struct session *session)
{
    struct intake *intake = session->intake;
    struct worker *worker = session->worker;
    if (!intake_is_resumable(intake) || worker->draining)
        return;
    make_room(worker, intake);
    session->intake = NULL;
    intake->session = NULL;
    TAILQ_INSERT_TAIL(&worker->waiting_intakes, intake, waiting);
    worker->waiting_intake_count++;
    timer_arm(&worker->thread->timers, &intake->timer,
              worker->thread->now_ms + worker->thread->config->resume_timeout_ms);
}

void intake_close_waiting(struct worker *worker)
{
    struct intake *intake;
    while ((intake = TAILQ_FIRST(&worker->waiting_intakes)) != NULL)
        forget(intake);
}

bool intake_has_seen(struct intake *intake)
{
    if (intake == NULL || intake->seen_left == 0)
        return false;
    intake->seen_left--;
    return true;
}

void intake_close(struct intake **closed)
{
    struct intake *intake = *closed;
    *closed = NULL;
    if (intake == NULL)
        return;
    assert(intake->magic == INTAKE_MAGIC);
    timer_disarm(&intake->worker->thread->timers, &intake->timer);
    table_remove(&intake->worker->intakes, &intake->by_ticket);
    table_remove(&intake->worker->intakes_by_id, &intake->by_id);
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

/* When what was open at the last question is known or that has waited long enough, when nothing
   is open any more, and else now and then: not with each outcome. */
static bool is_due(const struct intake *intake)
{
    uint32_t handled = intake->receiver.handled;
    if (intake->asked)
        return !sm_is_before(handled, intake->asked_at) ||
               intake->worker->thread->now_ms >= intake->answer_ms;
    return handled != intake->told &&
           (sm_open(&intake->receiver) == 0 || handled - intake->told >= TELL_EVERY ||
            (sm_is_before(intake->told, intake->asked_at) &&
             !sm_is_before(handled, intake->asked_at)));
}

void intake_settle(struct worker *worker, struct receipt receipt)
{
    struct intake *intake = receipt.intake != 0 ? find(worker, receipt.intake) : NULL;
    if (intake == NULL)
        return;
    assert(intake->magic == INTAKE_MAGIC);
    sm_settle(&intake->receiver, receipt.number);
    if (intake->session == NULL)
        return;
    if (is_due(intake))
        session_flush(intake->session);
    if (sm_has_room(&intake->receiver))
        session_widen(intake->session);
}

void intake_ask(struct intake *intake)
{
    struct thread *thread = intake->worker->thread;
    assert(intake->magic == INTAKE_MAGIC);
    if (!intake->asked)
        intake->answer_ms = thread->now_ms + ANSWER_MS;
    intake->asked = true;
    intake->asked_at = intake->receiver.received;
    if (is_due(intake))
        session_flush(intake->session);
    else if (intake->timer.position == 0)
        timer_arm(&thread->timers, &intake->timer, intake->answer_ms);
}

void intake_timer(struct intake *intake)
{
    struct thread *thread = intake->worker->thread;
    assert(intake->magic == INTAKE_MAGIC);
    if (intake->session == NULL)
        forget(intake); /* nobody resumed it in time */
    else if (intake->asked && !is_due(intake))
        timer_arm(&thread->timers, &intake->timer, intake->answer_ms);
    else if (intake->asked)
        session_flush(intake->session);
}

void intake_tell(struct intake *intake, bool last)
{
    char memory[96];
    struct writer writer = writer_make(memory, sizeof(memory));
    assert(intake->magic == INTAKE_MAGIC);
    if (intake->session->ended)
        return; /* nobody hears it, and a reset would take what is still unread */
    bool is_new = intake->asked || intake->told != intake->receiver.handled;
    if (!is_due(intake) && !(last && is_new))
        return;
    sm_write_answer(&writer, intake->receiver.handled);
    if (!session_write(intake->session, writer_span(&writer)))
        return;
    intake->asked = false;
    intake->told = intake->receiver.handled;
}
