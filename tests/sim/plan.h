/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a seed stands for: how many threads, which domains, how the network and each peer
 * misbehaves, how much is said. Most seeds have a few kinds of trouble, some none, some all:
 * a fault shows best when not everything else fails too. Drawn once, then read only.
 */
#ifndef PASSERELLE_TESTS_SIM_PLAN_H
#define PASSERELLE_TESTS_SIM_PLAN_H

#include "core/config.h"
#include "tests/sim/network.h"

#define PLAN_PARTNER_MAX 3u
#define PLAN_TENANT_MAX  2u
#define PLAN_TRUNK_MAX   2u /* of one tenant */
#define PLAN_USER_MAX    8u /* of one domain */
#define PLAN_STREAM_MAX  4u /* of the relay for one pair */
#define PLAN_RELAY_HOST  "10.0.0.1"

/* An XMPP server. */
struct plan_partner {
    const char *domain;
    union net_address address; /* STARTTLS; direct TLS is one port above */
    bool by_dns, direct_tls;
    enum plan_twin { TWIN_NONE, TWIN_LIVE, TWIN_CLOSED, TWIN_DARK } twin; /* a second address */
    union net_address twin_address; /* in DNS before the other one */
    enum rules_need tls, sasl;      /* the rules of the relay for it */
    bool dialback;
    unsigned proofs;                   /* what they allow: a set of enum s2s_proof */
    unsigned keepalive_ms;             /* blanks of the relay; 0: none */
    unsigned demand_ms;                /* silence that the relay bears, as it sends none; 0 */
    bool knows_tls;                    /* it does; true unless the rules do without */
    bool is_pair;                      /* they stand in each tenant, not at the partner */
    bool is_unverified;                /* its users need consent (public_unverified) */
    uint64_t answer_ns;                /* how long it thinks at most */
    unsigned mute, refuse, misaddress; /* per mille: pings without an answer, messages refused,
                                          messages sent in another domain's name */
    unsigned closes;                   /* streams it ends, per mille of stanzas */
    bool bidi; /* it offers streams of the relay that go both ways, and the relay wants them */
    bool wants_bidi; /* so do its own: the relay offers them, and it wants them */
    unsigned streams; /* of the relay for each pair of domains … */
    unsigned takes;   /* … of which it takes so many at a time; 0: any */
    unsigned reads; /* bytes a second, of each stream of the relay; 0: as fast as they come */
    bool managed, resumes;             /* it knows stream management; and resumption */
    bool lags;     /* what it acknowledges is handled long after it has come */
    unsigned cuts; /* of the relay's streams, per mille of stanzas: it breaks and loses that one */
    unsigned rubbish;                  /* letters that are no XMPP, per mille */
    bool is_impostor;                  /* shows the certificate of another domain, and only
                                          certificates count */
    uint64_t down_from_ns, down_until_ns; /* after the start; 0, 0: never */
};

/* A SIP peer: the trunk of a tenant. */
struct plan_trunk {
    union net_address address;
    bool by_dns;
    enum sip_transport transport;
    uint64_t answer_ns;
    unsigned silent, refuse, unavailable, provisional, misaddress, rubbish; /* per mille */
    unsigned options_interval_s;
    uint64_t down_from_ns, down_until_ns;
};

struct plan_tenant {
    const char *domain;
    unsigned per_second_max, burst_max, in_flight_max; /* its quota; 0: none */
    struct plan_trunk trunks[PLAN_TRUNK_MAX];
    unsigned trunk_count;
};

struct plan {
    unsigned workers, egress, parcels;
    unsigned recipient_queue_max, confirm_timeout_ms, deliver_timeout_ms;
    struct network_faults network;
    unsigned dns_fail;
    unsigned breaker_pairs; /* with two tenants at most, one or two open it */
    struct plan_partner partners[PLAN_PARTNER_MAX];
    struct plan_tenant tenants[PLAN_TENANT_MAX];
    unsigned partner_count, tenant_count;
    unsigned users;           /* of each domain */
    unsigned questions;       /* IQs to the relay, beside the messages */
    unsigned to_sip, to_xmpp; /* messages */
    uint64_t send_ns;         /* they are sent within this */
    bool is_flood;            /* more at a time than the relay has parcels for */
    unsigned pause;           /* turns after which a thread of the relay gets no processor for
                                 a while, per mille */
    unsigned long_text;       /* messages too long for UDP, per mille */
    uint64_t restarts_ns;     /* after the start the relay is stopped and started again */
    bool is_killed;           /* … without a warning */
    unsigned
        reloads;  /* turns of control after which it reads another configuration, per mille */
    bool removes; /* … in which a tenant may be missing for a while */
    uint64_t stops_ns; /* after the start the relay is stopped in mid-traffic; 0: not */
};

void plan_draw(struct plan *plan);

#endif
