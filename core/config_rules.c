/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The rules for streams with partners: read from each place that may give some, then every
 * combination is looked at that may come into force: of all tenants' rules with all partners'
 * it is enough to look at those that differ.
 */
#include "core/config_schema.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

/* Where a place stands, and what stands there. */
struct place {
    const struct config_file *file;
    const char *key;
    const struct rules *rules;
};

static const size_t offsets[RULE_COUNT] = {
#define RULE(name, key, kind, fallback, min, max)                                              \
    [RULE_##name] = offsetof(struct raw_rules, key),
#include "core/rules.def"
#undef RULE
};

static bool read_name(struct config_load *load, const struct place *place, const char *name,
                      struct rules *out, enum rule rule)
{
    unsigned value = 0;
    if (name == NULL)
        return true;
    if (!config_check_choice(load, place->file, place->key, name, rules_row(rule)->names,
                             &value))
        return false;
    rules_give(out, rule, value);
    return true;
}

static bool read_number(struct config_load *load, const struct place *place,
                        const unsigned *number, struct rules *out, enum rule rule)
{
    const struct rules_row *row = rules_row(rule);
    if (number == NULL)
        return true;
    if (!config_check_number(load, place->file, place->key, *number, row->min, row->max))
        return false;
    rules_give(out, rule, *number);
    return true;
}

bool config_rules_read(struct config_load *load, const struct config_file *file,
                       const char *parent, const struct raw_rules *raw, struct rules *out)
{
    char key[CONFIG_KEY_SIZE];
    const struct place place = {.file = file, .key = key};
    bool is_good = true;
    *out = (struct rules){0};
    for (unsigned i = 0; i < RULE_COUNT && is_good; i++) {
        enum rule rule = (enum rule)i;
        const void *member = (const char *)raw + offsets[rule];
        (void)snprintf(key, sizeof(key), "%s.%s", parent, rules_row(rule)->key);
        is_good = rules_row(rule)->names != NULL
                      ? read_name(load, &place, *(char *const *)member, out, rule)
                      : read_number(load, &place, *(unsigned *const *)member, out, rule);
    }
    return is_good;
}

static bool read_pair(struct config_load *load, const struct config_file *file,
                      const char *parent, const struct raw_pair *raw,
                      struct config_tenant *tenant)
{
    char key[CONFIG_KEY_SIZE];
    struct config_pair *pair = &tenant->pairs[tenant->pair_count];
    unsigned present = 0;
    (void)snprintf(key, sizeof(key), "%s.domain", parent);
    if (raw->domain == NULL)
        return config_mark_fail(load, file, key, "is missing");
    if (!config_tenant_partner(load, file, key, raw->domain, &pair->domain))
        return false;
    if (!config_index_add(load->config, config_scope(CONFIG_SCOPE_PAIR, tenant),
                          pair->domain.unicode, (unsigned)tenant->pair_count, &present))
        return config_mark_fail(load, file, key, "'%s' stands twice in this tenant",
                                raw->domain);
    tenant->pair_count++;
    return config_rules_read(load, file, parent, &raw->rules, &pair->rules);
}

bool config_rules_tenant(struct config_load *load, const struct config_file *file,
                         const char *parent, const struct raw_tenant *raw,
                         struct config_tenant *tenant)
{
    char key[CONFIG_KEY_SIZE - 8]; /* with room for a part of it */
    (void)snprintf(key, sizeof(key), "%s.xmpp", parent);
    if (raw->rules != NULL && !config_rules_read(load, file, key, raw->rules, &tenant->rules))
        return false;
    tenant->pairs = config_check_alloc(load, raw->pair_count, sizeof(*tenant->pairs));
    if (tenant->pairs == NULL)
        return config_mark_fail(load, file, parent, "out of memory");
    for (unsigned i = 0; i < raw->pair_count; i++) {
        (void)snprintf(key, sizeof(key), "%s.partner_rules[%u]", parent, i);
        if (!read_pair(load, file, key, &raw->pairs[i], tenant))
            return false;
    }
    return true;
}

/* ---- what comes of them together ---- */

static bool gives_proof(const struct rules *rules)
{
    return (rules->given & RULES_OF_PROOF) != 0;
}

/* The key that a complaint about this place's part in the proof names. */
static void proof_key(const struct place *place, char key[CONFIG_KEY_SIZE])
{
    static const enum rule all[] = {RULE_TLS, RULE_SASL, RULE_DIALBACK, RULE_TRUST};
    size_t i = 0;
    assert(gives_proof(place->rules));
    while (i + 1 < sizeof(all) / sizeof(all[0]) && (place->rules->given >> all[i] & 1) == 0)
        i++;
    (void)snprintf(key, CONFIG_KEY_SIZE, "%s.%s", place->key, rules_row(all[i])->key);
}

/* With `who`, whom the combination is about; "" where the place says it. */
static bool check_stack(struct config_load *load, const struct place *place,
                        const struct rules_stack *stack, const char *who)
{
    char key[CONFIG_KEY_SIZE], sentence[400];
    const char *mistake = rules_mistake(stack), *doubt = rules_doubt(stack);
    if (mistake == NULL && doubt == NULL)
        return true;
    proof_key(place, key);
    if (mistake != NULL)
        return config_mark_fail(load, place->file, key, "%s%s", mistake, who);
    (void)snprintf(sentence, sizeof(sentence), "%s%s", doubt, who);
    config_mark_warn(load, place->file, key, sentence);
    return true;
}

static bool check_tenant(struct config_load *load, const struct config_file *file,
                         unsigned number, const struct config_tenant *tenant)
{
    char key[CONFIG_KEY_SIZE];
    struct place place = {file, key, &tenant->rules};
    struct rules_stack stack = config_rules(load->config, tenant, SPAN_NONE);
    (void)snprintf(key, sizeof(key), "tenants[%u].xmpp", number);
    if (gives_proof(&tenant->rules) && !check_stack(load, &place, &stack, ""))
        return false;
    for (unsigned i = 0; i < tenant->pair_count; i++) {
        const struct config_pair *pair = &tenant->pairs[i];
        place.rules = &pair->rules;
        stack = config_rules(load->config, tenant, span_of(pair->domain.unicode));
        (void)snprintf(key, sizeof(key), "tenants[%u].partner_rules[%u]", number, i);
        if (gives_proof(&pair->rules) && !check_stack(load, &place, &stack, ""))
            return false;
    }
    return true;
}

/* Tenants whose rules are alike in what concerns the proof are one kind: there are few. */
#define KIND_COUNT (4 * 4 * 3 * 4)

static unsigned kind_of(const struct rules *rules)
{
    unsigned kind = 0;
    const struct {
        enum rule rule;
        unsigned count;
    } parts[] = {{RULE_TLS, 4}, {RULE_SASL, 4}, {RULE_DIALBACK, 3}, {RULE_TRUST, 4}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        bool is_given = (rules->given >> parts[i].rule & 1) != 0;
        kind = kind * parts[i].count + (is_given ? 1 + rules->value[parts[i].rule] : 0);
    }
    assert(kind < KIND_COUNT);
    return kind;
}

/* The partner's rules are in force with this tenant, who says no more about him, for one of his
   domains at least. */
static bool is_in_force(const struct config *config, const struct config_tenant *tenant,
                        const struct config_partner *partner)
{
    bool is_found = false;
    for (size_t i = 0; i < partner->domain_count && !is_found; i++) {
        struct span domain = span_of(partner->domains[i].unicode);
        struct rules_stack stack = config_rules(config, tenant, domain);
        const struct rules *pair = stack.level[RULES_PAIR];
        is_found = (pair == NULL || !gives_proof(pair)) &&
                   config_partner_allowed(config, tenant, domain);
    }
    return is_found;
}

static bool is_direct_in_clear(const struct rules_stack *stack,
                               const struct config_partner *partner)
{
    return partner->direct_tls && rules_value(stack, RULE_TLS) == NEED_NOT_SUPPORTED;
}

/* The stack is bad or in doubt: is there a tenant of this kind whom it concerns? */
static bool check_kind(struct config_load *load, const struct place *place,
                       const struct config_partner *partner, const struct rules_stack *stack)
{
    const struct config *config = load->config;
    unsigned kind = kind_of(stack->level[RULES_TENANT]);
    char key[CONFIG_KEY_SIZE], who[200];
    (void)snprintf(key, sizeof(key), "%s.direct_tls", place->key);
    for (size_t i = 0; i < config->tenant_count; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        if (kind_of(&tenant->rules) != kind || !is_in_force(config, tenant, partner))
            continue;
        (void)snprintf(who, sizeof(who), " (with tenant '%s')", tenant->name);
        if (is_direct_in_clear(stack, partner))
            return config_mark_fail(load, place->file, key,
                                    "direct TLS is TLS, which tls: not_supported rules out%s",
                                    who);
        return check_stack(load, place, stack, who);
    }
    return true;
}

static bool check_partner(struct config_load *load, const struct config_file *file,
                          unsigned number, const struct config_partner *partner,
                          const struct rules *const kinds[KIND_COUNT])
{
    char key[CONFIG_KEY_SIZE];
    const struct place place = {file, key, &partner->rules};
    (void)snprintf(key, sizeof(key), "partners[%u]", number);
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        struct rules_stack stack = rules_stack_make();
        if (kinds[i] == NULL)
            continue;
        stack.level[RULES_GLOBAL] = &load->config->rules;
        stack.level[RULES_TENANT] = kinds[i];
        stack.level[RULES_PARTNER] = &partner->rules;
        bool is_strange = gives_proof(&partner->rules) &&
                          (rules_mistake(&stack) != NULL || rules_doubt(&stack) != NULL);
        if ((is_strange || is_direct_in_clear(&stack, partner)) &&
            !check_kind(load, &place, partner, &stack))
            return false;
    }
    return true;
}

