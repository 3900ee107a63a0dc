/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_uas_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/consent.h"
#include "core/heap.h"
#include "core/trouble.h"
#include "net/digest.h"

#define ALLOW_LINE  "Allow: MESSAGE, OPTIONS\r\n"
#define ACCEPT_LINE "Accept: text/plain\r\n"

int sip_uas_open(struct sip_uas **uas, struct thread *thread, struct sip_wire *wire)
{
    assert(wire != NULL);
    struct sip_uas *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->thread = thread;
    made->wire = wire;
    made->timers = sip_timers_default;
    if (thread->config->sip_t1_ms != 0)
        made->timers.t1_ms = thread->config->sip_t1_ms;
    digest_random(made->secret, sizeof(made->secret));
    made->answered_timer = (struct timer){.kind = EGRESS_TIMER_ANSWERED, .owner = made};
    table_init(&made->transactions);
    table_init(&made->merged);
    LIST_INIT(&made->all);
    made->parser = sip_parser_open(&heap_memory);
    made->quota = quota_open();
    if (made->parser == NULL || made->quota == NULL ||
        sip_answered_open(&made->answered, thread->config->sip_answered_max) < 0) {
        sip_uas_close(&made);
        return -ENOMEM;
    }
    *uas = made;
    return 0;
}

void sip_uas_drain(struct sip_uas *uas)
{
    uas->draining = true;
}

size_t sip_uas_pending(const struct sip_uas *uas)
{
    return uas->pending;
}

void sip_uas_reload(struct sip_uas *uas, const struct config *former)
{
    uas->settles_ms = uas->thread->now_ms + sip_server_memory_ms(&uas->timers);
    sip_reply_reload(uas, former);
}

/* ---- MESSAGE ---- */

static struct parcel *fill_parcel(struct sip_uas *uas, const struct sip_message *request,
                                  const struct parties *parties, enum map_result *result,
                                  struct sip_fault *fault)
{
    struct thread *thread = uas->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_TRAFFIC);
    if (parcel == NULL)
        return NULL;
    unsigned owner = route_link(thread->config, parties->from.domain, parties->to.domain);
    /* Its first two digits lead an error stanza back to the worker that sent it. */
    uint8_t id[9] = {(uint8_t)owner};
    char id_text[2 * sizeof(id)];
    digest_random(id + 1, sizeof(id) - 1);
    struct writer digits = writer_make(id_text, sizeof(id_text));
    writer_put_hex(&digits, id, sizeof(id));
    parcel->stanza_id = parcel_copy(parcel, writer_span(&digits));
    parcel->from = parcel_copy_jid(parcel, &parties->from);
    parcel->to = parcel_copy_jid(parcel, &parties->to);
    struct xmpp_draft draft = {0};
    struct writer memory = parcel_writer(parcel);
    struct writer scratch = writer_make(uas->scratch, sizeof(uas->scratch));
    *result = map_message_to_xmpp(request, &parcel->from, &parcel->to, parcel->stanza_id,
                                  &scratch, &memory, &draft, fault);
    if (*result == MAP_OK && memory.overflow) {
        *result = MAP_FAULT;
        *fault = (struct sip_fault){.status = 513};
    }
    parcel_keep(parcel, &memory);
    parcel->bytes = draft.stanza;
    parcel->share = thread_share(parcel->from.local);
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->wants_outcome = true;
    parcel->born_ms = thread->now_ms;
    parcel->snapshot = thread->config->snapshot;
    parcel->tenant = parties->tenant->index;
    return parcel;
}

static const struct sip_response_parts busy = {.status = 503,
                                               .extra = SPAN("Retry-After: 10\r\n")};

