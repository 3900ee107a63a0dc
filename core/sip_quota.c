/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a request gets that is one too many for its tenant, or for the partner with it. */
#include "core/sip_uas_priv.h"

#include "core/trouble.h"

/* Does this tenant alone use the server that the request came from? One behind TLS is known by
   a name, which others may share. */
static bool is_alone(const struct sip_uas *uas, const struct sip_flow *flow,
                     const struct config_tenant *tenant)
{
    const struct config *config = uas->thread->config;
    const struct config_trunk *trunk;
    size_t next = 0;
    if (flow->transport == SIP_TRANSPORT_TLS)
        return false;
    while ((trunk = config_next_trunk_from(config, &flow->peer, &next)) != NULL)
        if (trunk->tenant != tenant->index)
            return false;
    return true;
}

static void tell_over(struct sip_uas *uas, const struct parties *parties,
                      const struct sip_response_parts *parts, unsigned untold)
{
    stats_count_over_quota(uas->thread->stats, parties->tenant->index);
    trouble_tell_over_quota(uas->thread,
                            &(struct stats_trouble){.event = "sip.over_quota",
                                                    .tenant = span_of(parties->tenant->name),
                                                    .partner = parties->to.domain,
                                                    .status = parts->status,
                                                    .reason = parts->reason},
                            untold);
}

struct sip_response_parts sip_quota_check(struct sip_uas *uas, const struct sip_call *call,
                                          const struct parties *parties,
                                          struct quota_account **account)
{
    struct thread *thread = uas->thread;
    struct quota_account *over;
    *account = quota_account(uas->quota, thread->config, parties->tenant, parties->to.domain);
    enum quota_verdict verdict =
        quota_judge(*account, mesh_free(thread->mesh, thread->self), thread->now_ms, &over);
    if (verdict == QUOTA_WITHIN)
        return (struct sip_response_parts){0};
    /* 503 would keep the server from sending anything here, for other tenants and to other
       partners, too (RFC 3261 §21.5.4); 500 is about this request (§21.5.1). */
    bool is_whole = quota_is_of_tenant(over) && is_alone(uas, &call->flow, parties->tenant);
    struct sip_response_parts parts = {.status = is_whole ? 503 : 500,
                                       .reason = quota_reason(over, verdict),
                                       .extra = verdict == QUOTA_RATE
                                                    ? SPAN("Retry-After: 1\r\n")
                                                    : SPAN("Retry-After: 10\r\n")};
    tell_over(uas, parties, &parts, quota_untold(over, thread->now_ms));
    return parts;
}