/* A name in a tenant's list may fall under a partner's wildcard, which is in no list itself. */
static bool check_list(struct config_load *load, const struct config_file *file,
                       unsigned number, const struct config_tenant *tenant)
{
    char key[CONFIG_KEY_SIZE];
    for (size_t i = 0; i < tenant->partner_count; i++) {
        struct rules_stack stack =
            config_rules(load->config, tenant, span_of(tenant->partners[i].unicode));
        const char *mistake = rules_mistake(&stack);
        (void)snprintf(key, sizeof(key), "tenants[%u].partners[%zu]", number, i);
        if (mistake != NULL)
            return config_mark_fail(load, file, key, "%s", mistake);
    }
    return true;
}

static bool check_global(struct config_load *load)
{
    const struct place place = {&load->files[0], "xmpp", &load->config->rules};
    struct rules_stack stack = rules_stack_make();
    stack.level[RULES_GLOBAL] = place.rules;
    return !gives_proof(place.rules) || check_stack(load, &place, &stack, "");
}

/* Notes what need not be looked for with each message. */
static void note_quotas(struct config *config)
{
    uint32_t given = config->rules.given, given_to_partners = 0;
    for (size_t i = 0; i < config->partner_count; i++)
        given_to_partners |= config->partners[i].rules.given;
    for (size_t i = 0; i < config->tenant_count; i++) {
        given |= config->tenants[i].rules.given;
        for (size_t j = 0; j < config->tenants[i].pair_count; j++)
            given_to_partners |= config->tenants[i].pairs[j].rules.given;
    }
    config->has_partner_quotas = (given_to_partners & RULES_OF_QUOTA) != 0;
    config->has_quotas = config->has_partner_quotas || (given & RULES_OF_QUOTA) != 0;
}

