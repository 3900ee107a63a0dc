/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/breaker.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "core/table.h"
#include "core/thread.h"
#include "proto/utf8.h"

#define REASON_SIZE 480

/* A partner with failures since the last stream. */
struct breaker {
    struct table_node node;
    TAILQ_ENTRY(breaker) place;
    uint64_t failed_ms;                /* the last time; while it is closed */
    uint64_t pairs[BREAKER_PAIRS_MAX]; /* that failed; while it is closed */
    unsigned pair_count;
    unsigned opened;   /* times, without a stream between them; 0: it is closed */
    uint64_t until_ms; /* nobody tries before */
    uint64_t trying;   /* the pair that does, while `is_trying` */
    bool is_trying;
    enum stanza_error fault;
    char reason[REASON_SIZE];
    size_t reason_size, size;
    char partner[];
};

TAILQ_HEAD(breaker_list, breaker);

struct breaker_set {
    struct table table;
    struct breaker_list order; /* who failed last is first */
};

struct breaker_set *breaker_open(void)
{
    struct breaker_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return NULL;
    table_init(&set->table);
    TAILQ_INIT(&set->order);
    return set;
}

static void forget(struct breaker_set *set, struct breaker *breaker)
{
    table_remove(&set->table, &breaker->node);
    TAILQ_REMOVE(&set->order, breaker, place);
    free(breaker);
}

void breaker_reset(struct breaker_set *set)
{
    struct breaker *breaker;
    while ((breaker = TAILQ_FIRST(&set->order)) != NULL)
        forget(set, breaker);
}

void breaker_close(struct breaker_set **closed)
{
    struct breaker_set *set = *closed;
    *closed = NULL;
    if (set == NULL)
        return;
    breaker_reset(set);
    table_fini(&set->table);
    free(set);
}

static struct breaker *find(const struct breaker_set *set, struct span partner)
{
    struct table_node *node = table_find(&set->table, thread_hash(0, partner));
    for (; node != NULL; node = table_next(node)) {
        struct breaker *breaker = node->owner;
        if (span_equal(span_make(breaker->partner, breaker->size), partner))
            return breaker;
    }
    return NULL;
}

static struct breaker *find_or_add(struct breaker_set *set, struct span partner)
{
    struct breaker *breaker = find(set, partner);
    if (breaker != NULL) {
        TAILQ_REMOVE(&set->order, breaker, place);
        TAILQ_INSERT_HEAD(&set->order, breaker, place);
        return breaker;
    }
    if (set->table.count == BREAKER_PARTNERS_MAX)
        forget(set, TAILQ_LAST(&set->order, breaker_list));
    breaker = calloc(1, sizeof(*breaker) + partner.size);
    if (breaker == NULL)
        return NULL;
    memcpy(breaker->partner, partner.data, partner.size);
    breaker->size = partner.size;
    table_add(&set->table, &breaker->node, thread_hash(0, partner), breaker);
    TAILQ_INSERT_HEAD(&set->order, breaker, place);
    return breaker;
}

static void tell(const struct breaker *breaker, struct breaker_verdict *verdict)
{
    *verdict =
        (struct breaker_verdict){.fault = breaker->fault,
                                 .reason = span_make(breaker->reason, breaker->reason_size),
                                 .until_ms = breaker->until_ms};
}

bool breaker_is_open(const struct breaker_set *set, struct span partner,
                     struct breaker_verdict *verdict)
{
    const struct breaker *breaker = find(set, partner);
    if (breaker == NULL || breaker->opened == 0)
        return false;
    tell(breaker, verdict);
    return true;
}

bool breaker_allows(struct breaker_set *set, struct span partner, uint64_t pair,
                    uint64_t now_ms, struct breaker_verdict *verdict)
{
    struct breaker *breaker = find(set, partner);
    if (breaker == NULL || breaker->opened == 0)
        return true;
    if (now_ms < breaker->until_ms) {
        tell(breaker, verdict);
        return false;
    }
    breaker->is_trying = true;
    breaker->trying = pair;
    breaker->until_ms = now_ms + BREAKER_PROBE_MS;
    return true;
}

/* False when it is one of those already. */
static bool note_pair(struct breaker *breaker, uint64_t pair)
{
    for (unsigned i = 0; i < breaker->pair_count; i++)
        if (breaker->pairs[i] == pair)
            return false;
    breaker->pairs[breaker->pair_count++] = pair;
    return true;
}

static void open_for_a_while(struct breaker *breaker, uint64_t now_ms)
{
    unsigned shift = breaker->opened < 5 ? breaker->opened : 5;
    uint64_t wait_ms = (uint64_t)BREAKER_MS << shift;
    breaker->opened++;
    breaker->is_trying = false;
    breaker->pair_count = 0;
    breaker->until_ms = now_ms + (wait_ms < BREAKER_MAX_MS ? wait_ms : BREAKER_MAX_MS);
}

bool breaker_failed(struct breaker_set *set, struct span partner, uint64_t pair,
                    unsigned pairs_max, uint64_t now_ms, const struct breaker_verdict *why)
{
    assert(pairs_max <= BREAKER_PAIRS_MAX);
    if (pairs_max == 0)
        return false;
    struct breaker *breaker = find_or_add(set, partner);
    if (breaker == NULL)
        return false;
    struct span reason = utf8_cut(why->reason, REASON_SIZE);
    if (reason.size > 0)
        memcpy(breaker->reason, reason.data, reason.size);
    breaker->reason_size = reason.size;
    breaker->fault = why->fault;
    if (breaker->opened > 0) {
        /* Others were on their way when it opened: they say nothing new. */
        if (breaker->is_trying && breaker->trying == pair)
            open_for_a_while(breaker, now_ms);
        return false;
    }
    if (now_ms - breaker->failed_ms > BREAKER_MEMORY_MS)
        breaker->pair_count = 0;
    breaker->failed_ms = now_ms;
    if (!note_pair(breaker, pair) || breaker->pair_count < pairs_max)
        return false;
    open_for_a_while(breaker, now_ms);
    return true;
}

void breaker_undecided(struct breaker_set *set, struct span partner, uint64_t pair,
                       uint64_t now_ms)
{
    struct breaker *breaker = find(set, partner);
    if (breaker == NULL || !breaker->is_trying || breaker->trying != pair)
        return;
    breaker->is_trying = false;
    breaker->until_ms = now_ms;
}

bool breaker_worked(struct breaker_set *set, struct span partner)
{
    struct breaker *breaker = find(set, partner);
    bool was_open = breaker != NULL && breaker->opened > 0;
    if (breaker != NULL)
        forget(set, breaker);
    return was_open;
}
