/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The relay under test: the real core, opened as core/main.c does it, its threads stepped one
 * turn at a time instead of running. Its control thread asks now and then what `show sess`,
 * `show trunks` and `explain` ask, and reads its configuration again, which changed meanwhile.
 */
#ifndef PASSERELLE_TESTS_SIM_RELAY_H
#define PASSERELLE_TESTS_SIM_RELAY_H

#include "core/egress.h"
#include "core/inquiry.h"
#include "core/probe.h"
#include "core/reload.h"
#include "core/worker.h"
#include "core/memories.h"
#include "tests/sim/plan.h"

#define RELAY_THREAD_MAX  12u
#define RELAY_INQUIRY_MAX 8u

struct relay_thread {
    struct thread thread;
    struct worker *worker; /* this or … */
    struct egress *egress; /* … that */
};

struct relay {
    const struct plan *plan;
    struct config *config; /* of the start; then the reload's */
    struct reload *reload;
    char path[256];                   /* of the configuration */
    unsigned edition;                 /* of it */
    bool is_missing[PLAN_TENANT_MAX]; /* in this edition */
    bool is_restored;                 /* no other edition comes */
    void (*tenant_told)(unsigned tenant, bool is_missing); /* the ledger's */
    struct mesh *mesh;
    struct resolver *resolver;
    struct memories memories; /* without a store, whose thread would be nobody's here */
    struct stats *stats[RELAY_THREAD_MAX]; /* by mesh index */
    struct relay_thread threads[RELAY_THREAD_MAX];
    unsigned thread_count; /* without control */
    _Atomic bool stopping;
    struct inquiry inquiries[RELAY_INQUIRY_MAX]; /* of control; out NULL: free */
    struct probe_talk talk;                      /* of its probe … */
    bool probes, probe_is_out;                   /* … if there is one, and its parcel */
};

/* Writes the configuration of the plan into `folder`, reads and checks it, opens everything. */
void relay_open(struct relay *relay, const struct plan *plan, const char *folder);
/* The same with a configuration file that is there. */
void relay_open_file(struct relay *relay, const char *path);
/* relay_config.c: writes this edition of the configuration. */
void relay_write_config(const struct relay *relay);
/* Has thread `i` something to do, and when does it wake by itself? */
bool relay_is_ready(const struct relay *relay, unsigned i);
uint64_t relay_wakes_ns(const struct relay *relay, unsigned i);
void relay_turn(struct relay *relay, unsigned i);
/* Control's turn: takes answers, sometimes asks a thread. */
void relay_control(struct relay *relay);
/* From now on every tenant is there; true when that is so on all threads. */
bool relay_restore(struct relay *relay);
/* Are all parcels at home? */
bool relay_is_settled(const struct relay *relay);
/* Begins the end that a signal begins; true when every thread has drained. */
bool relay_drain(struct relay *relay);
/* Closes the threads, balances the books, frees everything. */
void relay_close(struct relay *relay);

#endif
