/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The load: M XMPP domains with TLS streams to the relay, N SIP domains on one UDP socket, and a
 * ledger that follows every message by its number. One thread, one ring.
 */
#ifndef PASSERELLE_BENCH_LOAD_H
#define PASSERELLE_BENCH_LOAD_H

#include "bench/stream.h"

#define LOAD_STREAM_MAX 1024
#define LOAD_USER_MAX   4096

enum load_drive { LOAD_XMPP_TO_SIP, LOAD_SIP_TO_XMPP, LOAD_DUPLEX };

struct load_options {
    enum load_drive drive;
    union net_address relay_xmpp, relay_sip; /* where the relay listens */
    union net_address own_xmpp, own_sip;     /* where its partners and trunks are */
    const char *certificate, *key, *ca;
    unsigned xmpp_domains, sip_domains, streams, users;
    unsigned size;      /* bytes of a whole stanza or of a SIP body */
    uint32_t count;     /* messages of each direction */
    unsigned window;    /* closed loop: most in flight; also the cap of the open loop */
    double rate;        /* open loop: messages a second; 0: closed loop */
    unsigned timeout_s; /* without any progress: the rest counts as lost */
};

/* One direction's ledger. Times are nanoseconds. */
struct load_ledger {
    uint32_t count, sent, arrived, answered, failed, duplicated, reordered;
    uint64_t *start_ns;   /* intended send time of each */
    uint64_t *latency_ns; /* 0: not arrived */
    uint8_t *seen;
    uint32_t last[LOAD_USER_MAX]; /* highest number + 1 that arrived from each sender */
    uint64_t first_ns, end_ns;
};

struct load {
    struct load_options options;
    struct ring *ring;
    struct tls_context *tls;
    ring_handle listener, udp;
    struct bench_stream *out;   /* our streams to the relay */
    struct bench_stream *in[LOAD_STREAM_MAX]; /* the relay's to us */
    unsigned in_count;
    struct load_ledger to_sip, to_xmpp;
    uint64_t progress_ns;
    uint32_t answers_lost; /* our own answers that did not fit the ring: the generator is the limit */
    char problem[600];
};

/* Opens sockets and streams and waits until all outbound streams are ready. -errno, `problem`. */
int load_open(struct load *load, const struct load_options *options);
/* Runs until every message is accounted for or nothing moves for timeout_s. */
int load_run(struct load *load);
void load_close(struct load *load);

#endif
