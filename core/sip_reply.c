/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Responses and server transactions. */
#include "core/sip_uas_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"

/* ---- responses ---- */

/* RFC 3261 §18.2.2 with RFC 3581: to the source when rport asks for it, else to the sent-by
   port at the address it came from. */
static struct span write_response(struct sip_uas *uas, const struct sip_message *request,
                                  struct sip_flow *flow, struct sip_response_parts *parts)
{
    char host[NET_ADDRESS_TEXT_SIZE];
    net_address_format_host(&flow->peer, host);
    if (request->via.rport_present || !span_equal(span_of(host), request->via.host)) {
        parts->received = span_of(host);
        parts->rport = net_address_port(&flow->peer);
    }
    parts->server = SPAN("Passerelle/" PASSERELLE_VERSION);
    struct writer writer = writer_make(uas->scratch, sizeof(uas->scratch));
    sip_write_response(&writer, request, parts);
    if (flow->transport == SIP_TRANSPORT_UDP && !request->via.rport_present)
        net_address_set_port(&flow->peer, request->via.port != 0 ? request->via.port : 5060);
    return writer.overflow ? SPAN_NONE : writer_span(&writer);
}

/* Without a transaction: the same request again gets the same answer by the same way. */
void sip_reply_stateless(struct sip_uas *uas, const struct sip_message *request,
                         const struct sip_flow *flow, struct sip_response_parts parts)
{
    struct sip_flow way = *flow;
    uint8_t digest[DIGEST_SIZE];
    char tag[17];
    /* A stateless tag must be the same each time (RFC 3261 §8.2.7). */
    digest_sha256(request->via.text.data, request->via.text.size, digest);
    struct writer writer = writer_make(tag, 16);
    writer_put_hex(&writer, digest, 8);
    parts.to_tag = writer_span(&writer);
    struct span bytes = write_response(uas, request, &way, &parts);
    if (bytes.data != NULL)
        sip_transport_respond(uas->wire, &way, bytes);
}

void sip_reply_reject(struct sip_uas *uas, const struct sip_message *request,
                      const struct sip_flow *flow, struct sip_response_parts parts)
{
    stats_count(uas->thread->stats, STAT_SIP_REQUESTS_REJECTED);
    if (parts.status == 403)
        stats_count(uas->thread->stats, STAT_SIP_REQUESTS_FORBIDDEN);
    log_event(LOG_LEVEL_DEBUG, "sip.rejected", 0, log_number("status", parts.status),
              log_text("call_id", request->call_id));
    sip_reply_stateless(uas, request, flow, parts);
}

/* ---- transactions ---- */

static void hash_part(struct digest_part *parts, struct span text)
{
    *parts = (struct digest_part){text.size > 0 ? text.data : "", text.size};
}

static uint64_t hash_of(const uint8_t key[DIGEST_SIZE])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof(hash));
    return hash;
}

/* A branch without the magic cookie is of RFC 2543: the fields beside it tell requests apart.
 */
void sip_reply_keys(const struct sip_message *request, uint8_t key[DIGEST_SIZE],
                    uint8_t merged_key[DIGEST_SIZE])
{
    struct digest_part parts[9];
    char cseq[16];
    snprintf(cseq, sizeof(cseq), "%u", request->cseq);
    bool cookie = span_starts(request->via.branch, SPAN("z9hG4bK"));
    struct span method = request->method_name;
    hash_part(&parts[0], request->from_tag);
    hash_part(&parts[1], SPAN("\n"));
    hash_part(&parts[2], request->call_id);
    hash_part(&parts[3], SPAN("\n"));
    hash_part(&parts[4], span_of(cseq));
    hash_part(&parts[5], method);
    digest_hmac_sha256("merged", 6, parts, 6, merged_key);
    hash_part(&parts[0], request->via.branch);
    hash_part(&parts[2], request->via.sent_by);
    hash_part(&parts[4], method);
    hash_part(&parts[5], SPAN("\n"));
    parts[6] = (struct digest_part){merged_key, cookie ? 0 : DIGEST_SIZE};
    digest_hmac_sha256("branch", 6, parts, 7, key);
}

