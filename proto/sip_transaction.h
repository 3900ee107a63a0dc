/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Non-INVITE transactions (RFC 3261 §17.1.2 and §17.2.2, RFC 4320) as state machines that know
 * no clock, no socket and no memory: the owner embeds the struct, passes the time and does what
 * is asked. The INVITE machines of the issue on sessions go beside these, with the same shape
 * (feed an event, get actions, ask for the next deadline). Times are in milliseconds of a
 * monotonic clock. Owner: one egress thread.
 */
#ifndef PASSERELLE_PROTO_SIP_TRANSACTION_H
#define PASSERELLE_PROTO_SIP_TRANSACTION_H

#include <stdbool.h>
#include <stdint.h>

struct sip_timers {
    uint32_t t1_ms, t2_ms, t4_ms; /* 500, 4000, 5000 by default */
};
extern const struct sip_timers sip_timers_default;

enum sip_client_state {
    SIP_CLIENT_TRYING,
    SIP_CLIENT_PROCEEDING,
    SIP_CLIENT_COMPLETED, /* Timer K: absorbs retransmitted responses */
    SIP_CLIENT_TERMINATED
};

/* What the owner does after feeding an event. Several bits may be set. */
enum sip_client_action {
    SIP_CLIENT_DO_NOTHING = 0,
    SIP_CLIENT_SEND = 1,     /* (re)send the request */
    SIP_CLIENT_FINAL = 2,    /* pass the response up: it is final, exactly once */
    SIP_CLIENT_TIMEOUT = 4,  /* Timer F: to be treated as 408 */
    SIP_CLIENT_FREE = 8      /* terminated: forget the transaction */
};

struct sip_client {
    enum sip_client_state state;
    bool reliable;
    uint32_t interval_ms;       /* of Timer E */
    uint64_t timer_e_ms;        /* absolute; 0 when off */
    uint64_t timer_f_ms, timer_k_ms;
    const struct sip_timers *timers;
};

/* Starts it; returns SIP_CLIENT_SEND. `reliable`: TCP or TLS. */
unsigned sip_client_start(struct sip_client *client, const struct sip_timers *timers,
                          bool reliable, uint64_t now_ms);
/* A response with this status that matched by branch and CSeq method (§17.1.3). */
unsigned sip_client_response(struct sip_client *client, int status, uint64_t now_ms);
/* The transport failed: FINAL is not set; the owner treats it as 503. Returns FREE. */
unsigned sip_client_transport_error(struct sip_client *client);
/* To be called when the deadline has passed. */
unsigned sip_client_tick(struct sip_client *client, uint64_t now_ms);
/* When to call sip_client_tick next; UINT64_MAX for never. */
uint64_t sip_client_deadline(const struct sip_client *client);

enum sip_server_state {
    SIP_SERVER_TRYING,
    SIP_SERVER_PROCEEDING,
    SIP_SERVER_COMPLETED, /* Timer J */
    SIP_SERVER_TERMINATED
};

enum sip_server_action {
    SIP_SERVER_DO_NOTHING = 0,
    SIP_SERVER_SEND_LAST = 1, /* send the stored response again */
    SIP_SERVER_SEND_100 = 2,  /* RFC 4320 §4.1: still undecided at 3.5 s (unreliable) */
    SIP_SERVER_EXPIRED = 4,   /* undecided when the client has given up (64*T1): the late answer
                                 must not be sent (RFC 4320 §4.2); count it, tell nobody */
    SIP_SERVER_FREE = 8
};

struct sip_server {
    enum sip_server_state state;
    bool reliable;
    uint64_t timer_100_ms, timer_expire_ms, timer_j_ms;
    const struct sip_timers *timers;
};

void sip_server_start(struct sip_server *server, const struct sip_timers *timers, bool reliable,
                      uint64_t now_ms);
/* The same request again (branch, sent-by and method equal). */
unsigned sip_server_retransmit(struct sip_server *server);
/* The owner sends a response (it stores it for SEND_LAST). 100 or final. Returns FREE when the
   transaction is over at once (reliable transport). */
unsigned sip_server_respond(struct sip_server *server, int status, uint64_t now_ms);
unsigned sip_server_tick(struct sip_server *server, uint64_t now_ms);
uint64_t sip_server_deadline(const struct sip_server *server);

#endif
