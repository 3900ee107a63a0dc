/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/quota.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "core/table.h"
#include "core/thread.h"

#define ACCOUNT_MAGIC 0x51554f54u
#define LINE_SIZE     64u
#define RUN           4u    /* messages that who waited for a rate brings at a time */
#define WHOLE         1000u /* of a bucket: at one message a second it gains 1 a millisecond */

/* What a message needs stands in the first line of the caches: of thousands of tenants each is
   fetched for its next message. */
struct quota_account {
    uint32_t magic;
    uint32_t snapshot; /* of the configuration that says what follows */
    uint32_t per_second_max, burst_max, in_flight_max; /* 0: no limit */
    unsigned in_flight, waiting;
    bool shares;                  /* the pool, with other tenants */
    bool is_left;                 /* it ends when nobody holds it */
    /* Of the buckets: for messages that pass, and for those that are refused before the next
       should wait. */
    uint64_t level, refusals, filled_ms;
    struct quota_account *tenant; /* of a partner's account: its tenant's, which is held when
                                     it is; NULL: it is a tenant's */
    struct table_node node;       /* of a partner's, as the next */
    TAILQ_ENTRY(quota_account) idle;
    uint64_t told_ms; /* when the log was told of refusals; 0: never */
    unsigned untold;  /* since then */
    uint32_t tenant_size, size;
    char names[]; /* the tenant's and the partner's */
};

_Static_assert(offsetof(struct quota_account, node) <= LINE_SIZE, "one line for a message");

struct quota {
    struct quota_account **tenants; /* by the tenant's index; NULL: nothing was asked of it */
    size_t tenant_slots, tenant_count;
    struct table partners;            /* the accounts of partners with tenants */
    TAILQ_HEAD(, quota_account) idle; /* of these, those nobody holds; used last: the last */
    size_t idle_count;
};

struct quota *quota_open(void)
{
    struct quota *quota = calloc(1, sizeof(*quota));
    if (quota == NULL)
        return NULL;
    table_init(&quota->partners);
    TAILQ_INIT(&quota->idle);
    if (table_reserve(&quota->partners) != 0)
        quota_close(&quota);
    return quota;
}

static void forget_partner(struct quota *quota, struct quota_account *account)
{
    assert(account->magic == ACCOUNT_MAGIC);
    table_remove(&quota->partners, &account->node);
    free(account);
}

void quota_close(struct quota **closed)
{
    struct quota *quota = *closed;
    struct table_node *node;
    *closed = NULL;
    if (quota == NULL)
        return;
    while ((node = table_any(&quota->partners)) != NULL)
        forget_partner(quota, node->owner);
    table_fini(&quota->partners);
    for (size_t i = 0; i < quota->tenant_slots; i++)
        free(quota->tenants[i]);
    free((void *)quota->tenants);
    free(quota);
}

size_t quota_count(const struct quota *quota)
{
    return quota->tenant_count + quota->partners.count;
}

/* ---- who is idle ---- */

static bool is_held(const struct quota_account *account)
{
    assert(account->magic == ACCOUNT_MAGIC);
    return account->in_flight > 0 || account->waiting > 0;
}

static void add_idle(struct quota *quota, struct quota_account *account)
{
    assert(!is_held(account));
    TAILQ_INSERT_TAIL(&quota->idle, account, idle);
    quota->idle_count++;
}

/* Nobody holds it any more. */
static void lay_down(struct quota *quota, struct quota_account *account)
{
    assert(!is_held(account));
    if (account->tenant != NULL)
        add_idle(quota, account);
    else if (account->is_left)
        free(account);
}

/* Somebody is about to hold it. */
static void take_up(struct quota *quota, struct quota_account *account)
{
    if (is_held(account) || account->tenant == NULL)
        return;
    assert(quota->idle_count > 0);
    TAILQ_REMOVE(&quota->idle, account, idle);
    quota->idle_count--;
}

/* ---- accounts ---- */

static struct quota_account *make(struct span tenant, struct span partner)
{
    size_t size = tenant.size + partner.size;
    assert(tenant.data != NULL);
    size_t whole = (sizeof(struct quota_account) + size + LINE_SIZE - 1) & ~(LINE_SIZE - 1);
    struct quota_account *account = aligned_alloc(LINE_SIZE, whole);
    if (account == NULL)
        return NULL;
    /* Full buckets, whatever fits in. */
    *account = (struct quota_account){
        .magic = ACCOUNT_MAGIC, .level = UINT64_MAX, .refusals = UINT64_MAX};
    account->tenant_size = (uint32_t)tenant.size;
    account->size = (uint32_t)size;
    memcpy(account->names, tenant.data, tenant.size);
    if (partner.size > 0)
        memcpy(account->names + tenant.size, partner.data, partner.size);
    return account;
}