static void answer_message(struct sip_uas *uas, const struct sip_call *call,
                           const struct parties *parties)
{
    struct thread *thread = uas->thread;
    enum map_result result = MAP_IGNORE;
    struct sip_fault fault = {0};
    struct transaction *transaction = NULL;
    struct quota_account *account = NULL;
    struct sip_response_parts over = {0};
    if (!uas->draining)
        over = sip_quota_check(uas, call, parties, &account);
    if (over.status != 0) {
        sip_reply_at_once(uas, call, over);
        return;
    }
    struct parcel *parcel =
        uas->draining ? NULL : fill_parcel(uas, call->request, parties, &result, &fault);
    if (parcel != NULL && result == MAP_OK)
        transaction = sip_reply_open(uas, call);
    if (transaction == NULL) {
        struct sip_response_parts parts = busy;
        if (parcel == NULL)
            stats_count(thread->stats, STAT_BACKPRESSURE_PAUSES);
        else if (result == MAP_FAULT)
            parts = (struct sip_response_parts){
                .status = fault.status, .reason = fault.reason, .extra = fault.extra};
        else if (result == MAP_IGNORE)
            parts = (struct sip_response_parts){.status = 200};
        sip_reply_at_once(uas, call, parts);
        if (parcel != NULL)
            mesh_give(thread->mesh, thread->self, &parcel);
        return;
    }
    stats_count(thread->stats, STAT_SIP_MESSAGES_ACCEPTED);
    stats_count_one(&stats_tenant(thread->stats, parcel->tenant)->to_xmpp);
    parcel->trace = transaction->trace;
    log_event(LOG_LEVEL_DEBUG, "sip.message", parcel->trace,
              log_text("from", call->request->from.text),
              log_text("to", call->request->request_uri.text),
              log_text("call_id", call->request->call_id));
    parcel->ticket = (uint64_t)(uintptr_t)transaction;
    parcel->account = account;
    quota_enter(uas->quota, account, true);
    transaction->has_parcel = true;
    transaction->to_full = parties->to.resource.size > 0;
    uas->pending++;
    consent_note(thread, parties->tenant, &parties->from, &parties->to);
    mesh_post(thread->mesh, thread->self,
              route_link(thread->config, parties->from.domain, parties->to.domain), &parcel);
}

/* The SIP URI for gone and redirect; empty unless the error names an xmpp: address. */
static struct span contact_for(const struct stanza_fault *fault, struct writer *memory)
{
    struct jid jid;
    struct span address = fault->address;
    if (!span_starts(address, SPAN("xmpp:")))
        return SPAN("");
    address = span_from(address, 5);
    address = span_to(address, span_find(address, '?'));
    if (jid_parse(address, memory, &jid) != JID_OK)
        return SPAN("");
    size_t start = memory->used;
    if (address_to_sip(memory, &jid, false) != ADDRESS_OK || memory->overflow)
        return SPAN("");
    return writer_since(memory, start);
}

static struct sip_response_parts outcome_parts(struct sip_uas *uas, const struct parcel *parcel,
                                               bool to_full, struct writer *memory)
{
    struct stats *stats = uas->thread->stats;
    switch (parcel->outcome.kind) {
    case OUTCOME_DELIVERED:
        stats_count(stats, STAT_SIP_MESSAGES_DELIVERED);
        return (struct sip_response_parts){.status = 200};
    case OUTCOME_HANDED_OVER:
        stats_count(stats, STAT_SIP_MESSAGES_HANDED_OVER);
        return (struct sip_response_parts){.status = 202};
    case OUTCOME_PENDING:
    case OUTCOME_FAILED: break;
    }
    stats_count(stats, STAT_SIP_MESSAGES_FAILED);
    struct span contact = contact_for(&parcel->outcome.fault, memory);
    struct sip_fault fault = error_map_to_sip(&parcel->outcome.fault, to_full, contact, memory);
    return (struct sip_response_parts){
        .status = fault.status, .reason = fault.reason, .extra = fault.extra};
}

static void tell_outcome(struct sip_uas *uas, const struct parcel *parcel, int status)
{
    const struct stanza_fault *fault = &parcel->outcome.fault;
    if (parcel->outcome.kind != OUTCOME_FAILED) {
        log_event(LOG_LEVEL_DEBUG, "sip.message_answered", parcel->trace,
                  log_number("status", status));
        return;
    }
    const struct config_tenant *tenant =
        thread_tenant(uas->thread, parcel, parcel->from.domain);
    trouble_tell(uas->thread, LOG_LEVEL_INFO,
                 &(struct stats_trouble){.event = "sip.message_failed",
                                         .trace = parcel->trace,
                                         .tenant = config_tenant_name(tenant),
                                         .partner = parcel->to.domain,
                                         .status = status,
                                         .reason = fault->text.size > 0
                                                       ? fault->text
                                                       : stanza_error_name(fault->error)});
}

