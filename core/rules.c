/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/rules.h"

#include <assert.h>

static const char *const need_names[] = {"required", "optional", "not_supported", NULL};
static const char *const flag_names[] = {"false", "true", NULL};
static const char *const level_names[] = {"dialback", "pkix", "dane", NULL};
static const char *const reaction_names[] = {"refuse", "warn", "allow", NULL};
static const char *const partner_names[] = {"federated", "public_verified", "public_unverified",
                                            NULL};

static const struct rules_row rows[RULE_COUNT] = {
#define NEED                                      need_names
#define FLAG                                      flag_names
#define LEVEL                                     level_names
#define REACTION                                  reaction_names
#define PARTNER                                   partner_names
#define NUMBER                                    NULL
#define RULE(name, key, kind, fallback, min, max) [RULE_##name] = {#key, kind, min, max},
#include "core/rules.def"
#undef RULE
#undef NEED
#undef FLAG
#undef LEVEL
#undef REACTION
#undef PARTNER
#undef NUMBER
};

_Static_assert(RULE_COUNT < 32, "`given` has a bit for each rule");

static const struct rules defaults = {.given = (1u << RULE_COUNT) - 1,
                                      .value = {
#define RULE(name, key, kind, fallback, min, max) [RULE_##name] = (fallback),
#include "core/rules.def"
#undef RULE
                                      }};

void rules_give(struct rules *rules, enum rule rule, uint32_t value)
{
    assert(rule < RULE_COUNT);
    rules->given |= 1u << rule;
    rules->value[rule] = value;
}

struct rules_stack rules_stack_make(void)
{
    return (struct rules_stack){{[RULES_DEFAULT] = &defaults}};
}

enum rules_level rules_level_of(const struct rules_stack *stack, enum rule rule)
{
    assert(rule < RULE_COUNT);
    assert(stack->level[RULES_DEFAULT] == &defaults);
    unsigned level = RULES_LEVEL_COUNT - 1;
    while (stack->level[level] == NULL || (stack->level[level]->given >> rule & 1) == 0)
        level--; /* ends: the defaults give everything */
    return (enum rules_level)level;
}

uint32_t rules_value(const struct rules_stack *stack, enum rule rule)
{
    return stack->level[rules_level_of(stack, rule)]->value[rule];
}

unsigned rules_proofs(const struct rules_stack *stack)
{
    uint32_t tls = rules_value(stack, RULE_TLS), sasl = rules_value(stack, RULE_SASL);
    bool has_dialback = rules_value(stack, RULE_DIALBACK) != 0;
    unsigned proofs = S2S_PROOF_NONE;
    if (tls != NEED_NOT_SUPPORTED && sasl != NEED_NOT_SUPPORTED)
        proofs |= S2S_PROOF_EXTERNAL;
    if (tls != NEED_NOT_SUPPORTED && has_dialback &&
        !(tls == NEED_REQUIRED && sasl == NEED_REQUIRED))
        proofs |= S2S_PROOF_DIALBACK;
    if (tls != NEED_REQUIRED && has_dialback &&
        rules_value(stack, RULE_TRUST) == TRUST_DIALBACK)
        proofs |= S2S_PROOF_CLEAR;
    return proofs;
}

unsigned rules_proofs_in(const struct rules_stack *stack)
{
    unsigned proofs = rules_proofs(stack);
    if (rules_value(stack, RULE_TRUST) > TRUST_PKIX)
        proofs &= ~(unsigned)S2S_PROOF_EXTERNAL;
    return proofs;
}

const char *rules_mistake(const struct rules_stack *stack)
{
    bool is_trusting = rules_value(stack, RULE_TRUST) == TRUST_DIALBACK;
    if (rules_proofs_in(stack) != S2S_PROOF_NONE)
        return NULL;
    if (!is_trusting && rules_value(stack, RULE_TLS) == NEED_NOT_SUPPORTED)
        return "trust: pkix and dane need TLS: tls: not_supported leaves no way to prove a "
               "domain";
    if (rules_proofs(stack) != S2S_PROOF_NONE)
        return "trust: dane needs dialback under TLS: a server that DANE proves is asked who "
               "comes in";
    if (rules_value(stack, RULE_SASL) == NEED_NOT_SUPPORTED)
        return "sasl: not_supported and dialback: false leave no way to prove a domain";
    return "SASL needs TLS: tls: not_supported and dialback: false leave no way to prove a "
           "domain";
}

const char *rules_doubt(const struct rules_stack *stack)
{
    uint32_t tls = rules_value(stack, RULE_TLS);
    if (rules_proofs(stack) == S2S_PROOF_NONE || tls == NEED_REQUIRED ||
        rules_value(stack, RULE_SASL) == NEED_NOT_SUPPORTED)
        return NULL;
    if (tls == NEED_NOT_SUPPORTED)
        return "streams may fail: SASL needs TLS, which is not used, so only dialback in clear "
               "is left";
    if (rules_value(stack, RULE_DIALBACK) == 0)
        return "streams may fail: SASL needs TLS, which is only optional, and dialback is off";
    return "streams may fail: SASL needs TLS, which is only optional; without it dialback in "
           "clear is all the proof there is";
}

const char *rules_place(enum rules_level level)
{
    static const char *const places[RULES_LEVEL_COUNT] = {
        [RULES_DEFAULT] = "default",
        [RULES_GLOBAL] = "xmpp",
        [RULES_TENANT] = "tenants[].xmpp",
        [RULES_PARTNER] = "partners[]",
        [RULES_PAIR] = "tenants[].partner_rules[]",
    };
    assert(level < RULES_LEVEL_COUNT);
    return places[level];
}

bool rules_has_quota(const struct rules_stack *stack)
{
    return rules_value(stack, RULE_MESSAGES_PER_SECOND) > 0 ||
           rules_value(stack, RULE_MESSAGES_IN_FLIGHT) > 0;
}

const struct rules_row *rules_row(enum rule rule)
{
    assert(rule < RULE_COUNT);
    return &rows[rule];
}

void rules_format(enum rule rule, uint32_t value, struct writer *writer)
{
    const struct rules_row *row = rules_row(rule);
    assert(value <= row->max);
    if (row->names != NULL)
        writer_put(writer, span_of(row->names[value]));
    else
        writer_put_uint(writer, value);
}

void rules_format_proofs(unsigned proofs, struct writer *writer)
{
    static const struct {
        enum s2s_proof proof;
        const char *name;
    } all[] = {{S2S_PROOF_EXTERNAL, "certificate"},
               {S2S_PROOF_DIALBACK, "dialback"},
               {S2S_PROOF_CLEAR, "dialback in clear"}};
    struct span comma = SPAN("");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if ((proofs & all[i].proof) == 0)
            continue;
        writer_put(writer, comma);
        writer_put(writer, span_of(all[i].name));
        comma = SPAN(", ");
    }
}
