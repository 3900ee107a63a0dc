/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The counters of the relay that a soak balances, asked over its stats socket. One thread;
   waits for the answer, a second at most. */
#ifndef PASSERELLE_BENCH_RELAY_STATS_H
#define PASSERELLE_BENCH_RELAY_STATS_H

#include <stdbool.h>
#include <stdint.h>

enum relay_direction { RELAY_TO_SIP, RELAY_TO_XMPP, RELAY_DIRECTIONS };

/* accepted = delivered + handed over + failed + dropped + in flight */
struct relay_flow {
    uint64_t accepted, delivered, handed_over, failed, dropped;
};

struct relay_stats {
    struct relay_flow flows[RELAY_DIRECTIONS];
    uint64_t sessions; /* open */
    uint64_t reloads, answers_lost;
    uint64_t ring_enters, ring_submissions, ring_completions;
    uint64_t datagrams, batches, batched; /* UDP; of them those in batches */
};

/* -errno; -EPROTO when what answers does not know all of it. */
int relay_stats_read(struct relay_stats *stats, const char *path);
/* The answer of `show stat` in JSON; what relay_stats_read does with it. Pure. */
bool relay_stats_parse(struct relay_stats *stats, const char *json);
/* What was counted between the two; `sessions` is that of the later one. */
void relay_stats_since(const struct relay_stats *start, struct relay_stats *end);
uint64_t relay_flow_in_flight(const struct relay_flow *flow);

#endif
