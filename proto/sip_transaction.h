/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Non-INVITE transactions (RFC 3261 §17.1.2 and §17.2.2, RFC 4320) as state machines that know
 * no clock, no socket and no memory: the owner embeds the struct, passes the time and does what
 * is asked. Times are in milliseconds of a monotonic clock. Owner: one egress thread.
 *
 * Neither machine has the state Completed, so that an answered transaction need not be kept
 * whole. On the client side Completed (Timer K) only absorbs retransmitted responses: the owner
 * drops a response that matches no transaction, which does the same. On the server side
 * Completed (Timer J) repeats the response to a retransmitted request: the owner is told to
 * remember what it needs to write that response again, and for how long (SIP_SERVER_REMEMBER).
 */
#ifndef PASSERELLE_PROTO_SIP_TRANSACTION_H
#define PASSERELLE_PROTO_SIP_TRANSACTION_H

#include <stdbool.h>
#include <stdint.h>

struct sip_timers {
    uint32_t t1_ms, t2_ms; /* 500 and 4000 by default */
};
extern const struct sip_timers sip_timers_default;

enum sip_client_state {
    SIP_CLIENT_TRYING,
    SIP_CLIENT_PROCEEDING,
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
    uint64_t timer_f_ms;
    const struct sip_timers *timers;
};

/* Starts it; returns SIP_CLIENT_SEND. `reliable`: TCP or TLS. */
unsigned sip_client_start(struct sip_client *client, const struct sip_timers *timers,
                          bool reliable, uint64_t now_ms);
/* A response with this status that matched by branch and CSeq method (§17.1.3). A final one
   returns FINAL | FREE. */
unsigned sip_client_response(struct sip_client *client, int status);
/* The transport failed: FINAL is not set; the owner treats it as 503. Returns FREE. */
unsigned sip_client_transport_error(struct sip_client *client);
/* To be called when the deadline has passed. */
unsigned sip_client_tick(struct sip_client *client, uint64_t now_ms);
/* When to call sip_client_tick next; UINT64_MAX for never. */
uint64_t sip_client_deadline(const struct sip_client *client);

enum sip_server_state {
    SIP_SERVER_TRYING,
    SIP_SERVER_PROCEEDING, /* 100 was sent */
    SIP_SERVER_TERMINATED
};

enum sip_server_action {
    SIP_SERVER_DO_NOTHING = 0,
    SIP_SERVER_SEND_100 = 1, /* RFC 4320 §4.1: still undecided at 3.5 s (unreliable), or asked
                                for again */
    SIP_SERVER_EXPIRED = 2,  /* undecided when the client has given up (64*T1): the late answer
                                must not be sent (RFC 4320 §4.2); count it, tell nobody */
    SIP_SERVER_REMEMBER = 4, /* Timer J: repeat the response when the request comes again, for
                                sip_server_memory_ms */
    SIP_SERVER_FREE = 8      /* terminated: forget the transaction */
};

struct sip_server {
    enum sip_server_state state;
    bool reliable;
    uint64_t timer_100_ms, timer_expire_ms;
    const struct sip_timers *timers;
};

void sip_server_start(struct sip_server *server, const struct sip_timers *timers, bool reliable,
                      uint64_t now_ms);
/* The same request again (branch, sent-by and method equal). */
unsigned sip_server_retransmit(const struct sip_server *server);
/* The owner sends a response, 100 or final. A final one returns FREE, and REMEMBER when the
   transport is unreliable. */
unsigned sip_server_respond(struct sip_server *server, int status);
/* Timer J: 64*T1. */
uint64_t sip_server_memory_ms(const struct sip_timers *timers);
unsigned sip_server_tick(struct sip_server *server, uint64_t now_ms);
uint64_t sip_server_deadline(const struct sip_server *server);

#endif