void sip_uas_outcome(struct sip_uas *uas, struct parcel **parcel)
{
    struct thread *thread = uas->thread;
    struct parcel *home = *parcel;
    struct transaction *transaction = (struct transaction *)(uintptr_t)home->ticket;
    *parcel = NULL;
    assert(transaction->magic == TRANSACTION_MAGIC);
    assert(transaction->has_parcel);
    assert(uas->pending > 0);
    uas->pending--;
    transaction->has_parcel = false;
    quota_leave(uas->quota, home->account);
    const struct config_tenant *tenant = home->outcome.kind == OUTCOME_FAILED
                                             ? thread_tenant(thread, home, home->from.domain)
                                             : NULL;
    if (tenant != NULL)
        stats_count_one(&stats_tenant(thread->stats, tenant->index)->to_xmpp_failed);
    if (transaction->is_over) {
        /* RFC 4320 §4.2: the client has given up; a late answer only does harm. */
        stats_count(thread->stats, STAT_SIP_MESSAGES_DROPPED);
        log_event(LOG_LEVEL_WARN, "sip.dropped", transaction->trace,
                  log_text("reason", SPAN("the outcome came after the client gave up")));
        sip_reply_close(uas, transaction);
    } else {
        struct writer memory = writer_make(uas->address_memory, sizeof(uas->address_memory));
        struct sip_response_parts parts =
            outcome_parts(uas, home, transaction->to_full, &memory);
        tell_outcome(uas, home, parts.status);
        /* Given first: an answer that leaves by another thread's connection needs a parcel, and
           this one will do. Its text is read before it is written again. */
        mesh_give(thread->mesh, thread->self, &home);
        sip_reply_answer(uas, transaction, parts);
    }
    if (home != NULL)
        mesh_give(thread->mesh, thread->self, &home);
}

/* ---- requests ---- */

static void answer_method(struct sip_uas *uas, const struct sip_call *call)
{
    struct sip_response_parts parts = {0};
    switch (call->request->method) {
    case SIP_METHOD_OPTIONS:
        sip_reply_stateless(
            uas, call,
            (struct sip_response_parts){.status = 200, .extra = SPAN(ALLOW_LINE ACCEPT_LINE)});
        return;
    case SIP_METHOD_UNKNOWN:
        parts.status = 501; /* RFC 3261 §21.5.2 */
        break;
    case SIP_METHOD_INVITE: /* sessions go here */
    case SIP_METHOD_BYE:
    case SIP_METHOD_SUBSCRIBE:
    case SIP_METHOD_NOTIFY:
    case SIP_METHOD_REGISTER:
    case SIP_METHOD_PUBLISH:
    case SIP_METHOD_INFO:
    case SIP_METHOD_REFER:
    case SIP_METHOD_UPDATE:
    case SIP_METHOD_PRACK: parts.status = 405; break;
    case SIP_METHOD_ACK:
    case SIP_METHOD_CANCEL:
    case SIP_METHOD_MESSAGE: assert(false); /* were answered before */
    }
    parts.extra = SPAN(ALLOW_LINE);
    sip_reply_reject(uas, call, parts);
}

static void hand_over(struct sip_uas *uas, const struct sip_call *call,
                      const struct parties *parties, unsigned owner)
{
    if (sip_route_post(uas, &call->flow, call->request->raw, parties, owner))
        return;
    stats_count(uas->thread->stats, STAT_BACKPRESSURE_PAUSES);
    /* Over UDP this may be one more copy of a request that the owner has: only it knows the
       answer. The client sends again. */
    if (call->flow.transport != SIP_TRANSPORT_UDP)
        sip_reply_reject(uas, call, busy);
}

static void tell_forbidden(struct sip_uas *uas, const struct parties *parties,
                           struct span reason)
{
    /* Without a tenant the From is no address of any: an address literal for example. */
    bool is_known = parties->tenant != NULL;
    trouble_tell(uas->thread, LOG_LEVEL_INFO,
                 &(struct stats_trouble){
                     .event = "sip.forbidden",
                     .tenant = span_of(is_known ? parties->tenant->name : ""),
                     .partner = is_known ? parties->to.domain : SPAN(""),
                     .status = 403,
                     .reason = is_known ? reason : SPAN("The From is no address of a tenant")});
}

