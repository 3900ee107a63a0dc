/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Counters: one block per thread, written only by it (relaxed stores), merged on read by anyone
 * (relaxed loads; the sums are as true as a moment can be). The ledger: for each direction
 * accepted = delivered + handed over + failed + dropped + in flight.
 */
#ifndef PASSERELLE_CORE_STATS_H
#define PASSERELLE_CORE_STATS_H

#include <stdatomic.h>

#include "proto/span.h"

enum stats_counter {
#define STAT(name, metric, kind, sentence) STAT_##name,
#include "core/stats.def"
#undef STAT
    STAT_COUNT
};

/* Per tenant and thread. */
struct tenant_stats {
    _Atomic uint64_t to_sip, to_sip_failed, to_xmpp, to_xmpp_failed, over_quota;
};

#define STATS_ERROR_COUNT     64
#define STATS_ERROR_TEXT_SIZE 240
#define STATS_ERROR_NAME_SIZE 128

/* A row of `show errors`. Repeats share it; a full table forgets the one that was seen least
   recently. The texts are escaped and NUL-terminated. */
struct stats_error {
    uint64_t key; /* 0: free */
    uint64_t count;
    uint64_t wall_ms, trace; /* of the last one */
    char event[32];
    char tenant[STATS_ERROR_NAME_SIZE];
    char partner[STATS_ERROR_NAME_SIZE];
    char reason[STATS_ERROR_TEXT_SIZE];
};

/* Counters of tenants stand in chunks that never move, so that there may come to be more of
   them while they are counted. */
#define STATS_CHUNK_SIZE 1024u
#define STATS_CHUNK_MAX  1024u

struct stats {
    _Atomic uint64_t value[STAT_COUNT];
    struct tenant_stats *chunks[STATS_CHUNK_MAX]; /* by index of the tenant; see stats_tenant */
    _Atomic unsigned error_lock;  /* spin; cold path only */
    struct stats_error errors[STATS_ERROR_COUNT];
};

/* Calling thread owns `stats`. */
/* One more in a counter that only this thread writes. */
static inline void stats_count_one(_Atomic uint64_t *count)
{
    uint64_t value = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, value + 1, memory_order_relaxed);
}
static inline void stats_add(struct stats *stats, enum stats_counter stat, uint64_t n)
{
    uint64_t value = atomic_load_explicit(&stats->value[stat], memory_order_relaxed);
    atomic_store_explicit(&stats->value[stat], value + n, memory_order_relaxed);
}
static inline void stats_count(struct stats *stats, enum stats_counter stat)
{
    stats_add(stats, stat, 1);
}
static inline struct tenant_stats *stats_tenant(const struct stats *stats, uint32_t tenant)
{
    return &stats->chunks[tenant / STATS_CHUNK_SIZE][tenant % STATS_CHUNK_SIZE];
}
/* A message of the tenant is refused by a quota (core/quota.h). */
void stats_count_over_quota(struct stats *stats, uint32_t tenant);
struct stats *stats_open(size_t tenant_count) MUST_USE;
/* Has room for indexes below `tenant_slots`. Control, before any thread knows such an index.
   -ENOMEM, -E2BIG. */
int stats_reserve(struct stats *stats, size_t tenant_slots) MUST_USE;
/* A tenant begins at 0 whose index was another's earlier; nobody counts for it yet. */
void stats_clear(struct stats *stats, uint32_t tenant);
void stats_close(struct stats **stats);
struct ring_counters;
/* Takes over what the ring of the calling thread has counted so far. */
void stats_set_ring(struct stats *stats, const struct ring_counters *counters);
/* Something that went wrong, for `show errors`. Empty texts: not concerned or not known. */
struct stats_trouble {
    const char *event;   /* that the log line has */
    uint64_t trace;      /* 0: none */
    struct span tenant;  /* its name */
    struct span partner; /* the domain, trunk or address on the other side */
    int status;          /* SIP status; 0: none. Others do not share a row */
    struct span reason;  /* a sentence; peer-chosen text in it is escaped */
};
void stats_error(struct stats *stats, const struct stats_trouble *trouble);
/* A consistent copy of the rows, from any thread; those with key 0 are free. */
void stats_errors(struct stats *stats, struct stats_error copy[STATS_ERROR_COUNT]);
uint64_t stats_sum(struct stats *const *all, size_t count, enum stats_counter stat);
const char *stats_metric(enum stats_counter stat);
const char *stats_sentence(enum stats_counter stat);

#endif
