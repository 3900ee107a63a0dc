/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which link of a pair of domains a stanza goes over. Mostly there is one. Where the rule
 * `streams` allows more, the users of our domain are spread over so many: a hash of the bare
 * JID makes each part of one share, and all of a share goes over the link where it stands, so
 * that the order of each sender is kept. A link is made when one of its senders first writes.
 *
 * A share stands with the link that its number says. When no stream of that link comes about,
 * or none may be opened, it moves to one that has a stream or seeks one; what waits moves with
 * it (link_choice_pass). Else it moves only when nothing of it is without an outcome, and the
 * other server has read what was last written of it, or that stream is over: what is written to
 * another stream later overtakes nothing.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/breaker.h"
#include "core/link_priv.h"

#define SHARES                                                                                 \
    256u /* as many as thread_share tells apart: more than there are links, so that            \
            one busy sender holds up few others where shares are to move */

struct link_share {
    uint32_t open;   /* stanzas that a link has taken and that have no outcome */
    uint32_t number; /* of the link where it stands */
    uint64_t stream; /* the ticket of the one it was last written to … */
    uint64_t place;  /* … and how far that was then */
};

/* Of a pair whose stanzas may go, or went, over several links. It lives as long as one of them.
 */
struct link_spread {
    unsigned streams; /* as the rule says now */
    unsigned count;   /* of the links there are; some may be left from when it said more */
    struct link *links[RULES_STREAMS_MAX];
    struct link_share shares[SHARES];
};

_Static_assert(UINT8_MAX + 1 == SHARES, "thread_share gives a byte");

/* What one number of a pair has to offer, the best first. */
enum offer {
    OFFER_STANDS, /* a stream that is good for stanzas */
    OFFER_SOUGHT, /* one is on its way */
    OFFER_TRY,    /* one may be sought */
    OFFER_NONE
};

static unsigned streams_of(const struct worker *worker, struct span local, struct span remote)
{
    const struct config *config = worker->thread->config;
    struct rules_stack rules = config_rules(config, config_find_tenant(config, local), remote);
    unsigned streams = rules_value(&rules, RULE_STREAMS);
    assert(streams <= RULES_STREAMS_MAX);
    return streams;
}

struct link *link_find(struct worker *worker, struct span local, struct span remote)
{
    struct table_node *node = table_find(&worker->links, link_pair_hash(local, remote));
    for (; node != NULL; node = table_next(node)) {
        struct link *link = node->owner;
        if (!span_equal(s2s_domain_span(&link->local), local) ||
            !span_equal(s2s_domain_span(&link->remote), remote))
            continue;
        unsigned number = 0;
        while (link->spread != NULL && link->spread->links[number] == NULL)
            number++; /* ends: this one is there */
        return link->spread != NULL ? link->spread->links[number] : link;
    }
    return NULL;
}

struct link *link_next(const struct link *link)
{
    const struct link_spread *spread = link->spread;
    for (unsigned i = link->number + 1; spread != NULL && i < RULES_STREAMS_MAX; i++)
        if (spread->links[i] != NULL)
            return spread->links[i];
    return NULL;
}

/* ---- where a share stands ---- */

static enum offer offer_of(const struct link *link)
{
    const struct worker *worker = link->worker;
    if (link->session != NULL && link->ready && link->session->state == SESSION_OPEN)
        return OFFER_STANDS;
    if (link->session != NULL || link->state != LINK_IDLE)
        return OFFER_SOUGHT;
    bool may_try = link->number < link->spread->streams && !worker->draining &&
                   worker->thread->now_ms >= link->backoff_until_ms;
    return may_try ? OFFER_TRY : OFFER_NONE;
}

static enum offer offer_at(const struct link_spread *spread, unsigned number)
{
    if (spread->links[number] != NULL)
        return offer_of(spread->links[number]);
    return number < spread->streams ? OFFER_TRY : OFFER_NONE;
}

/* The best that other numbers offer, this one's neighbours first; itself when they offer none.
 */
static unsigned best_other(const struct link_spread *spread, unsigned number)
{
    unsigned best = number;
    enum offer offer = OFFER_NONE;
    for (unsigned i = 1; i < RULES_STREAMS_MAX && offer != OFFER_STANDS; i++) {
        unsigned other = (number + i) % RULES_STREAMS_MAX;
        if (offer_at(spread, other) >= offer)
            continue;
        best = other;
        offer = offer_at(spread, other);
    }
    return best;
}

/* The partner was not to be reached, which holds for all links of the pair: the one that says
   so; RULES_STREAMS_MAX: none. */