/* Who is no trunk of the From domain's tenant. One row for all of them: anybody can send. */
static void tell_stranger(struct sip_uas *uas, const struct sip_flow *flow,
                          const struct config_tenant *tenant)
{
    char peer[NET_ADDRESS_TEXT_SIZE], reason[160];
    net_address_format(&flow->peer, peer);
    snprintf(reason, sizeof(reason), "A request from %s by %s: %s", peer,
             sip_transport_name(flow->transport).data,
             tenant == NULL ? "its From domain is no tenant's"
                            : "that is no trunk of its From domain's tenant");
    trouble_tell(uas->thread, LOG_LEVEL_INFO,
                 &(struct stats_trouble){.event = "sip.stranger",
                                         .tenant = config_tenant_name(tenant),
                                         .status = 403,
                                         .reason = span_of(reason)});
}

/* On the thread that owns the conversation. */
static void serve_message(struct sip_uas *uas, const struct sip_call *call,
                          const struct parties *parties)
{
    if (sip_reply_again(uas, call))
        return;
    char memory[SIP_URI_SIZE_MAX];
    struct writer extra = writer_make(memory, sizeof(memory));
    struct sip_response_parts parts = sip_check_request(uas, call->request, &extra);
    if (parts.status == 0 && sip_reply_is_merged(uas, call))
        parts.status = 482;
    if (parts.status == 0)
        parts = sip_check_parties(uas, parties);
    if (parts.status == 403)
        tell_forbidden(uas, parties, parts.reason);
    if (parts.status != 0)
        sip_reply_reject(uas, call, parts);
    else
        answer_message(uas, call, parties);
}

/* Everything but MESSAGE needs no memory of it. */
static void serve_other(struct sip_uas *uas, const struct sip_call *call)
{
    char memory[SIP_URI_SIZE_MAX];
    struct writer extra = writer_make(memory, sizeof(memory));
    struct sip_response_parts parts = sip_check_request(uas, call->request, &extra);
    if (parts.status != 0)
        sip_reply_reject(uas, call, parts);
    else
        answer_method(uas, call);
}

static void serve(struct sip_uas *uas, const struct sip_call *call,
                  const struct parties *parties, bool handed_over)
{
    struct thread *thread = uas->thread;
    unsigned owner = thread->self;
    if (call->request->method != SIP_METHOD_MESSAGE) {
        serve_other(uas, call);
        return;
    }
    /* On every thread alike, not only where the request must be handed over. */
    if (call->request->raw.size > SIP_HANDOVER_SIZE_MAX) {
        sip_reply_reject(uas, call, (struct sip_response_parts){.status = 513});
        return;
    }
    if (parties->from_result == ADDRESS_OK && parties->to_result == ADDRESS_OK)
        owner = route_egress(thread->config, &parties->from, &parties->to);
    if (owner != thread->self && !handed_over)
        hand_over(uas, call, parties, owner);
    else
        serve_message(uas, call, parties);
}

/* A tenant or trunk that is gone since a moment: the request may be one more copy of what was
   taken when it was there. The thread that owns the conversation knows. */
static bool is_repeated(struct sip_uas *uas, const struct sip_call *call,
                        const struct parties *parties, bool handed_over)
{
    struct thread *thread = uas->thread;
    if (thread->now_ms >= uas->settles_ms || call->request->method != SIP_METHOD_MESSAGE ||
        call->request->raw.size > SIP_HANDOVER_SIZE_MAX || parties->from_result != ADDRESS_OK ||
        parties->to_result != ADDRESS_OK)
        return false;
    unsigned owner = route_egress(thread->config, &parties->from, &parties->to);
    if (owner == thread->self || handed_over)
        return sip_reply_again(uas, call);
    hand_over(uas, call, parties, owner);
    return true;
}