struct transaction *sip_reply_find(const struct sip_uas *uas, const uint8_t key[DIGEST_SIZE])
{
    struct table_node *node = table_find(&uas->transactions, hash_of(key));
    for (; node != NULL; node = table_next(node)) {
        struct transaction *found = node->owner;
        if (memcmp(found->key, key, DIGEST_SIZE) == 0)
            return found;
    }
    return NULL;
}

bool sip_reply_is_merged(const struct sip_uas *uas, const uint8_t merged_key[DIGEST_SIZE])
{
    struct table_node *node = table_find(&uas->merged, hash_of(merged_key));
    for (; node != NULL; node = table_next(node)) {
        const struct transaction *found = node->owner;
        if (memcmp(found->merged_key, merged_key, DIGEST_SIZE) == 0)
            return true;
    }
    return false;
}

void sip_reply_close(struct sip_uas *uas, struct transaction *transaction)
{
    assert(transaction->magic == TRANSACTION_MAGIC);
    table_remove(&uas->transactions, &transaction->node);
    table_remove(&uas->merged, &transaction->merged);
    timer_disarm(&uas->thread->timers, &transaction->timer);
    transaction->is_over = true;
    if (transaction->has_parcel)
        return;
    transaction->magic = 0;
    free(transaction->response);
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

struct transaction *sip_reply_open(struct sip_uas *uas, const struct sip_message *request,
                                   const struct sip_flow *flow)
{
    if (uas->transactions.count >= TRANSACTION_MAX)
        return NULL;
    struct transaction *made = calloc(1, sizeof(*made) + request->raw.size);
    if (made == NULL)
        return NULL;
    made->magic = TRANSACTION_MAGIC;
    made->flow = *flow;
    made->trace = thread_trace(uas->thread);
    made->timer.kind = EGRESS_TIMER_SERVER;
    made->timer.owner = made;
    made->raw_size = request->raw.size;
    memcpy(made->raw, request->raw.data, request->raw.size);
    uint64_t random = 0;
    digest_random(&random, sizeof(random));
    snprintf(made->tag, sizeof(made->tag), "%02x%016llx", uas->thread->self & 0xffu,
             (unsigned long long)random);
    sip_reply_keys(request, made->key, made->merged_key);
    table_add(&uas->transactions, &made->node, hash_of(made->key), made);
    table_add(&uas->merged, &made->merged, hash_of(made->merged_key), made);
    sip_server_start(&made->server, &uas->timers, flow->transport != SIP_TRANSPORT_UDP,
                     uas->thread->now_ms);
    sip_reply_arm(uas, made);
    return made;
}

void sip_reply_again(struct sip_uas *uas, struct transaction *transaction)
{
    if (transaction->response == NULL)
        return;
    sip_transport_respond(uas->wire, &transaction->flow,
                          span_make(transaction->response, transaction->response_size));
}

/* Answers within the transaction, which may be gone afterwards. `request` may be NULL: then it
   is parsed again from what the transaction kept. */
void sip_reply_final(struct sip_uas *uas, struct transaction *transaction,
                     const struct sip_message *request, struct sip_response_parts parts)
{
    struct sip_message again;
    int status = 0;
    struct span reason;
    if (request == NULL) {
        if (sip_message_parse(uas->parser, span_make(transaction->raw, transaction->raw_size),
                              &again, &status, &reason) != SIP_PARSE_OK)
            return; /* it parsed before: only memory can be short now; Timer F ends it */
        request = &again;
    }
    struct sip_flow way = transaction->flow;
    parts.to_tag = span_make(transaction->tag, 18);
    struct span bytes = write_response(uas, request, &way, &parts);
    if (bytes.data == NULL)
        return;
    free(transaction->response);
    transaction->response = malloc(bytes.size);
    transaction->response_size = transaction->response != NULL ? bytes.size : 0;
    if (transaction->response != NULL)
        memcpy(transaction->response, bytes.data, bytes.size);
    sip_transport_respond(uas->wire, &way, bytes);
    if (parts.status >= 200)
        transaction->flow = way; /* what is replayed goes the same way */
    unsigned action =
        sip_server_respond(&transaction->server, parts.status, uas->thread->now_ms);
    if (action & SIP_SERVER_FREE)
        sip_reply_close(uas, transaction);
    else
        sip_reply_arm(uas, transaction);
}
