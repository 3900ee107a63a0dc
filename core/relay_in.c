/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/relay_in.h"

#include <assert.h>
#include <time.h>

#include "core/consent.h"
#include "core/intake.h"
#include "core/trouble.h"
#include "net/clock.h"
#include "proto/error_map.h"
#include "proto/map_message.h"
#include "proto/service_iq.h"

#define ERROR_STANZA_SIZE 8192

/* Turns an own parcel into a stanza of `sender` for a link to `remote` and posts it. */
static void post_stanza(struct worker *worker, struct parcel *parcel, const struct jid *sender,
                        struct span remote, struct span stanza)
{
    struct thread *thread = worker->thread;
    struct span local = sender->domain;
    uint64_t trace = parcel->trace;
    char domains[2 * (DOMAIN_SIZE_MAX + 1)];
    assert(local.size <= DOMAIN_SIZE_MAX);
    assert(remote.size <= DOMAIN_SIZE_MAX);
    memcpy(domains, local.data, local.size);
    memcpy(domains + local.size, remote.data, remote.size);
    parcel->share = thread_share(sender->local); /* it may lie in the parcel's text */
    parcel->text_used = 0;
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->is_return = false;
    parcel->snapshot = thread->config->snapshot;
    parcel->wants_outcome = false;
    parcel->trace = trace;
    parcel->born_ms = thread->now_ms;
    parcel->outcome = (struct outcome){.kind = OUTCOME_PENDING};
    parcel->from = parcel->to = (struct jid){SPAN_NONE, SPAN_NONE, SPAN_NONE};
    parcel->stanza_id = parcel->stanza_type = SPAN_NONE;
    parcel->from.domain = parcel_copy(parcel, span_make(domains, local.size));
    parcel->to.domain = parcel_copy(parcel, span_make(domains + local.size, remote.size));
    parcel->bytes = parcel_copy(parcel, stanza);
    assert(parcel->bytes.data != NULL);
    mesh_post(thread->mesh, thread->self,
              route_link(thread->config, parcel->from.domain, parcel->to.domain), &parcel);
}

/* Answers `parcel`'s sender with its fault; the parcel is used up. False: nothing was sent. */
static bool post_error(struct worker *worker, struct parcel *parcel, struct span kind)
{
    struct thread *thread = worker->thread;
    char from_text[JID_SIZE_MAX], to_text[JID_SIZE_MAX], memory[ERROR_STANZA_SIZE];
    struct writer from = writer_make(from_text, sizeof(from_text));
    struct writer to = writer_make(to_text, sizeof(to_text));
    struct writer writer = writer_make(memory, sizeof(memory));
    jid_write(&from, &parcel->to);
    jid_write(&to, &parcel->from);
    stanza_error_write_stanza(&writer, kind, writer_span(&from), writer_span(&to),
                              parcel->stanza_id, &parcel->outcome.fault);
    if (writer.overflow || from.overflow || to.overflow) {
        log_event(LOG_LEVEL_WARN, "xmpp.error_dropped", parcel->trace,
                  log_text("reason", SPAN("the addresses are too long to be answered")));
        worker_give(worker, &parcel);
        return false;
    }
    stats_count(thread->stats, STAT_XMPP_ERRORS_SENT);
    post_stanza(worker, parcel, &parcel->to, parcel->from.domain, writer_span(&writer));
    return true;
}

/* `reason`: for us, where the sender is told another one; else empty. */
static void tell_failed(struct worker *worker, const struct parcel *parcel, struct span reason)
{
    struct stats *stats = worker->thread->stats;
    const struct stanza_fault *fault = &parcel->outcome.fault;
    const struct config_tenant *tenant =
        thread_tenant(worker->thread, parcel, parcel->to.domain);
    if (reason.size == 0)
        reason = fault->text.size > 0 ? fault->text : stanza_error_name(fault->error);
    trouble_tell(worker->thread, LOG_LEVEL_INFO,
                 &(struct stats_trouble){.event = "xmpp.message_failed",
                                         .trace = parcel->trace,
                                         .tenant = config_tenant_name(tenant),
                                         .partner = parcel->from.domain,
                                         .status = parcel->outcome.sip_status,
                                         .reason = reason});
    if (tenant != NULL)
        stats_count_one(&stats_tenant(stats, tenant->index)->to_sip_failed);
}

/* The end of a message that was accepted and not delivered, and of which we have been told. Its
   stanza is settled when the error is on its way, or at once when nobody is told. */
