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
    _Atomic uint64_t to_sip, to_sip_failed, to_xmpp, to_xmpp_failed;
};

#define STATS_ERROR_COUNT     64
#define STATS_ERROR_TEXT_SIZE 240

struct stats_error {
    uint64_t wall_ms;
    uint64_t trace;
    char text[STATS_ERROR_TEXT_SIZE]; /* escaped, NUL-terminated */
};

struct stats {
    _Atomic uint64_t value[STAT_COUNT];
    struct tenant_stats *tenants; /* one per configured tenant */
    _Atomic unsigned error_lock;  /* spin; cold path only */
    unsigned error_next;
    struct stats_error errors[STATS_ERROR_COUNT];
};

/* Calling thread owns `stats`. */
static inline void stats_add(struct stats *stats, enum stats_counter stat, uint64_t n)
{
    uint64_t value = atomic_load_explicit(&stats->value[stat], memory_order_relaxed);
    atomic_store_explicit(&stats->value[stat], value + n, memory_order_relaxed);
}
static inline void stats_count(struct stats *stats, enum stats_counter stat)
{
    stats_add(stats, stat, 1);
}
struct stats *stats_open(size_t tenant_count) MUST_USE;
void stats_close(struct stats **stats);
/* Remembers an error for `show errors`; peer-chosen text in it is escaped. */
void stats_error(struct stats *stats, uint64_t trace, struct span text);
uint64_t stats_sum(struct stats *const *all, size_t count, enum stats_counter stat);
const char *stats_metric(enum stats_counter stat);
const char *stats_sentence(enum stats_counter stat);

#endif
