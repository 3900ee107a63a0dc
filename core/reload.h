/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One configuration takes the place of another while the relay runs. Control reads and checks
 * the new one as at the start; when it is bad the old one stays in force. When it is good
 * control puts an offer before each thread, and only then tells all of them by a parcel. A
 * thread takes the offer between two parcels: when it is told, or when a parcel comes from a
 * thread that has taken its own. It then finds again, by name or by index, all that it keeps of
 * the old one, and sends the parcel home: when all are home the old one is freed. Control
 * thread, but for the offers.
 */
#ifndef PASSERELLE_CORE_RELOAD_H
#define PASSERELLE_CORE_RELOAD_H

#include <stdio.h>

#include "core/thread.h"
#include "net/tls.h"

/* What one thread is offered; its own from the moment it is told until the parcel is home. */
struct reload_offer {
    const struct config *config; /* NULL: nothing was offered yet */
    struct tls_context *context; /* its new common context; NULL: the one it has stays */
};

struct reload_options {
    struct config *config; /* the first one */
    struct mesh *mesh;
    struct stats *const *stats; /* by mesh index */
    size_t stats_count;
};

struct reload;

/* Takes over the first configuration, also when it fails. -ENOMEM. */
int reload_open(struct reload **reload, const struct reload_options *options) MUST_USE;
/* After all threads have ended. */
void reload_close(struct reload **reload);
/* The place where thread `self` finds its offers. */
struct reload_offer *reload_offer(struct reload *reload, unsigned self);
/* The one in force. */
const struct config *reload_config(const struct reload *reload);
/* Reads the configuration anew and offers it. What is to be said about it is written to
   `answer`: "error: " and a sentence when it was refused (false). Not while one is running. */
bool reload_start(struct reload *reload, FILE *answer) MUST_USE;
/* True until every thread has taken the offer. */
bool reload_is_running(const struct reload *reload);
/* A RELOAD parcel came home; it is given back. */
void reload_taken(struct reload *reload, struct parcel **parcel);

#endif
