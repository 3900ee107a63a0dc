/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the greedy tenant's own process does: a load of its own that sends by its pace and
 * counts each message as it ends. Its messages have no ledger.
 */
#ifndef PASSERELLE_BENCH_GREEDY_TENANT_H
#define PASSERELLE_BENCH_GREEDY_TENANT_H

#include "bench/greedy.h"

/* What goes to the process over its socket, and what comes back. */
struct greedy_order {
    enum greedy_pace pace; /* GREEDY_REST is answered when all is answered */
};
struct greedy_report {
    int status; /* -errno */
    char problem[200];
    struct greedy_count counts[GREEDY_PACES];
};

/* Plays until the socket ends. */
void greedy_tenant_run(const struct load_options *options, int socket);

/* Of what came in, for the load of that process. True when it was one of its messages' end. */
bool greedy_tenant_on_error(struct greedy_tenant *tenant, struct span id);
bool greedy_tenant_on_text(struct greedy_tenant *tenant, struct span text);
bool greedy_tenant_on_response(struct greedy_tenant *tenant, uint32_t number, int status);
/* The relay takes a further pair of domains for proved, or does not. */
void greedy_tenant_on_proof(struct greedy_tenant *tenant, struct span type);

#endif
