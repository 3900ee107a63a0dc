/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the server side share: sip_uas.c takes requests, sip_route.c hands them to
 * their owner, sip_check.c judges them, sip_quota.c says when there are too many, sip_reply.c
 * keeps the transactions and sends the answers. One egress thread.
 */
#ifndef PASSERELLE_CORE_SIP_UAS_PRIV_H
#define PASSERELLE_CORE_SIP_UAS_PRIV_H

#include <sys/queue.h>

#include "core/quota.h"
#include "core/sip_answered.h"
#include "core/sip_uas.h"
#include "core/table.h"

#define TRANSACTION_MAGIC 0x55415352u
#define RESPONSE_SIZE_MAX 16384u
#define ADDRESS_MEMORY    (4 * JID_SIZE_MAX)
#define TAG_SIZE          18

/* A request that is not answered yet; there are no more of them than parcels. */
struct transaction {
    uint32_t magic;
    struct table_node node;   /* by names.transaction */
    struct table_node merged; /* by names.merged */
    LIST_ENTRY(transaction) link;
    struct sip_names names;
    struct sip_server server;
    struct timer timer;
    struct sip_flow flow; /* the way of the answer */
    bool has_parcel;      /* a parcel on its way names this transaction: it may not be freed */
    bool is_over;         /* to be freed when the parcel is home */
    bool to_full;         /* the stanza went to a full JID */
    uint64_t trace;
    size_t copied_size;
    char copied[]; /* what every response repeats of the request */
};

/* A parsed request on its way through the checks. */
struct sip_call {
    const struct sip_message *request;
    struct sip_flow flow;
    struct sip_names names;
};

struct sip_uas {
    struct thread *thread;
    struct sip_wire *wire;
    struct sip_parser *parser;
    struct sip_timers timers;
    uint8_t secret[2][KEYED_HASH_KEY_SIZE]; /* for the names, for the To tags */
    struct table transactions, merged;
    LIST_HEAD(, transaction) all; /* also those that wait for nothing but their parcel */
    struct quota *quota; /* of the messages that come in here */
    struct sip_answered *answered;
    struct timer answered_timer;
    size_t pending;
    bool draining;
    uint64_t
        settles_ms; /* until then requests taken under a former configuration may be repeated */
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

/* The names of the request, for every later step. */
void sip_reply_names(const struct sip_uas *uas, const struct sip_message *request,
                     struct sip_names *names);
/* Answers without a transaction: the same request again gets the same answer. */
void sip_reply_stateless(struct sip_uas *uas, const struct sip_call *call,
                         struct sip_response_parts parts);
/* The same for an error, counted. */
void sip_reply_reject(struct sip_uas *uas, const struct sip_call *call,
                      struct sip_response_parts parts);
/* Answers a new request at once and remembers the answer. */
void sip_reply_at_once(struct sip_uas *uas, const struct sip_call *call,
                       struct sip_response_parts parts);
/* True when the request is a retransmission: it got what there is to get. */
bool sip_reply_again(struct sip_uas *uas, const struct sip_call *call);
/* True when another request had this From tag, Call-ID and CSeq. */
bool sip_reply_is_merged(const struct sip_uas *uas, const struct sip_call *call);
/* A new transaction; NULL without memory. */
struct transaction *sip_reply_open(struct sip_uas *uas, const struct sip_call *call);
/* Ends it. It stays, marked is_over, while a parcel names it. */
void sip_reply_close(struct sip_uas *uas, struct transaction *transaction);
/* Answers within the transaction, which is over with a final answer. */
void sip_reply_answer(struct sip_uas *uas, struct transaction *transaction,
                      struct sip_response_parts parts);
/* Arms the timer for what the state machine waits for. */
void sip_reply_arm(struct sip_uas *uas, struct transaction *transaction);
/* thread->config has taken the place of `former`. */
void sip_reply_reload(struct sip_uas *uas, const struct config *former);
/* Forgets what is due, and arms the timer for what is left. */
void sip_reply_expire(struct sip_uas *uas);

/* ---- sip_route.c ---- */

/* Hands a MESSAGE to the thread that owns its conversation when that is another and it may come
   in at all. False: it is to be taken here, whatever is to be said of it. */
bool sip_route_elsewhere(struct sip_uas *uas, const struct sip_input *input);
/* Hands `bytes` (SIP_HANDOVER_SIZE_MAX at most) to `owner`, and the parties, both of whose
   addresses are good. False when no parcel is free. */
bool sip_route_post(struct sip_uas *uas, const struct sip_flow *flow, struct span bytes,
                    const struct parties *parties, unsigned owner) MUST_USE;
/* The parties that came with the parcel. False: none did. They live as long as its text. */
bool sip_route_parties(const struct sip_uas *uas, const struct parcel *carrier,
                       struct parties *parties);
/* RFC 5923: the connection the request came by is the one to its trunk, when its Via says
   so. */
void sip_route_alias(struct sip_uas *uas, const struct sip_flow *flow,
                     const struct sip_via *via);

/* ---- sip_quota.c ---- */

/* May the message come in, whose parties are good? Status 0: it may, and counts in *account.
   Else the answer; it is counted and told. */
struct sip_response_parts sip_quota_check(struct sip_uas *uas, const struct sip_call *call,
                                          const struct parties *parties,
                                          struct quota_account **account);

/* ---- sip_check.c ---- */

/* The trunk the request may have come by: one of `tenant`, or of any tenant when that is NULL.
   Index + 1; 0 for a stranger. */
uint32_t sip_check_source(struct sip_uas *uas, const struct sip_flow *flow,
                          const struct config_tenant *tenant);
/* Is the trunk (index + 1) one of the tenant's? */
bool sip_check_trunk(const struct sip_uas *uas, uint32_t trunk,
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
