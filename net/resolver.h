/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * DNS by libunbound in a thread of its own: SRV, then A and AAAA of each target, then what TLSA
 * says of its certificate, as one question with one ordered answer (RFC 2782; RFC 6120 §3.2;
 * XEP-0368 §3; RFC 3263 §4; RFC 7673). Each consumer thread has a port: it asks, is woken
 * through its ring, and takes answers. The simulation links its own implementation.
 */
#ifndef PASSERELLE_NET_RESOLVER_H
#define PASSERELLE_NET_RESOLVER_H

#include "net/dane.h"
#include "net/ring.h"

#define RESOLVER_TARGET_MAX  32 /* addresses in one answer; what is beyond is dropped */
#define RESOLVER_SERVICE_MAX 4
#define RESOLVER_TLSA_MAX    64 /* TLSA records in one answer … */
#define RESOLVER_TLSA_HOST   8  /* … and of one target; what is beyond is left out */
#define RESOLVER_WHOLE_MAX   8192 /* bytes of authorities that are whole in one answer; those
                                     beyond count only where the server sends them */
#define RESOLVER_NAME_SIZE   256

struct resolver;
struct resolver_port;

struct resolver_options {
    const char *server;         /* "IP" or "IP@port" to ask instead of resolv.conf; NULL: system */
    const char *trust_anchor;   /* DNSSEC root key file; NULL: no validation */
    const char *hosts_file;     /* NULL: none */
    unsigned timeout_ms;        /* whole question; 0: 10000 */
    bool allow_special;         /* let answers name loopback and private addresses */
};

struct resolver_service {
    const char *prefix;  /* "_xmpps-server._tcp", static */
    bool dot_is_final;   /* target "." means: no service, no fallback (RFC 6120 §3.2.1) */
    const char *naptr;   /* "SIPS+D2T": find the SRV name by NAPTR first (RFC 3263 §4.1); static;
                            NULL: do not */
};

struct resolver_question {
    char domain[RESOLVER_NAME_SIZE]; /* A-labels */
    struct resolver_service services[RESOLVER_SERVICE_MAX];
    unsigned service_count; /* 0: addresses of `domain` only */
    uint16_t fallback_port; /* for A/AAAA of the domain when there is no SRV; 0: no fallback */
    unsigned family_delay_ms; /* how long a host that has an address waits for those of the other
                                 family (RFC 8305 §3, Resolution Delay); 0: until they come */
    bool keeps_dead;        /* targets without an address are in the answer, too */
    bool wants_tlsa;        /* TLSA, for targets that DNSSEC vouches for (RFC 7673 §3) */
    void *owner;            /* given back with the answer */
};

enum resolver_status {
    RESOLVER_FOUND,
    RESOLVER_NOT_FOUND,  /* NXDOMAIN or no usable records */
    RESOLVER_NO_SERVICE, /* SRV "." */
    RESOLVER_REFUSED,    /* only special addresses and they are not allowed */
    RESOLVER_TIMEOUT,
    RESOLVER_FAILED,     /* SERVFAIL and the like */
    RESOLVER_BOGUS,      /* DNSSEC says no */
    RESOLVER_NO_NAME     /* NXDOMAIN; of one service or target only */
};

struct resolver_target {
    enum resolver_status status; /* FOUND; of a dead one why it has no address */
    union net_address address;   /* with port; not of a dead one */
    uint16_t port, priority, weight; /* as SRV says; priority and weight 0 for the fallback */
    unsigned service;          /* index into question.services; service_count for the fallback */
    unsigned rank;             /* of its service: by NAPTR, else as asked; 0 is first */
    bool secure;               /* DNSSEC-validated SRV and address */
    bool tlsa_unusable; /* there are TLSA records, none that can be used: there is TLS, they say */
    unsigned tlsa_first, tlsa_count; /* those that can be used, in the answer; 0: none */
    char host[RESOLVER_NAME_SIZE];
};

struct resolver_answer {
    enum resolver_status status;
    enum resolver_status services[RESOLVER_SERVICE_MAX]; /* of each that was looked up */
    void *owner;
    unsigned target_count; /* with the dead */
    bool is_partial;       /* some were not waited for (family_delay_ms) */
    uint32_t ttl_s; /* clamped to 30..3600 */
    struct resolver_answer *next; /* the resolver's */
    /* In the order to try, of one host IPv6 and IPv4 in turn (RFC 8305 §4). Without those whose
       TLSA records are bogus, or may be there and could not be asked for: they are not to be
       connected to (RFC 7673 §3.4). */
    struct resolver_target targets[RESOLVER_TARGET_MAX];
    unsigned tlsa_count; /* of all targets; behind them stand the authorities that are whole */
    struct dane_record tlsa[]; /* as many as the targets name */
};

/* The DER of a record's authority, whole_size bytes. */
static inline const uint8_t *resolver_whole(const struct resolver_answer *answer,
                                            const struct dane_record *record)
{
    return (const uint8_t *)&answer->tlsa[answer->tlsa_count] + record->whole_at;
}

int resolver_open(struct resolver **resolver, const struct resolver_options *options) NET_MUST_USE;
/* Ports must be closed before. */
void resolver_close(struct resolver **resolver);
/* `ring` is woken when an answer is there. */
int resolver_port_open(struct resolver_port **port, struct resolver *resolver,
                       struct ring *ring) NET_MUST_USE;
void resolver_port_close(struct resolver_port **port);
/* -EAGAIN when too many questions wait (4096 a port). Copies the question. */
int resolver_ask(struct resolver_port *port, const struct resolver_question *question) NET_MUST_USE;
/* Forgets every question with this owner; no answer will name it. */
void resolver_forget(struct resolver_port *port, const void *owner);
/* Takes an answer; false when there is none. The caller frees *answer with free(). */
bool resolver_next(struct resolver_port *port, struct resolver_answer **answer);
const char *resolver_status_text(enum resolver_status status);

#endif
