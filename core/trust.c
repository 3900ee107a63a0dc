/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/trust.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "core/store.h"
#include "core/table.h"
#include "core/thread.h"
#include "net/clock.h"

#define STORE_AGAIN_S 86400 /* how far the order of the store's rows may be behind */

struct partner {
    struct table_node node;
    TAILQ_ENTRY(partner) place;
    enum trust best;
    int64_t stored_s; /* when the store was told last; 0: never */
    size_t size;
    char domain[];
};

TAILQ_HEAD(partner_list, partner);

struct trust_memory {
    struct store *store;
    pthread_mutex_t lock; /* guards all that follows */
    struct table partners;
    struct partner_list order; /* whom we met last is first */
};

static void drop(struct trust_memory *memory, struct partner *partner)
{
    table_remove(&memory->partners, &partner->node);
    TAILQ_REMOVE(&memory->order, partner, place);
    free(partner);
}

static struct store_row row_of(const struct partner *partner)
{
    return (struct store_row){.kind = STORE_PROOF,
                              .subject = SPAN(""),
                              .partner = span_make(partner->domain, partner->size),
                              .value = (int64_t)partner->best,
                              .time_s = partner->stored_s};
}

static void forget(struct trust_memory *memory, struct partner *partner)
{
    const struct store_row row = row_of(partner);
    store_remove(memory->store, &row);
    drop(memory, partner);
}

void trust_close(struct trust_memory **closed)
{
    struct trust_memory *memory = *closed;
    struct partner *partner;
    *closed = NULL;
    if (memory == NULL)
        return;
    while ((partner = TAILQ_FIRST(&memory->order)) != NULL)
        drop(memory, partner);
    table_fini(&memory->partners);
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

static struct partner *find(const struct trust_memory *memory, struct span domain)
{
    struct table_node *node = table_find(&memory->partners, thread_hash(0, domain));
    for (; node != NULL; node = table_next(node)) {
        struct partner *partner = node->owner;
        if (span_equal(span_make(partner->domain, partner->size), domain))
            return partner;
    }
    return NULL;
}

/* NULL without memory: it is as if we had not met. */
static struct partner *add(struct trust_memory *memory, struct span domain)
{
    if (memory->partners.count == TRUST_PARTNER_MAX) {
        struct partner *oldest = TAILQ_LAST(&memory->order, partner_list);
        assert(oldest != NULL);
        forget(memory, oldest);
    }
    struct partner *partner = calloc(1, sizeof(*partner) + domain.size);
    if (partner == NULL)
        return NULL;
    memcpy(partner->domain, domain.data, domain.size);
    partner->size = domain.size;
    table_add(&memory->partners, &partner->node, thread_hash(0, domain), partner);
    TAILQ_INSERT_HEAD(&memory->order, partner, place);
    return partner;
}

/* The store is told of another proof, and once a day that we still meet. */
static void keep(struct trust_memory *memory, struct partner *partner, enum trust best)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    bool is_news = best != partner->best || now_s - partner->stored_s >= STORE_AGAIN_S;
    TAILQ_REMOVE(&memory->order, partner, place);
    TAILQ_INSERT_HEAD(&memory->order, partner, place);
    partner->best = best;
    if (!is_news)
        return;
    partner->stored_s = now_s;
    const struct store_row row = row_of(partner);
    store_put(memory->store, &row);
}

static enum trust note(struct trust_memory *memory, struct span domain, enum trust now,
                       bool may_forget)
{
    struct partner *partner = find(memory, domain);
    enum trust before = partner != NULL ? partner->best : TRUST_DIALBACK;
    enum trust best = now > before || may_forget ? now : before;
    if (partner == NULL && best > TRUST_DIALBACK)
        partner = add(memory, domain);
    if (partner != NULL && best == TRUST_DIALBACK)
        forget(memory, partner);
    else if (partner != NULL)
        keep(memory, partner, best);
    return before;
}

/* The rows come in the order in which we met last. */
static int load(struct trust_memory *memory)
{
    struct store_row row;
    int rc = 0;
    while (memory->store != NULL && (rc = store_next(memory->store, STORE_PROOF, &row)) > 0) {
        bool is_good = row.value > TRUST_DIALBACK && row.value <= TRUST_DANE;
        struct partner *partner = is_good ? add(memory, row.partner) : NULL;
        if (!is_good)
            store_remove(memory->store, &row);
        if (partner == NULL)
            continue;
        partner->best = (enum trust)row.value;
        partner->stored_s = row.time_s;
    }
    return rc;
}

int trust_open(struct trust_memory **opened, struct store *store)
{
    struct trust_memory *memory = calloc(1, sizeof(*memory));
    if (memory == NULL)
        return -ENOMEM;
    memory->store = store;
    pthread_mutex_init(&memory->lock, NULL);
    table_init(&memory->partners);
    TAILQ_INIT(&memory->order);
    int rc = load(memory);
    if (rc != 0)
        trust_close(&memory);
    *opened = memory;
    return rc;
}

enum trust trust_best(struct trust_memory *memory, struct span domain)
{
    pthread_mutex_lock(&memory->lock);
    const struct partner *partner = find(memory, domain);
    enum trust best = partner != NULL ? partner->best : TRUST_DIALBACK;
    pthread_mutex_unlock(&memory->lock);
    return best;
}

enum trust trust_note(struct trust_memory *memory, struct span domain, enum trust now,
                      bool may_forget)
{
    assert(domain.size > 0);
    pthread_mutex_lock(&memory->lock);
    enum trust before = note(memory, domain, now, may_forget);
    pthread_mutex_unlock(&memory->lock);
    return before;
}

const char *trust_name(enum trust trust)
{
    static const char *const names[] = {"dialback", "pkix", "dane"};
    assert(trust <= TRUST_DANE);
    return names[trust];
}