static void end_failed(struct worker *worker, struct parcel *parcel)
{
    struct stats *stats = worker->thread->stats;
    struct receipt receipt = parcel->receipt;
    if (span_equal(parcel->stanza_type, SPAN("headline"))) {
        /* RFC 6121 §5.2.2: nobody waits for an answer to a headline. */
        log_event(LOG_LEVEL_INFO, "xmpp.message_dropped", parcel->trace,
                  log_text("reason", stanza_error_name(parcel->outcome.fault.error)));
        stats_count(stats, STAT_XMPP_MESSAGES_DROPPED);
        worker_give(worker, &parcel);
        intake_settle(worker, receipt);
        return;
    }
    bool told = post_error(worker, parcel, SPAN("message"));
    if (!told)
        intake_settle(worker, receipt);
    stats_count(stats, told ? STAT_XMPP_MESSAGES_FAILED : STAT_XMPP_MESSAGES_DROPPED);
}

void relay_in_outcome(struct worker *worker, struct parcel **come)
{
    struct thread *thread = worker->thread;
    struct parcel *parcel = *come;
    *come = NULL;
    assert(parcel->kind == PARCEL_MESSAGE_TO_SIP);
    assert(worker->waiting > 0);
    worker->waiting--;
    if (parcel->outcome.kind == OUTCOME_FAILED) {
        tell_failed(worker, parcel, SPAN_NONE);
        end_failed(worker, parcel);
        return;
    }
    assert(parcel->outcome.kind != OUTCOME_PENDING);
    log_event(LOG_LEVEL_DEBUG, "xmpp.message_delivered", parcel->trace,
              log_number("status", parcel->outcome.sip_status));
    stats_count(thread->stats, STAT_XMPP_MESSAGES_DELIVERED);
    intake_settle(worker, parcel->receipt);
    worker_give(worker, &parcel);
}

/* Tells the owner of the link that the far side had something to say about what it sent. False
   without a parcel: it must be said later and in its place, for an error that is lost before
   the answer to a ping makes that answer a lie. `is_answer`: to an IQ request of ours. */
static bool confirm(struct session *session, const struct xml_node *stanza,
                    const struct jid *from, const struct jid *to, bool is_answer)
{
    struct thread *thread = session->worker->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL)
        return false;
    parcel->kind = PARCEL_CONFIRM;
    parcel->from = parcel_copy_jid(parcel, to);
    parcel->to = parcel_copy_jid(parcel, from);
    parcel->stanza_id = parcel_copy(parcel, xml_node_attribute(stanza, SPAN("id")));
    parcel->born_ms = session->unheld_ms;
    parcel->wants_answer = is_answer;
    parcel->outcome.kind = OUTCOME_DELIVERED;
    if (span_equal(xml_node_attribute(stanza, SPAN("type")), SPAN("error"))) {
        struct stanza_fault fault = stanza_error_read(stanza);
        parcel->outcome.kind = OUTCOME_FAILED;
        parcel->outcome.fault = (struct stanza_fault){.error = fault.error};
        if (fault.error == STANZA_ERROR_NONE)
            parcel->outcome.fault.error = STANZA_ERROR_UNDEFINED_CONDITION;
        parcel->outcome.fault.type = parcel_copy(parcel, fault.type);
        parcel->outcome.fault.text = parcel_copy(parcel, span_to(fault.text, 500));
        parcel->outcome.fault.address = parcel_copy(parcel, span_to(fault.address, 3000));
        parcel->outcome.fault.by = parcel_copy(parcel, span_to(fault.by, 3000));
    }
    mesh_post(thread->mesh, thread->self, route_link(thread->config, to->domain, from->domain),
              &parcel);
    return true;
}

/* What the mapping took from the stanza's tree as it was (language, thread) dies with the tree:
   the parcel needs it as its own. */
static void own(struct parcel *parcel, struct span *text)
{
    bool inside = text->data >= parcel->text && text->data < parcel->text + PARCEL_TEXT_SIZE;
    if (text->size > 0 && !inside)
        *text = parcel_copy(parcel, *text);
}

static void own_draft(struct parcel *parcel)
{
    struct sip_draft *draft = &parcel->draft;
    struct span *const all[] = {&draft->request_uri,  &draft->from_uri, &draft->call_id,
                                &draft->thread,       &draft->subject,  &draft->language,
                                &draft->content_type, &draft->body,     &draft->date};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        own(parcel, all[i]);
}

