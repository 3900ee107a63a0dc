/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the rogues share: rogue.c (places and their life), rogue_xmpp.c and
 * rogue_sip.c (what each kind does). A kind is a start and a step: once what it starts with is
 * open the step is made again and again, until something ends the rogue.
 */
#ifndef PASSERELLE_BENCH_ROGUE_PRIV_H
#define PASSERELLE_BENCH_ROGUE_PRIV_H

#include "bench/load_priv.h"
#include "bench/random.h"
#include "bench/rogue.h"
#include "proto/writer.h"

#define ROGUE_OUTPUT_MAX  8192
#define ROGUE_REQUEST_MAX 2048

enum rogue_start {
    ROGUE_START_XMPP,    /* a connection to the S2S listener */
    ROGUE_START_STREAM,  /* an authenticated stream */
    ROGUE_START_TLS,     /* a stream of which nothing leaves by itself once it comes to TLS */
    ROGUE_START_SIP,     /* UDP: the SIP side's socket; else a connection to the SIP listener */
    ROGUE_START_STRANGER /* the same from another address */
};

enum rogue_state { ROGUE_FREE, ROGUE_OPENING, ROGUE_OPEN, ROGUE_GOING };

struct rogue {
    struct bench_stream stream; /* first: its owner is what ring events name */
    struct rogues *all;
    enum rogue_family family;
    enum rogue_kind kind;
    enum rogue_state state;
    uint32_t place, attempt; /* the attempt, unique in the run, names its requests */
    ring_handle handle;      /* of its socket; 0: it has none */
    bool speaks;             /* its socket is that of the stream */
    bool sending, refused, answered;
    uint64_t end_ns, step_ns; /* when it gives up; when it steps, or the place is filled */
    unsigned steps;
    struct sip_flow flow; /* sip-late: where the answer to `request` goes */
    size_t request_size;  /* 0: none came */
    char request[ROGUE_REQUEST_MAX];
    char output[ROGUE_OUTPUT_MAX]; /* what is being sent */
};

struct rogues {
    struct load *load;
    struct rogue *places;
    unsigned count;
    bool active[ROGUE_FAMILIES];
    unsigned next[ROGUE_FAMILIES]; /* kind */
    struct rogue_count counts[ROGUE_KINDS];
    uint32_t attempts;
    uint64_t chance, turn_ns;
    ring_handle deaf; /* the stream to us that is not read */
};

struct rogue_way {
    enum rogue_start start;
    unsigned pace_ms; /* from step to step */
    void (*step)(struct rogue *rogue);
};

/* rogue.c */
void rogue_end(struct rogue *rogue, enum rogue_end end);
/* On its own connection; false while the last is not sent. At most ROGUE_OUTPUT_MAX. */
bool rogue_send(struct rogue *rogue, struct span bytes);
void rogue_random(struct rogue *rogue, char *bytes, size_t size);
/* The domains in whose name it speaks. */
void rogue_put_domain(struct writer *writer, const struct rogue *rogue, bool is_xmpp);

/* rogue_xmpp.c */
void rogue_step_mute(struct rogue *rogue);
void rogue_step_drip_header(struct rogue *rogue);
void rogue_step_drip_tls(struct rogue *rogue);
void rogue_step_drip_stanza(struct rogue *rogue);
void rogue_step_junk(struct rogue *rogue);
void rogue_step_junk_tls(struct rogue *rogue);
void rogue_step_junk_stanza(struct rogue *rogue);
void rogue_step_oversize(struct rogue *rogue);
void rogue_step_deep(struct rogue *rogue);
void rogue_step_doctype(struct rogue *rogue);
void rogue_step_spoof(struct rogue *rogue);
void rogue_step_hang_up(struct rogue *rogue);
void rogue_step_late(struct rogue *rogue);

/* rogue_sip.c */
void rogue_step_deaf(struct rogue *rogue);
void rogue_step_sip_drip(struct rogue *rogue);
void rogue_step_sip_deaf(struct rogue *rogue);
void rogue_step_sip_junk(struct rogue *rogue);
void rogue_step_sip_endless(struct rogue *rogue);
void rogue_step_sip_tenant(struct rogue *rogue);
void rogue_step_sip_source(struct rogue *rogue);
void rogue_step_sip_invite(struct rogue *rogue);
void rogue_step_sip_register(struct rogue *rogue);
/* What came on its connection, or for it on the SIP side's socket. */
void rogue_heard(struct rogue *rogue, struct span bytes);
/* Answers the request that a late user has kept. */
void rogue_answer_late(struct rogue *rogue);

#endif
