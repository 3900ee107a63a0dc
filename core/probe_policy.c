/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a probe says of our own policy, before it asks anybody else. */
#include "core/probe_priv.h"

#include <inttypes.h>

#include "core/breaker.h"
#include "core/link_priv.h"

/* The rules that say how the partner may prove itself, each with its place. */
static void write_rules(const struct rules_stack *rules, struct writer *writer)
{
    struct span comma = SPAN("");
    for (unsigned i = 0; i < RULE_COUNT; i++) {
        enum rule rule = (enum rule)i;
        if ((RULES_OF_PROOF >> i & 1) == 0)
            continue;
        writer_put(writer, comma);
        writer_put(writer, span_of(rules_row(rule)->key));
        writer_put_literal(writer, ": ");
        rules_format(rule, rules_value(rules, rule), writer);
        writer_put_literal(writer, " by ");
        writer_put(writer, span_of(rules_place(rules_level_of(rules, rule))));
        comma = SPAN(", ");
    }
}

static void tell_allowed(struct probe *probe, const struct config_tenant *tenant)
{
    const struct s2s_domain *remote = &probe->talk->remote;
    struct rules_stack rules =
        config_rules(probe->worker->thread->config, tenant, s2s_domain_span(remote));
    char memory[300];
    struct writer writer = writer_make(memory, sizeof(memory));
    rules_format_proofs(rules_proofs_in(&rules), &writer);
    writer_put_literal(&writer, " (");
    write_rules(&rules, &writer);
    writer_put_char(&writer, ')');
    struct span text = writer_span(&writer);
    probe_tell(probe, PROBE_POLICY, PROBE_OK, "tenant %s may talk with %s; its proof: %.*s",
               tenant->name, remote->text, (int)text.size, text.data);
    if (!tenant->users_allowed || tenant->user_count > 0)
        probe_tell(probe, PROBE_POLICY, PROBE_NOTE,
                   "not every user of tenant %s may: tenants[].users lists %zu who may%s",
                   tenant->name, tenant->user_count, tenant->users_allowed ? " not" : "");
}

/* Traffic may go over several streams; the probe's is one more. */
static void tell_streams(struct probe *probe, const struct config_tenant *tenant)
{
    struct worker *worker = probe->worker;
    struct span local = s2s_domain_span(&probe->talk->local);
    struct span remote = s2s_domain_span(&probe->talk->remote);
    struct rules_stack rules = config_rules(worker->thread->config, tenant, remote);
    const struct link *link = link_find(worker, local, remote);
    unsigned standing = 0, streams = rules_value(&rules, RULE_STREAMS);
    if (link != NULL)
        standing = link_choice_standing(link);
    if (streams > 1)
        probe_tell(probe, PROBE_POLICY, PROBE_NOTE,
                   "its users are spread over up to %u streams (streams by %s); %u stand now",
                   streams, rules_place(rules_level_of(&rules, RULE_STREAMS)), standing);
}

/* Traffic waits while the breaker is open; a probe does not. */
static void tell_breaker(struct probe *probe)
{
    const struct worker *worker = probe->worker;
    struct breaker_verdict verdict;
    if (!breaker_is_open(worker->breakers, s2s_domain_span(&probe->talk->remote), &verdict))
        return;
    uint64_t now_ms = worker->thread->now_ms;
    uint64_t left_ms = verdict.until_ms > now_ms ? verdict.until_ms - now_ms : 0;
    probe_tell(probe, PROBE_POLICY, PROBE_NOTE,
               "messages are refused at once for %" PRIu64 " s, as no tenant reached it; the "
               "last one was told: %.*s",
               left_ms / 1000, (int)verdict.reason.size, verdict.reason.data);
}

bool probe_check_policy(struct probe *probe)
{
    const struct worker *worker = probe->worker;
    const struct config *config = worker->thread->config;
    const struct s2s_domain *remote = &probe->talk->remote;
    struct span local = s2s_domain_span(&probe->talk->local);
    const struct config_tenant *tenant = config_find_tenant(config, local);
    if (tenant == NULL) {
        probe_tell_fault(probe, PROBE_POLICY, "Ask for one of the tenants in `show tenants`.",
                         "%s is no domain of a tenant", probe->talk->local.text);
        return false;
    }
    if (worker_pair_proofs(worker, local, s2s_domain_span(remote)) != S2S_PROOF_NONE) {
        tell_allowed(probe, tenant);
        tell_streams(probe, tenant);
        tell_breaker(probe);
        return true;
    }
    if (config_find_tenant(config, s2s_domain_span(remote)) != NULL)
        probe_tell_fault(probe, PROBE_POLICY,
                         "A tenant of this relay is reached by SIP, not by XMPP.",
                         "%s is a domain of a tenant here, and nobody's partner", remote->text);
    else
        probe_tell_fault(probe, PROBE_POLICY,
                         "If they should talk, change the tenant's policy or its partners, and "
                         "reload.",
                         "the policy of tenant %s (%s) does not allow %s", tenant->name,
                         tenant->policy == PARTNER_CLOSED ? "closed" : "list", remote->text);
    return false;
}
