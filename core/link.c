/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The life of a link: what it takes, and what becomes of that when a stream ends or none comes.
 */
#include "core/link_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/breaker.h"
#include "core/intake.h"
#include "core/trouble.h"
#include "net/digest.h"
#include "proto/jid.h"

#define BACKOFF_MS     2000
#define BACKOFF_MAX_MS 60000
/* A stream that ended sooner is no reason to open the next at once. */
#define STREAM_LIFE_MIN_MS 1000

static const struct span barred_text =
    SPAN("This pair of domains is not served: the tenant is gone or its policy forbids it");

struct link *link_make(struct worker *worker, struct span local, struct span remote)
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
    link->timer.kind = WORKER_TIMER_LINK;
    link->timer.owner = link;
    link->race.next_ms = UINT64_MAX;
    link_take_rules(link);
    return link;
}

/* A tenant that is gone, or whose policy forbids this partner now. */
static bool is_barred(const struct link *link)
{
    return worker_pair_proofs(link->worker, s2s_domain_span(&link->local),
                              s2s_domain_span(&link->remote)) == S2S_PROOF_NONE;
}

static void tell(const struct link *link, struct stats_trouble *trouble)
{
    struct thread *thread = link->worker->thread;
    const struct config_tenant *tenant =
        config_find_tenant(thread->config, s2s_domain_span(&link->local));
    trouble->tenant = config_tenant_name(tenant);
    trouble->partner = s2s_domain_span(&link->remote);
    trouble->reason = span_of(link->reason);
    trouble_tell(thread, LOG_LEVEL_WARN, trouble);
}

static void tell_failed(const struct link *link)
{
    if (!link->worker->draining && !is_barred(link))
        tell(link, &(struct stats_trouble){.event = "link.failed"});
}

/* A partner that takes no further stream is reached all the same, over the other link. */
static void fall_back(struct link *link, struct link *other)
{
    if (!link->worker->draining)
        tell(link, &(struct stats_trouble){.event = "link.fell_back"});
    stats_count(link->worker->thread->stats, STAT_LINKS_FELL_BACK);
    link_choice_pass(link, other);
    if (other->session != NULL)
        session_flush(other->session);
    link_arm(other);
}

void link_give_up(struct link *link, enum stanza_error error)
{
    unsigned shift = link->failures < 5 ? link->failures : 5;
    uint64_t wait = (uint64_t)BACKOFF_MS << shift;
    link->state = LINK_IDLE;
    link_race_stop(link, span_of(link->reason));
    free(link->answer);
    link->answer = NULL;
    if (link->probe != NULL) {
        probe_over(link->probe, span_of(link->reason));
        return;
    }
    link_uncount(link);
    struct link *other = is_barred(link) ? NULL : link_choice_other(link);
    link->was_alone = other == NULL;
    link->is_partners_fault = link->is_partners_fault && other == NULL;
    link_breaker_failed(link, error);
    link->failures++;
    link->sent_away = false; /* the next try is a new one */
    link->last_fault = error;
    wait = wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
    /* Up to a quarter more: the links of one partner that went down do not all come back to it
       in the same moment. */
    uint16_t random;
    digest_random(&random, sizeof(random));
    wait += wait / 4 * random / UINT16_MAX;
    link->backoff_until_ms = link->worker->thread->now_ms + wait;
    /* As long again, so that a failure right after the next try counts as one more. */
    link->forget_ms = link->backoff_until_ms + wait;
    if (other == NULL)
        tell_failed(link);
    if (link->sm.is_broken)
        link_resume_end(link);
    if (other != NULL)
        fall_back(link, other);
    /* XEP-0220 §2.5: the originating server is told that its authority cannot be asked. */
    enum stanza_error verdict = error == STANZA_ERROR_REMOTE_SERVER_NOT_FOUND
                                    ? STANZA_ERROR_REMOTE_SERVER_NOT_FOUND
                                    : STANZA_ERROR_REMOTE_CONNECTION_FAILED;
    link_queue_fail(link, error, verdict);
    link_fail_list(link, &link->asked, verdict);
    link_arm(link);
}

/* Everybody who waits is told that the pair is not served. */
static void bar(struct link *link)
{
    link->is_partners_fault = false;
    snprintf(link->reason, sizeof(link->reason), "%s", barred_text.data);
    link_give_up(link, STANZA_ERROR_FORBIDDEN);
}

