/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The rules for streams with a partner, as values: which there are (core/rules.def), what they
 * are when nobody gives them, and how they stand above each other. A rule may be given for all
 * (`xmpp`), for a tenant, for a partner, and for a partner of one tenant; the last of these
 * counts. Pure; the configuration owns the memory.
 */
#ifndef PASSERELLE_CORE_RULES_H
#define PASSERELLE_CORE_RULES_H

#include "core/trust.h"
#include "proto/s2s.h"

enum rules_need { NEED_REQUIRED, NEED_OPTIONAL, NEED_NOT_SUPPORTED };
enum rules_reaction { REACTION_REFUSE, REACTION_WARN, REACTION_ALLOW };
/* Skype for Business' partner types. */
enum rules_type { TYPE_FEDERATED, TYPE_PUBLIC_VERIFIED, TYPE_PUBLIC_UNVERIFIED };

#define RULES_STREAMS_MAX 16u /* of one pair of domains, the most that `streams` may say */

enum rule {
#define RULE(name, key, kind, fallback, min, max) RULE_##name,
#include "core/rules.def"
#undef RULE
    RULE_COUNT
};

struct rules_row {
    const char *key;
    const char *const *names; /* of its values, NULL at the end; NULL: it is a number */
    uint32_t min, max;
};

/* The rules whose combination says how a domain may prove itself. */
#define RULES_OF_PROOF                                                                         \
    (1u << RULE_TLS | 1u << RULE_SASL | 1u << RULE_DIALBACK | 1u << RULE_TRUST)

/* The rules that limit messages. */
#define RULES_OF_QUOTA                                                                         \
    (1u << RULE_MESSAGES_PER_SECOND | 1u << RULE_MESSAGES_BURST | 1u << RULE_MESSAGES_IN_FLIGHT)

/* Where a rule is given; a later place wins. */
enum rules_level {
    RULES_DEFAULT,
    RULES_GLOBAL,  /* xmpp */
    RULES_TENANT,  /* tenants[].xmpp */
    RULES_PARTNER, /* partners[] */
    RULES_PAIR,    /* tenants[].partner_rules[] */
    RULES_LEVEL_COUNT
};

struct rules {
    uint32_t given; /* bit i: value[i] counts */
    uint32_t value[RULE_COUNT];
};

/* One above the other; NULL: no such place. RULES_DEFAULT is always there. */
struct rules_stack {
    const struct rules *level[RULES_LEVEL_COUNT];
};

void rules_give(struct rules *rules, enum rule rule, uint32_t value);
/* An empty stack: the defaults. */
struct rules_stack rules_stack_make(void);
/* The place that counts for this rule. */
enum rules_level rules_level_of(const struct rules_stack *stack, enum rule rule);
uint32_t rules_value(const struct rules_stack *stack, enum rule rule);
/* The ways to prove a domain that TLS, SASL, dialback and trust leave: a set of enum s2s_proof.
   SASL is EXTERNAL, which needs TLS (XEP-0178); where both are required, dialback is not asked;
   in clear nobody is trusted more than DNS. */
unsigned rules_proofs(const struct rules_stack *stack);
/* The same for who comes in: the certificate of a client is trusted as far as PKIX, and where
   that is too little only dialback is left: the server that is asked proves itself by DANE. */
unsigned rules_proofs_in(const struct rules_stack *stack);
/* What is wrong with a combination that leaves no way; NULL: it leaves one. Static. */
const char *rules_mistake(const struct rules_stack *stack);
/* Why streams may fail under a combination that is allowed; NULL: no doubt. Static. */
const char *rules_doubt(const struct rules_stack *stack);
/* The key of a configuration under which a place stands: "xmpp", "partners[]". Static. */
const char *rules_place(enum rules_level level);
/* Does it limit messages (core/quota.h)? */
bool rules_has_quota(const struct rules_stack *stack);
const struct rules_row *rules_row(enum rule rule);
/* The value as it would be written in a configuration. */
void rules_format(enum rule rule, uint32_t value, struct writer *writer);
/* The ways of a set of enum s2s_proof: "certificate, dialback". */
void rules_format_proofs(unsigned proofs, struct writer *writer);

#endif
