/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What trunk.c (the state of each trunk) and trunk_reload.c (which trunks there are) share. */
#ifndef PASSERELLE_CORE_TRUNK_PRIV_H
#define PASSERELLE_CORE_TRUNK_PRIV_H

#include "core/trunk.h"

struct trunk_table {
    struct thread *thread;
    struct resolver_port *port; /* NULL when the thread has no resolver */
    size_t count;
    struct trunk **trunks; /* by index; NULL: nobody has it */
    struct trunk *retired;
};

/* Looks for its targets, or has the first keep-alive sent. */
void trunk_start(struct trunk *trunk);
/* For the next keep-alive or the next question to DNS, whichever comes first. */
void trunk_arm_next(struct trunk *trunk);
void trunk_targets_free(struct trunk *trunk);

/* ---- trunk_reload.c ---- */

/* Brings the table to what thread->config says. -ENOMEM. */
int trunk_take_config(struct trunk_table *table) MUST_USE;
/* It is no more: without a configuration in the list of those that are freed later. */
void trunk_retire(struct trunk *trunk);
/* Frees those that nothing is in flight to; or all. */
void trunk_free_retired(struct trunk_table *table, bool all);

#endif
