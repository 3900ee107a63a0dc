/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP domains' end of the trunks: one address over UDP, TCP or TLS that takes the relay's
 * requests, and the way by which requests go to the relay. One thread; events are fed by the
 * owner of the ring.
 */
#ifndef PASSERELLE_BENCH_SIP_SIDE_H
#define PASSERELLE_BENCH_SIP_SIDE_H

#include "bench/owner.h"
#include "net/tls.h"
#include "proto/sip_message.h"

struct sip_wire;
struct sip_side;

/* Where an answer goes. */
struct sip_flow {
    union net_address peer; /* UDP */
    struct sip_wire *wire;  /* TCP and TLS */
};

/* One whole message came. */
typedef void (*sip_side_message_fn)(void *context, struct span message,
                                    const struct sip_flow *flow);

struct sip_side_options {
    struct ring *ring;
    struct tls_context *tls;
    enum sip_transport transport;
    union net_address own, relay;
    bool sends; /* requests will go to the relay */
    sip_side_message_fn message;
    void *context;
};

struct sip_side {
    enum bench_owner owner; /* first: what ring events name */
    struct sip_side_options options;
    ring_handle socket;   /* UDP */
    ring_handle listener; /* TCP and TLS */
    struct sip_wire *out; /* our connection to the relay */
    struct sip_wire *all;
    const char *problem; /* why our connection died; NULL while it lives */
};

/* -errno. Our connection to the relay is ready once sip_side_ready says so. */
int sip_side_open(struct sip_side *side, const struct sip_side_options *options);
bool sip_side_ready(const struct sip_side *side);
/* A request to the relay. False when it does not fit now. */
bool sip_side_request(struct sip_side *side, struct span message);
/* An answer on the flow that its request came by. False when it does not fit. */
bool sip_side_answer(struct sip_side *side, const struct sip_flow *flow, struct span message);
/* Is the connection of a flow that was kept still there? */
bool sip_side_has(const struct sip_side *side, const struct sip_flow *flow);
/* Ends all connections without a word and opens ours to the relay again. -errno. */
int sip_side_reset(struct sip_side *side);
/* True when the event was of this side. */
bool sip_side_event(struct sip_side *side, const struct ring_event *event);
/* Sends what was written to connections. */
void sip_side_flush(struct sip_side *side);
/* After the ring was closed. */
void sip_side_close(struct sip_side *side);

#endif
