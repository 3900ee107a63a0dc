/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/consent.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#include "core/log.h"
#include "core/table.h"
#include "net/clock.h"
#include "net/digest.h"
#include "net/keyed_hash.h"

#define DAY_S         86400 /* so much older a consent may be on disk than in memory */
#define BARE_SIZE_MAX (2 * JID_PART_SIZE_MAX + 1)

const struct stanza_fault consent_fault = {
    .error = STANZA_ERROR_SUBSCRIPTION_REQUIRED,
    .text = SPAN("Here you may only write to who has written to you first")};

struct given {
    struct table_node node;
    TAILQ_ENTRY(given) place;
    struct domain *domain;
    int64_t time_s;   /* when the user wrote last */
    int64_t stored_s; /* … as far as the store knows */
    uint16_t user_size, peer_size;
    char text[]; /* bare addresses: the user's, the peer's */
};

TAILQ_HEAD(given_list, given);

/* Of users. Lives while it has something. */
struct domain {
    struct table_node node;
    struct given_list all; /* the oldest is last */
    size_t count;
    size_t size;
    char name[];
};

struct consent {
    struct store *store;
    uint8_t key[KEYED_HASH_KEY_SIZE]; /* users choose the addresses */
    struct table given, domains;
    size_t max;
};

/* The two addresses as text. */
struct names {
    char memory[2 * BARE_SIZE_MAX];
    struct span user, peer;
};

static void names_make(struct names *names, const struct jid *user, const struct jid *peer)
{
    struct writer writer = writer_make(names->memory, sizeof(names->memory));
    jid_write_bare(&writer, user);
    names->user = writer_span(&writer);
    jid_write_bare(&writer, peer);
    names->peer = writer_since(&writer, names->user.size);
    assert(!writer.overflow);
}

static int64_t now_s(void)
{
    return (int64_t)(clock_wall_ms() / 1000);
}

/* ---- the memory ---- */

int consent_open(struct consent **consent, unsigned max, struct store *store)
{
    assert(max > 0);
    struct consent *made = calloc(1, sizeof(*made));
    *consent = made;
    if (made == NULL)
        return -ENOMEM;
    made->store = store;
    made->max = max;
    digest_random(made->key, sizeof(made->key));
    table_init(&made->given);
    table_init(&made->domains);
    if (table_reserve(&made->given) == 0 && table_reserve(&made->domains) == 0)
        return 0;
    consent_close(consent);
    return -ENOMEM;
}

static struct span user_of(const struct given *given)
{
    return span_make(given->text, given->user_size);
}

static struct span peer_of(const struct given *given)
{
    return span_make(given->text + given->user_size, given->peer_size);
}

static uint64_t hash_of(const struct consent *consent, struct span first, struct span second)
{
    struct keyed_hash hash;
    keyed_hash_start(&hash, consent->key);
    keyed_hash_add(&hash, first.data, first.size);
    keyed_hash_add(&hash, "", 1);
    keyed_hash_add(&hash, second.data, second.size);
    return keyed_hash_end(&hash).word[0];
}

static struct given *find(const struct consent *consent, struct span user, struct span peer)
{
    struct table_node *node = table_find(&consent->given, hash_of(consent, user, peer));
    for (; node != NULL; node = table_next(node)) {
        struct given *given = node->owner;
        if (span_equal(user_of(given), user) && span_equal(peer_of(given), peer))
            return given;
    }
    return NULL;
}

static struct domain *domain_find(const struct consent *consent, struct span name)
{
    struct table_node *node = table_find(&consent->domains, hash_of(consent, name, SPAN("")));
    for (; node != NULL; node = table_next(node)) {
        struct domain *domain = node->owner;
        if (span_equal(span_make(domain->name, domain->size), name))
            return domain;
    }
    return NULL;
}

static struct domain *domain_make(struct consent *consent, struct span name)
{
    struct domain *domain = calloc(1, sizeof(*domain) + name.size);
    if (domain == NULL)
        return NULL;
    TAILQ_INIT(&domain->all);
    domain->size = name.size;
    memcpy(domain->name, name.data, name.size);
    table_add(&consent->domains, &domain->node, hash_of(consent, name, SPAN("")), domain);
    return domain;
}

static void domain_tidy(struct consent *consent, struct domain *domain)
{
    if (domain->count > 0)
        return;
    table_remove(&consent->domains, &domain->node);
    free(domain);
}

static void say(const struct consent *consent, struct given *given, bool removes)
{
    given->stored_s = given->time_s;
    const struct store_row row = {.kind = STORE_CONSENT,
                                  .subject = user_of(given),
                                  .partner = peer_of(given),
                                  .time_s = given->time_s};
    if (removes)
        store_remove(consent->store, &row);
    else
        store_put(consent->store, &row);
}

