/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the three files of the server side share: sip_uas.c takes requests, sip_check.c judges
 * them, sip_reply.c keeps the transactions and sends the answers. One egress thread.
 */
#ifndef PASSERELLE_CORE_SIP_UAS_PRIV_H
#define PASSERELLE_CORE_SIP_UAS_PRIV_H

#include "core/sip_uas.h"
#include "core/table.h"
#include "net/digest.h"

#define TRANSACTION_MAGIC 0x55415352u
#define TRANSACTION_MAX   65536u
#define RESPONSE_SIZE_MAX 16384u
#define ADDRESS_MEMORY    (4 * JID_SIZE_MAX)

struct transaction {
    uint32_t magic;
    struct table_node node;   /* by branch, sent-by and method (RFC 3261 §17.2.3) */
    struct table_node merged; /* by From tag, Call-ID and CSeq (§8.2.2.2) */
    uint8_t key[DIGEST_SIZE], merged_key[DIGEST_SIZE];
    struct sip_server server;
    struct timer timer;
    struct sip_flow flow;
    bool has_parcel; /* a parcel on its way names this transaction: it may not be freed */
    bool is_over;    /* to be freed when the parcel is home */
    bool to_full;    /* the stanza went to a full JID */
    uint64_t trace;
    char tag[19];
    char *response;
    size_t response_size;
    size_t raw_size;
    char raw[]; /* the request: the response copies its fields */
};

struct sip_uas {
    struct thread *thread;
    struct sip_wire *wire;
    struct sip_parser *parser;
    struct sip_timers timers;
    struct table transactions, merged;
    size_t pending;
    bool draining;
    char address_memory[ADDRESS_MEMORY];
    char scratch[RESPONSE_SIZE_MAX];
};

/* Who sends and to whom, as XMPP sees it. */
struct parties {
    struct jid from, to;
    enum address_result from_result, to_result;
    const struct config_tenant *tenant; /* of the From domain; NULL: none of ours */
};

/* ---- sip_reply.c ---- */

/* Answers without a transaction: the same request again gets the same answer. */
void sip_reply_stateless(struct sip_uas *uas, const struct sip_message *request,
                         const struct sip_flow *flow, struct sip_response_parts parts);
/* The same for an error, counted. */
void sip_reply_reject(struct sip_uas *uas, const struct sip_message *request,
                      const struct sip_flow *flow, struct sip_response_parts parts);
/* The transaction with this key; NULL when there is none. */
struct transaction *sip_reply_find(const struct sip_uas *uas, const uint8_t key[DIGEST_SIZE]);
/* True when a transaction has this From tag, Call-ID and CSeq. */
bool sip_reply_is_merged(const struct sip_uas *uas, const uint8_t merged_key[DIGEST_SIZE]);
/* The keys of RFC 3261 §17.2.3 and of §8.2.2.2. */
void sip_reply_keys(const struct sip_message *request, uint8_t key[DIGEST_SIZE],
                    uint8_t merged_key[DIGEST_SIZE]);
/* Ends it. It stays, marked is_over, while a parcel names it. */
void sip_reply_close(struct sip_uas *uas, struct transaction *transaction);
/* A new transaction; NULL when there are too many. */
struct transaction *sip_reply_open(struct sip_uas *uas, const struct sip_message *request,
                                   const struct sip_flow *flow);
/* Sends the last response again. */
void sip_reply_again(struct sip_uas *uas, struct transaction *transaction);
/* Answers within the transaction, which may be gone afterwards. `request` may be NULL: then it
   is parsed again from what the transaction kept. */
void sip_reply_final(struct sip_uas *uas, struct transaction *transaction,
                     const struct sip_message *request, struct sip_response_parts parts);
/* Arms the timer for what the state machine waits for. */
void sip_reply_arm(struct sip_uas *uas, struct transaction *transaction);

/* ---- sip_check.c ---- */

/* The trunk the request may have come by: one of `tenant`, or of any tenant when that is NULL.
   Index + 1; 0 for a stranger. */
uint32_t sip_check_source(struct sip_uas *uas, const struct sip_flow *flow,
                          const struct config_tenant *tenant);
/* Maps both addresses and finds the tenant. */
void sip_check_parties_of(struct sip_uas *uas, const struct sip_message *request,
                          struct parties *parties);
/* What every request must pass, in the order of RFC 3261 §8.2. Status 0: it passed. `extra` may
   use uas->address_memory no more than as static text. */
struct sip_response_parts
sip_check_request(struct sip_uas *uas, const struct sip_message *request, struct writer *extra);
/* Who may write to whom. Status 0: it may be. */
struct sip_response_parts sip_check_parties(struct sip_uas *uas, const struct parties *parties);

#endif
