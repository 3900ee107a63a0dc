/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/stats.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "net/clock.h"
#include "net/ring.h"

struct stats_row {
    const char *metric;
    const char *sentence;
};

static const struct stats_row stats_rows[] = {
#define STAT(name, metric, kind, sentence) {metric, sentence},
#include "core/stats.def"
#undef STAT
};
_Static_assert(sizeof(stats_rows) / sizeof(stats_rows[0]) == STAT_COUNT, "one row per counter");

struct stats *stats_open(size_t tenant_count)
{
    struct stats *stats = calloc(1, sizeof(*stats));
    if (stats == NULL)
        return NULL;
    if (stats_reserve(stats, tenant_count) != 0)
        stats_close(&stats);
    return stats;
}

int stats_reserve(struct stats *stats, size_t tenant_slots)
{
    size_t count = (tenant_slots + STATS_CHUNK_SIZE - 1) / STATS_CHUNK_SIZE;
    if (count > STATS_CHUNK_MAX)
        return -E2BIG;
    for (size_t i = 0; i < count; i++) {
        if (stats->chunks[i] == NULL)
            stats->chunks[i] = calloc(STATS_CHUNK_SIZE, sizeof(**stats->chunks));
        if (stats->chunks[i] == NULL)
            return -ENOMEM;
    }
    return 0;
}

void stats_clear(struct stats *stats, uint32_t tenant)
{
    struct tenant_stats *one = stats_tenant(stats, tenant);
    atomic_store_explicit(&one->to_sip, 0, memory_order_relaxed);
    atomic_store_explicit(&one->to_sip_failed, 0, memory_order_relaxed);
    atomic_store_explicit(&one->to_xmpp, 0, memory_order_relaxed);
    atomic_store_explicit(&one->to_xmpp_failed, 0, memory_order_relaxed);
    atomic_store_explicit(&one->over_quota, 0, memory_order_relaxed);
}

void stats_count_over_quota(struct stats *stats, uint32_t tenant)
{
    stats_count(stats, STAT_QUOTA_REFUSED);
    stats_count_one(&stats_tenant(stats, tenant)->over_quota);
}

void stats_close(struct stats **stats)
{
    if (*stats == NULL)
        return;
    for (size_t i = 0; i < STATS_CHUNK_MAX; i++)
        free((*stats)->chunks[i]);
    free(*stats);
    *stats = NULL;
}

static void stats_set(struct stats *stats, enum stats_counter stat, uint64_t value)
{
    atomic_store_explicit(&stats->value[stat], value, memory_order_relaxed);
}

void stats_set_ring(struct stats *stats, const struct ring_counters *counters)
{
    stats_set(stats, STAT_RING_ENTERS, counters->enters);
    stats_set(stats, STAT_RING_SUBMISSIONS, counters->submissions);
    stats_set(stats, STAT_RING_COMPLETIONS, counters->completions);
    stats_set(stats, STAT_RING_BUFFERS_MISSING, counters->no_buffers);
    stats_set(stats, STAT_RING_ACCEPT_PAUSES, counters->accept_pauses);
    stats_set(stats, STAT_RING_OVERFLOWS, counters->overflows);
    stats_set(stats, STAT_DATAGRAMS_SENT, counters->datagrams);
    stats_set(stats, STAT_DATAGRAM_BATCHES, counters->batches);
    stats_set(stats, STAT_DATAGRAMS_BATCHED, counters->batches_datagrams);
    stats_set(stats, STAT_DATAGRAM_BATCHES_REFUSED, counters->batches_refused);
}

/* Control characters and quotes of a peer must not reach a terminal or split a line. */
static void stats_copy_escaped(char *out, size_t size, struct span text)
{
    size_t used = 0;
    assert(size > 4);
    for (size_t i = 0; i < text.size && used + 5 < size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 0x20 && byte != 0x7f) {
            out[used++] = (char)byte;
            continue;
        }
        out[used++] = '\\';
        out[used++] = 'x';
        out[used++] = "0123456789abcdef"[byte >> 4];
        out[used++] = "0123456789abcdef"[byte & 15];
    }
    out[used] = '\0';
}

static uint64_t stats_error_key(const struct stats_trouble *trouble)
{
    const struct span parts[] = {span_of(trouble->event), trouble->tenant, trouble->partner};
    uint64_t key = 14695981039346656037u + (uint64_t)trouble->status; /* FNV-1a */
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (size_t j = 0; j < parts[i].size; j++)
            key = (key ^ (unsigned char)parts[i].data[j]) * 1099511628211u;
        key = (key ^ 0x1ff) * 1099511628211u;
    }
    return key != 0 ? key : 1;
}

/* The row of this key, or else the one to give up. */
static struct stats_error *stats_error_row(struct stats *stats, uint64_t key)
{
    struct stats_error *oldest = &stats->errors[0];
    for (size_t i = 0; i < STATS_ERROR_COUNT; i++) {
        struct stats_error *row = &stats->errors[i];
        if (row->key == key)
            return row;
        if (row->wall_ms < oldest->wall_ms)
            oldest = row;
    }
    *oldest = (struct stats_error){.key = key};
    return oldest;
}

/* Acquire pairs with the release of stats_unlock. */
static void stats_lock(struct stats *stats)
{
    while (atomic_exchange_explicit(&stats->error_lock, 1, memory_order_acquire) != 0)
        ;
}

static void stats_unlock(struct stats *stats)
{
    atomic_store_explicit(&stats->error_lock, 0, memory_order_release);
}

void stats_error(struct stats *stats, const struct stats_trouble *trouble)
{
    uint64_t key = stats_error_key(trouble);
    assert(trouble->event != NULL);
    stats_lock(stats);
    struct stats_error *row = stats_error_row(stats, key);
    row->count++;
    row->wall_ms = clock_wall_ms();
    row->trace = trouble->trace;
    stats_copy_escaped(row->event, sizeof(row->event), span_of(trouble->event));
    stats_copy_escaped(row->tenant, sizeof(row->tenant), trouble->tenant);
    stats_copy_escaped(row->partner, sizeof(row->partner), trouble->partner);
    stats_copy_escaped(row->reason, sizeof(row->reason), trouble->reason);
    stats_unlock(stats);
}

void stats_errors(struct stats *stats, struct stats_error copy[STATS_ERROR_COUNT])
{
    stats_lock(stats);
    memcpy(copy, stats->errors, sizeof(stats->errors));
    stats_unlock(stats);
}

uint64_t stats_sum(struct stats *const *all, size_t count, enum stats_counter stat)
{
    uint64_t sum = 0;
    assert(stat < STAT_COUNT);
    for (size_t i = 0; i < count; i++) {
        if (all[i] != NULL)
            sum += atomic_load_explicit(&all[i]->value[stat], memory_order_relaxed);
    }
    return sum;
}

const char *stats_metric(enum stats_counter stat)
{
    assert(stat < STAT_COUNT);
    return stats_rows[stat].metric;
}

const char *stats_sentence(enum stats_counter stat)
{
    assert(stat < STAT_COUNT);
    return stats_rows[stat].sentence;
}
