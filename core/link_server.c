/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where the server of a link's partner is: what DNS or the configuration says, and the host
 * that a server names instead of itself.
 */
#include "core/link_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PORT_DEFAULT    5269
#define FAMILY_DELAY_MS 50 /* RFC 8305 §8 */

void link_connect_next(struct link *link, enum stanza_error error)
{
    link->state = LINK_CONNECTING;
    if (link_adopt(link))
        return;
    link_race_next(link);
    if (link->race.count > 0)
        return;
    if (!link->answer->is_partial) {
        link_give_up(link, error);
        return;
    }
    link->state = LINK_IDLE;
    link->is_patient = true;
    link_start(link);
}

/* One address, or what DNS says of `question`. */
static void locate(struct link *link, struct resolver_question *question)
{
    union net_address address;
    assert(link->state == LINK_IDLE);
    question->owner = link;
    if (question->service_count == 0 &&
        net_address_parse_host(&address, question->domain, question->fallback_port) == 0) {
        link->answer = calloc(1, sizeof(*link->answer));
        if (link->answer == NULL) {
            link_give_up(link, STANZA_ERROR_RESOURCE_CONSTRAINT);
            return;
        }
        link->answer->target_count = 1;
        link->answer->targets[0].address = address;
        link_race_set(link);
        if (link->probe != NULL)
            probe_located(link->probe, link->answer);
        link_connect_next(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
        return;
    }
    link->state = LINK_RESOLVING;
    question->keeps_dead = link->probe != NULL;
    if (resolver_ask(link->worker->resolver, question) != 0) {
        snprintf(link->reason, sizeof(link->reason), "Too many DNS questions wait");
        link_give_up(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    }
}

void link_uncount(struct link *link)
{
    if (link->counted != NULL)
        census_leave_link(link->worker->thread->census, link->counted);
    link->counted = NULL;
}

/* Is there room for its stream? There is for one of each pair. */
static bool count(struct link *link)
{
    const struct thread *thread = link->worker->thread;
    bool is_further = link_choice_other(link) != NULL;
    if (link->counted != NULL || link->probe != NULL || thread->census == NULL)
        return true;
    struct span local = s2s_domain_span(&link->local), remote = s2s_domain_span(&link->remote);
    struct rules_stack rules =
        config_rules(thread->config, config_find_tenant(thread->config, local), remote);
    unsigned max = is_further ? rules_value(&rules, RULE_SESSIONS_MAX) : 0;
    link->counted = census_enter_link(thread->census, remote, max);
    return link->counted != NULL || !is_further;
}

void link_start(struct link *link)
{
    struct resolver_question question = {.fallback_port = PORT_DEFAULT};
    const struct config_partner *partner =
        config_find_partner(link->worker->thread->config, s2s_domain_span(&link->remote));
    unsigned proofs = worker_pair_proofs(link->worker, s2s_domain_span(&link->local),
                                         s2s_domain_span(&link->remote));
    const char *name = link->remote_ascii;
    link->elsewhere = link->is_partners_fault = link->no_external = false;
    if (!count(link)) {
        (void)snprintf(link->reason, sizeof(link->reason),
                       "sessions_per_partner_max or xmpp.sessions_max leaves no further stream "
                       "to %s",
                       link->remote_ascii);
        link_give_up(link, STANZA_ERROR_RESOURCE_CONSTRAINT);
        return;
    }
    question.wants_tlsa = true;
    question.family_delay_ms = link->is_patient || link->probe != NULL ? 0 : FAMILY_DELAY_MS;
    link->is_patient = false;
    if (partner != NULL && partner->host != NULL) {
        link->has_direct = partner->direct_tls;
        name = partner->host;
        if (partner->port != 0)
            question.fallback_port = partner->port;
    } else {
        link->has_direct = proofs != S2S_PROOF_CLEAR;
        if (link->has_direct)
            question.services[question.service_count++] =
                (struct resolver_service){LINK_SERVICE_DIRECT, false, NULL};
        question.services[question.service_count++] =
            (struct resolver_service){LINK_SERVICE_STARTTLS, true, NULL};
    }
    link->service_count = question.service_count;
    snprintf(question.domain, sizeof(question.domain), "%s", name);
    locate(link, &question);
}

void link_see_other(struct link *link, struct span host)
{
    union net_address address;
    char text[RESOLVER_NAME_SIZE];
    uint16_t port = PORT_DEFAULT;
    if (link->sent_away || host.size == 0 || host.size >= sizeof(text))
        return;
    memcpy(text, host.data, host.size);
    text[host.size] = '\0';
    char *colon = strrchr(text, ':');
    if (net_address_parse(&address, text, PORT_DEFAULT) == 0) {
        if (net_address_is_special(&address) &&
            !link->worker->thread->config->dns_allow_special)
            return; /* no stranger sends us into our own network */
        net_address_format_host(&address, text);
        port = net_address_port(&address);
    } else if (colon != NULL) {
        char *end;
        unsigned long number = strtoul(colon + 1, &end, 10);
        if (colon == text || *end != '\0' || number == 0 || number > UINT16_MAX)
            return;
        *colon = '\0';
        port = (uint16_t)number;
    }
    memcpy(link->other_host, text, sizeof(text));
    link->other_port = port;
}

void link_go_away(struct link *link)
{
    /* Without TLSA: its zone may not vouch for the domain. */
    struct resolver_question question = {.fallback_port = link->other_port};
    snprintf(question.domain, sizeof(question.domain), "%s", link->other_host);
    link->other_host[0] = '\0';
    link->sent_away = link->elsewhere = true;
    free(link->answer);
    link->answer = NULL;
    link->state = LINK_IDLE;
    locate(link, &question);
}

void link_resolved(struct link *link, struct resolver_answer *answer)
{
    assert(link->magic == LINK_MAGIC);
    if (link->state != LINK_RESOLVING) {
        free(answer);
        return;
    }
    free(link->answer);
    link->answer = answer;
    link_race_set(link);
    for (unsigned i = 0; link->elsewhere && i < answer->target_count; i++)
        answer->targets[i].secure = false; /* the server named this host, not the domain */
    if (link->probe != NULL)
        probe_located(link->probe, answer);
    if (answer->status == RESOLVER_FOUND || answer->is_partial) {
        link_connect_next(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
        return;
    }
    bool is_nowhere =
        answer->status == RESOLVER_NOT_FOUND || answer->status == RESOLVER_NO_SERVICE;
    if (is_nowhere && link_adopt(link))
        return; /* it cannot be called, but it calls */
    link->is_partners_fault = true;
    snprintf(link->reason, sizeof(link->reason), "DNS names no XMPP server for %s: %s",
             link->remote_ascii, resolver_status_text(answer->status));
    link_give_up(link, answer->status == RESOLVER_TIMEOUT
                           ? STANZA_ERROR_REMOTE_SERVER_TIMEOUT
                           : STANZA_ERROR_REMOTE_SERVER_NOT_FOUND);
}

const char *link_remote_ascii(const struct link *link)
{
    return link->remote_ascii;
}

const struct resolver_target *link_target(const struct link *link)
{
    assert(link->answer != NULL);
    return &link->answer->targets[link->target];
}