/* What a message gets that was on its way when its pair of domains ceased to be served. */
static struct stanza_fault barred_fault(const struct config_tenant *tenant)
{
    if (tenant == NULL)
        return (struct stanza_fault){.error = STANZA_ERROR_GONE,
                                     .text = SPAN("This domain is no longer served here")};
    return (struct stanza_fault){
        .error = STANZA_ERROR_NOT_ALLOWED,
        .text = SPAN("The policy of this domain does not allow the sender's domain any more")};
}

/* What the sender is told, and what we are told where that differs. */
struct message_refusal {
    struct stanza_fault fault;
    struct span reason;
};

/* Where a message counts, and whether there is room for it. */
struct message_ration {
    struct quota_account *account, *over;
    enum quota_verdict verdict;
};

/* On a stream that carries nothing else. */
static bool may_wait(const struct message_ration *ration)
{
    switch (ration->verdict) {
    case QUOTA_WITHIN: break;
    case QUOTA_RATE: return quota_has_refused(ration->over);
    case QUOTA_IN_FLIGHT: return true;
    }
    return false;
}

/* False: it is to wait. That is fair on a stream of one pair of domains; on others, whose
   messages would wait with it, it is refused, a few at a time. So is what comes too often,
   unless it comes so often that the refusals would take the worker from others: what is not
   read then costs nothing. */
static bool ask_quota(struct session *session, const struct config_tenant *tenant,
                      const struct jid *from, struct message_ration *ration)
{
    struct worker *worker = session->worker;
    struct thread *thread = worker->thread;
    bool is_again = session->rationed_for != QUOTA_WITHIN;
    *ration = (struct message_ration){.verdict = QUOTA_WITHIN};
    session->rationed_for = QUOTA_WITHIN;
    if (tenant == NULL)
        return true;
    ration->account = quota_account(worker->quota, thread->config, tenant, from->domain);
    ration->verdict = quota_judge(ration->account, mesh_free(thread->mesh, thread->self),
                                  thread->now_ms, &ration->over);
    if (ration->verdict == QUOTA_WITHIN || session->state != SESSION_OPEN)
        return true;
    bool waits = session_hears_one(session);
    uint64_t until_ms = waits ? thread->now_ms + quota_pace_ms(ration->over)
                              : quota_run_refuse(&session->refusals, thread->now_ms);
    if (waits ? !may_wait(ration) : until_ms == 0)
        return true;
    if (waits && !is_again)
        stats_count(thread->stats, STAT_QUOTA_PAUSES);
    session_ration(session, ration->over, waits ? ration->verdict : QUOTA_RATE, until_ms);
    return false;
}

static struct stanza_fault quota_fault(const struct message_ration *ration)
{
    return (struct stanza_fault){.error = STANZA_ERROR_RESOURCE_CONSTRAINT,
                                 .text = quota_reason(ration->over, ration->verdict)};
}

/* What is refused for its quota is not mapped before. */
static enum map_result refuse_over(const struct session *session, const struct xml_node *stanza,
                                   const struct message_ration *ration,
                                   struct stanza_fault *fault)
{
    if (!map_message_has_text(stanza, session_lang(session)))
        return MAP_IGNORE;
    *fault = quota_fault(ration);
    return MAP_FAULT;
}

static void tell_over(struct worker *worker, const struct config_tenant *tenant,
                      const struct parcel *parcel, const struct message_ration *ration)
{
    struct thread *thread = worker->thread;
    stats_count_over_quota(thread->stats, tenant->index);
    stats_count_one(&stats_tenant(thread->stats, tenant->index)->to_sip_failed);
    trouble_tell_over_quota(thread,
                            &(struct stats_trouble){.event = "xmpp.over_quota",
                                                    .trace = parcel->trace,
                                                    .tenant = span_of(tenant->name),
                                                    .partner = parcel->from.domain,
                                                    .reason = parcel->outcome.fault.text},
                            quota_untold(ration->over, thread->now_ms));
}

/* Enters the ledger. */
static void count_accepted(struct stats *stats, const struct config_tenant *tenant)
{
    stats_count(stats, STAT_XMPP_MESSAGES_ACCEPTED);
    if (tenant != NULL)
        stats_count_one(&stats_tenant(stats, tenant->index)->to_sip);
}