static bool is_unverified(const struct rules *rules)
{
    return (rules->given >> RULE_TYPE & 1) != 0 &&
           rules->value[RULE_TYPE] == TYPE_PUBLIC_UNVERIFIED;
}

static bool has_unverified(const struct config *config)
{
    bool is_found = is_unverified(&config->rules);
    for (size_t i = 0; i < config->partner_count && !is_found; i++)
        is_found = is_unverified(&config->partners[i].rules);
    for (size_t i = 0; i < config->tenant_count && !is_found; i++) {
        const struct config_tenant *tenant = &config->tenants[i];
        is_found = is_unverified(&tenant->rules);
        for (size_t j = 0; j < tenant->pair_count && !is_found; j++)
            is_found = is_unverified(&tenant->pairs[j].rules);
    }
    return is_found;
}

static void note_types(struct config_load *load)
{
    struct config *config = load->config;
    config->has_unverified = has_unverified(config);
    if (config->has_unverified && config->store_path == NULL)
        config_mark_warn(load, &load->files[0], "store.path",
                         "is not given: whom users have written to, and so who may write to "
                         "them under type: public_unverified, is forgotten when the relay ends");
}

bool config_rules_check(struct config_load *load)
{
    struct config *config = load->config;
    const struct rules *kinds[KIND_COUNT] = {NULL};
    size_t tenant = 0, partner = 0;
    if (!check_global(load))
        return false;
    note_quotas(config);
    note_types(load);
    for (size_t i = 0; i < load->file_count; i++) {
        for (unsigned j = 0; j < load->files[i].raw->tenant_count; j++, tenant++) {
            if (!check_tenant(load, &load->files[i], j, &config->tenants[tenant]))
                return false;
            kinds[kind_of(&config->tenants[tenant].rules)] = &config->tenants[tenant].rules;
        }
    }
    for (size_t i = 0; i < load->file_count; i++)
        for (unsigned j = 0; j < load->files[i].raw->partner_count; j++, partner++)
            if (!check_partner(load, &load->files[i], j, &config->partners[partner], kinds))
                return false;
    tenant = 0;
    for (size_t i = 0; i < load->file_count; i++)
        for (unsigned j = 0; j < load->files[i].raw->tenant_count; j++, tenant++)
            if (!check_list(load, &load->files[i], j, &config->tenants[tenant]))
                return false;
    return true;
}
