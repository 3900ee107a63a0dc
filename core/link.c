/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "proto/jid.h"

#define PORT_DEFAULT   5269
#define BACKOFF_MS     2000
#define BACKOFF_MAX_MS 60000

enum link_state { LINK_IDLE, LINK_RESOLVING, LINK_CONNECTING };

struct parcel_list {
    struct parcel *head, *tail;
    unsigned count;
};

struct link {
    uint32_t magic;
    enum link_state state;
    struct worker *worker;
    struct link *next;
    struct s2s_domain local, remote;
    char remote_ascii[RESOLVER_NAME_SIZE];
    const struct config_partner *partner;
    struct session *session;
    struct resolver_answer *answer;
    unsigned target_next;
    struct parcel_list queue;       /* stanzas not yet written */
    struct parcel_list verify;      /* db:verify not yet written */
    struct parcel_list asked;       /* db:verify without an answer */
    struct parcel_list unconfirmed; /* written stanzas whose outcome is open */
    unsigned covered;               /* of them, before the ping in flight */
    bool pinging, ready; /* ready: this session was good for stanzas */
    uint64_t ping_next, ping_deadline_ms;
    struct timer timer;
    unsigned failures;
    uint64_t backoff_until_ms;
    enum stanza_error last_fault;
    char reason[480];
};

static void push(struct parcel_list *list, struct parcel *parcel)
{
    parcel->next = NULL;
    if (list->tail != NULL)
        list->tail->next = parcel;
    else
        list->head = parcel;
    list->tail = parcel;
    list->count++;
}

static struct parcel *pop(struct parcel_list *list)
{
    struct parcel *parcel = list->head;
    if (parcel == NULL)
        return NULL;
    list->head = parcel->next;
    if (list->head == NULL)
        list->tail = NULL;
    list->count--;
    parcel->next = NULL;
    return parcel;
}

/* Takes `parcel`, which stands behind `previous` (NULL: first). */
static void unhook(struct parcel_list *list, struct parcel *previous, struct parcel *parcel)
{
    if (previous == NULL) {
        pop(list);
        return;
    }
    previous->next = parcel->next;
    if (list->tail == parcel)
        list->tail = previous;
    list->count--;
    parcel->next = NULL;
}

static void finish(struct link *link, struct parcel *parcel, enum outcome_kind kind)
{
    struct thread *thread = link->worker->thread;
    assert(parcel->magic == PARCEL_MAGIC);
    parcel->outcome.kind = kind;
    mesh_return(thread->mesh, thread->self, &parcel);
}

static void finish_failed(struct link *link, struct parcel *parcel, enum stanza_error error,
                          struct span text)
{
    parcel->outcome.fault = (struct stanza_fault){.error = error};
    parcel->outcome.fault.text = parcel_copy(parcel, text);
    finish(link, parcel, OUTCOME_FAILED);
}

static void fail_list(struct link *link, struct parcel_list *list, enum stanza_error error)
{
    for (struct parcel *parcel = pop(list); parcel != NULL; parcel = pop(list))
        finish_failed(link, parcel, error, span_of(link->reason));
}

static void arm(struct link *link)
{
    struct thread *thread = link->worker->thread;
    const struct parcel *waiting[] = {link->queue.head, link->verify.head, link->asked.head};
    uint64_t deadline = link->pinging ? link->ping_deadline_ms : UINT64_MAX;
    for (size_t i = 0; i < 3; i++) {
        if (waiting[i] == NULL)
            continue;
        uint64_t end = waiting[i]->born_ms + thread->config->deliver_timeout_ms;
        deadline = end < deadline ? end : deadline;
    }
    if (deadline == UINT64_MAX)
        timer_disarm(&thread->timers, &link->timer);
    else
        timer_arm(&thread->timers, &link->timer, deadline);
}

static struct link **bucket(struct worker *worker, struct span local, struct span remote)
{
    return &worker->links[thread_hash(thread_hash(0, local), remote) % LINK_BUCKET_COUNT];
}

