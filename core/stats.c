/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/stats.h"

#include <assert.h>
#include <stdlib.h>

#include "net/clock.h"

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
    stats->tenants = calloc(tenant_count > 0 ? tenant_count : 1, sizeof(*stats->tenants));
    if (stats->tenants == NULL) {
        free(stats);
        return NULL;
    }
    return stats;
}

void stats_close(struct stats **stats)
{
    if (*stats == NULL)
        return;
    free((*stats)->tenants);
    free(*stats);
    *stats = NULL;
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

void stats_error(struct stats *stats, uint64_t trace, struct span text)
{
    /* Acquire pairs with the release below and with the reader's in the report. */
    while (atomic_exchange_explicit(&stats->error_lock, 1, memory_order_acquire) != 0)
        ;
    struct stats_error *error = &stats->errors[stats->error_next % STATS_ERROR_COUNT];
    stats->error_next++;
    error->wall_ms = clock_wall_ms();
    error->trace = trace;
    stats_copy_escaped(error->text, sizeof(error->text), text);
    atomic_store_explicit(&stats->error_lock, 0, memory_order_release);
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
