/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The load: M XMPP domains with TLS streams to the relay, N SIP domains behind one trunk
 * address, and ledgers that follow every message by its number. One thread, one ring. Opened
 * once, then run in phases.
 */
#ifndef PASSERELLE_BENCH_LOAD_H
#define PASSERELLE_BENCH_LOAD_H

#include "bench/choice.h"
#include "bench/component.h"
#include "bench/ledger.h"
#include "bench/load_index.h"
#include "bench/sip_side.h"
#include "bench/stream.h"

#define LOAD_STREAM_MAX 16384

enum load_drive { LOAD_XMPP_TO_SIP, LOAD_SIP_TO_XMPP, LOAD_DUPLEX };

/* How a greedy tenant's messages come. */
enum load_greedy_by {
    GREEDY_BY_STREAM, /* from XMPP, on a stream of one pair of domains */
    GREEDY_BY_PAIRS,  /* … of several */
    GREEDY_BY_SIP     /* to XMPP, by its trunk */
};

struct load_options {
    enum load_drive drive;
    enum sip_transport transport;
    union net_address relay_xmpp, relay_sip; /* where the relay listens */
    union net_address own_xmpp, own_sip;     /* where its partners and trunks are */
    const char *certificate, *key, *ca;
    enum tls_version tls;    /* of our side, both ways */
    const char *sip_name;    /* of the one SIP domain; NULL: s0.bench … */
    const char *user_suffix; /* behind the user in its addresses; may be empty */
    /* When it is an XMPP server that is measured: its component port and secret; else NULL. */
    const char *component_secret;
    union net_address component;
    unsigned xmpp_domains, sip_domains, streams, users;
    struct choice_options choice;
    unsigned size;      /* bytes of a whole stanza or of a SIP body, the mean */
    bool utf8;          /* texts of characters with one to four bytes */
    bool managed;       /* our side of XMPP enables stream management (XEP-0198), both ways */
    unsigned timeout_s; /* without any progress: the rest counts as lost */
    unsigned slow, hostile; /* peers beside the load (rogue.h) */
    unsigned greedy;        /* messages a second that a greedy tenant may have (greedy.h); 0 */
    enum load_greedy_by greedy_by;
    const char *prefix;      /* of all domains; NULL: none */
    unsigned half_open;      /* connections that stop half-way (half_open.h) … */
    unsigned half_open_rate; /* … and how many are begun a second */
};

/* What is wrong with the SIP side; all zero: nothing. */
struct load_manners {
    bool silent; /* it does not hear requests */
    bool busy;   /* it answers them with 503 */
    double loss; /* UDP: the share of datagrams that get lost, each way */
};

struct load_phase {
    uint32_t count;  /* messages of each direction; with `seconds` the most */
    double seconds;  /* sending ends after that; 0: at the count */
    unsigned window; /* closed loop: most in flight; also the cap of the open loop */
    double rate;     /* open loop: messages a second; 0: closed loop */
};

struct load {
    struct load_options options;
    struct load_phase phase;
    struct ring *ring;
    struct tls_context *tls;
    enum bench_owner xmpp_owner; /* what the listener's events name */
    ring_handle listener;
    struct sip_side sip;
    struct component component;
    struct bench_stream *out; /* our streams to the relay */
    struct bench_stream **in; /* the relay's to us */
    unsigned in_count, in_room;
    struct bench_stream **dirty; /* those of `out` that wait to be flushed */
    unsigned dirty_count;
    unsigned opened;         /* how many of `out` were started */
    unsigned ready;          /* how many of them became ready */
    struct load_index index; /* of `out` */
    struct ledger to_sip, to_xmpp;
    uint32_t run;         /* names this run in SIP transactions */
    uint32_t number_next; /* the first number of the phase */
    uint64_t progress_ns, send_end_ns, overdue_ns, now_ns;
    const char *tls_version, *tls_cipher; /* of the stream that was ready last; NULL: none */
    char failure[200];     /* what the first failed message was told; empty: none failed */
    uint32_t answers_lost; /* our own answers that did not fit: the generator is the limit */
    struct load_manners manners;
    uint64_t chance;              /* the state of what is drawn for them */
    struct rogues *rogues;        /* rogue.h; NULL: none are beside the load */
    struct greedy *greedy;        /* greedy.h; NULL: none is */
    struct greedy_tenant *tenant; /* greedy_tenant.h; NULL: this is not its load */
    struct half_open *half_open;  /* half_open.h; NULL: none are */
    struct choice choice;
    char *text; /* that messages are filled up with: CHOICE_SIZE_MAX bytes */
    void (*tick)(void *context, const struct load *load); /* about 50 times a second */
    void *tick_context;
    uint64_t tick_ns;
    char problem[600];
};

/* Opens the listening sockets. -errno, `problem`; load_close is due either way. */
int load_open(struct load *load, const struct load_options *options);
/* Opens the streams and the SIP connection, and waits until all are ready. -errno, `problem`.
 */
int load_connect(struct load *load);
/* Runs until every message is accounted for or nothing moves for timeout_s. -ETIMEDOUT, -EPIPE;
   `problem`. The ledgers tell the rest. */
int load_run(struct load *load, const struct load_phase *phase);
/* Keeps the streams alive without sending for a while. */
void load_rest(struct load *load, uint64_t ns);
/* The same; -EPIPE and `problem` when a stream did not survive it. */
int load_stay(struct load *load, uint64_t ns);
void load_close(struct load *load);

#endif
