/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Responses and server transactions. */
#include "core/sip_uas_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"

#define EXPIRE_INTERVAL_MS 1000u

/* ---- names ---- */

static void add_part(struct keyed_hash *hash, struct span text)
{
    keyed_hash_add(hash, text.data, text.size);
    keyed_hash_add(hash, "\n", 1);
}

/* A branch without the magic cookie is of RFC 2543: the fields beside it tell requests apart.
 */
void sip_reply_names(const struct sip_uas *uas, const struct sip_message *request,
                     struct sip_names *names)
{
    struct keyed_hash hash;
    keyed_hash_start(&hash, uas->secret[0]);
    keyed_hash_add(&hash, "m", 1);
    add_part(&hash, request->from_tag);
    add_part(&hash, request->call_id);
    keyed_hash_add(&hash, &request->cseq, sizeof(request->cseq));
    add_part(&hash, request->method_name);
    struct keyed_hash_name merged = keyed_hash_end(&hash);
    names->merged = merged.word[0];
    keyed_hash_start(&hash, uas->secret[0]);
    keyed_hash_add(&hash, "t", 1);
    add_part(&hash, request->via.branch);
    add_part(&hash, request->via.sent_by);
    add_part(&hash, request->method_name);
    if (!span_starts(request->via.branch, SPAN("z9hG4bK")))
        keyed_hash_add(&hash, &merged, sizeof(merged));
    names->transaction = keyed_hash_end(&hash);
    sip_answered_prefetch(uas->answered, names);
}

/* One request has one tag, so that a stateless answer has the same each time (RFC 3261 §8.2.7)
   and a retransmission needs none remembered; the secret makes it unguessable (§19.3). Its
   first two digits lead a request within the dialog to this thread. */
static struct span write_tag(const struct sip_uas *uas, const struct sip_names *names,
                             char tag[TAG_SIZE])
{
    struct keyed_hash hash;
    keyed_hash_start(&hash, uas->secret[1]);
    keyed_hash_add(&hash, &names->transaction, sizeof(names->transaction));
    struct keyed_hash_name name = keyed_hash_end(&hash);
    uint8_t bytes[1 + sizeof(name.word[0])] = {(uint8_t)uas->thread->self};
    memcpy(bytes + 1, &name.word[0], sizeof(name.word[0]));
    struct writer writer = writer_make(tag, TAG_SIZE);
    writer_put_hex(&writer, bytes, sizeof(bytes));
    assert(!writer.overflow);
    return writer_span(&writer);
}

/* ---- responses ---- */

/* What the response repeats of the request, in uas->scratch; SPAN_NONE when that is too long.
 */
static struct span copy_request(struct sip_uas *uas, const struct sip_call *call)
{
    const struct sip_via *via = &call->request->via;
    struct sip_response_parts parts = {0};
    char host[NET_ADDRESS_TEXT_SIZE], tag[TAG_SIZE];
    net_address_format_host(&call->flow.peer, host);
    if (via->rport_present || !span_equal(span_of(host), via->host)) {
        parts.received = span_of(host);
        parts.rport = net_address_port(&call->flow.peer);
    }
    parts.to_tag = write_tag(uas, &call->names, tag);
    struct writer writer = writer_make(uas->scratch, sizeof(uas->scratch));
    sip_write_copied(&writer, call->request->raw, &parts);
    return writer.overflow ? SPAN_NONE : writer_span(&writer);
}

/* RFC 3261 §18.2.2 with RFC 3581: to the source when rport asks for it over UDP, else to the
   sent-by port at the address it came from; over TCP and TLS that is where a new connection
   goes when that of the request is gone. */
static struct sip_flow way_back(const struct sip_call *call)
{
    const struct sip_via *via = &call->request->via;
    struct sip_flow way = call->flow;
    unsigned port = via->port != 0                       ? via->port
                    : way.transport == SIP_TRANSPORT_TLS ? 5061
                                                         : 5060;
    if (way.transport != SIP_TRANSPORT_UDP || !via->rport_present)
        net_address_set_port(&way.peer, (uint16_t)port);
    return way;
}