static void limit(struct quota_account *account, const struct config *config,
                  const struct rules_stack *rules)
{
    account->snapshot = config->snapshot;
    account->per_second_max = rules_value(rules, RULE_MESSAGES_PER_SECOND);
    account->burst_max = rules_value(rules, RULE_MESSAGES_BURST);
    account->in_flight_max = rules_value(rules, RULE_MESSAGES_IN_FLIGHT);
    if (account->burst_max == 0)
        account->burst_max = account->per_second_max;
}

static bool has_names(const struct quota_account *account, struct span tenant,
                      struct span partner)
{
    return account->tenant_size == tenant.size && account->size == tenant.size + partner.size &&
           memcmp(account->names, tenant.data, tenant.size) == 0 &&
           (partner.size == 0 ||
            memcmp(account->names + tenant.size, partner.data, partner.size) == 0);
}

/* Room for one more: in the place of the one that was used least recently when there are
   many. */
static void make_room(struct quota *quota)
{
    struct quota_account *oldest = TAILQ_FIRST(&quota->idle);
    if (quota->idle_count < QUOTA_IDLE_MAX)
        return;
    take_up(quota, oldest);
    forget_partner(quota, oldest);
}

/* One that nobody holds moves to the end of the idle. */
static struct quota_account *find_or_make_partner(struct quota *quota, struct span tenant,
                                                  struct span partner,
                                                  struct quota_account *of_tenant)
{
    assert(of_tenant != NULL);
    uint64_t hash = thread_hash(thread_hash(0, tenant), partner);
    struct table_node *node = table_find(&quota->partners, hash);
    while (node != NULL && !has_names(node->owner, tenant, partner))
        node = table_next(node);
    if (node == NULL)
        make_room(quota);
    struct quota_account *account = node != NULL ? node->owner : make(tenant, partner);
    if (account == NULL)
        return NULL;
    if (account->in_flight == 0)
        account->tenant = of_tenant; /* else it is counted there */
    if (is_held(account))
        return account;
    if (node != NULL)
        take_up(quota, account);
    else
        table_add(&quota->partners, &account->node, hash, account);
    add_idle(quota, account);
    return account;
}

/* The account of the partner with the tenant where some rule is about that; else the
   tenant's. */
static struct quota_account *partner_account(struct quota *quota, const struct config *config,
                                             const struct config_tenant *tenant,
                                             struct span partner,
                                             struct quota_account *of_tenant)
{
    struct rules_stack rules = config_rules(config, tenant, partner);
    rules.level[RULES_GLOBAL] = rules.level[RULES_TENANT] = NULL; /* are about the tenant */
    if (!rules_has_quota(&rules))
        return of_tenant;
    struct quota_account *account =
        find_or_make_partner(quota, span_of(tenant->name), partner, of_tenant);
    if (account == NULL)
        return of_tenant;
    if (account->snapshot != config->snapshot)
        limit(account, config, &rules);
    return account;
}

static bool reserve_tenants(struct quota *quota, size_t slots)
{
    if (slots <= quota->tenant_slots)
        return true;
    struct quota_account **tenants =
        realloc((void *)quota->tenants, slots * sizeof(struct quota_account *));
    if (tenants == NULL)
        return false;
    memset((void *)(tenants + quota->tenant_slots), 0,
           (slots - quota->tenant_slots) * sizeof(struct quota_account *));
    quota->tenants = tenants;
    quota->tenant_slots = slots;
    return true;
}

/* Another configuration: another tenant may have the place, with an account of its own. */
static struct quota_account *renew_tenant(struct quota *quota, const struct config *config,
                                          const struct config_tenant *tenant)
{
    struct rules_stack rules = rules_stack_make();
    if (!reserve_tenants(quota, config->tenant_slots))
        return NULL;
    struct quota_account **place = &quota->tenants[tenant->index];
    if (*place != NULL && !has_names(*place, span_of(tenant->name), SPAN_NONE)) {
        (*place)->is_left = true;
        if (!is_held(*place))
            lay_down(quota, *place);
        *place = NULL;
        quota->tenant_count--;
    }
    if (*place == NULL) {
        *place = make(span_of(tenant->name), SPAN_NONE);
        if (*place == NULL)
            return NULL;
        quota->tenant_count++;
    }
    rules.level[RULES_GLOBAL] = &config->rules;
    rules.level[RULES_TENANT] = &tenant->rules;
    limit(*place, config, &rules);
    (*place)->shares = config->tenant_count > 1;
    return *place;
}

struct quota_account *quota_account(struct quota *quota, const struct config *config,
                                    const struct config_tenant *tenant, struct span partner)
{
    if (config->tenant_count == 1 && !config->has_quotas)
        return NULL;
    struct quota_account *account =
        tenant->index < quota->tenant_slots ? quota->tenants[tenant->index] : NULL;
    if (account == NULL || account->snapshot != config->snapshot)
        account = renew_tenant(quota, config, tenant);
    return account != NULL && config->has_partner_quotas
               ? partner_account(quota, config, tenant, partner, account)
               : account;
}

/* ---- messages ---- */

static bool is_full(const struct quota_account *account, unsigned free)
{
    return (account->in_flight_max > 0 && account->in_flight >= account->in_flight_max) ||
           (account->shares && account->in_flight > free);
}