static unsigned barred_number(const struct link_spread *spread, uint64_t now_ms)
{
    unsigned number = 0;
    while (number < RULES_STREAMS_MAX &&
           (spread->links[number] == NULL || !spread->links[number]->was_alone ||
            now_ms >= spread->links[number]->backoff_until_ms))
        number++;
    return number;
}

static bool is_broken_off(const struct worker *worker, struct span remote)
{
    struct breaker_verdict verdict;
    return breaker_is_open(worker->breakers, remote, &verdict) &&
           worker->thread->now_ms < verdict.until_ms;
}

/* The number over which something goes that would best go over `number`. */
static unsigned reach(const struct link_spread *spread, const struct worker *worker,
                      struct span remote, unsigned number)
{
    enum offer offer = offer_at(spread, number);
    if (offer <= OFFER_SOUGHT)
        return number;
    unsigned other = best_other(spread, number);
    if (other != number && offer_at(spread, other) <= OFFER_SOUGHT)
        return offer == OFFER_TRY && !is_broken_off(worker, remote) ? number : other;
    unsigned barred = barred_number(spread, worker->thread->now_ms);
    if (barred < RULES_STREAMS_MAX)
        return barred;
    return offer == OFFER_TRY ? number : other;
}

/* May what comes next of it go over another link? */
static bool is_free(const struct link_spread *spread, const struct link_share *share)
{
    const struct link *link = spread->links[share->number];
    if (share->open > 0)
        return false;
    return link == NULL || link->session == NULL || link->session->ticket != share->stream ||
           link->pace.read >= share->place;
}

static unsigned choose(struct link_spread *spread, const struct worker *worker,
                       const struct parcel *parcel)
{
    struct span remote = parcel->to.domain;
    struct link_share *share = &spread->shares[parcel->share];
    if (parcel->kind == PARCEL_VERIFY)
        return reach(spread, worker, remote, 0);
    if (is_free(spread, share))
        share->number = reach(spread, worker, remote, parcel->share % spread->streams);
    return share->number;
}

struct link *link_choose(struct worker *worker, const struct parcel *parcel, unsigned *number)
{
    struct span local = parcel->from.domain, remote = parcel->to.domain;
    struct link *link = link_find(worker, local, remote);
    if (link != NULL && link->spread == NULL)
        return link;
    if (link == NULL) {
        bool is_verify = parcel->kind == PARCEL_VERIFY;
        *number = is_verify ? 0 : parcel->share % streams_of(worker, local, remote);
        return NULL;
    }
    *number = choose(link->spread, worker, parcel);
    return link->spread->links[*number];
}

/* ---- the links of a pair ---- */

static struct link_spread *make_spread(unsigned streams)
{
    struct link_spread *spread = calloc(1, sizeof(*spread));
    if (spread == NULL)
        return NULL;
    spread->streams = streams;
    for (unsigned i = 0; i < SHARES; i++)
        spread->shares[i].number = i % streams;
    return spread;
}

static void join(struct link *link, struct link_spread *spread)
{
    assert(spread->links[link->number] == NULL);
    spread->links[link->number] = link;
    spread->count++;
    link->spread = spread;
}

struct link *link_open(struct worker *worker, struct span local, struct span remote,
                       unsigned number)
{
    const struct link *sibling = link_find(worker, local, remote);
    unsigned streams = streams_of(worker, local, remote);
    struct link_spread *spread = sibling != NULL ? sibling->spread : NULL;
    struct link *link = link_make(worker, local, remote);
    if (link == NULL)
        return NULL;
    assert(number == 0 || sibling == NULL || spread != NULL);
    if (spread == NULL && streams > 1)
        spread = make_spread(streams);
    if (spread == NULL && streams > 1) {
        free(link);
        return NULL;
    }
    link->number = number;
    if (spread != NULL)
        join(link, spread);
    table_add(&worker->links, &link->node, link_pair_hash(local, remote), link);
    stats_count(worker->thread->stats, STAT_LINKS_OPENED);
    return link;
}

void link_choice_close(struct link *link)
{
    struct link_spread *spread = link->spread;
    table_remove(&link->worker->links, &link->node);
    link->spread = NULL;
    if (spread == NULL)
        return;
    spread->links[link->number] = NULL;
    if (--spread->count == 0)
        free(spread);
}

static void count_list(const struct link *link, const struct parcel_list *list)
{
    for (const struct parcel *parcel = list->head; parcel != NULL; parcel = parcel->next)
        link_choice_enter(link, parcel);
}

