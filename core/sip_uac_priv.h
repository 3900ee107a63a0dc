/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the client side share: sip_uac.c has the queues and the outcomes,
 * sip_attempt.c sends a request over one target after another, sip_compose.c writes it.
 */
#ifndef PASSERELLE_CORE_SIP_UAC_PRIV_H
#define PASSERELLE_CORE_SIP_UAC_PRIV_H

#include <sys/queue.h>

#include "core/sip_uac.h"
#include "core/table.h"

#define REQUEST_MAGIC 0x55414352u
#define BRANCH_PREFIX "z9hG4bK" /* RFC 3261 §8.1.1.7 */
#define BRANCH_SIZE   (sizeof(BRANCH_PREFIX) - 1 + 2 + 16)
#define TAG_SIZE      (2 + 16)
#define SCRATCH_SIZE  32768u

_Static_assert(BRANCH_SIZE <= SIP_BRANCH_SIZE_MAX, "our branch is one we would take");
_Static_assert(SCRATCH_SIZE >= PARCEL_SIZE + 4096, "a parcel's text and its headers fit");

/* One at a time to each recipient; the others wait in order. */
struct recipient {
    struct table_node node;
    struct parcel *first, **last;
    unsigned waiting;
    bool busy;
    size_t uri_size;
    char uri[];
};

/* A request: over its life it may be several client transactions, one for each trunk tried. */
struct request {
    uint32_t magic;
    struct table_node node; /* by the random part of the branch */
    struct recipient *recipient;
    struct parcel *parcel; /* NULL for OPTIONS, and once the outcome is known */
    const struct config_tenant *tenant; /* NULL: it is gone */
    struct trunk *trunk;
    unsigned targets_left; /* of this trunk, not tried yet */
    size_t trunk_next; /* index into tenant->trunks of the next to try */
    bool waits;        /* for a trunk's addresses or its turn; no transaction yet */
    STAILQ_ENTRY(request) turn;
    bool in_flight;    /* counted at the trunk */
    bool answered;     /* the last failure is the SIP side's word, not our own finding */
    struct sip_client client;
    struct timer timer;
    struct sip_target target;
    uint64_t connection;
    uint64_t wait_until_ms;
    bool has_branch; /* of an earlier transaction: the next one needs its own */
    char branch[BRANCH_SIZE];
    char tag[TAG_SIZE];
    size_t call_id_size;
    char call_id[SIP_CALL_ID_SIZE_MAX];
    size_t size;
    char bytes[SIP_UDP_REQUEST_SIZE_MAX]; /* UDP only: what Timer E sends again */
};

struct sip_uac {
    struct thread *thread;
    struct sip_wire *wire;
    struct trunk_table *trunks;
    struct sip_timers timers;
    struct table requests, recipients;
    STAILQ_HEAD(, request) ready; /* their recipient is free */
    size_t pending;
    char scratch[SCRATCH_SIZE];
};

/* ---- sip_attempt.c ---- */

enum sip_attempt {
    SIP_ATTEMPT_RUNS,     /* a transaction has begun, or the request waits, its timer armed */
    SIP_ATTEMPT_TOO_LONG, /* nothing was tried: the request fits none of the ways there are */
    SIP_ATTEMPT_NONE_LEFT
};

/* Tries the targets and trunks that are left, in order of priority (the configuration has
   sorted them). When one fails at once, *status and *reason say so. */
enum sip_attempt sip_attempt_next(struct sip_uac *uac, struct request *request, int *status,
                                  struct span *reason);
/* Tries this trunk alone. False: it cannot be sent now. */
bool sip_attempt_once(struct sip_uac *uac, struct request *request, struct trunk *trunk);
/* Sends the request of the running transaction again (Timer E). */
void sip_attempt_repeat(struct sip_uac *uac, struct request *request);
/* Arms the timer for what the state machine waits for. */
void sip_attempt_arm(struct sip_uac *uac, struct request *request);
/* Tells the trunk what became of the attempt (struct trunk_result). */
void sip_attempt_note(const struct request *request, int status, long retry_after_s);
/* The transaction is over. Nothing happens when there is none. */
void sip_attempt_end(struct request *request);

/* ---- sip_compose.c ---- */

/* A new branch that names this thread, and its place in uac->requests. */
void sip_compose_branch(struct sip_uac *uac, struct request *request);
/* Call-ID and From tag; they stay over all trunks that are tried. */
void sip_compose_call(struct sip_uac *uac, struct request *request);
/* The request for request->trunk and request->target, in uac->scratch; empty when we have no
   address that leads there. */
struct span sip_compose_request(struct sip_uac *uac, struct request *request);
/* True when the branch is of our making: the thread and the random part in it. */
bool sip_compose_read_branch(struct span branch, unsigned *shard, uint64_t *random);
/* An xmpp: URI for 301 and 302; empty unless the address needs no escaping (RFC 5122 §2.2). */
struct span sip_compose_redirect(struct span contact, struct writer *memory);

#endif