static void send_answer(struct sip_uas *uas, struct span copied, const struct sip_flow *way,
                        struct sip_response_parts parts)
{
    char text[RESPONSE_SIZE_MAX];
    struct writer writer = writer_make(text, sizeof(text));
    parts.server = SPAN("Passerelle/" PASSERELLE_VERSION);
    /* A stranger's source may be forged: no byte more for it than must be. */
    bool is_batched = way->transport == SIP_TRANSPORT_UDP && way->trunk != 0;
    parts.step = is_batched ? SIP_DATAGRAM_STEP : 0;
    sip_write_answer(&writer, copied, &parts);
    if (!writer.overflow)
        sip_transport_respond(uas->wire, way, writer_span(&writer));
}

void sip_reply_stateless(struct sip_uas *uas, const struct sip_call *call,
                         struct sip_response_parts parts)
{
    struct sip_flow way = way_back(call);
    struct span copied = copy_request(uas, call);
    if (copied.data != NULL)
        send_answer(uas, copied, &way, parts);
}

void sip_reply_reject(struct sip_uas *uas, const struct sip_call *call,
                      struct sip_response_parts parts)
{
    stats_count(uas->thread->stats, STAT_SIP_REQUESTS_REJECTED);
    if (parts.status == 403)
        stats_count(uas->thread->stats, STAT_SIP_REQUESTS_FORBIDDEN);
    log_event(LOG_LEVEL_DEBUG, "sip.rejected", 0, log_number("status", parts.status),
              log_text("call_id", call->request->call_id));
    sip_reply_stateless(uas, call, parts);
}

/* ---- what was answered ---- */

void sip_reply_expire(struct sip_uas *uas)
{
    uint64_t now_ms = uas->thread->now_ms;
    sip_answered_expire(uas->answered, now_ms);
    if (sip_answered_count(uas->answered) > 0)
        timer_arm(&uas->thread->timers, &uas->answered_timer, now_ms + EXPIRE_INTERVAL_MS);
}

static void remember(struct sip_uas *uas, const struct sip_names *names,
                     const struct sip_response_parts *parts)
{
    struct thread *thread = uas->thread;
    struct sip_answer answer = {parts->status, parts->reason, parts->extra};
    size_t forgotten = sip_answered_add(uas->answered, names, &answer,
                                        thread->now_ms + sip_server_memory_ms(&uas->timers));
    stats_add(thread->stats, STAT_SIP_ANSWERS_FORGOTTEN, forgotten);
    if (uas->answered_timer.position == 0)
        timer_arm(&thread->timers, &uas->answered_timer, thread->now_ms + EXPIRE_INTERVAL_MS);
}

void sip_reply_at_once(struct sip_uas *uas, const struct sip_call *call,
                       struct sip_response_parts parts)
{
    sip_reply_reject(uas, call, parts);
    if (call->flow.transport == SIP_TRANSPORT_UDP)
        remember(uas, &call->names, &parts);
}

