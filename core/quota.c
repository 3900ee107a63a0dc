/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/quota.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "core/table.h"
#include "core/thread.h"

#define ACCOUNT_MAGIC 0x51554f54u
#define WHOLE         1000u /* of a bucket: at one message a second it gains 1 a millisecond */

struct quota_account {
    uint32_t magic;
    struct table_node node;
    TAILQ_ENTRY(quota_account) idle;
    struct quota_account *tenant; /* of a partner's account: its tenant's, which is held when
                                     it is; NULL: it is a tenant's */
    uint32_t snapshot;            /* of the configuration that says what follows */
    bool shares;                  /* the pool, with other tenants */
    uint32_t per_second_max, burst_max, in_flight_max; /* 0: no limit */
    unsigned in_flight, waiting;
    uint64_t level, filled_ms; /* of the bucket */
    size_t tenant_size, size;
    char names[]; /* the tenant's and the partner's */
};

struct quota {
    struct table accounts;
    struct quota_account *last; /* the tenant's that was looked for last; NULL: it is gone … */
    uint32_t last_tenant;       /* … and that tenant's index */
    TAILQ_HEAD(, quota_account) idle; /* nobody holds them; used last: the last */
    size_t idle_count, idle_max;
};

struct quota *quota_open(void)
{
    struct quota *quota = calloc(1, sizeof(*quota));
    if (quota == NULL)
        return NULL;
    table_init(&quota->accounts);
    TAILQ_INIT(&quota->idle);
    if (table_reserve(&quota->accounts) != 0)
        quota_close(&quota);
    return quota;
}

static void forget(struct quota *quota, struct quota_account *account)
{
    assert(account->magic == ACCOUNT_MAGIC);
    if (quota->last == account)
        quota->last = NULL;
    table_remove(&quota->accounts, &account->node);
    free(account);
}

void quota_close(struct quota **closed)
{
    struct quota *quota = *closed;
    struct table_node *node;
    *closed = NULL;
    if (quota == NULL)
        return;
    while ((node = table_any(&quota->accounts)) != NULL)
        forget(quota, node->owner);
    table_fini(&quota->accounts);
    free(quota);
}

size_t quota_count(const struct quota *quota)
{
    return quota->accounts.count;
}

/* ---- who is idle ---- */

static bool is_held(const struct quota_account *account)
{
    assert(account->magic == ACCOUNT_MAGIC);
    return account->in_flight + account->waiting > 0;
}

static void lay_down(struct quota *quota, struct quota_account *account)
{
    assert(!is_held(account));
    TAILQ_INSERT_TAIL(&quota->idle, account, idle);
    quota->idle_count++;
}

static void take_up(struct quota *quota, struct quota_account *account)
{
    assert(!is_held(account));
    assert(quota->idle_count > 0);
    TAILQ_REMOVE(&quota->idle, account, idle);
    quota->idle_count--;
}

/* It is the last one that was used. */
static void touch(struct quota *quota, struct quota_account *account)
{
    if (is_held(account))
        return;
    take_up(quota, account);
    lay_down(quota, account);
}

/* ---- accounts ---- */

static bool has_names(const struct quota_account *account, struct span tenant,
                      struct span partner)
{
    return account->tenant_size == tenant.size && account->size == tenant.size + partner.size &&
           memcmp(account->names, tenant.data, tenant.size) == 0 &&
           (partner.size == 0 ||
            memcmp(account->names + tenant.size, partner.data, partner.size) == 0);
}

/* A new account, in the place of the one that was used least recently when there are many. */
static struct quota_account *make(struct quota *quota, struct span tenant, struct span partner,
                                  uint64_t hash)
{
    size_t size = tenant.size + partner.size;
    struct quota_account *account = calloc(1, sizeof(*account) + size);
    if (account == NULL)
        return NULL;
    if (quota->idle_count >= quota->idle_max) {
        struct quota_account *oldest = TAILQ_FIRST(&quota->idle);
        take_up(quota, oldest);
        forget(quota, oldest);
    }
    account->magic = ACCOUNT_MAGIC;
    account->level = UINT64_MAX; /* full, whatever fits in */
    account->tenant_size = tenant.size;
    account->size = size;
    memcpy(account->names, tenant.data, tenant.size);
    if (partner.size > 0)
        memcpy(account->names + tenant.size, partner.data, partner.size);
    table_add(&quota->accounts, &account->node, hash, account);
    lay_down(quota, account);
    return account;
}

