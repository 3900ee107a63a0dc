/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests that landed on another thread than the one that owns their conversation. All
 * datagrams of one trunk address land on one thread, so with several threads most do. What the
 * owner does (parsing, checks, the transaction) is not done here too: of a MESSAGE only the
 * addresses are read, to find the owner and the trunk it came by, and given to the owner with
 * it.
 */
#include "core/sip_uas_priv.h"

#include <assert.h>

#include "proto/sip_line.h"

static size_t jid_size(const struct jid *jid)
{
    return jid->local.size + jid->domain.size + jid->resource.size;
}

bool sip_route_post(struct sip_uas *uas, const struct sip_flow *flow, struct span bytes,
                    const struct parties *parties, unsigned owner)
{
    struct thread *thread = uas->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL)
        return false;
    parcel->kind = PARCEL_SIP_BYTES;
    parcel->peer = flow->peer;
    parcel->connection = flow->connection;
    parcel->transport = (uint8_t)flow->transport;
    thread_put_trunk(thread, parcel, flow->trunk);
    parcel->tenant = parties->tenant != NULL ? parties->tenant->index : UINT32_MAX;
    parcel->bytes = parcel_copy(parcel, bytes);
    assert(parcel->bytes.data != NULL); /* SIP_HANDOVER_SIZE_MAX */
    if (jid_size(&parties->from) + jid_size(&parties->to) <=
        PARCEL_TEXT_SIZE - parcel->text_used) {
        parcel->from = parcel_copy_jid(parcel, &parties->from);
        parcel->to = parcel_copy_jid(parcel, &parties->to);
    }
    mesh_post(thread->mesh, thread->self, owner, &parcel);
    return true;
}

bool sip_route_parties(const struct sip_uas *uas, const struct parcel *carrier,
                       struct parties *parties)
{
    if (carrier == NULL || carrier->from.domain.size == 0)
        return false;
    *parties =
        (struct parties){.from = carrier->from,
                         .to = carrier->to,
                         .from_result = ADDRESS_OK,
                         .to_result = ADDRESS_OK,
                         .tenant = thread_tenant(uas->thread, carrier, carrier->from.domain)};
    return true;
}

/* The addresses of a guarded MESSAGE, and its first Via when it came by a connection. False
   when anything is unusual: then the whole of it is looked at. */
static bool read_addresses(const struct sip_input *input, struct sip_message *message)
{
    struct span bytes = input->bytes;
    struct span start = span_from(bytes, sizeof("MESSAGE ") - 1);
    struct span rest = span_from(bytes, span_find(bytes, '\n') + 1), uri, parameters;
    struct sip_line line;
    bool has_from = false, has_via = input->flow.transport == SIP_TRANSPORT_UDP;
    if (!span_starts(bytes, SPAN("MESSAGE ")) ||
        !sip_uri_parse(span_to(start, span_find(start, ' ')), &message->request_uri))
        return false;
    while ((!has_from || !has_via) && sip_line_next(&rest, &line)) {
        if (line.header == SIP_HEADER_FROM) {
            has_from = sip_line_address(line.value, &uri, &parameters) &&
                       sip_uri_parse(uri, &message->from);
            if (!has_from)
                return false;
        } else if (line.header == SIP_HEADER_VIA && !has_via) {
            struct span others;
            has_via = sip_line_via(line.value, &message->via, &others);
            if (!has_via)
                return false;
        }
    }
    return has_from && has_via;
}

void sip_route_alias(struct sip_uas *uas, const struct sip_flow *flow,
                     const struct sip_via *via)
{
    if (flow->trunk != 0 && via->alias)
        sip_transport_alias(uas->wire, flow,
                            config_trunk_at(uas->thread->config, flow->trunk - 1),
                            via->port != 0 ? via->port : 5061);
}

bool sip_route_elsewhere(struct sip_uas *uas, const struct sip_input *input)
{
    struct thread *thread = uas->thread;
    struct sip_message message = {0};
    struct parties parties;
    struct sip_flow flow = input->flow;
    if (thread->config->egress_count == 1 || input->bytes.size > SIP_HANDOVER_SIZE_MAX ||
        !read_addresses(input, &message))
        return false;
    sip_check_parties_of(uas, &message, &parties);
    if (parties.from_result != ADDRESS_OK || parties.to_result != ADDRESS_OK ||
        parties.tenant == NULL)
        return false;
    unsigned owner = route_egress(thread->config, &parties.from, &parties.to);
    if (owner == thread->self)
        return false;
    flow.trunk = sip_check_source(uas, &flow, parties.tenant);
    if (flow.trunk == 0 || !sip_route_post(uas, &flow, input->bytes, &parties, owner))
        return false;
    sip_route_alias(uas, &flow, &message.via);
    stats_count(thread->stats, STAT_SIP_REQUESTS_IN);
    return true;
}
