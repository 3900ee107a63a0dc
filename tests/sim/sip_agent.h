/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A simulated SIP peer at the far end of a trunk, over UDP, TCP or TLS: answers the relay's
 * requests (at once, late, with errors, not at all, retransmissions always alike) and sends
 * messages of its own with the timers of RFC 3261 §17.1.2, one at a time from one user to
 * another. The text of messages is the relay's proto; the transactions are written on their
 * own.
 */
#ifndef PASSERELLE_TESTS_SIM_SIP_AGENT_H
#define PASSERELLE_TESTS_SIM_SIP_AGENT_H

#include "net/ring.h"
#include "proto/sip_message.h"
#include "tests/sim/ledger.h"
#include "tests/sim/peer.h"
#include "net/buffer.h"
#include "net/tls.h"

#define SIP_BRANCH_TEXT_SIZE 80

struct sip_agent;

/* A TCP or TLS connection with the relay, of either side. */
struct sip_flow {
    enum peer_kind kind; /* first */
    struct sip_flow *next;
    struct sip_agent *agent;
    uint64_t number;
    ring_handle handle;
    bool is_connected, is_open; /* open: plain text goes through */
    bool is_own, in_flight, is_dead;
    struct tls_session *tls;
    struct net_buffer cipher, input; /* received: not decrypted, not framed */
    struct net_buffer waiting;       /* written before it was open */
    struct net_buffer output, sending;
};

/* A request of the relay, remembered by its branch. */
struct sip_served {
    struct sip_served *next;
    struct sip_agent *agent;
    struct ledger_message *message; /* NULL: OPTIONS */
    uint64_t flow;                  /* number of the connection it came on; 0: UDP */
    union net_address peer;
    int status; /* of the answer sent; 0: none yet */
    char branch[SIP_BRANCH_TEXT_SIZE];
    size_t size; /* of the request */
    char request[];
};

/* A message of its own. */
struct sip_call {
    struct sip_call *next; /* in its lane */
    struct sip_agent *agent;
    struct ledger_message *message;
    uint64_t flow, interval_ns, ends_ns;
    bool is_sent;
};

struct sip_agent {
    enum peer_kind kind; /* first */
    const struct plan *plan;
    const struct plan_trunk *trunk;
    unsigned tenant, number;
    struct ring *ring;
    ring_handle handle; /* of the UDP socket or the TCP listener */
    bool is_up, is_over;
    struct tls_context *context; /* TLS only */
    union net_address relay;
    struct sip_parser *parser;
    struct sip_flow *flows;
    uint64_t flow_count;
    struct sip_served *served;
    struct sip_call *lanes[PLAN_USER_MAX][PLAN_PARTNER_MAX][PLAN_USER_MAX];
};

void sip_agent_open(struct sip_agent *agent, const struct plan *plan, unsigned tenant,
                    unsigned number, struct ring *ring, const char *folder);
void sip_agent_close(struct sip_agent *agent);
void sip_agent_retire(struct sip_agent *agent);
/* A ring event whose owner is the agent or one of its flows. */
void sip_agent_event(struct sip_agent *agent, const struct ring_event *event);
/* None of its messages waits. */
bool sip_agent_is_settled(const struct sip_agent *agent);
void sip_agent_send(struct sip_agent *agent, struct ledger_message *message);

/* sip_flow.c: the connections. A message that came is given to sip_agent_input. */
void sip_flow_event(struct sip_flow *flow, const struct ring_event *event);
void sip_flow_accept(struct sip_agent *agent, ring_handle handle);
struct sip_flow *sip_flow_find(struct sip_agent *agent, uint64_t number);
/* An own connection that is alive, made when there is none; NULL: impossible now. */
struct sip_flow *sip_flow_own(struct sip_agent *agent);
void sip_flow_write(struct sip_flow *flow, struct span bytes);
void sip_flow_kill(struct sip_flow *flow, const char *why);
void sip_flow_free(struct sip_flow *flow);

/* sip_call.c: its own messages. */
void sip_call_response(struct sip_agent *agent, const struct sip_message *response);
/* A connection is gone: what went over it has no answer to come. */
void sip_call_lost(struct sip_agent *agent, uint64_t flow);
void sip_call_free(struct sip_agent *agent);

/* sip_agent.c: one message as it came, over `flow` (0: UDP). */
void sip_agent_input(struct sip_agent *agent, struct span bytes, uint64_t flow,
                     const union net_address *peer);
/* Bytes to the relay; over UDP to `peer`. */
void sip_agent_output(struct sip_agent *agent, struct span bytes, uint64_t flow,
                      const union net_address *peer);

#endif
