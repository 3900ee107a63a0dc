/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What trunk.c (the state of each trunk) and trunk_reload.c (which trunks there are) share. */
#ifndef PASSERELLE_CORE_TRUNK_PRIV_H
#define PASSERELLE_CORE_TRUNK_PRIV_H

#include "core/table.h"
#include "core/trunk.h"

struct trunk_table {
    struct thread *thread;
    struct resolver_port *port; /* NULL when the thread has no resolver */
    size_t count;
    struct trunk **trunks; /* by index; NULL: nobody has it */
    struct trunk *retired;
    struct table servers;
};

/* A SIP server as keep-alives see it. Tenants who share one share what is known of it; over TLS
   nobody does: each shows his own certificate. */
struct trunk_server {
    struct table_node node;
    struct sip_target at;
    uint32_t only;  /* serial of the trunk that has it for itself; 0: shared */
    unsigned users; /* targets */
    uint32_t asker; /* serial of the trunk that sends the OPTIONS */
    uint64_t asked_ms, answered_ms; /* last keep-alive, last answer to anything; 0: none */
    unsigned misses;                /* keep-alives in a row without an answer */
    int status;                     /* of the last answer */
};

/* Was there no final response? */
static inline bool trunk_is_failure(const struct trunk_result *result)
{
    return result->status == 0 || result->status == 408;
}
/* Looks for its targets, or has the first keep-alive sent. -ENOMEM. */
int trunk_start(struct trunk *trunk) MUST_USE;
/* For the next keep-alive or the next question to DNS, whichever comes first. */
void trunk_arm_next(struct trunk *trunk);
void trunk_targets_free(struct trunk *trunk);

/* ---- trunk_server.c ---- */

/* Fills target->server for target->at. -ENOMEM. */
int trunk_server_join(const struct trunk *trunk, struct trunk_target *target) MUST_USE;
void trunk_server_leave(struct trunk_table *table, struct trunk_target *target);
/* What became of a request. */
void trunk_server_note(struct trunk_server *server, const struct trunk_result *result,
                       uint64_t now_ms);
/* Is it this trunk's turn to ask the server? Then it is the asker from now on. When not, what
   the server says of itself holds for the trunk, too. */
bool trunk_server_ask(struct trunk_server *server, const struct trunk *trunk, uint64_t now_ms);

/* ---- trunk_reload.c ---- */

/* Brings the table to what thread->config says. -ENOMEM. */
int trunk_take_config(struct trunk_table *table) MUST_USE;
/* It is no more: without a configuration in the list of those that are freed later. */
void trunk_retire(struct trunk *trunk);
/* Frees those that nothing is in flight to; or all. */
void trunk_free_retired(struct trunk_table *table, bool all);

#endif
