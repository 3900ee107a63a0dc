/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Connecting to the addresses of a server (Happy Eyeballs, RFC 8305). One connection is begun
 * after the other: at once when one fails, and when one stays without an answer, after
 * xmpp.connect_delay_ms (§5). The first that stands is the link's, the others are closed and
 * may be tried later, when that one is not good for stanzas. Only addresses of one SRV target
 * run against each other: between targets the order is the other domain's to choose (RFC 2782).
 */
#include "core/link_priv.h"

#include <assert.h>
#include <stdio.h>

#include "core/session_priv.h"

_Static_assert(RESOLVER_TARGET_MAX <= 32, "a set of targets is a word");

static uint32_t bit(unsigned target)
{
    return (uint32_t)1 << target;
}

void link_race_set(struct link *link)
{
    assert(link->race.count == 0);
    link->left = 0;
    for (unsigned i = 0; i < link->answer->target_count; i++)
        if (link->answer->targets[i].status == RESOLVER_FOUND)
            link->left |= bit(i);
}

static bool is_direct(const struct link *link, const struct resolver_target *target)
{
    return link->has_direct && target->service == 0 && !link->elsewhere;
}

static bool is_one_server(const struct resolver_target *a, const struct resolver_target *b)
{
    return a->service == b->service && a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* The next to be connected to; RESOLVER_TARGET_MAX: none now. */
static unsigned next_target(const struct link *link)
{
    const struct link_race *race = &link->race;
    const struct resolver_target *targets = link->answer->targets;
    for (unsigned i = 0; i < RESOLVER_TARGET_MAX && race->count < LINK_RACE_MAX; i++) {
        if ((link->left & bit(i)) == 0)
            continue;
        if (race->count == 0 || (link->probe == NULL &&
                                 is_one_server(&targets[i], &targets[race->runners[0].target])))
            return i;
    }
    return RESOLVER_TARGET_MAX;
}

/* False when no connection to it can be begun. */
static bool enter(struct link *link, unsigned index)
{
    struct link_race *race = &link->race;
    struct link_runner *runner = &race->runners[race->count];
    const struct resolver_target *target = &link->answer->targets[index];
    link->left &= ~bit(index);
    if (link->probe != NULL)
        probe_target(link->probe, target, is_direct(link, target));
    runner->target = link->target = index;
    int result = session_connect(&runner->session, link->worker, link, &target->address,
                                 is_direct(link, target));
    if (result == 0) {
        race->count++;
        return true;
    }
    snprintf(link->reason, sizeof(link->reason), "Cannot connect to the server of %s: %s",
             link->remote_ascii, strerrordesc_np(-result));
    if (link->probe != NULL)
        probe_lost(link->probe, span_of(strerrordesc_np(-result)));
    return false;
}

void link_race_next(struct link *link)
{
    const struct thread *thread = link->worker->thread;
    unsigned target;
    assert(link->session == NULL);
    while ((target = next_target(link)) < RESOLVER_TARGET_MAX && !enter(link, target))
        ;
    link->race.next_ms = next_target(link) < RESOLVER_TARGET_MAX
                             ? thread->now_ms + thread->config->connect_delay_ms
                             : UINT64_MAX;
    link_arm(link);
}

static struct link_runner *find(struct link *link, const struct session *session)
{
    struct link_race *race = &link->race;
    for (unsigned i = 0; i < race->count; i++)
        if (race->runners[i].session == session)
            return &race->runners[i];
    return NULL;
}

void link_race_leave(struct link *link, const struct session *session)
{
    struct link_race *race = &link->race;
    struct link_runner *runner = find(link, session);
    if (runner != NULL)
        *runner = race->runners[--race->count];
}

void link_race_stop(struct link *link, struct span reason)
{
    struct link_race *race = &link->race;
    race->next_ms = UINT64_MAX;
    while (race->count > 0) {
        struct link_runner *runner = &race->runners[--race->count];
        link->left |= bit(runner->target);
        runner->session->link = NULL;
        session_fail(runner->session, reason);
    }
}

void link_race_won(struct link *link, struct session *session)
{
    const struct link_runner *runner = find(link, session);
    assert(runner != NULL);
    link->session = session;
    link->target = runner->target;
    link_race_leave(link, session);
    stats_add(link->worker->thread->stats, STAT_CONNECTIONS_OUTRUN, link->race.count);
    link_race_stop(link, SPAN("another address of the server answered first"));
}

void link_race_again(struct link *link, const struct session *session)
{
    const struct link_runner *runner = find(link, session);
    link->left |= bit(runner != NULL ? runner->target : link->target);
}