static void begin_message(struct session *session, const struct xml_node *stanza,
                          struct parcel *parcel)
{
    struct thread *thread = session->worker->thread;
    parcel->kind = PARCEL_MESSAGE_TO_SIP;
    parcel->snapshot = thread->config->snapshot;
    parcel->trace = thread_trace(thread);
    parcel->ticket = session->ticket;
    parcel->receipt = intake_take(session->intake);
    parcel->born_ms = thread->now_ms;
    parcel->wants_outcome = true;
    parcel->stanza_id =
        parcel_copy(parcel, span_to(xml_node_attribute(stanza, SPAN("id")), 1000));
    parcel->stanza_type =
        parcel_copy(parcel, span_to(xml_node_attribute(stanza, SPAN("type")), 16));
}

/* What a mapped message must pass yet. */
static bool may_pass(const struct session *session, const struct config_tenant *tenant,
                     const struct parcel *parcel, struct writer *writer,
                     struct message_refusal *refusal)
{
    const struct worker *worker = session->worker;
    const struct config *config = worker->thread->config;
    if (writer->overflow) {
        refusal->fault = (struct stanza_fault){.error = STANZA_ERROR_POLICY_VIOLATION,
                                               .text = SPAN("The message is too long")};
        return false;
    }
    if (session_is_leaving(session) &&
        worker_pair_tenant(worker, parcel->to.domain, parcel->from.domain) == NULL) {
        refusal->fault = barred_fault(tenant);
        return false;
    }
    if (tenant == NULL || config_user_allowed(config, tenant, &parcel->to))
        return true;
    /* As if there were no such user: who may and who may not is nobody's business out there.
       Nor is whether there is one, where only those may write who were written to. */
    stats_count(worker->thread->stats, STAT_USERS_REFUSED);
    refusal->fault = consent_is_needed(config, tenant, parcel->from.domain)
                         ? consent_fault
                         : error_map_to_xmpp(404, SPAN_NONE, SPAN_NONE, writer);
    refusal->reason = SPAN("tenants[].users does not let this user talk with XMPP users");
    return false;
}

static bool on_message(struct session *session, const struct xml_node *stanza,
                       const struct config_tenant *tenant, const struct jid *from,
                       const struct jid *to)
{
    struct worker *worker = session->worker;
    struct thread *thread = worker->thread;
    struct span type = xml_node_attribute(stanza, SPAN("type"));
    if (span_equal(type, SPAN("error"))) {
        if (!confirm(session, stanza, from, to, false))
            return false;
        intake_settle(worker, intake_take(session->intake));
        stats_count(thread->stats, STAT_XMPP_MESSAGES_IGNORED);
        return true;
    }
    struct message_ration ration;
    if (!ask_quota(session, tenant, from, &ration))
        return false;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_TRAFFIC);
    if (parcel == NULL)
        return false;
    parcel->tenant = tenant != NULL ? tenant->index : UINT32_MAX;
    parcel->from = parcel_copy_jid(parcel, from);
    parcel->to = parcel_copy_jid(parcel, to);
    begin_message(session, stanza, parcel);
    struct writer writer = parcel_writer(parcel);
    struct message_refusal refusal = {.fault.error = STANZA_ERROR_NONE};
    bool is_over = ration.verdict != QUOTA_WITHIN;
    enum map_result result =
        is_over ? refuse_over(session, stanza, &ration, &refusal.fault)
                : map_message_to_sip(stanza, &parcel->from, &parcel->to, session_lang(session),
                                     &writer, &parcel->draft, &refusal.fault);
    if (result == MAP_IGNORE) {
        intake_settle(worker, parcel->receipt);
        stats_count(thread->stats, STAT_XMPP_MESSAGES_IGNORED);
        mesh_give(thread->mesh, thread->self, &parcel);
        return true;
    }
    if (result == MAP_OK && !may_pass(session, tenant, parcel, &writer, &refusal))
        result = MAP_FAULT;
    parcel->account = ration.account;
    quota_enter(worker->quota, ration.account, !is_over);
    if (ration.verdict == QUOTA_RATE)
        quota_refuse(ration.over);
    count_accepted(thread->stats, tenant);
    parcel_keep(parcel, &writer);
    if (result == MAP_FAULT) {
        parcel->outcome.fault = refusal.fault;
        if (is_over)
            tell_over(worker, tenant, parcel, &ration);
        else
            tell_failed(worker, parcel, refusal.reason);
        end_failed(worker, parcel);
        return true;
    }
    own_draft(parcel);
    worker->waiting++;
    log_event(LOG_LEVEL_DEBUG, "xmpp.message", parcel->trace,
              log_text("from", xml_node_attribute(stanza, SPAN("from"))),
              log_text("to", xml_node_attribute(stanza, SPAN("to"))),
              log_text("id", parcel->stanza_id));
    mesh_post(thread->mesh, thread->self,
              route_egress(thread->config, &parcel->to, &parcel->from), &parcel);
    return true;
}

