/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A worker: S2S sessions, policy and mapping on one ring. */
#ifndef PASSERELLE_CORE_WORKER_H
#define PASSERELLE_CORE_WORKER_H

#include "core/thread.h"

struct worker;

/* Opens contexts and listeners on thread->ring (already open, called on the thread itself).
   `error` names the cause (port taken, certificate unreadable). */
int worker_open(struct worker **worker, struct thread *thread, char *error,
                size_t error_size) MUST_USE;
/* Runs one turn of the loop: waits at most `wait_ms`, pumps everything. */
void worker_turn(struct worker *worker, uint64_t wait_ms);
/* Closes streams with system-shutdown; true when all is closed or `force`. */
bool worker_drain(struct worker *worker, bool force);
void worker_close(struct worker **worker);

#endif