void sip_uas_request(struct sip_uas *uas, const struct sip_input *input)
{
    struct thread *thread = uas->thread;
    bool handed_over = input->carrier != NULL;
    struct sip_message request;
    struct sip_call call = {.request = &request, .flow = input->flow};
    struct sip_response_parts bad = {0};
    if (!handed_over && sip_route_elsewhere(uas, input))
        return;
    enum sip_parse_result result =
        sip_message_parse(uas->parser, input->bytes, &request, &bad.status, &bad.reason);
    if (!handed_over)
        stats_count(thread->stats, STAT_SIP_REQUESTS_IN);
    if (result == SIP_PARSE_DROP) {
        stats_count(thread->stats, STAT_SIP_GUARD_REJECTED);
        return;
    }
    if (request.method == SIP_METHOD_ACK)
        return; /* never answered (RFC 3261 §17.1.1.3) */
    sip_reply_names(uas, &request, &call.names);
    struct parties parties = {0};
    bool is_message = result == SIP_PARSE_OK && request.method == SIP_METHOD_MESSAGE;
    if (is_message && !sip_route_parties(uas, input->carrier, &parties))
        sip_check_parties_of(uas, &request, &parties);
    bool needs_tenant = is_message && parties.from_result == ADDRESS_OK;
    if (!handed_over && !(needs_tenant && parties.tenant == NULL))
        call.flow.trunk = sip_check_source(uas, &call.flow, parties.tenant);
    else if (handed_over && !sip_check_trunk(uas, call.flow.trunk, parties.tenant))
        call.flow.trunk = 0; /* who gave it to us had another configuration */
    sip_route_alias(uas, &call.flow, &request.via);
    if (call.flow.trunk == 0 && is_message && is_repeated(uas, &call, &parties, handed_over))
        return;
    if (call.flow.trunk == 0) {
        tell_stranger(uas, &call.flow, parties.tenant);
        sip_reply_reject(uas, &call, (struct sip_response_parts){.status = 403});
    } else if (result == SIP_PARSE_REJECT) {
        sip_reply_reject(uas, &call, bad);
    } else {
        serve(uas, &call, &parties, handed_over);
    }
}

void sip_uas_reject(struct sip_uas *uas, const struct sip_input *input)
{
    stats_count(uas->thread->stats, STAT_SIP_REQUESTS_IN);
    stats_count(uas->thread->stats, STAT_SIP_REQUESTS_REJECTED);
    /* Not parsed. Without rport the answer goes to the source. */
    log_event(LOG_LEVEL_DEBUG, "sip.guard", 0, log_number("status", input->status),
              log_text("reason", input->reason));
    struct sip_message request = {.is_request = true, .raw = input->bytes};
    if (input->status == 0 || sip_check_source(uas, &input->flow, NULL) == 0)
        return;
    struct writer writer = writer_make(uas->scratch, sizeof(uas->scratch));
    sip_write_response(
        &writer, &request,
        &(struct sip_response_parts){.status = input->status, .reason = input->reason});
    if (!writer.overflow)
        sip_transport_respond(uas->wire, &input->flow, writer_span(&writer));
}

void sip_uas_expire(struct sip_uas *uas)
{
    sip_reply_expire(uas);
}

void sip_uas_tick(struct sip_uas *uas, struct timer *timer)
{
    struct transaction *transaction = timer->owner;
    assert(transaction->magic == TRANSACTION_MAGIC);
    unsigned action = sip_server_tick(&transaction->server, uas->thread->now_ms);
    if (action & SIP_SERVER_SEND_100)
        sip_reply_answer(uas, transaction, (struct sip_response_parts){.status = 100});
    else if (action & SIP_SERVER_FREE)
        sip_reply_close(uas, transaction);
    else
        sip_reply_arm(uas, transaction);
}

void sip_uas_close(struct sip_uas **uas)
{
    struct sip_uas *closed = *uas;
    if (closed == NULL)
        return;
    while (!LIST_EMPTY(&closed->all)) {
        struct transaction *transaction = LIST_FIRST(&closed->all);
        /* The mesh is about to end: nobody will bring the parcel home. */
        if (transaction->has_parcel) {
            stats_count(closed->thread->stats, STAT_SIP_MESSAGES_DROPPED);
            log_event(LOG_LEVEL_WARN, "sip.dropped", transaction->trace,
                      log_text("reason", SPAN("the relay stops")));
        }
        transaction->has_parcel = false;
        sip_reply_close(closed, transaction);
    }
    timer_disarm(&closed->thread->timers, &closed->answered_timer);
    table_fini(&closed->transactions);
    table_fini(&closed->merged);
    sip_answered_close(&closed->answered);
    quota_close(&closed->quota);
    sip_parser_close(&closed->parser);
    free(closed);
    *uas = NULL;
}