static bool on_iq(struct session *session, const struct xml_node *stanza,
                  const struct jid *from, const struct jid *to)
{
    struct worker *worker = session->worker;
    struct thread *thread = worker->thread;
    struct span type = xml_node_attribute(stanza, SPAN("type"));
    if (span_equal(type, SPAN("result")) || span_equal(type, SPAN("error"))) {
        if (!confirm(session, stanza, from, to, true))
            return false;
        intake_settle(worker, intake_take(session->intake));
        return true;
    }
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL)
        return false;
    parcel->receipt = intake_take(session->intake);
    char utc[32];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm parts;
    gmtime_r(&now, &parts);
    size_t utc_size = strftime(utc, sizeof(utc), "%Y-%m-%dT%H:%M:%SZ", &parts);
    struct writer writer = writer_make(worker->scratch, PARCEL_TEXT_SIZE - 600);
    service_iq_answer(&writer, stanza, from, to, &thread->config->identity,
                      span_make(utc, utc_size));
    if (writer.used == 0 || writer.overflow) {
        intake_settle(worker, parcel->receipt);
        mesh_give(thread->mesh, thread->self, &parcel);
        return true;
    }
    stats_count(thread->stats, STAT_XMPP_IQ_ANSWERED);
    parcel->is_iq = true;
    parcel->trace = thread_trace(thread);
    post_stanza(worker, parcel, to, from->domain, writer_span(&writer));
    return true;
}

/* RFC 6120 §8.1.1.2 and §8.1.2.2; true when the stanza belongs to an authorised pair. */
static bool check_pair(struct session *session, const struct jid *from, const struct jid *to)
{
    struct span text = SPAN("the address is not authorised on this stream");
    if (session_hears(session, to->domain, from->domain))
        return true;
    stats_count(session->worker->thread->stats, STAT_POLICY_REFUSED);
    if (session_hears_from(session, from->domain))
        session_close(session, STREAM_ERROR_HOST_UNKNOWN, text);
    else
        session_close(session, STREAM_ERROR_INVALID_FROM, text);
    return false;
}

bool relay_in_stanza(struct session *session, const struct xml_node *stanza)
{
    char from_memory[JID_SIZE_MAX], to_memory[JID_SIZE_MAX];
    struct writer from_writer = writer_make(from_memory, sizeof(from_memory));
    struct writer to_writer = writer_make(to_memory, sizeof(to_memory));
    struct span from_text = xml_node_attribute(stanza, SPAN("from"));
    struct span to_text = xml_node_attribute(stanza, SPAN("to"));
    struct jid from, to;
    struct worker *worker = session->worker;
    /* A stream that must stay at a stop for what it brings home to a link takes nothing new: what
       is not acknowledged stays the peer's. */
    bool is_ours = session->outbound || session->link != NULL;
    if (intake_has_seen(session->intake) || (is_ours && worker->draining))
        return true;
    if (from_text.size == 0 || to_text.size == 0 ||
        jid_parse(from_text, &from_writer, &from) != JID_OK ||
        jid_parse(to_text, &to_writer, &to) != JID_OK) {
        session_close(session, STREAM_ERROR_IMPROPER_ADDRESSING,
                      SPAN("'from' or 'to' is missing or no address"));
        return true;
    }
    if (!check_pair(session, &from, &to))
        return true;
    const struct config_tenant *tenant = worker_pair_tenant(worker, to.domain, from.domain);
    if (tenant == NULL && !session_is_leaving(session)) {
        session_close(session, STREAM_ERROR_POLICY_VIOLATION, SPAN("this pair is not allowed"));
        return true;
    }
    if (!intake_has_room(session->intake))
        return false;
    /* On a stream that we have closed for that very reason each message is still answered. */
    if (tenant == NULL)
        tenant = config_find_tenant(worker->thread->config, to.domain);
    bool handled = true;
    if (span_equal(stanza->name, SPAN("message")))
        handled = on_message(session, stanza, tenant, &from, &to);
    else if (span_equal(stanza->name, SPAN("iq")))
        handled = on_iq(session, stanza, &from, &to);
    else
        intake_settle(worker, intake_take(session->intake));
    if (handled) {
        session->stanzas_in++;
        stats_count(worker->thread->stats, STAT_XMPP_STANZAS_IN);
    }
    return handled;
}