/* Other streams may be opened beside the only one: what is under way there stays there. */
static void begin(struct link *link, unsigned streams)
{
    struct link_spread *spread = make_spread(streams);
    if (spread == NULL)
        return; /* one stream goes on */
    join(link, spread);
    for (unsigned i = 0; i < SHARES; i++) {
        spread->shares[i].number = link->number;
        if (link->session == NULL)
            continue;
        spread->shares[i].stream = link->session->ticket;
        spread->shares[i].place = link->session->written_total;
    }
    const struct parcel_list *lists[] = {&link->queue, &link->later, &link->asked,
                                         &link->unconfirmed, &link->fleeting};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        count_list(link, lists[i]);
}

void link_choice_reload(struct link *link)
{
    unsigned streams =
        streams_of(link->worker, s2s_domain_span(&link->local), s2s_domain_span(&link->remote));
    if (link->spread != NULL)
        link->spread->streams = streams;
    else if (streams > 1)
        begin(link, streams);
    if (link->session != NULL && link_choice_is_surplus(link))
        session_flush(link->session);
}

/* ---- what a link tells of its stanzas ---- */

void link_choice_enter(const struct link *link, const struct parcel *parcel)
{
    if (parcel->kind != PARCEL_VERIFY)
        link->spread->shares[parcel->share].open++;
}

void link_choice_leave(const struct link *link, const struct parcel *parcel)
{
    struct link_share *share = &link->spread->shares[parcel->share];
    if (parcel->kind == PARCEL_VERIFY)
        return;
    assert(share->open > 0);
    share->open--;
}

void link_choice_wrote(const struct link *link, const struct parcel *parcel)
{
    struct link_share *share = &link->spread->shares[parcel->share];
    assert(share->number == link->number);
    share->stream = link->session->ticket;
    share->place = link->session->written_total;
}

/* ---- what a link asks about the others ---- */

struct link *link_choice_other(const struct link *link)
{
    if (link->spread == NULL)
        return NULL;
    unsigned other = best_other(link->spread, link->number);
    bool is_good = other != link->number && offer_at(link->spread, other) <= OFFER_SOUGHT;
    return is_good ? link->spread->links[other] : NULL;
}

void link_choice_pass(struct link *link, struct link *other)
{
    struct link_spread *spread = link->spread;
    assert(link->unconfirmed.head == NULL);
    assert(link->fleeting.head == NULL);
    link_queue_merge(&other->queue, &link->queue);
    link_queue_merge(&other->later, &link->later);
    if (other->session == NULL || other->session->outbound) /* else nobody answers it there */
        link_queue_merge(&other->verify, &link->verify);
    for (unsigned i = 0; i < SHARES; i++)
        if (spread->shares[i].number == link->number)
            spread->shares[i].number = other->number;
}

unsigned link_choice_waiting(const struct link *link, unsigned *unread, bool *is_slow)
{
    unsigned waiting = 0;
    *unread = 0;
    for (unsigned i = 0; link->spread != NULL && i < RULES_STREAMS_MAX; i++) {
        const struct link *other = link->spread->links[i];
        if (other == NULL || other == link)
            continue;
        waiting += link_waiting(other);
        *unread += other->unconfirmed.count;
        *is_slow = *is_slow || other->pace.slow;
    }
    return waiting;
}

bool link_choice_is_surplus(const struct link *link)
{
    const struct link_spread *spread = link->spread;
    if (spread == NULL || link->number < spread->streams || !link->ready ||
        link_waiting(link) > 0 || link->asked.head != NULL || link->unconfirmed.head != NULL ||
        link->fleeting.head != NULL || link->sm.again > 0 || link_unacked(link) > 0)
        return false;
    unsigned number = 0;
    while (number < spread->streams && offer_at(spread, number) == OFFER_NONE)
        number++;
    return number < spread->streams; /* else it is the only one that reaches the partner */
}

bool link_choice_is_heard(const struct link *link)
{
    for (unsigned i = 0; link->spread != NULL && i < RULES_STREAMS_MAX; i++) {
        const struct link *other = link->spread->links[i];
        if (other == NULL || other == link)
            continue;
        const struct session *session = other->session;
        if (other->sm.intake != NULL ||
            (session != NULL &&
             (!session->outbound || session->out.bidi || session->out.bidi_wanted)))
            return true;
    }
    return false;
}

unsigned link_choice_streams(const struct link *link)
{
    return link->spread != NULL ? link->spread->streams : 1;
}

unsigned link_choice_standing(const struct link *link)
{
    unsigned standing = 0;
    for (unsigned i = 0; link->spread != NULL && i < RULES_STREAMS_MAX; i++)
        standing += offer_at(link->spread, i) == OFFER_STANDS;
    return standing;
}