/* The domain stays, also when it is empty now. */
static void drop(struct consent *consent, struct given *given)
{
    struct domain *domain = given->domain;
    assert(domain->count > 0);
    domain->count--;
    TAILQ_REMOVE(&domain->all, given, place);
    table_remove(&consent->given, &given->node);
    free(given);
}

static void forget(struct consent *consent, struct given *given)
{
    struct domain *domain = given->domain;
    say(consent, given, true);
    drop(consent, given);
    domain_tidy(consent, domain);
}

void consent_close(struct consent **consent)
{
    struct consent *closed = *consent;
    struct table_node *node;
    *consent = NULL;
    if (closed == NULL)
        return;
    while ((node = table_any(&closed->given)) != NULL) {
        struct given *given = node->owner;
        struct domain *domain = given->domain;
        drop(closed, given);
        domain_tidy(closed, domain);
    }
    table_fini(&closed->given);
    table_fini(&closed->domains);
    free(closed);
}

/* How a new one fared. */
enum room { ROOM_FREE, ROOM_MADE, ROOM_NONE };

/* A domain that has as many as are free gives up its oldest: so there is room for the next. */
static enum room make_room(struct consent *consent, struct domain *domain)
{
    if (domain->count < consent->max - consent->given.count)
        return ROOM_FREE;
    struct given *oldest = TAILQ_LAST(&domain->all, given_list);
    if (oldest == NULL)
        return ROOM_NONE;
    say(consent, oldest, true);
    drop(consent, oldest);
    return ROOM_MADE;
}

/* `names` is no consent yet, of a user in this domain. NULL without room or memory; *room says
   what became of others. */
static struct given *add(struct consent *consent, struct span domain_name,
                         const struct names *names, int64_t time_s, enum room *room)
{
    struct domain *domain = domain_find(consent, domain_name);
    *room = ROOM_NONE;
    if (domain == NULL)
        domain = domain_make(consent, domain_name);
    if (domain == NULL)
        return NULL;
    struct given *given = calloc(1, sizeof(*given) + names->user.size + names->peer.size);
    if (given != NULL)
        *room = make_room(consent, domain);
    if (*room == ROOM_NONE) {
        free(given);
        domain_tidy(consent, domain);
        return NULL;
    }
    given->domain = domain;
    given->time_s = time_s;
    given->user_size = (uint16_t)names->user.size;
    given->peer_size = (uint16_t)names->peer.size;
    memcpy(given->text, names->user.data, names->user.size);
    memcpy(given->text + names->user.size, names->peer.data, names->peer.size);
    table_add(&consent->given, &given->node, hash_of(consent, names->user, names->peer), given);
    TAILQ_INSERT_HEAD(&domain->all, given, place);
    domain->count++;
    return given;
}

/* ---- rules ---- */

/* *rules are theirs only when it is true. */
static bool is_needed(const struct config *config, const struct config_tenant *tenant,
                      struct span domain, struct rules_stack *rules)
{
    if (!config->has_unverified)
        return false;
    *rules = config_rules(config, tenant, domain);
    return rules_value(rules, RULE_TYPE) == TYPE_PUBLIC_UNVERIFIED;
}

bool consent_is_needed(const struct config *config, const struct config_tenant *tenant,
                       struct span domain)
{
    struct rules_stack rules;
    return is_needed(config, tenant, domain, &rules);
}

static bool is_expired(const struct rules_stack *rules, int64_t time_s, int64_t now)
{
    uint32_t days = rules_value(rules, RULE_CONSENT_EXPIRES);
    return days > 0 && now - time_s > (int64_t)days * DAY_S;
}

bool consent_allows(struct thread *thread, const struct config_tenant *tenant,
                    const struct jid *user, const struct jid *peer)
{
    struct names names;
    struct rules_stack rules;
    if (!is_needed(thread->config, tenant, peer->domain, &rules))
        return true;
    assert(thread->consent != NULL);
    names_make(&names, user, peer);
    struct given *given = find(thread->consent, names.user, names.peer);
    if (given != NULL && is_expired(&rules, given->time_s, now_s())) {
        forget(thread->consent, given);
        given = NULL;
    }
    if (given == NULL)
        stats_count(thread->stats, STAT_CONSENT_REFUSED);
    return given != NULL;
}

