/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/trust.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "core/table.h"
#include "core/thread.h"

struct partner {
    struct table_node node;
    TAILQ_ENTRY(partner) place;
    enum trust best;
    size_t size;
    char domain[];
};

TAILQ_HEAD(partner_list, partner);

struct trust_memory {
    pthread_mutex_t lock; /* guards all that follows */
    struct table partners;
    struct partner_list order; /* whom we met last is first */
};

int trust_open(struct trust_memory **opened)
{
    struct trust_memory *memory = calloc(1, sizeof(*memory));
    if (memory == NULL)
        return -ENOMEM;
    pthread_mutex_init(&memory->lock, NULL);
    table_init(&memory->partners);
    TAILQ_INIT(&memory->order);
    *opened = memory;
    return 0;
}

static void forget(struct trust_memory *memory, struct partner *partner)
{
    table_remove(&memory->partners, &partner->node);
    TAILQ_REMOVE(&memory->order, partner, place);
    free(partner);
}

void trust_close(struct trust_memory **closed)
{
    struct trust_memory *memory = *closed;
    struct partner *partner;
    *closed = NULL;
    if (memory == NULL)
        return;
    while ((partner = TAILQ_FIRST(&memory->order)) != NULL)
        forget(memory, partner);
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

/* Without memory nothing is kept: it is as if we had not met. */
static void add(struct trust_memory *memory, struct span domain, enum trust best)
{
    if (memory->partners.count == TRUST_PARTNER_MAX)
        forget(memory, TAILQ_LAST(&memory->order, partner_list));
    struct partner *partner = calloc(1, sizeof(*partner) + domain.size);
    if (partner == NULL)
        return;
    memcpy(partner->domain, domain.data, domain.size);
    partner->size = domain.size;
    partner->best = best;
    table_add(&memory->partners, &partner->node, thread_hash(0, domain), partner);
    TAILQ_INSERT_HEAD(&memory->order, partner, place);
}

static enum trust note(struct trust_memory *memory, struct span domain, enum trust now,
                       bool may_forget)
{
    struct partner *partner = find(memory, domain);
    enum trust before = partner != NULL ? partner->best : TRUST_DIALBACK;
    enum trust best = now > before || may_forget ? now : before;
    if (partner != NULL)
        forget(memory, partner);
    if (best > TRUST_DIALBACK)
        add(memory, domain, best);
    return before;
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
