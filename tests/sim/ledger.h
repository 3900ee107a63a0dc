/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The oracle's book: every message that a peer sends, and all that is heard of it afterwards.
 * What can be judged at once is judged at once; the rest when everything has settled. A message
 * may be lost or answered falsely only where the network or a peer gave a reason since it was
 * sent.
 */
#ifndef PASSERELLE_TESTS_SIM_LEDGER_H
#define PASSERELLE_TESTS_SIM_LEDGER_H

#include "tests/sim/plan.h"

#define LEDGER_MAX 2048u

enum ledger_type { LEDGER_CHAT, LEDGER_NORMAL, LEDGER_HEADLINE };

struct ledger_message {
    unsigned number; /* its place in the book */
    bool to_sip;
    enum ledger_type type;
    unsigned partner, partner_user, tenant, tenant_user, trunk; /* trunk: SIP→XMPP, who sends */
    bool is_long;                                               /* too long for UDP */
    bool is_question; /* an IQ of an XMPP server: the relay itself answers */
    bool is_forged;   /* in the name of another domain: must not arrive anywhere */
    bool was_sent;
    uint64_t sent_ns;
    unsigned arrivals; /* XMPP→SIP: transactions; SIP→XMPP: stanzas */
    unsigned errors;   /* error stanzas its XMPP sender got */
    bool was_full;     /* … saying resource-constraint */
    bool was_over;     /* its sender hears that there are too many for its tenant */
    bool was_unwanted; /* … that nobody has written to him first */
    bool is_counted;   /* it went over a managed stream of its XMPP server */
    bool was_bounced;  /* the relay did not acknowledge it: its own server refused it */
    bool was_accepted; /* the receiver took it (2xx, or no error) */
    bool was_refused;  /* the receiver said no, or nothing */
    bool may_repeat;   /* the receiver's answer asks for another try */
    int status;        /* final response its SIP sender got; 0: none */
    bool gave_up;      /* the SIP sender's own time-out */
};

struct ledger {
    const struct plan *plan;
    struct ledger_message messages[LEDGER_MAX];
    unsigned count;
    /* the last one that arrived, + 1, by partner, its user, tenant, its user */
    unsigned last[2][PLAN_PARTNER_MAX][PLAN_USER_MAX][PLAN_TENANT_MAX][PLAN_USER_MAX];
    /* when a SIP user first wrote to the partner's, and when that arrived first since the relay
       started; 0: never */
    struct {
        uint64_t sent_ns, arrived_ns;
    } written[PLAN_PARTNER_MAX][PLAN_USER_MAX][PLAN_TENANT_MAX][PLAN_USER_MAX];
    bool trunk_failed[PLAN_TENANT_MAX];   /* a trunk once gave a reason to avoid it */
    bool is_stopping;                     /* the relay was told to end */
    uint64_t restarting_ns, restarted_ns; /* 0: never */
    struct {
        uint64_t since_ns, until_ns; /* 0: it was always there; UINT64_MAX: it still is not */
    } away[PLAN_TENANT_MAX]; /* not in the configuration of the relay, once or more often */
};

extern struct ledger ledger;

void ledger_open(const struct plan *plan);
struct ledger_message *ledger_add(bool to_sip);
/* "#12 …" names message 12; NULL when the text names none. */
struct ledger_message *ledger_find(struct span text);
/* The addresses of its two ends; `resource` for XMPP (NULL: none). */
void ledger_write_jid(const struct ledger_message *message, struct writer *writer);
void ledger_write_user(const struct ledger_message *message, struct writer *writer);

void ledger_sent(struct ledger_message *message);
/* A new transaction with it reached a SIP peer; `from` and `to` are URIs as received. */
void ledger_arrived_sip(struct ledger_message *message, unsigned tenant, struct span from,
                        struct span to);
/* It reached an XMPP server over a stream between these domains. */
void ledger_arrived_xmpp(struct ledger_message *message, struct span stream_from,
                         struct span stream_to, struct span from, struct span to);
/* The SIP peer's answer. 0: none will come. */
void ledger_judged_sip(struct ledger_message *message, int status);
/* What the senders heard. */
void ledger_bounced(struct ledger_message *message);
void ledger_heard_answer(struct ledger_message *message);
void ledger_heard_error(struct ledger_message *message, struct span condition,
                        struct span text);
void ledger_heard_status(struct ledger_message *message, int status, struct span reason);
/* The relay was started again: it does not know who has written to whom. */
void ledger_restarted(void);
/* The relay is told that it serves the tenant no more, or again. */
void ledger_tenant(unsigned tenant, bool is_removed);
/* When all has settled. */
void ledger_check(void);

#endif
