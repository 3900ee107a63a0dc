/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/census.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/table.h"
#include "core/thread.h"

struct census_host {
    struct table_node node;
    union net_address address;
    unsigned count;
};

struct census_partner {
    struct table_node node;
    unsigned count;  /* its streams */
    unsigned opened; /* ours to it */
    size_t size;
    char domain[];
};

struct census {
    pthread_mutex_t lock; /* guards all that follows */
    unsigned total, total_max, per_address_max;
    struct table hosts, partners;
};

int census_open(struct census **opened, unsigned total_max, unsigned per_address_max)
{
    struct census *census = calloc(1, sizeof(*census));
    if (census == NULL)
        return -ENOMEM;
    pthread_mutex_init(&census->lock, NULL);
    census->total_max = total_max;
    census->per_address_max = per_address_max;
    table_init(&census->hosts);
    table_init(&census->partners);
    *opened = census;
    return 0;
}

void census_close(struct census **closed)
{
    struct census *census = *closed;
    struct table_node *node;
    *closed = NULL;
    if (census == NULL)
        return;
    while ((node = table_any(&census->hosts)) != NULL) {
        struct census_host *host = node->owner;
        table_remove(&census->hosts, node);
        free(host);
    }
    while ((node = table_any(&census->partners)) != NULL) {
        struct census_partner *partner = node->owner;
        table_remove(&census->partners, node);
        free(partner);
    }
    table_fini(&census->hosts);
    table_fini(&census->partners);
    pthread_mutex_destroy(&census->lock);
    free(census);
}

static struct census_host *find(const struct census *census, const union net_address *site)
{
    struct table_node *node = table_find(&census->hosts, net_address_hash(site));
    for (; node != NULL; node = table_next(node)) {
        struct census_host *host = node->owner;
        if (net_address_equal_host(&host->address, site))
            return host;
    }
    return NULL;
}

static bool enter(struct census *census, const union net_address *site)
{
    if (census->total_max > 0 && census->total >= census->total_max)
        return false;
    struct census_host *host = find(census, site);
    if (host != NULL && census->per_address_max > 0 && host->count >= census->per_address_max)
        return false;
    if (host == NULL) {
        host = calloc(1, sizeof(*host));
        if (host == NULL)
            return false;
        host->address = *site;
        table_add(&census->hosts, &host->node, net_address_hash(site), host);
    }
    host->count++;
    census->total++;
    return true;
}

bool census_enter(struct census *census, const union net_address *site)
{
    pthread_mutex_lock(&census->lock);
    bool entered = enter(census, site);
    pthread_mutex_unlock(&census->lock);
    return entered;
}

void census_leave(struct census *census, const union net_address *site)
{
    pthread_mutex_lock(&census->lock);
    struct census_host *host = find(census, site);
    assert(host != NULL);
    assert(census->total > 0);
    census->total--;
    host->count--;
    if (host->count == 0) {
        table_remove(&census->hosts, &host->node);
        free(host);
    }
    pthread_mutex_unlock(&census->lock);
}

static struct census_partner *find_partner(const struct census *census, struct span domain)
{
    struct table_node *node = table_find(&census->partners, thread_hash(0, domain));
    for (; node != NULL; node = table_next(node)) {
        struct census_partner *partner = node->owner;
        if (span_equal(span_make(partner->domain, partner->size), domain))
            return partner;
    }
    return NULL;
}

static struct census_partner *find_or_add(struct census *census, struct span domain)
{
    struct census_partner *partner = find_partner(census, domain);
    if (partner != NULL)
        return partner;
    partner = calloc(1, sizeof(*partner) + domain.size);
    if (partner == NULL)
        return NULL;
    memcpy(partner->domain, domain.data, domain.size);
    partner->size = domain.size;
    table_add(&census->partners, &partner->node, thread_hash(0, domain), partner);
    return partner;
}

static void forget_unused(struct census *census, struct census_partner *partner)
{
    if (partner->count > 0 || partner->opened > 0)
        return;
    table_remove(&census->partners, &partner->node);
    free(partner);
}

/* A partner that is added has neither yet, so it is not refused and stays. */
static struct census_partner *enter_partner(struct census *census, struct span domain,
                                            unsigned max)
{
    struct census_partner *partner = find_or_add(census, domain);
    if (partner == NULL || partner->count >= max)
        return NULL;
    partner->count++;
    return partner;
}

struct census_partner *census_enter_partner(struct census *census, struct span domain,
                                            unsigned max)
{
    assert(domain.size > 0);
    assert(max > 0);
    pthread_mutex_lock(&census->lock);
    struct census_partner *partner = enter_partner(census, domain, max);
    pthread_mutex_unlock(&census->lock);
    return partner;
}

void census_leave_partner(struct census *census, struct census_partner *partner)
{
    pthread_mutex_lock(&census->lock);
    assert(partner->count > 0);
    partner->count--;
    forget_unused(census, partner);
    pthread_mutex_unlock(&census->lock);
}

static struct census_partner *enter_link(struct census *census, struct span domain,
                                         unsigned max)
{
    bool is_full = census->total_max > 0 && census->total >= census->total_max;
    const struct census_partner *known = find_partner(census, domain);
    if (max > 0 && (is_full || (known != NULL && known->opened >= max)))
        return NULL;
    struct census_partner *partner = find_or_add(census, domain);
    if (partner != NULL)
        partner->opened++;
    return partner;
}

struct census_partner *census_enter_link(struct census *census, struct span domain,
                                         unsigned max)
{
    pthread_mutex_lock(&census->lock);
    struct census_partner *partner = enter_link(census, domain, max);
    pthread_mutex_unlock(&census->lock);
    return partner;
}

void census_leave_link(struct census *census, struct census_partner *partner)
{
    pthread_mutex_lock(&census->lock);
    assert(partner->opened > 0);
    partner->opened--;
    forget_unused(census, partner);
    pthread_mutex_unlock(&census->lock);
}

void census_enter_own(struct census *census)
{
    pthread_mutex_lock(&census->lock);
    census->total++;
    pthread_mutex_unlock(&census->lock);
}

void census_leave_own(struct census *census)
{
    pthread_mutex_lock(&census->lock);
    assert(census->total > 0);
    census->total--;
    pthread_mutex_unlock(&census->lock);
}