static bool same_name(struct keyed_hash_name a, struct keyed_hash_name b)
{
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

static struct transaction *find(const struct sip_uas *uas, const struct sip_names *names)
{
    struct table_node *node = table_find(&uas->transactions, names->transaction.word[0]);
    for (; node != NULL; node = table_next(node)) {
        struct transaction *found = node->owner;
        if (same_name(found->names.transaction, names->transaction))
            return found;
    }
    return NULL;
}

bool sip_reply_again(struct sip_uas *uas, const struct sip_call *call)
{
    struct sip_answer answer;
    struct sip_response_parts parts = {0};
    const struct transaction *known = find(uas, &call->names);
    /* Here and not by the timer alone, which would do a second's worth at once. */
    sip_answered_expire(uas->answered, uas->thread->now_ms);
    if (known != NULL) {
        if (sip_server_retransmit(&known->server) & SIP_SERVER_SEND_100)
            parts.status = 100;
    } else if (sip_answered_find(uas->answered, call->names.transaction, &answer)) {
        parts.status = answer.status;
        parts.reason = answer.reason;
        parts.extra = answer.extra;
    } else {
        return false;
    }
    stats_count(uas->thread->stats, STAT_SIP_RETRANSMISSIONS_IN);
    if (parts.status != 0)
        sip_reply_stateless(uas, call, parts);
    return true;
}

bool sip_reply_is_merged(const struct sip_uas *uas, const struct sip_call *call)
{
    return table_find(&uas->merged, call->names.merged) != NULL ||
           sip_answered_is_merged(uas->answered, call->names.merged);
}

/* ---- transactions ---- */

void sip_reply_close(struct sip_uas *uas, struct transaction *transaction)
{
    assert(transaction->magic == TRANSACTION_MAGIC);
    table_remove(&uas->transactions, &transaction->node);
    table_remove(&uas->merged, &transaction->merged);
    timer_disarm(&uas->thread->timers, &transaction->timer);
    transaction->is_over = true;
    if (transaction->has_parcel)
        return;
    LIST_REMOVE(transaction, link);
    transaction->magic = 0;
    free(transaction);
}

void sip_reply_arm(struct sip_uas *uas, struct transaction *transaction)
{
    uint64_t deadline_ms = sip_server_deadline(&transaction->server);
    if (deadline_ms == UINT64_MAX)
        timer_disarm(&uas->thread->timers, &transaction->timer);
    else
        timer_arm(&uas->thread->timers, &transaction->timer, deadline_ms);
}

struct transaction *sip_reply_open(struct sip_uas *uas, const struct sip_call *call)
{
    struct span copied = copy_request(uas, call);
    if (copied.data == NULL)
        return NULL;
    struct transaction *made = malloc(sizeof(*made) + copied.size);
    if (made == NULL)
        return NULL;
    *made = (struct transaction){.magic = TRANSACTION_MAGIC,
                                 .names = call->names,
                                 .flow = way_back(call),
                                 .trace = thread_trace(uas->thread),
                                 .timer = {.kind = EGRESS_TIMER_SERVER, .owner = made},
                                 .copied_size = copied.size};
    memcpy(made->copied, copied.data, copied.size);
    table_add(&uas->transactions, &made->node, made->names.transaction.word[0], made);
    table_add(&uas->merged, &made->merged, made->names.merged, made);
    LIST_INSERT_HEAD(&uas->all, made, link);
    sip_server_start(&made->server, &uas->timers, call->flow.transport != SIP_TRANSPORT_UDP,
                     uas->thread->now_ms);
    sip_reply_arm(uas, made);
    return made;
}

void sip_reply_answer(struct sip_uas *uas, struct transaction *transaction,
                      struct sip_response_parts parts)
{
    assert(transaction->magic == TRANSACTION_MAGIC);
    send_answer(uas, span_make(transaction->copied, transaction->copied_size),
                &transaction->flow, parts);
    unsigned action = sip_server_respond(&transaction->server, parts.status);
    if (action & SIP_SERVER_REMEMBER)
        remember(uas, &transaction->names, &parts);
    if (action & SIP_SERVER_FREE)
        sip_reply_close(uas, transaction);
    else
        sip_reply_arm(uas, transaction);
}

/* An answer may need a new connection to the trunk that the request came by. */
void sip_reply_reload(struct sip_uas *uas, const struct config *former)
{
    const struct config *config = uas->thread->config;
    struct transaction *transaction;
    LIST_FOREACH(transaction, &uas->all, link)
    {
        uint32_t trunk = transaction->flow.trunk;
        if (trunk == 0)
            continue;
        const struct config_trunk *known = config_trunk_at(config, trunk - 1);
        if (known == NULL || known->serial != config_trunk_at(former, trunk - 1)->serial)
            transaction->flow.trunk = 0;
    }
}
