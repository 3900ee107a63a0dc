/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/report.h"

#include "core/config.h"

/* Each rule as it is in force, and the key under which it stands. */
static void rows_rules(const struct rules_stack *stack, FILE *out)
{
    for (unsigned i = 0; i < RULE_COUNT; i++) {
        enum rule rule = (enum rule)i;
        char value[32];
        struct writer writer = writer_make(value, sizeof(value));
        rules_format(rule, rules_value(stack, rule), &writer);
        fprintf(out, "%s\t%.*s\t%s\n", rules_row(rule)->key, (int)writer.used, value,
                rules_place(rules_level_of(stack, rule)));
    }
}

/* How the domain may prove itself, whichever side opens the stream. */
static void row_proofs(unsigned proofs, FILE *out)
{
    char names[64];
    struct writer writer = writer_make(names, sizeof(names));
    rules_format_proofs(proofs, &writer);
    fprintf(out, "proof\t%.*s\ttls, sasl, dialback, trust\n", (int)writer.used, names);
}

bool report_policy(const struct config *config, struct span tenant, struct span domain,
                   FILE *out, const char **error)
{
    struct s2s_domain prepared;
    const struct config_tenant *found = config_find_said(config, tenant);
    if (found == NULL) {
        *error = "error: there is no tenant of this name or domain; show tenants lists them\n";
        return false;
    }
    if (!s2s_domain_read(&prepared, domain)) {
        *error = "error: show policy TENANT DOMAIN: this is no domain\n";
        return false;
    }
    struct span remote = s2s_domain_span(&prepared);
    struct rules_stack stack = config_rules(config, found, remote);
    bool allowed = config_partner_allowed(config, found, remote);
    fprintf(out, "allowed\t%s\ttenants[].policy\n", allowed ? "true" : "false");
    row_proofs(rules_proofs_in(&stack), out);
    rows_rules(&stack, out);
    return true;
}
