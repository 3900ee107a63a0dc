/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/ledger.h"

#include <assert.h>
#include <stdio.h>

#include "proto/writer.h"

#define NOTICE_NS    (2 * SIM_S)
#define AVOIDANCE_NS (60 * SIM_S) /* the longest back-off of a link; a trunk's is shorter */
#define TIMER_J_NS   (32 * SIM_S)
#define UNDER_WAY_NS (45 * SIM_S) /* the longest delivery */

/* What the relay says of a tenant that has too many. */
#define OVER_RATE      "Too many messages a second for this SIP domain"
#define OVER_IN_FLIGHT "Too many messages for this SIP domain are in flight"

#define WRITTEN(message)                                                                       \
    ledger.written[(message)->partner][(message)->partner_user][(message)->tenant]             \
                  [(message)->tenant_user]

struct ledger ledger;

void ledger_open(const struct plan *plan)
{
    memset(&ledger, 0, sizeof(ledger));
    ledger.plan = plan;
}

struct ledger_message *ledger_add(bool to_sip)
{
    assert(ledger.count < LEDGER_MAX);
    struct ledger_message *message = &ledger.messages[ledger.count];
    *message = (struct ledger_message){.number = ledger.count++, .to_sip = to_sip};
    return message;
}

struct ledger_message *ledger_find(struct span text)
{
    unsigned number = 0;
    size_t i = 1;
    for (; i < text.size && i < 6 && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        number = number * 10 + (unsigned)(text.data[i] - '0');
    if (text.size < 2 || text.data[0] != '#' || i == 1 || number >= ledger.count)
        return NULL;
    return &ledger.messages[number];
}

void ledger_write_jid(const struct ledger_message *message, struct writer *writer)
{
    writer_put_char(writer, 'u');
    writer_put_uint(writer, message->partner_user);
    writer_put_char(writer, '@');
    writer_put(writer, span_of(ledger.plan->partners[message->partner].domain));
}

void ledger_write_user(const struct ledger_message *message, struct writer *writer)
{
    writer_put_char(writer, 'v');
    writer_put_uint(writer, message->tenant_user);
    writer_put_char(writer, '@');
    writer_put(writer, span_of(ledger.plan->tenants[message->tenant].domain));
}

void ledger_sent(struct ledger_message *message)
{
    message->was_sent = true;
    message->sent_ns = sim.now_ns;
    if (!message->to_sip && !message->is_forged && WRITTEN(message).sent_ns == 0)
        WRITTEN(message).sent_ns = sim.now_ns;
    sim_trace("ledger: #%u sent %s%s", message->number, message->to_sip ? "to SIP" : "to XMPP",
              message->is_forged ? ", forged" : "");
}

void ledger_restarted(void)
{
    ledger.restarted_ns = sim.now_ns;
    for (unsigned i = 0; i < ledger.count; i++)
        WRITTEN(&ledger.messages[i]).arrived_ns = 0;
}

void ledger_tenant(unsigned tenant, bool is_removed)
{
    assert(tenant < ledger.plan->tenant_count);
    sim_trace("ledger: tenant %u is %s", tenant, is_removed ? "removed" : "back");
    if (ledger.away[tenant].since_ns == 0)
        ledger.away[tenant].since_ns = sim.now_ns;
    ledger.away[tenant].until_ns = is_removed ? UINT64_MAX : sim.now_ns;
}

/* Was the tenant not served while the message was under way, or avoided since? */
static bool was_away(const struct ledger_message *message)
{
    uint64_t since_ns = ledger.away[message->tenant].since_ns;
    uint64_t until_ns = ledger.away[message->tenant].until_ns;
    return since_ns > 0 && message->sent_ns + UNDER_WAY_NS >= since_ns &&
           (until_ns == UINT64_MAX || message->sent_ns <= until_ns + AVOIDANCE_NS);
}

/* ---- arrivals ---- */

/* Both ends learn of a broken connection a little after it broke. */
static bool had_trouble(const union net_address *host, const struct ledger_message *message)
{
    return network_had_trouble(host, message->sent_ns - NOTICE_NS);
}

static void check_order(const struct ledger_message *message)
{
    unsigned *last = &ledger.last[message->to_sip][message->partner][message->partner_user]
                                 [message->tenant][message->tenant_user];
    const struct ledger_message *previous = &ledger.messages[*last > 0 ? *last - 1 : 0];
    const union net_address *host = &ledger.plan->partners[message->partner].address;
    /* What hangs in a broken stream may be overtaken on a new one, and what a SIP peer gave up
       may still come. */
    bool is_excused = message->gave_up || had_trouble(host, message) || was_away(message);
    if (message->number < previous->number && !is_excused)
        sim_fail("#%u arrived after #%u of the same sender", message->number, previous->number);
    if (message->number + 1 > *last)
        *last = message->number + 1;
}

static bool is_jid(const struct ledger_message *message, struct span address, size_t skip)
{
    char memory[128];
    struct writer writer = writer_make(memory, sizeof(memory));
    ledger_write_jid(message, &writer);
    struct span rest = span_from(address, skip);
    rest = span_to(rest, writer.used);
    return span_equal(rest, writer_span(&writer));
}

static bool is_user(const struct ledger_message *message, struct span address, size_t skip)
{
    char memory[128];
    struct writer writer = writer_make(memory, sizeof(memory));
    ledger_write_user(message, &writer);
    struct span rest = span_from(address, skip);
    rest = span_to(rest, writer.used);
    return span_equal(rest, writer_span(&writer));
}

/* Nothing may pass to or from who cannot prove its name. */
static bool is_barred(const struct ledger_message *message)
{
    return ledger.plan->partners[message->partner].is_impostor;
}

static bool needs_consent(const struct ledger_message *message)
{
    return ledger.plan->partners[message->partner].is_unverified;
}

/* Does the relay know, when it comes, that its recipient has written to its sender? */
static bool has_consent(const struct ledger_message *message)
{
    uint64_t known_ns = WRITTEN(message).arrived_ns;
    return known_ns > 0 && known_ns < message->sent_ns;
}

void ledger_arrived_sip(struct ledger_message *message, unsigned tenant, struct span from,
                        struct span to)
{
    sim_trace("ledger: #%u reached SIP", message->number);
    bool is_right = message->to_sip && !message->is_forged && !message->is_question &&
                    !is_barred(message) && message->was_sent && tenant == message->tenant &&
                    is_jid(message, from, strlen("sip:")) &&
                    is_user(message, to, strlen("sip:"));
    if (!is_right)
        sim_fail("#%u reached %s as from %.*s to %.*s", message->number,
                 ledger.plan->tenants[tenant].domain, (int)from.size, from.data, (int)to.size,
                 to.data);
    else if (message->arrivals == 0)
        check_order(message);
    if (needs_consent(message) && WRITTEN(message).sent_ns == 0)
        sim_fail("#%u reached one who has not written to its sender", message->number);
    message->arrivals++;
}

void ledger_arrived_xmpp(struct ledger_message *message, struct span stream_from,
                         struct span stream_to, struct span from, struct span to)
{
    sim_trace("ledger: #%u reached XMPP", message->number);
    const struct plan *plan = ledger.plan;
    bool is_right = !message->to_sip && !message->is_forged && !is_barred(message) &&
                    message->was_sent && is_user(message, from, 0) && is_jid(message, to, 0) &&
                    span_equal(stream_from, span_of(plan->tenants[message->tenant].domain)) &&
                    span_equal(stream_to, span_of(plan->partners[message->partner].domain));
    if (!is_right)
        sim_fail("#%u reached the stream %.*s → %.*s as from %.*s to %.*s", message->number,
                 (int)stream_from.size, stream_from.data, (int)stream_to.size, stream_to.data,
                 (int)from.size, from.data, (int)to.size, to.data);
    else
        check_order(message);
    if (WRITTEN(message).arrived_ns == 0)
        WRITTEN(message).arrived_ns = sim.now_ns;
    /* A copy that comes when Timer J is over is a new request (RFC 3261 §17.2.2), and so is one
       that comes to a relay that was started again. */
    if (++message->arrivals > 1 && sim.now_ns < message->sent_ns + TIMER_J_NS &&
        message->sent_ns > ledger.restarted_ns)
        sim_fail("#%u reached its XMPP server twice", message->number);
}

void ledger_judged_sip(struct ledger_message *message, int status)
{
    sim_trace("ledger: #%u answered %d by SIP", message->number, status);
    if (status >= 200 && status < 300)
        message->was_accepted = true;
    else
        message->was_refused = true;
    if (status == 0 || status == 503 || status == 408) {
        message->may_repeat = true;
        ledger.trunk_failed[message->tenant] = true;
    }
}

/* ---- what the senders hear ---- */

/* A thread of the relay refuses for a quota what is not one too many of the messages that it
   may have at least: were there so many of this tenant's by now? */
static void check_over(struct ledger_message *message, struct span text)
{
    const struct plan *plan = ledger.plan;
    const struct plan_tenant *tenant = &plan->tenants[message->tenant];
    bool shares = plan->tenant_count > 1 || plan->reloads > 0;
    unsigned least = UINT32_MAX, sent = 0;
    if (span_starts(text, SPAN(OVER_RATE)) && tenant->per_second_max > 0)
        least = tenant->burst_max > 0 ? tenant->burst_max : tenant->per_second_max;
    if (span_starts(text, SPAN(OVER_IN_FLIGHT)) && tenant->in_flight_max > 0)
        least = tenant->in_flight_max;
    if (span_starts(text, SPAN(OVER_IN_FLIGHT)) && shares &&
        least > plan->parcels / 2 / (PLAN_TENANT_MAX + 1))
        least = plan->parcels / 2 / (PLAN_TENANT_MAX + 1);
    for (unsigned i = 0; i < ledger.count; i++) {
        const struct ledger_message *other = &ledger.messages[i];
        sent += other->was_sent && other->to_sip == message->to_sip && !other->is_question &&
                !other->is_forged && other->tenant == message->tenant;
    }
    message->was_over = true;
    if (sent <= least)
        sim_fail("#%u: one of %u is over the quota of %u", message->number, sent, least);
}

/* The relay says that nobody has written to the sender: that must be so, as far as it knows. */
static void check_unwanted(struct ledger_message *message)
{
    message->was_unwanted = true;
    if (!needs_consent(message))
        sim_fail("#%u: subscription-required, where anybody may write", message->number);
    if (has_consent(message))
        sim_fail("#%u: subscription-required for who was written to", message->number);
}

static bool is_over_quota(struct span text)
{
    return span_starts(text, SPAN(OVER_RATE)) || span_starts(text, SPAN(OVER_IN_FLIGHT));
}

void ledger_heard_error(struct ledger_message *message, struct span condition, struct span text)
{
    sim_trace("ledger: #%u: its sender hears %.*s", message->number, (int)condition.size,
              condition.data);
    if (!message->to_sip || !message->was_sent)
        sim_fail("#%u: an error for what was never sent", message->number);
    if (message->type == LEDGER_HEADLINE)
        sim_fail("#%u: an error for a headline", message->number);
    if (++message->errors > 1)
        sim_fail("#%u: a second error", message->number);
    if (span_equal(condition, SPAN("resource-constraint")))
        message->was_full = true;
    if (span_equal(condition, SPAN("subscription-required")))
        check_unwanted(message);
    if (is_over_quota(text))
        check_over(message, text);
}

void ledger_bounced(struct ledger_message *message)
{
    sim_trace("ledger: #%u is refused by its own server", message->number);
    if (message->was_bounced)
        sim_fail("#%u: refused twice by its own server", message->number);
    message->was_bounced = true;
}

void ledger_heard_answer(struct ledger_message *message)
{
    sim_trace("ledger: #%u is answered", message->number);
    if (++message->arrivals > 1)
        sim_fail("#%u: a second answer", message->number);
}

/* May an answer of an XMPP server take longer than the relay waits for it? Also behind messages
   that the relay has no parcels for. */
static bool is_slow(const struct plan *plan)
{
    bool may_be_full = plan->parcels == 128 && plan->to_sip > 30;
    for (unsigned i = 0; i < plan->tenant_count; i++)
        may_be_full = may_be_full || plan->tenants[i].in_flight_max > 0;
    return plan->network.latency_max_ns > 10 * SIM_MS || plan->network.window < 65536 ||
           plan->pause > 0 || plan->is_flood || may_be_full;
}

void ledger_heard_status(struct ledger_message *message, int status, struct span reason)
{
    sim_trace("ledger: #%u: its sender hears %d", message->number, status);
    if (message->status != 0) {
        /* A copy that was under way when its tenant left or came back is judged anew. */
        bool is_excused = was_away(message) && (status == 403 || message->status == 403);
        if (message->status != status && message->sent_ns > ledger.restarted_ns && !is_excused)
            sim_fail("#%u: %d after %d", message->number, status, message->status);
        return;
    }
    message->status = status;
    if (is_over_quota(reason))
        check_over(message, reason);
    if (message->is_forged && status != 403)
        sim_fail("#%u: forged and answered %d", message->number, status);
    if (status == 200 && message->arrivals == 0)
        sim_fail("#%u: 200 for what the XMPP server has not", message->number);
    /* A refusal may be lost with its stream, and a later ping be answered on another. */
    const union net_address *host = &ledger.plan->partners[message->partner].address;
    const struct plan_partner *partner = &ledger.plan->partners[message->partner];
    /* What was acknowledged and not refused in time, which the relay counts in milliseconds, or
       before the relay stops, is taken for delivered. */
    uint64_t in_time_ns = message->sent_ns + (ledger.plan->confirm_timeout_ms - 1) * SIM_MS;
    bool is_late = partner->managed && (ledger.is_stopping || sim.now_ns >= in_time_ns);
    if (status == 200 && message->was_refused && !is_late && !had_trouble(host, message))
        sim_fail("#%u: 200 for what the XMPP server refused", message->number);
}

/* ---- the end ---- */

/* For as long as the relay avoids a peer that failed before. */
static bool had_trouble_before(const union net_address *host,
                               const struct ledger_message *message)
{
    return network_had_trouble(host, message->sent_ns - AVOIDANCE_NS);
}

static bool trunks_had_trouble(const struct ledger_message *message, bool before)
{
    const struct plan_tenant *tenant = &ledger.plan->tenants[message->tenant];
    bool had = false;
    for (unsigned i = 0; i < tenant->trunk_count; i++) {
        const union net_address *host = &tenant->trunks[i].address;
        had = had || (before ? had_trouble_before(host, message) : had_trouble(host, message));
    }
    return had;
}

static bool dns_may_fail(void)
{
    return ledger.plan->dns_fail > 0;
}

/* On a managed stream nothing is lost, whatever becomes of it, or of the relay: but for an
   error that SIP, a quota, or a want of consent gave a reason for and whose stream broke. */
static bool is_lost(const struct ledger_message *message)
{
    const struct plan_tenant *tenant = &ledger.plan->tenants[message->tenant];
    bool is_known = message->was_accepted || message->errors > 0 || message->was_bounced;
    bool may_fail = message->was_refused || message->is_long || message->was_full ||
                    message->type == LEDGER_HEADLINE || dns_may_fail() ||
                    (needs_consent(message) && !has_consent(message)) ||
                    ledger.trunk_failed[message->tenant] || ledger.plan->is_flood ||
                    ledger.plan->recipient_queue_max < 64 || tenant->per_second_max > 0 ||
                    tenant->in_flight_max > 0;
    for (unsigned i = 0; i < tenant->trunk_count; i++)
        may_fail =
            may_fail || network_had_other_trouble(&tenant->trunks[i].address,
                                                  ledger.restarting_ns, ledger.restarted_ns);
    return message->is_counted && !is_known && !may_fail;
}

static void check_to_sip(const struct ledger_message *message)
{
    const struct plan_partner *partner = &ledger.plan->partners[message->partner];
    bool trunk_trouble = trunks_had_trouble(message, false);
    bool has_error = message->errors > 0;
    if (message->arrivals > 1 && !message->may_repeat && !trunk_trouble)
        sim_fail("#%u: sent by SIP %u times", message->number, message->arrivals);
    if (message->was_accepted && has_error && !trunk_trouble && !message->may_repeat)
        sim_fail("#%u: delivered, and its sender hears an error", message->number);
    if (message->is_forged || ledger.is_stopping)
        return;
    bool may_be_silent = message->type == LEDGER_HEADLINE || dns_may_fail() ||
                         was_away(message) || had_trouble_before(&partner->address, message);
    may_be_silent = may_be_silent || message->was_bounced;
    if (!message->was_accepted && !has_error && !may_be_silent)
        sim_fail("#%u: neither delivered nor answered", message->number);
    if (is_lost(message))
        sim_fail("#%u: lost on a managed stream", message->number);
    bool has_reason = message->was_refused || message->is_long || message->was_full ||
                      message->was_unwanted || was_away(message) ||
                      trunks_had_trouble(message, true) ||
                      ledger.trunk_failed[message->tenant] || dns_may_fail();
    if (has_error && !has_reason)
        sim_fail("#%u: an error without a reason", message->number);
}

static void check_to_xmpp(const struct ledger_message *message)
{
    const struct plan_partner *partner = &ledger.plan->partners[message->partner];
    const struct plan_tenant *tenant = &ledger.plan->tenants[message->tenant];
    bool partner_trouble = had_trouble(&partner->address, message);
    bool trunk_trouble = had_trouble(&tenant->trunks[message->trunk].address, message);
    bool slow = partner->answer_ns >= SIM_S || partner->mute > 0 || is_slow(ledger.plan) ||
                was_away(message);
    if (message->is_forged || ledger.is_stopping)
        return;
    /* The relay may try for longer than a SIP client waits (RFC 4320 §4.2). */
    bool was_late = ledger.plan->deliver_timeout_ms > 32000 &&
                    had_trouble_before(&partner->address, message);
    if (message->status == 0 && !trunk_trouble && !was_late)
        sim_fail("#%u: no final response", message->number);
    bool was_in_trouble = had_trouble_before(&partner->address, message);
    if (message->status >= 200 && message->status < 300 && partner->is_impostor)
        sim_fail("#%u: %d for a server that is not who it says", message->number,
                 message->status);
    if (message->status == 202 && !was_in_trouble && !slow)
        sim_fail("#%u: 202 though the XMPP server answers", message->number);
    if (message->status == 202 && message->arrivals == 0 && !partner_trouble)
        sim_fail("#%u: 202 for what never arrived", message->number);
    bool was_full = message->status == 503 && ledger.plan->is_flood;
    /* It may have had to wait for longer than the relay keeps it. */
    bool may_expire = ledger.plan->is_flood && (partner->reads > 0 || partner->mute > 0);
    bool has_reason = message->was_refused || was_in_trouble || dns_may_fail() || was_full ||
                      message->was_over || partner->is_impostor || was_away(message) ||
                      may_expire;
    if (message->status >= 300 && !has_reason)
        sim_fail("#%u: %d without a reason", message->number, message->status);
    if (message->status >= 300 && message->arrivals > 0 && !message->was_refused &&
        !partner_trouble)
        sim_fail("#%u: %d for what the XMPP server took", message->number, message->status);
}

static void check_question(const struct ledger_message *message)
{
    const union net_address *host = &ledger.plan->partners[message->partner].address;
    if (message->arrivals == 0 && !ledger.is_stopping && !dns_may_fail() &&
        !was_away(message) && !had_trouble_before(host, message))
        sim_fail("#%u: a question without an answer", message->number);
}

void ledger_check(void)
{
    for (unsigned i = 0; i < ledger.count; i++) {
        const struct ledger_message *message = &ledger.messages[i];
        if (!message->was_sent)
            continue;
        if (message->is_question)
            check_question(message);
        else if (message->to_sip)
            check_to_sip(message);
        else
            check_to_xmpp(message);
    }
}