/* `partner` empty: the tenant's own. */
static struct quota_account *find_or_make(struct quota *quota, struct span tenant,
                                          struct span partner)
{
    uint64_t hash = thread_hash(thread_hash(0, tenant), partner);
    struct table_node *node = table_find(&quota->accounts, hash);
    while (node != NULL && !has_names(node->owner, tenant, partner))
        node = table_next(node);
    if (node == NULL)
        return make(quota, tenant, partner, hash);
    touch(quota, node->owner);
    return node->owner;
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
    struct quota_account *account = find_or_make(quota, span_of(tenant->name), partner);
    if (account == NULL)
        return of_tenant;
    if (account->snapshot != config->snapshot)
        limit(account, config, &rules);
    account->tenant = of_tenant;
    return account;
}

/* Messages come in runs: the account is often the same as before. */
static struct quota_account *tenant_account(struct quota *quota, const struct config *config,
                                            const struct config_tenant *tenant)
{
    struct quota_account *account = quota->last;
    if (account != NULL && account->snapshot == config->snapshot &&
        quota->last_tenant == tenant->index) {
        touch(quota, account);
        return account;
    }
    account = find_or_make(quota, span_of(tenant->name), SPAN_NONE);
    if (account != NULL && account->snapshot != config->snapshot) {
        struct rules_stack rules = rules_stack_make();
        rules.level[RULES_GLOBAL] = &config->rules;
        rules.level[RULES_TENANT] = &tenant->rules;
        limit(account, config, &rules);
        account->shares = config->tenant_count > 1;
    }
    quota->last = account;
    quota->last_tenant = tenant->index;
    return account;
}

struct quota_account *quota_account(struct quota *quota, const struct config *config,
                                    const struct config_tenant *tenant, struct span partner)
{
    if (config->tenant_count == 1 && !config->has_quotas)
        return NULL;
    quota->idle_max = QUOTA_IDLE_MAX + config->tenant_count;
    struct quota_account *account = tenant_account(quota, config, tenant);
    return account != NULL && config->has_partner_quotas
               ? partner_account(quota, config, tenant, partner, account)
               : account;
}

/* ---- messages ---- */

bool quota_is_full(const struct quota_account *account, unsigned free)
{
    assert(account->magic == ACCOUNT_MAGIC);
    return (account->in_flight_max > 0 && account->in_flight >= account->in_flight_max) ||
           (account->shares && account->in_flight > free);
}

static bool is_empty(struct quota_account *account, uint64_t now_ms)
{
    uint64_t most = (uint64_t)account->burst_max * WHOLE;
    if (account->per_second_max == 0)
        return false;
    assert(now_ms >= account->filled_ms);
    if (account->level < most)
        account->level += account->per_second_max * (now_ms - account->filled_ms);
    if (account->level > most)
        account->level = most;
    account->filled_ms = now_ms;
    return account->level < WHOLE;
}

enum quota_verdict quota_judge(struct quota_account *account, unsigned free, uint64_t now_ms,
                               struct quota_account **over)
{
    for (*over = account; *over != NULL; *over = (*over)->tenant) {
        if (is_empty(*over, now_ms))
            return QUOTA_RATE;
        if (quota_is_full(*over, free))
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
        if (!is_held(account))
            take_up(quota, account);
        account->in_flight++;
        if (is_within && account->per_second_max > 0)
            account->level -= WHOLE;
    }
}

void quota_leave(struct quota *quota, struct quota_account *account)
{
    for (; account != NULL; account = account->tenant) {
        assert(account->in_flight > 0);
        account->in_flight--;
        if (!is_held(account))
            lay_down(quota, account);
    }
}

void quota_wait(struct quota *quota, struct quota_account *account)
{
    if (account == NULL)
        return;
    if (!is_held(account))
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
