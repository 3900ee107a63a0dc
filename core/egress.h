/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An egress thread: SIP transports, transactions and trunks on one ring. */
#ifndef PASSERELLE_CORE_EGRESS_H
#define PASSERELLE_CORE_EGRESS_H

#include "core/thread.h"

struct egress;

/* Opens contexts and listeners on thread->ring (already open, called on the thread itself).
   `error` names the cause (port taken, certificate unreadable). */
int egress_open(struct egress **egress, struct thread *thread, char *error,
                size_t error_size) MUST_USE;
/* Runs one turn of the loop: waits at most `wait_ms`, pumps everything. */
void egress_turn(struct egress *egress, uint64_t wait_ms);
/* Closes transports; server transactions get their answer first; true when all is closed or
   `force`. */
bool egress_drain(struct egress *egress, bool force);
void egress_close(struct egress **egress);

#endif
