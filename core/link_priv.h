/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What link.c (finding the remote server and having a stream to it) and link_flow.c (what goes
 * over the stream and how it ended) share.
 */
#ifndef PASSERELLE_CORE_LINK_PRIV_H
#define PASSERELLE_CORE_LINK_PRIV_H

#include "core/link.h"
#include "core/probe.h"
#include "core/table.h"

enum link_state { LINK_IDLE, LINK_RESOLVING, LINK_CONNECTING };

struct parcel_list {
    struct parcel *head, *tail;
    unsigned count;
};

/* Of the link's stream, while its stanzas are counted (XEP-0198). */
struct link_sm {
    struct sm_sender sender;
    bool asked;        /* an <r/> is out */
    uint32_t asked_at; /* what was sent by then */
};

struct link {
    uint32_t magic;
    enum link_state state;
    struct worker *worker;
    struct probe *probe; /* whose link it is: it carries nothing; NULL: a link for traffic */
    struct table_node node; /* by its pair, in worker->links; not of a probe */
    struct s2s_domain local, remote;
    char remote_ascii[RESOLVER_NAME_SIZE];
    bool has_host, has_direct; /* of the partner's configuration, when the try began */
    struct session *session;
    struct resolver_answer *answer;
    unsigned target_next;
    char other_host[RESOLVER_NAME_SIZE]; /* to go to instead; empty: none */
    uint16_t other_port;
    bool sent_away; /* it was followed once in this try */
    bool elsewhere; /* the targets are of the other host */
    struct parcel_list queue;       /* stanzas not yet written */
    struct parcel_list verify;      /* db:verify not yet written */
    struct parcel_list asked;       /* db:verify without an answer */
    struct parcel_list unconfirmed; /* written stanzas whose outcome is open */
    struct parcel_list fleeting; /* written, nobody waits for their outcome, not yet sent, or
                                    not acknowledged where that is counted */
    unsigned covered;               /* of them, before the ping in flight */
    bool pinging, ready;            /* ready: this session was good for stanzas */
    uint64_t ping, ping_deadline_ms; /* the one in flight */
    struct link_sm sm;
    struct timer timer;
    unsigned failures;
    uint64_t backoff_until_ms, forget_ms; /* forget: without anything to do until then */
    enum stanza_error last_fault;
    char reason[480];
};

/* NULL when there is no link of this pair on this worker. */
struct link *link_find(struct worker *worker, struct span local, struct span remote);
void link_push(struct parcel_list *list, struct parcel *parcel);
/* The first one; NULL when the list is empty. */
struct parcel *link_pop(struct parcel_list *list);
/* Takes `parcel`, which stands behind `previous` (NULL: first). */
void link_unhook(struct parcel_list *list, struct parcel *previous, struct parcel *parcel);
/* The parcel goes home with its outcome. */
void link_finish(struct link *link, struct parcel *parcel, enum outcome_kind kind);
void link_finish_failed(struct link *link, struct parcel *parcel, enum stanza_error error,
                        struct span text);
/* All of the list fail with the link's reason. */
void link_fail_list(struct link *link, struct parcel_list *list, enum stanza_error error);
/* Nothing is left to do: neither a stream nor a question nor a parcel. */
bool link_is_unused(const struct link *link);
/* Sees to it that the timer comes no later than the earliest deadline of what waits, or when an
   unused link is to be forgotten. */
void link_arm(struct link *link);
/* Finds the remote server and gets a stream to it. */
void link_start(struct link *link);
/* The target that is being tried is to be tried once more. */
void link_again(struct link *link);
/* After another configuration was taken. */
void link_reload(struct link *link);
/* Are the stanzas of this stream counted? */
bool link_is_counted(const struct session *session);
/* link_sm.c: a stanza was written: its number. */
uint32_t link_sm_sent(struct link *link);
/* Asks for an acknowledgement of what was written, once for all of it. */
void link_sm_ask(struct link *link);
/* Stanzas nobody waits for are kept until they are acknowledged, but not for ever. */
void link_sm_shed(struct link *link);
/* When there will be one to let go; UINT64_MAX: not known. */
uint64_t link_sm_shed_ms(const struct link *link);
/* The stream is over, and what was unacknowledged has its outcome. */
void link_sm_end(struct link *link);
/* What was written and has no outcome ends with the stream, or waits again in the queue. */
void link_unconfirmed_lost(struct link *link, const struct session *session);

#endif