static struct link *find(struct worker *worker, struct span local, struct span remote)
{
    struct link *link = *bucket(worker, local, remote);
    while (link != NULL && !(span_equal(s2s_domain_span(&link->local), local) &&
                             span_equal(s2s_domain_span(&link->remote), remote)))
        link = link->next;
    return link;
}

static struct link *make(struct worker *worker, struct span local, struct span remote)
{
    char memory[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct span ascii;
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return NULL;
    if (!s2s_domain_read(&link->local, local) || !s2s_domain_read(&link->remote, remote) ||
        jid_domain_to_ascii(remote, &writer, &ascii) != JID_OK ||
        ascii.size >= sizeof(link->remote_ascii)) {
        free(link);
        return NULL;
    }
    memcpy(link->remote_ascii, ascii.data, ascii.size);
    link->magic = LINK_MAGIC;
    link->worker = worker;
    link->partner = config_find_partner(worker->thread->config, remote);
    link->timer.kind = WORKER_TIMER_LINK;
    link->timer.owner = link;
    link->next = *bucket(worker, local, remote);
    *bucket(worker, local, remote) = link;
    return link;
}

/* No stream is possible now: everybody who waits is told why. */
static void give_up(struct link *link, enum stanza_error error)
{
    unsigned shift = link->failures < 5 ? link->failures : 5;
    uint64_t wait = (uint64_t)BACKOFF_MS << shift;
    link->state = LINK_IDLE;
    free(link->answer);
    link->answer = NULL;
    link->failures++;
    link->last_fault = error;
    link->backoff_until_ms =
        link->worker->thread->now_ms + (wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS);
    log_event(link->worker->draining ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "link.failed", 0,
              log_text("local", s2s_domain_span(&link->local)),
              log_text("remote", s2s_domain_span(&link->remote)),
              log_text("error", stanza_error_name(error)),
              log_text("reason", span_of(link->reason)));
    fail_list(link, &link->queue, error);
    /* XEP-0220 §2.5: the originating server is told that its authority cannot be asked. */
    enum stanza_error verdict = error == STANZA_ERROR_REMOTE_SERVER_NOT_FOUND
                                    ? STANZA_ERROR_REMOTE_SERVER_NOT_FOUND
                                    : STANZA_ERROR_REMOTE_CONNECTION_FAILED;
    fail_list(link, &link->verify, verdict);
    fail_list(link, &link->asked, verdict);
    arm(link);
}

static bool is_direct(const struct link *link, const struct resolver_target *target)
{
    if (link->partner != NULL && link->partner->host != NULL)
        return link->partner->direct_tls;
    return target->service == 0;
}

static void connect_next(struct link *link, enum stanza_error error)
{
    link->state = LINK_CONNECTING;
    while (link->target_next < link->answer->target_count) {
        const struct resolver_target *target = &link->answer->targets[link->target_next++];
        int result = session_connect(&link->session, link->worker, link, &target->address,
                                     is_direct(link, target));
        if (result == 0)
            return;
        snprintf(link->reason, sizeof(link->reason), "Cannot connect to the server of %s: %s",
                 link->remote_ascii, strerrordesc_np(-result));
    }
    give_up(link, error);
}

static void start(struct link *link)
{
    struct resolver_question question = {0};
    const struct config_partner *partner = link->partner;
    const char *name = link->remote_ascii;
    assert(link->state == LINK_IDLE);
    question.owner = link;
    question.fallback_port = PORT_DEFAULT;
    if (partner != NULL && partner->host != NULL) {
        uint16_t port = partner->port != 0 ? partner->port : PORT_DEFAULT;
        union net_address address;
        name = partner->host;
        question.fallback_port = port;
        if (net_address_parse_host(&address, name, port) == 0) {
            link->answer = calloc(1, sizeof(*link->answer));
            if (link->answer == NULL) {
                give_up(link, STANZA_ERROR_RESOURCE_CONSTRAINT);
                return;
            }
            link->answer->target_count = 1;
            link->answer->targets[0].address = address;
            link->target_next = 0;
            connect_next(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
            return;
        }
    } else {
        question.service_count = 2;
        question.services[0] = (struct resolver_service){"_xmpps-server._tcp", false};
        question.services[1] = (struct resolver_service){"_xmpp-server._tcp", true};
    }
    snprintf(question.domain, sizeof(question.domain), "%s", name);
    link->state = LINK_RESOLVING;
    if (resolver_ask(link->worker->resolver, &question) != 0) {
        snprintf(link->reason, sizeof(link->reason), "Too many DNS questions wait");
        give_up(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    }
}

void link_resolved(struct link *link, struct resolver_answer *answer)
{
    assert(link->magic == LINK_MAGIC);
    if (link->state != LINK_RESOLVING) {
        free(answer);
        return;
    }
    free(link->answer);
    link->answer = answer;
    link->target_next = 0;
    if (answer->status == RESOLVER_FOUND) {
        connect_next(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
        return;
    }
    snprintf(link->reason, sizeof(link->reason), "DNS names no XMPP server for %s: %s",
             link->remote_ascii, resolver_status_text(answer->status));
    give_up(link, answer->status == RESOLVER_TIMEOUT ? STANZA_ERROR_REMOTE_SERVER_TIMEOUT
                                                     : STANZA_ERROR_REMOTE_SERVER_NOT_FOUND);
}

static void refuse_parcel(struct worker *worker, struct parcel *parcel, enum stanza_error error,
                          struct span text)
{
    struct thread *thread = worker->thread;
    parcel->outcome.kind = OUTCOME_FAILED;
    parcel->outcome.fault = (struct stanza_fault){.error = error};
    parcel->outcome.fault.text = parcel_copy(parcel, text);
    mesh_return(thread->mesh, thread->self, &parcel);
}

void link_take(struct worker *worker, struct parcel **taken)
{
    struct parcel *parcel = *taken;
    *taken = NULL;
    struct span local = parcel->from.domain, remote = parcel->to.domain;
    struct link *link = find(worker, local, remote);
    if (link == NULL)
        link = make(worker, local, remote);
    if (link == NULL) {
        refuse_parcel(worker, parcel, STANZA_ERROR_REMOTE_SERVER_NOT_FOUND,
                      SPAN("The remote domain cannot be looked up"));
        return;
    }
    if (worker->draining || (link->session == NULL && link->state == LINK_IDLE &&
                             worker->thread->now_ms < link->backoff_until_ms)) {
        enum stanza_error error = parcel->kind == PARCEL_VERIFY
                                      ? STANZA_ERROR_REMOTE_CONNECTION_FAILED
                                      : link->last_fault;
        refuse_parcel(worker, parcel,
                      worker->draining ? STANZA_ERROR_REMOTE_SERVER_TIMEOUT : error,
                      worker->draining ? SPAN("The relay is shutting down")
                                       : span_of(link->reason));
        return;
    }
    if (link->queue.count + link->verify.count >= LINK_QUEUE_MAX) {
        refuse_parcel(worker, parcel, STANZA_ERROR_RESOURCE_CONSTRAINT,
                      SPAN("Too much waits for the remote server"));
        return;
    }
    push(parcel->kind == PARCEL_VERIFY ? &link->verify : &link->queue, parcel);
    if (link->session != NULL) {
        struct session *session = link->session;
        link_pump(link);
        session_flush(session);
    } else if (link->state == LINK_IDLE) {
        start(link);
    }
    arm(link);
}

void link_prepare(const struct link *link, struct s2s_out *out)
{
    struct worker *worker = link->worker;
    const struct config_tenant *tenant =
        config_find_tenant(worker->thread->config, s2s_domain_span(&link->local));
    s2s_out_init(out, &link->local, &link->remote,
                 worker_pair_policy(worker, s2s_domain_span(&link->local),
                                    s2s_domain_span(&link->remote)),
                 worker_has_certificate(worker, tenant));
}

const char *link_remote_ascii(const struct link *link)
{
    return link->remote_ascii;
}

struct link *link_next(const struct link *link)
{
    return link->next;
}

static void write_ping_id(const struct link *link, struct writer *writer)
{
    writer_put_literal(writer, "ping-");
    writer_put_uint(writer, link->ping_next);
}

/* One ping at a time stands for all that was written before it (XEP-0199 §4.4). */
static void ping(struct link *link)
{
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct thread *thread = link->worker->thread;
    if (link->pinging || link->unconfirmed.count == 0)
        return;
    link->ping_next++;
    writer_put_literal(&writer, "<iq type='get'");
    writer_put_attribute(&writer, SPAN("from"), s2s_domain_span(&link->local));
    writer_put_attribute(&writer, SPAN("to"), s2s_domain_span(&link->remote));
    writer_put_literal(&writer, " id='");
    write_ping_id(link, &writer);
    writer_put_literal(&writer, "'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert(!writer.overflow);
    if (!session_write(link->session, writer_span(&writer)))
        return;
    link->pinging = true;
    link->covered = link->unconfirmed.count;
    link->ping_deadline_ms = thread->now_ms + thread->config->confirm_timeout_ms;
}

static void write_verify(struct link *link)
{
    while (link->verify.head != NULL && session_has_room(link->session)) {
        struct parcel *parcel = pop(&link->verify);
        struct s2s_action pair = {.local = parcel->from.domain,
                                  .remote = parcel->to.domain,
                                  .id = parcel->stream_id,
                                  .key = parcel->bytes};
        struct writer writer =
            writer_make(link->worker->scratch, sizeof(link->worker->scratch));
        s2s_write_verify(&writer, &pair);
        if (writer.overflow || !session_write(link->session, writer_span(&writer)))
            finish_failed(link, parcel, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                          SPAN("The link is full"));
        else
            push(&link->asked, parcel);
    }
}

void link_pump(struct link *link)
{
    struct session *session = link->session;
    assert(link->magic == LINK_MAGIC);
    if (session == NULL || session->state != SESSION_OPEN)
        return;
    enum s2s_out_state state = session->out.state;
    /* The peer may hold its db:result until we have verified its own: never wait for ours. */
    if (state == S2S_OUT_RESULT || state == S2S_OUT_READY)
        write_verify(link);
    if (state != S2S_OUT_READY) {
        arm(link);
        return;
    }
    link->failures = 0;
    link->ready = true;
    while (link->queue.head != NULL && session_has_room(session)) {
        struct parcel *parcel = link->queue.head;
        if (!session_write(session, parcel->bytes))
            break;
        pop(&link->queue);
        session->stanzas_out++;
        session->active_ms = link->worker->thread->now_ms;
        stats_count(link->worker->thread->stats, STAT_XMPP_STANZAS_SENT);
        parcel->connection = session->output_total;
        if (parcel->wants_outcome)
            push(&link->unconfirmed, parcel);
        else
            finish(link, parcel, OUTCOME_HANDED_OVER);
    }
    ping(link);
    arm(link);
}

void link_verified(struct link *link, const struct s2s_action *action)
{
    struct parcel *previous = NULL;
    for (struct parcel *parcel = link->asked.head; parcel != NULL; parcel = parcel->next) {
        if (span_equal(parcel->from.domain, action->local) &&
            span_equal(parcel->to.domain, action->remote) &&
            span_equal(parcel->stream_id, action->id)) {
            unhook(&link->asked, previous, parcel);
            if (action->verdict == S2S_VALID)
                finish(link, parcel, OUTCOME_DELIVERED);
            else
                /* XEP-0220 §2.2.2: an error of the authority is remote-server-not-found. */
                finish_failed(link, parcel,
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
        finish(link, pop(&link->unconfirmed), kind);
    link->pinging = false;
    if (link->session != NULL) {
        struct session *session = link->session;
        ping(link);
        session_flush(session);
    }
    if (link->session != NULL || link->queue.count > 0)
        arm(link);
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

static void confirm_error(struct link *link, const struct parcel *word)
{
    struct parcel *previous = NULL;
    unsigned position = 0;
    for (struct parcel *parcel = link->unconfirmed.head; parcel != NULL; parcel = parcel->next) {
        if (span_equal(stanza_id(parcel), word->stanza_id) &&
            span_equal(parcel->to.local, word->to.local)) {
            unhook(&link->unconfirmed, previous, parcel);
            link->covered -= position < link->covered;
            parcel->outcome.fault = word->outcome.fault;
            parcel->outcome.fault.type = parcel_copy(parcel, word->outcome.fault.type);
            parcel->outcome.fault.text = parcel_copy(parcel, word->outcome.fault.text);
            parcel->outcome.fault.address = parcel_copy(parcel, word->outcome.fault.address);
            parcel->outcome.fault.by = parcel_copy(parcel, word->outcome.fault.by);
            finish(link, parcel, OUTCOME_FAILED);
            return;
        }
        previous = parcel;
        position++;
    }
}

void link_confirm(struct worker *worker, const struct parcel *word)
{
    struct link *link = find(worker, word->from.domain, word->to.domain);
    if (link == NULL || word->stanza_id.size == 0)
        return;
    if (word->outcome.kind == OUTCOME_FAILED) {
        confirm_error(link, word);
        return;
    }
    char memory[32];
    struct writer writer = writer_make(memory, sizeof(memory));
    write_ping_id(link, &writer);
    if (link->pinging && span_equal(writer_span(&writer), word->stanza_id))
        finish_covered(link, OUTCOME_DELIVERED);
}

void link_lost(struct link *link, struct session *session)
{
    bool was_ready = link->ready;
    enum stanza_error fault = session->fault != STANZA_ERROR_NONE
                                  ? session->fault
                                  : STANZA_ERROR_REMOTE_SERVER_TIMEOUT;
    assert(link->session == session || link->session == NULL);
    link->session = NULL;
    link->ready = false;
    snprintf(link->reason, sizeof(link->reason), "%s: %s", link->remote_ascii, session->reason);
    link->pinging = false;
    link->covered = 0;
    for (struct parcel *parcel = pop(&link->unconfirmed); parcel != NULL;
         parcel = pop(&link->unconfirmed)) {
        if (parcel->connection <= session->sent_total)
            finish(link, parcel, OUTCOME_HANDED_OVER);
        else
            finish_failed(link, parcel, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                          span_of(link->reason));
    }
    fail_list(link, &link->asked, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    if (link->worker->draining) {
        give_up(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    } else if (was_ready) {
        free(link->answer);
        link->answer = NULL;
        link->state = LINK_IDLE;
        if (link->queue.count + link->verify.count > 0)
            start(link);
    } else if (session->fault != STANZA_ERROR_NONE) {
        give_up(link, fault); /* the domain itself was refused: no other target helps */
    } else {
        connect_next(link, fault);
    }
    arm(link);
}

static void expire(struct link *link, struct parcel_list *list)
{
    struct thread *thread = link->worker->thread;
    while (list->head != NULL &&
           list->head->born_ms + thread->config->deliver_timeout_ms <= thread->now_ms)
        finish_failed(link, pop(list), STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                      SPAN("The remote server did not become reachable in time"));
}

void link_timer(struct link *link)
{
    assert(link->magic == LINK_MAGIC);
    expire(link, &link->queue);
    expire(link, &link->verify);
    expire(link, &link->asked);
    if (link->pinging && link->worker->thread->now_ms >= link->ping_deadline_ms)
        finish_covered(link, OUTCOME_HANDED_OVER);
    arm(link);
}

void link_close(struct link *link)
{
    timer_disarm(&link->worker->thread->timers, &link->timer);
    snprintf(link->reason, sizeof(link->reason), "The relay is shutting down");
    fail_list(link, &link->queue, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    fail_list(link, &link->verify, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    fail_list(link, &link->asked, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    fail_list(link, &link->unconfirmed, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    free(link->answer);
    link->magic = 0;
    free(link);
}