/* A stream that stands is its session's business. */
void link_reload(struct link *link)
{
    link_take_rules(link);
    if (link->asker != NULL)
        link_reload(link->asker);
    if (link->asks_for == NULL)
        link_choice_reload(link);
    if (link->state != LINK_RESOLVING || !is_barred(link))
        return;
    resolver_forget(link->worker->resolver, link);
    bar(link);
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

/* Is a stream to be sought for the first parcel, and its partner's breaker open? Then the
   parcel is refused. */
static bool break_off(struct worker *worker, const struct link *link, struct parcel *parcel)
{
    uint64_t now_ms = worker->thread->now_ms;
    struct span local = parcel->from.domain, remote = parcel->to.domain;
    struct breaker_verdict verdict;
    bool is_tried = link != NULL && (link->session != NULL || link->state != LINK_IDLE ||
                                     now_ms < link->backoff_until_ms);
    if (worker->draining || is_tried ||
        session_find_both_ways(worker, local, remote) != NULL ||
        session_is_settling(worker, local, remote) ||
        breaker_allows(worker->breakers, remote, link_pair_hash(local, remote), now_ms,
                       &verdict))
        return false;
    stats_count(worker->thread->stats, STAT_BREAKER_REFUSED);
    refuse_parcel(worker, parcel,
                  parcel->kind == PARCEL_VERIFY ? STANZA_ERROR_REMOTE_CONNECTION_FAILED
                                                : verdict.fault,
                  verdict.reason);
    return true;
}

void link_take(struct worker *worker, struct parcel **taken)
{
    struct parcel *parcel = *taken;
    *taken = NULL;
    struct span local = parcel->from.domain, remote = parcel->to.domain;
    unsigned number = 0;
    struct link *link = link_choose(worker, parcel, &number);
    if (link != NULL && parcel->kind == PARCEL_VERIFY && (link = link_asker(link)) == NULL) {
        refuse_parcel(worker, parcel, STANZA_ERROR_RESOURCE_CONSTRAINT, SPAN("No memory"));
        return;
    }
    /* Over a stream that stands errors for what was under way still go. */
    if ((link == NULL || link->session == NULL) &&
        worker_pair_proofs(worker, local, remote) == S2S_PROOF_NONE) {
        refuse_parcel(worker, parcel,
                      parcel->kind == PARCEL_VERIFY ? STANZA_ERROR_REMOTE_CONNECTION_FAILED
                                                    : STANZA_ERROR_FORBIDDEN,
                      barred_text);
        return;
    }
    if (break_off(worker, link, parcel))
        return;
    if (link == NULL)
        link = link_open(worker, local, remote, number);
    if (link == NULL) {
        refuse_parcel(worker, parcel, STANZA_ERROR_REMOTE_SERVER_NOT_FOUND,
                      SPAN("The remote domain cannot be looked up"));
        return;
    }
    /* A stop lets errors and answers out for as long as there is a stream. */
    bool is_over = worker->draining && (parcel->wants_outcome || link->session == NULL);
    if (is_over || (link->session == NULL && link->state == LINK_IDLE &&
                    worker->thread->now_ms < link->backoff_until_ms && !link_holds(link))) {
        enum stanza_error error = parcel->kind == PARCEL_VERIFY
                                      ? STANZA_ERROR_REMOTE_CONNECTION_FAILED
                                      : link->last_fault;
        refuse_parcel(worker, parcel, is_over ? STANZA_ERROR_REMOTE_SERVER_TIMEOUT : error,
                      is_over ? SPAN("The relay is shutting down") : span_of(link->reason));
        return;
    }
    if (link_queue_is_full(link, parcel)) {
        stats_count(worker->thread->stats, STAT_XMPP_QUEUE_REFUSED);
        refuse_parcel(worker, parcel, STANZA_ERROR_RESOURCE_CONSTRAINT,
                      SPAN("Too much waits for the remote server"));
        return;
    }
    link_queue_take(link, parcel);
    if (link->session != NULL)
        session_flush(link->session);
    else if (link->state == LINK_IDLE && !link_holds(link))
        link_start(link);
    link_arm(link);
}

void link_prepare(const struct link *link, struct s2s_out *out)
{
    struct worker *worker = link->worker;
    const struct config_tenant *tenant =
        config_find_tenant(worker->thread->config, s2s_domain_span(&link->local));
    unsigned proofs = worker_pair_proofs(worker, s2s_domain_span(&link->local),
                                         s2s_domain_span(&link->remote));
    /* TLSA records say that there is TLS, those too that cannot be used (RFC 7673 §4); where it
       is not to be used it is not. */
    const struct resolver_target *target = link_target(link);
    if ((target->tlsa_count > 0 || target->tlsa_unusable) && proofs != S2S_PROOF_CLEAR)
        proofs &= ~(unsigned)S2S_PROOF_CLEAR;
    s2s_out_init(out, &link->local, &link->remote, proofs,
                 worker_has_certificate(worker, tenant) && !link->no_external);
    out->sm_wanted = worker->thread->config->stream_management && link->probe == NULL;
    out->sm_previous = link_resume_id(link);
    out->sm_previous_bidi = link->sm.intake != NULL;
    out->sm_handled = intake_handled(link->sm.intake);
}

struct link *link_open_probe(struct worker *worker, const struct s2s_domain *local,
                             const struct s2s_domain *remote, struct probe *probe)
{
    struct link *link = link_make(worker, s2s_domain_span(local), s2s_domain_span(remote));
    if (link == NULL)
        return NULL;
    link->probe = probe;
    return link;
}

void link_connected(struct link *link, struct session *session)
{
    link_race_won(link, session);
    if (link->probe != NULL)
        probe_connected(link->probe);
}

void link_secured(const struct link *link, const struct session *session)
{
    if (link->probe != NULL)
        probe_secured(link->probe, session);
}

void link_saw(const struct link *link, const struct session *session,
              const struct s2s_action *action)
{
    if (link->probe != NULL)
        probe_saw(link->probe, session, action);
}

bool link_wants_stream(const struct link *link)
{
    return link_waiting(link) > 0 || link->probe != NULL || link->sm.intake != NULL;
}

/* A server may end the stream on which it refuses our certificate instead of going on to dialback
   (XEP-0178 §3): then that is for another stream to the same server. */
static bool turns_to_dialback(struct link *link, const struct session *session)
{
    const struct s2s_out *out = &session->out;
    if (link->no_external || !out->external_failed ||
        session->fault != STANZA_ERROR_NONE || (out->proofs & S2S_PROOF_DIALBACK) == 0)
        return false;
    link->no_external = true;
    link_race_again(link, session);
    return true;
}

void link_lost(struct link *link, struct session *session)
{
    bool was_ready = link->ready;
    enum stanza_error fault = session->fault != STANZA_ERROR_NONE
                                  ? session->fault
                                  : STANZA_ERROR_REMOTE_SERVER_TIMEOUT;
    assert(link->session == session || link->session == NULL);
    link_race_leave(link, session);
    link->session = NULL;
    link->ready = false;
    link->is_partners_fault = !was_ready && !session->is_pairs_fault && !link->worker->draining;
    snprintf(link->reason, sizeof(link->reason), "%s: %s", link->remote_ascii, session->reason);
    bool turns = !was_ready && turns_to_dialback(link, session);
    if (link->probe != NULL && turns)
        probe_turns(link->probe);
    else if (link->probe != NULL)
        probe_lost(link->probe, span_of(session->reason));
    /* A try that failed is not the end: another target may resume it. */
    if (session_counts(session) && (session->cut || link->sm.again > 0))
        link_resume_later(link, session);
    else if (!link->sm.is_broken)
        link_unconfirmed_lost(link, session);
    link_fail_list(link, &link->asked, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    if (link->worker->draining) {
        link_give_up(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    } else if (is_barred(link)) {
        bar(link);
    } else if (link->other_host[0] != '\0' && link_wants_stream(link)) {
        link_go_away(link);
    } else if (link->probe != NULL) {
        link_connect_next(link, fault); /* it wants to know of every target */
    } else if (was_ready) {
        link->state = LINK_IDLE;
        link_uncount(link);
        bool hopeless = session->outbound && link->worker->thread->now_ms <
                                                 session->opened_ms + STREAM_LIFE_MIN_MS;
        bool is_wanted = link_wants_stream(link) && !link_holds(link);
        if (is_wanted && hopeless)
            link_give_up(link, fault); /* no race of reconnections with who ends all streams */
        else if (is_wanted)
            link_start(link);
    } else if (session->fault != STANZA_ERROR_NONE) {
        link_give_up(link, fault); /* the domain itself was refused: no other target helps */
    } else {
        link_connect_next(link, fault);
    }
    link_arm(link);
}

/* A partner that was awaited (link_holds) is so no more. */
void link_drain(struct link *link)
{
    assert(link->worker->draining);
    if (link->session != NULL || link->state != LINK_IDLE || !link_wants_stream(link))
        return;
    snprintf(link->reason, sizeof(link->reason), "The relay is shutting down");
    link_give_up(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
}

void link_close(struct link *link)
{
    link_asker_close(link);
    timer_disarm(&link->worker->thread->timers, &link->timer);
    if (link->probe == NULL)
        stats_count(link->worker->thread->stats, STAT_LINKS_CLOSED);
    snprintf(link->reason, sizeof(link->reason), "The relay is shutting down");
    link_queue_fail(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                    STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    link_queue_show(link);
    link_fail_list(link, &link->asked, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    link_fail_list(link, &link->unconfirmed, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    link_fail_list(link, &link->fleeting, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    intake_close(&link->sm.intake);
    link_uncount(link);
    if (link->probe == NULL)
        link_choice_close(link);
    free(link->answer);
    link->magic = 0;
    free(link);
}
