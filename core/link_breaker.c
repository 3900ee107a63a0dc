/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a link tells the breaker of its partner (core/breaker.h). A fault is the partner's when
 * another pair would have met it as well: no server in DNS or none that answers, a stream or a
 * handshake that breaks off, host-unknown and other stream errors that do not name us. It
 * is the pair's when our domain, its certificate or its rules may be the reason: SASL and
 * dialback refused, policy-violation, a server that is refused by us.
 */
#include "core/breaker.h"

#include "core/link_priv.h"
#include "core/trouble.h"

void link_breaker_failed(struct link *link, enum stanza_error error)
{
    struct thread *thread = link->worker->thread;
    struct breaker_set *set = link->worker->breakers;
    struct span remote = s2s_domain_span(&link->remote);
    if (!link->is_partners_fault) {
        breaker_undecided(set, remote, link->node.hash, thread->now_ms);
        return;
    }
    struct breaker_verdict why = {.fault = error, .reason = span_of(link->reason)};
    if (!breaker_failed(set, remote, link->node.hash, thread->config->breaker_pairs,
                        thread->now_ms, &why))
        return;
    stats_count(thread->stats, STAT_BREAKERS_OPENED);
    trouble_tell(thread, LOG_LEVEL_WARN,
                 &(struct stats_trouble){
                     .event = "breaker.open", .partner = remote, .reason = why.reason});
}

void link_breaker_worked(const struct link *link)
{
    struct span remote = s2s_domain_span(&link->remote);
    if (!breaker_worked(link->worker->breakers, remote))
        return;
    stats_count(link->worker->thread->stats, STAT_BREAKERS_CLOSED);
    log_event(LOG_LEVEL_INFO, "breaker.closed", 0, log_text("partner", remote));
}
