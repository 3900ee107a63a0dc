/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What every thread of the relay has. Mesh indexes: 0 is control, then the workers, then the
 * egress threads. Both kinds of thread run the same loop:
 *     ring_wait until the next timer → ring events → mesh parcels → due timers → mesh_flush.
 */
#ifndef PASSERELLE_CORE_THREAD_H
#define PASSERELLE_CORE_THREAD_H

#include "core/census.h"
#include "core/config.h"
#include "core/mesh.h"
#include "core/stats.h"
#include "core/timer.h"
#include "core/trust.h"
#include "net/resolver.h"
#include "net/ring.h"

#define THREAD_CONTROL 0u

struct consent;
struct reload_offer;

struct thread {
    unsigned self; /* mesh index */
    const struct config *config;
    struct reload_offer *offer; /* another configuration to take; NULL: there is no control */
    struct mesh *mesh;
    struct ring *ring;
    struct resolver *resolver;
    struct census *census;      /* of all workers; NULL: XMPP connections are not limited */
    struct trust_memory *trust; /* of all workers; NULL: nothing is remembered */
    struct consent *consent; /* of this SIP thread; of a worker NULL */
    struct stats *stats;
    struct timer_heap timers;
    uint64_t now_ms; /* monotonic, read once per loop */
    uint64_t trace_next;
    _Atomic bool *stopping; /* set once by control; threads drain and end */
};

static inline unsigned thread_worker(const struct config *config, unsigned n)
{
    return 1 + n % config->worker_count;
}
static inline unsigned thread_egress(const struct config *config, unsigned n)
{
    return 1 + config->worker_count + n % config->egress_count;
}
/* The parcel's maker has taken over a configuration that this thread is only offered: it takes
   it before it looks at the parcel. */
static inline bool thread_is_behind(const struct thread *thread, const struct parcel *parcel)
{
    return !parcel->is_return && parcel->snapshot > thread->config->snapshot;
}
/* The tenant of a parcel, to whom `domain`, one of its ends, belongs. What was put into it
   under another configuration is found again by that domain. NULL: it belongs to nobody any
   more. */
static inline const struct config_tenant *
thread_tenant(const struct thread *thread, const struct parcel *parcel, struct span domain)
{
    return parcel->snapshot == thread->config->snapshot
               ? config_tenant_at(thread->config, parcel->tenant)
               : config_find_tenant(thread->config, domain);
}
/* A trunk (index + 1, 0: none) on its way to another thread, and there: 0 when it is no more.
 */
static inline void thread_put_trunk(const struct thread *thread, struct parcel *parcel,
                                    uint32_t trunk)
{
    const struct config_trunk *known =
        trunk != 0 ? config_trunk_at(thread->config, trunk - 1) : NULL;
    parcel->snapshot = thread->config->snapshot;
    parcel->trunk = known != NULL ? trunk : 0;
    parcel->trunk_serial = known != NULL ? known->serial : 0;
}
static inline uint32_t thread_get_trunk(const struct thread *thread,
                                        const struct parcel *parcel)
{
    const struct config_trunk *known =
        parcel->trunk != 0 ? config_trunk_at(thread->config, parcel->trunk - 1) : NULL;
    return known != NULL && known->serial == parcel->trunk_serial ? parcel->trunk : 0;
}
/* Once a turn: an operator wants to see how much one call of the kernel carries. */
static inline void thread_count_ring(const struct thread *thread)
{
    struct ring_counters counters;
    ring_counters(thread->ring, &counters);
    stats_set_ring(thread->stats, &counters);
}
static inline uint64_t thread_trace(struct thread *thread)
{
    return ((uint64_t)thread->self << 56) | ++thread->trace_next;
}
/* FNV-1a over parts, the same on every thread: which worker owns a domain pair, which egress
   thread owns a conversation. */
static inline uint32_t thread_hash(uint32_t seed, struct span text)
{
    uint32_t hash = seed == 0 ? 2166136261u : seed;
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 16777619u;
    return (hash ^ 0xff) * 16777619u;
}
static inline unsigned route_link(const struct config *config, struct span local_domain,
                                  struct span remote_domain)
{
    return thread_worker(config, thread_hash(thread_hash(0, local_domain), remote_domain) >> 8);
}
/* Does this worker own the pair of domains: its link, and the streams that come in for it? */
static inline bool thread_owns_pair(const struct thread *thread, struct span local_domain,
                                    struct span remote_domain)
{
    return route_link(thread->config, local_domain, remote_domain) == thread->self;
}
/* Which of the shares of a pair of domains (core/link_choice.c) the stanzas of this user of ours
   belong to; those of a domain itself, without a user, to the first. */
static inline uint8_t thread_share(struct span user)
{
    return user.size > 0 ? (uint8_t)(thread_hash(0, user) >> 8) : 0;
}
/* (tenant user, remote bare JID), both by their prepared parts. */
static inline unsigned route_egress(const struct config *config, const struct jid *user,
                                    const struct jid *peer)
{
    uint32_t hash = thread_hash(thread_hash(0, user->local), user->domain);
    hash = thread_hash(thread_hash(hash, peer->local), peer->domain);
    return thread_egress(config, hash >> 8);
}

#endif