static void fill(uint64_t *level, uint64_t gain, uint64_t most)
{
    if (*level < most)
        *level += gain;
    if (*level > most)
        *level = most;
}

/* How many may be refused a second before the next should wait. */
static uint64_t refusal_rate(const struct quota_account *account)
{
    return account->per_second_max > QUOTA_REFUSALS_MIN ? account->per_second_max
                                                        : QUOTA_REFUSALS_MIN;
}

static bool is_empty(struct quota_account *account, uint64_t now_ms)
{
    uint64_t most = (uint64_t)account->burst_max * WHOLE, rate = account->per_second_max;
    if (rate == 0)
        return false;
    assert(now_ms >= account->filled_ms);
    uint64_t passed_ms = now_ms - account->filled_ms;
    fill(&account->level, rate * passed_ms, most);
    fill(&account->refusals, refusal_rate(account) * passed_ms, most);
    account->filled_ms = now_ms;
    return account->level < WHOLE;
}

enum quota_verdict quota_judge(struct quota_account *account, unsigned free, uint64_t now_ms,
                               struct quota_account **over)
{
    for (*over = account; *over != NULL; *over = (*over)->tenant) {
        if (is_empty(*over, now_ms))
            return QUOTA_RATE;
        if (is_full(*over, free))
            return QUOTA_IN_FLIGHT;
    }
    return QUOTA_WITHIN;
}

bool quota_is_of_tenant(const struct quota_account *account)
{
    assert(account->magic == ACCOUNT_MAGIC);
    return account->tenant == NULL;
}

struct span quota_reason(const struct quota_account *over, enum quota_verdict verdict)
{
    if (verdict == QUOTA_RATE)
        return quota_is_of_tenant(over)
                   ? SPAN("Too many messages a second for this SIP domain")
                   : SPAN("Too many messages a second between these two domains");
    return quota_is_of_tenant(over)
               ? SPAN("Too many messages for this SIP domain are in flight")
               : SPAN("Too many messages between these two domains are in flight");
}

void quota_enter(struct quota *quota, struct quota_account *account, bool is_within)
{
    for (; account != NULL; account = account->tenant) {
        take_up(quota, account);
        account->in_flight++;
        if (is_within && account->per_second_max > 0)
            account->level -= WHOLE;
    }
}

void quota_leave(struct quota *quota, struct quota_account *account)
{
    while (account != NULL) {
        struct quota_account *tenant = account->tenant;
        assert(account->in_flight > 0);
        account->in_flight--;
        if (!is_held(account))
            lay_down(quota, account);
        account = tenant;
    }
}

void quota_refuse(struct quota_account *over)
{
    assert(over->magic == ACCOUNT_MAGIC);
    over->refusals -= over->refusals < WHOLE ? over->refusals : WHOLE;
}

unsigned quota_untold(struct quota_account *over, uint64_t now_ms)
{
    assert(over->magic == ACCOUNT_MAGIC);
    unsigned untold = ++over->untold;
    if (over->told_ms != 0 && now_ms - over->told_ms < QUOTA_TELL_MS)
        return 0;
    over->told_ms = now_ms;
    over->untold = 0;
    return untold;
}

bool quota_has_refused(const struct quota_account *over)
{
    assert(over->magic == ACCOUNT_MAGIC);
    return over->refusals < WHOLE;
}

enum quota_verdict quota_look(struct quota_account *account, unsigned free, uint64_t now_ms)
{
    assert(account->magic == ACCOUNT_MAGIC);
    if (is_full(account, free))
        return QUOTA_IN_FLIGHT;
    return is_empty(account, now_ms) && quota_has_refused(account) ? QUOTA_RATE : QUOTA_WITHIN;
}

unsigned quota_pace_ms(const struct quota_account *account)
{
    uint64_t run_ms =
        (uint64_t)RUN * 1000 / (account->per_second_max + refusal_rate(account));
    assert(account->magic == ACCOUNT_MAGIC);
    if (run_ms < QUOTA_PACE_MIN_MS)
        return QUOTA_PACE_MIN_MS;
    return run_ms < QUOTA_PACE_MAX_MS ? (unsigned)run_ms : QUOTA_PACE_MAX_MS;
}

uint64_t quota_run_refuse(struct quota_run *run, uint64_t now_ms)
{
    if (now_ms >= run->next_ms)
        *run = (struct quota_run){now_ms + QUOTA_RUN_MS, QUOTA_RUN_MAX};
    if (run->left == 0)
        return run->next_ms;
    run->left--;
    return 0;
}

void quota_wait(struct quota *quota, struct quota_account *account)
{
    if (account == NULL)
        return;
    take_up(quota, account);
    account->waiting++;
}

void quota_go_on(struct quota *quota, struct quota_account *account)
{
    if (account == NULL)
        return;
    assert(account->waiting > 0);
    account->waiting--;
    if (!is_held(account))
        lay_down(quota, account);
}
