/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP transport of one egress thread (RFC 3261 §18): its UDP sockets and its TCP and TLS
 * connections. Input is pulled as framed messages that went through sip_guard. Requests to a
 * trunk share one connection per target; responses go back the way the request came, through
 * the mesh when another thread holds the connection.
 */
#ifndef PASSERELLE_CORE_SIP_TRANSPORT_H
#define PASSERELLE_CORE_SIP_TRANSPORT_H

#include "core/thread.h"
#include "proto/sip_guard.h"
#include "proto/sip_message.h"

enum egress_timer {
    EGRESS_TIMER_CLIENT,
    EGRESS_TIMER_SERVER,
    EGRESS_TIMER_ANSWERED,
    EGRESS_TIMER_CONNECTION,
    EGRESS_TIMER_TRUNK
};

/* The way a message came and its answer goes. */
struct sip_flow {
    enum sip_transport transport;
    union net_address peer; /* where it came from; of an answer: where it goes if it must */
    unsigned holder; /* mesh index of the thread that holds the connection */
    uint64_t
        connection; /* UDP: index of the listener, the same on all threads; else a ticket */
    uint32_t trunk; /* set by who checked the source: trunk index + 1 */
};

/* Where a request goes. */
struct sip_target {
    union net_address address;
    enum sip_transport transport;
};

static inline bool sip_target_equal(const struct sip_target *a, const struct sip_target *b)
{
    return a->transport == b->transport && net_address_equal(&a->address, &b->address);
}

enum sip_input_kind {
    SIP_INPUT_MESSAGE,
    SIP_INPUT_REJECT, /* a request that sip_guard refused with `status` */
    SIP_INPUT_LOST    /* the connection `flow.connection` is gone or never came to be */
};

struct sip_input {
    enum sip_input_kind kind;
    struct sip_flow flow;
    struct span bytes; /* valid until the next call */
    const struct parcel *carrier; /* by which another thread gave it; NULL: from the wire */
    bool is_request;
    int status;
    struct span reason;
};

struct sip_wire;
struct tls_context;

/* Opens listeners and TLS contexts. `error` names the cause. */
int sip_transport_open(struct sip_wire **wire, struct thread *thread, char *error,
                       size_t error_size) MUST_USE;
/* thread->config has taken the place of `former`; *context, when not NULL, that of the common
   TLS context. A connection to a trunk that is no more is used for what is under way only. */
void sip_transport_reload(struct sip_wire *wire, const struct config *former,
                          struct tls_context **context);
/* True when what was written to connections has gone. */
bool sip_transport_sent(const struct sip_wire *wire);
void sip_transport_close(struct sip_wire **wire);
/* Takes one ring event; then sip_transport_next until it says false. */
void sip_transport_feed(struct sip_wire *wire, const struct ring_event *event);
bool sip_transport_next(struct sip_wire *wire, struct sip_input *input);
void sip_transport_tick(struct sip_wire *wire, struct timer *timer);

/* The sent-by for requests of this trunk to this target (core/sip_own.h). */
struct span sip_transport_sent_by(struct sip_wire *wire, const struct config_trunk *trunk,
                                  const struct sip_target *target);
/* True when the sent-by of a Via is ours. */
bool sip_transport_is_ours(const struct sip_wire *wire, struct span sent_by);
/* Sends a request to a target of a trunk. For TCP and TLS opens or reuses the connection and
   fills *connection (its loss is told by SIP_INPUT_LOST). -EAGAIN when too much waits there
   already, another -errno when it cannot be sent. */
int sip_transport_request(struct sip_wire *wire, const struct config_trunk *trunk,
                          const struct sip_target *target, struct span bytes,
                          uint64_t *connection) MUST_USE;
/* Sends a response along the flow, through the mesh when it must. For UDP to `flow->peer`; else
   on the connection, and when that is gone on a new one to `flow->peer` (RFC 3261 §18.2.2). */
void sip_transport_respond(struct sip_wire *wire, const struct sip_flow *flow,
                           struct span bytes);
/* The parcel that brought the request now in hand from another thread, NULL afterwards:
   when no other is free it takes the answer home, as PARCEL_SIP_ANSWERED, and its text is
   written over. */
void sip_transport_carry(struct sip_wire *wire, struct parcel *carrier);
/* True when the peer of the connection proved by a verified certificate that it speaks for
   `identity` (RFC 5922 §7.2). False for a connection of another thread. */
bool sip_transport_proved(struct sip_wire *wire, const struct sip_flow *flow,
                          const char *identity);
/* The trunk, proved by a mutual TLS connection, wants our requests on that connection instead
   of one to `port` of its address (RFC 5923 §8). */
void sip_transport_alias(struct sip_wire *wire, const struct sip_flow *flow,
                         const struct config_trunk *trunk, uint16_t port);

#endif
