/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a request must pass before it is served. */
#include "core/sip_uas_priv.h"

#include "proto/sip_line.h"

static bool proves(struct sip_uas *uas, const struct sip_flow *flow,
                   const struct config_trunk *trunk)
{
    return (trunk->transport == SIP_TRANSPORT_TLS || trunk->any_transport) &&
           sip_transport_proved(uas->wire, flow,
                                trunk->identity != NULL ? trunk->identity : trunk->host);
}

static bool has_source(const struct config_trunk *trunk, const union net_address *source)
{
    for (size_t i = 0; i < trunk->source_count; i++)
        if (net_address_in(source, &trunk->sources[i].address, trunk->sources[i].prefix_size))
            return true;
    return false;
}

/* Only the tenant's own trunks are looked at: thousands of tenants may share one address. */
static uint32_t source_of_tenant(struct sip_uas *uas, const struct sip_flow *flow,
                                 const struct config_tenant *tenant)
{
    bool is_tls = flow->transport == SIP_TRANSPORT_TLS;
    if (!is_tls && config_is_near(tenant, &flow->peer))
        return tenant->first_trunk + 1;
    for (size_t i = 0; i < tenant->trunk_count; i++) {
        const struct config_trunk *trunk = &tenant->trunks[i];
        if (is_tls ? proves(uas, flow, trunk) : has_source(trunk, &flow->peer))
            return trunk->index + 1;
    }
    return 0;
}

/* The trunk the request may have come by: one of `tenant`, or of any tenant when that is NULL.
   Index + 1; 0 for a stranger. */
uint32_t sip_check_source(struct sip_uas *uas, const struct sip_flow *flow,
                          const struct config_tenant *tenant)
{
    const struct config *config = uas->thread->config;
    if (tenant != NULL)
        return source_of_tenant(uas, flow, tenant);
    if (flow->transport != SIP_TRANSPORT_TLS) {
        size_t next = 0;
        const struct config_trunk *trunk = config_next_trunk_from(config, &flow->peer, &next);
        return trunk != NULL ? trunk->index + 1 : 0;
    }
    uint32_t source = 0;
    for (size_t i = 0; i < config->tenant_count && source == 0; i++)
        source = source_of_tenant(uas, flow, &config->tenants[i]);
    return source;
}

bool sip_check_trunk(const struct sip_uas *uas, uint32_t trunk,
                     const struct config_tenant *tenant)
{
    return trunk != 0 && tenant != NULL &&
           config_trunk_at(uas->thread->config, trunk - 1)->tenant == tenant->index;
}

void sip_check_parties_of(struct sip_uas *uas, const struct sip_message *request,
                          struct parties *parties)
{
    struct writer memory = writer_make(uas->address_memory, sizeof(uas->address_memory));
    *parties = (struct parties){0};
    parties->from_result = address_to_jid(&request->from, SPAN_NONE, &memory, &parties->from);
    if (parties->from_result != ADDRESS_OK)
        return;
    parties->tenant = config_find_tenant(uas->thread->config, parties->from.domain);
    parties->to_result =
        address_to_jid(&request->request_uri, SPAN_NONE, &memory, &parties->to);
}

/* A Via of ours: it has come through here before (RFC 3261 §16.3 item 4). */
static bool is_loop(const struct sip_uas *uas, const struct sip_message *request)
{
    struct span rest = span_from(request->raw, span_find(request->raw, '\n') + 1);
    struct sip_line line;
    if (request->via_count == 1)
        return sip_transport_is_ours(uas->wire, request->via.sent_by);
    while (sip_line_next(&rest, &line)) {
        struct span values = line.value;
        struct sip_via via;
        while (line.header == SIP_HEADER_VIA && values.data != NULL &&
               sip_line_via(values, &via, &values))
            if (sip_transport_is_ours(uas->wire, via.sent_by))
                return true;
    }
    return false;
}

static int address_status(enum address_result result)
{
    switch (result) {
    case ADDRESS_OK: return 0;
    case ADDRESS_MALFORMED: return 400;
    case ADDRESS_UNREPRESENTABLE: return 404;
    case ADDRESS_UNSUPPORTED_SCHEME: return 416;
    }
    return 500;
}

/* What every request must pass, in the order of RFC 3261 §8.2. Status 0: it passed. `extra` may
   use uas->address_memory no more than as static text. */
struct sip_response_parts
sip_check_request(struct sip_uas *uas, const struct sip_message *request, struct writer *extra)
{
    struct sip_response_parts parts = {0};
    bool is_options = request->method == SIP_METHOD_OPTIONS;
    if (request->method == SIP_METHOD_CANCEL || request->to_tag.size > 0) {
        parts.status = 481; /* there are no dialogs and nothing to cancel yet */
    } else if (request->request_uri.scheme == SIP_SCHEME_SIPS) {
        parts.status = 480; /* RFC 5630 §5.3: TLS end to end cannot be promised */
        parts.extra = SPAN("Warning: 380 passerelle \"SIPS Not Allowed\"\r\n");
    } else if (request->max_forwards == 0 && !is_options) {
        parts.status = 483;
    } else if (is_loop(uas, request)) {
        stats_count(uas->thread->stats, STAT_LOOPS_REFUSED);
        parts.status = 482;
    } else if (request->require.size > 0) {
        parts.status = 420;
        writer_put_literal(extra, "Unsupported: ");
        writer_put(extra, request->require);
        writer_put_literal(extra, "\r\n");
        parts.extra = extra->overflow ? SPAN("") : writer_span(extra);
    }
    return parts;
}

/* Who may write to whom. Status 0: it may be. */
struct sip_response_parts sip_check_parties(struct sip_uas *uas, const struct parties *parties)
{
    const struct config *config = uas->thread->config;
    struct sip_response_parts parts = {0};
    if (parties->from_result == ADDRESS_UNREPRESENTABLE)
        parts.status = 403; /* nobody of the tenant's: an address literal for example */
    else if (parties->from_result != ADDRESS_OK)
        parts.status = address_status(parties->from_result);
    else if (parties->to_result != ADDRESS_OK)
        parts.status = address_status(parties->to_result);
    else if (parties->to.local.size == 0 ||
             config_find_tenant(config, parties->to.domain) != NULL)
        parts = (struct sip_response_parts){
            .status = 404, .reason = SPAN("The XMPP side has no such address")};
    else if (!config_partner_allowed(config, parties->tenant, parties->to.domain))
        parts = (struct sip_response_parts){
            .status = 403, .reason = SPAN("The policy of your domain forbids this partner")};
    else if (!config_user_allowed(config, parties->tenant, &parties->from)) {
        stats_count(uas->thread->stats, STAT_USERS_REFUSED);
        parts = (struct sip_response_parts){
            .status = 403, .reason = SPAN("The policy of your domain forbids you XMPP")};
    }
    return parts;
}
