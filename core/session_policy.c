/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the machine of a stream that comes in asks its session (proto/s2s.h). */
#include "core/session_priv.h"

static bool hosts(void *context, struct span local)
{
    const struct session *session = context;
    return config_find_tenant(session->worker->thread->config, local) != NULL;
}

static unsigned proofs(void *context, struct span local, struct span remote)
{
    const struct session *session = context;
    return worker_pair_proofs_in(session->worker, local, remote);
}

static bool certified(void *context, struct span remote)
{
    return session_certified(context, remote);
}

static bool both_ways(void *context)
{
    return session_may_go_both_ways(context);
}

static uint32_t idle_seconds(void *context)
{
    uint32_t idle_ms = session_rule(context, RULE_IDLE_TIMEOUT);
    uint32_t demand_ms = session_rule(context, RULE_KEEPALIVE_DEMAND);
    return (demand_ms > 0 && demand_ms < idle_ms ? demand_ms : idle_ms) / 1000;
}

void session_set_policy(struct session *session)
{
    const struct config *config = session->worker->thread->config;
    session->policy = (struct s2s_policy){
        .context = session,
        .hosts = hosts,
        .proofs = proofs,
        .certified = certified,
        .both_ways = both_ways,
        .stream_management = config->stream_management,
        .max_bytes = (uint32_t)config->stanza_size_max,
        .idle_seconds = idle_seconds};
}
