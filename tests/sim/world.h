/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The relay's surroundings: all peers of a plan on one ring, and who says what when. The world
 * is one more thread of the schedule.
 */
#ifndef PASSERELLE_TESTS_SIM_WORLD_H
#define PASSERELLE_TESTS_SIM_WORLD_H

#include "tests/sim/sip_agent.h"
#include "tests/sim/xmpp_server.h"

struct world {
    const struct plan *plan;
    struct ring *ring;
    struct xmpp_server servers[PLAN_PARTNER_MAX];
    struct sip_agent agents[PLAN_TENANT_MAX][PLAN_TRUNK_MAX];
};

/* Opens the peers and draws the messages they will send. */
void world_open(struct world *world, const struct plan *plan, const char *folder);
void world_turn(struct world *world);
/* Has everybody sent all, and is nobody waiting for an answer? */
bool world_is_settled(const struct world *world);
/* Closes the ring; nobody begins anything new. What is still to come must come (sim_flush)
   before world_close frees the peers. */
void world_retire(struct world *world);
void world_close(struct world *world);

#endif