void consent_note(struct thread *thread, const struct config_tenant *tenant,
                  const struct jid *user, const struct jid *peer)
{
    struct consent *consent = thread->consent;
    struct names names;
    enum room room;
    if (!consent_is_needed(thread->config, tenant, peer->domain))
        return;
    assert(consent != NULL);
    names_make(&names, user, peer);
    int64_t now = now_s();
    struct given *given = find(consent, names.user, names.peer);
    if (given != NULL) {
        given->time_s = now;
        TAILQ_REMOVE(&given->domain->all, given, place);
        TAILQ_INSERT_HEAD(&given->domain->all, given, place);
        if (now - given->stored_s >= DAY_S)
            say(consent, given, false);
        return;
    }
    given = add(consent, user->domain, &names, now, &room);
    if (room != ROOM_FREE)
        stats_count(thread->stats, STAT_CONSENTS_FORGOTTEN);
    if (given == NULL)
        return;
    stats_count(thread->stats, STAT_CONSENTS_GIVEN);
    say(consent, given, false);
}

/* ---- from the store ---- */

/* How the rows of the store fared. */
struct loaded {
    int64_t kept, expired, forgotten, bad;
};

/* Two bare addresses as they would be written; others nobody finds. */
static bool is_good_row(const struct store_row *row, struct writer *memory, struct jid *user,
                        struct jid *peer, struct names *names)
{
    if (jid_parse(row->subject, memory, user) != JID_OK || user->local.size == 0 ||
        jid_parse(row->partner, memory, peer) != JID_OK)
        return false;
    names_make(names, user, peer);
    return span_equal(names->user, row->subject) && span_equal(names->peer, row->partner);
}

static void load_row(struct consent *const *by_egress, const struct config *config,
                     const struct store_row *row, struct loaded *loaded)
{
    char memory[2 * JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct jid user, peer;
    struct names names;
    enum room room;
    if (!is_good_row(row, &writer, &user, &peer, &names)) {
        loaded->bad++;
        store_remove(by_egress[0]->store, row);
        return;
    }
    const struct config_tenant *tenant = config_find_tenant(config, user.domain);
    struct rules_stack rules = config_rules(config, tenant, peer.domain);
    struct consent *owner =
        by_egress[route_egress(config, &user, &peer) - thread_egress(config, 0)];
    if (is_expired(&rules, row->time_s, now_s())) {
        loaded->expired++;
        store_remove(owner->store, row);
        return;
    }
    struct given *given = add(owner, user.domain, &names, row->time_s, &room);
    if (given != NULL)
        given->stored_s = row->time_s;
    else
        store_remove(owner->store, row);
    loaded->kept += room == ROOM_FREE; /* one that was made room for takes another's place */
    loaded->forgotten += room != ROOM_FREE;
}

int consent_load(struct consent *const *by_egress, const struct config *config,
                 struct store *store)
{
    struct store_row row;
    struct loaded loaded = {0};
    int rc;
    while ((rc = store_next(store, STORE_CONSENT, &row)) > 0)
        load_row(by_egress, config, &row, &loaded);
    log_event(LOG_LEVEL_INFO, "consent.loaded", 0, log_number("count", loaded.kept),
              log_number("expired", loaded.expired), log_number("forgotten", loaded.forgotten),
              log_number("bad", loaded.bad));
    return rc;
}

/* ---- for operators ---- */

static bool is_asked_for(const struct consent_query *query, const struct given *given)
{
    struct span wanted = span_of(query->user), user = user_of(given);
    if (span_find(wanted, '@') == wanted.size)
        user = span_to(user, user.size - given->domain->size - 1);
    return (wanted.size == 0 || span_equal(user, wanted)) &&
           (query->peer[0] == '\0' || span_equal(peer_of(given), span_of(query->peer)));
}

static void write_row(struct consent_query *query, const struct given *given, FILE *out)
{
    time_t seconds = (time_t)given->time_s;
    struct tm utc;
    char text[32] = "";
    if (query->row_count == CONSENT_ROWS_MAX) {
        query->left_out++;
        return;
    }
    query->row_count++;
    if (gmtime_r(&seconds, &utc) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    struct span user = user_of(given), peer = peer_of(given);
    fprintf(out, "%.*s\t%.*s\t%s\n", (int)user.size, user.data, (int)peer.size, peer.data,
            text);
}

static void answer_domain(struct consent *consent, struct domain *domain,
                          struct consent_query *query, FILE *out)
{
    struct given *given = TAILQ_FIRST(&domain->all), *next;
    for (; given != NULL; given = next) {
        next = TAILQ_NEXT(given, place);
        if (!is_asked_for(query, given))
            continue;
        write_row(query, given, out);
        if (query->removes) {
            say(consent, given, true);
            drop(consent, given);
        }
    }
    domain_tidy(consent, domain);
}

void consent_answer(struct thread *thread, struct consent_query *query, FILE *out)
{
    const struct config_tenant *tenant =
        config_find_named(thread->config, span_of(query->tenant));
    for (size_t i = 0; tenant != NULL && i < tenant->domain_count; i++) {
        struct domain *domain =
            domain_find(thread->consent, span_of(tenant->domains[i].unicode));
        if (domain != NULL)
            answer_domain(thread->consent, domain, query, out);
    }
}
