/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection behind a proxy (sip.proxy_listen). Before its first byte stands the proxy's
 * header, which says who the client is: from then on the connection is the client's, a trunk is
 * known by that address, and what the client may not do it may not do through a proxy either.
 * It is never used for requests of ours (RFC 5923): the proxy would have to bring them.
 */
#include <assert.h>

#include "core/sip_connection_priv.h"
#include "net/proxy_header.h"

const char *sip_proxy_refusal(const struct sip_streams *streams, const union net_address *peer)
{
    return config_is_proxy(&streams->thread->config->sip_proxies, peer)
               ? NULL
               : "it is no proxy of sip.proxy_sources";
}

static bool become_client(struct sip_streams *streams, struct connection *connection,
                          const union net_address *client)
{
    const char *why = sip_connection_refusal(streams, connection->transport, client);
    if (why != NULL) {
        sip_connection_tell_refusal(streams, client, STAT_SIP_CONNECTIONS_REFUSED, why);
        sip_connection_fail(streams, connection, why);
        return false;
    }
    connection->peer = *client;
    net_address_site(&connection->site, client);
    return true;
}

/* Without TLS what came behind the header is input. */
static bool pass_rest(struct sip_streams *streams, struct connection *connection)
{
    struct net_buffer *rest = &connection->cipher;
    if (connection->transport == SIP_TRANSPORT_TLS || net_buffer_used(rest) == 0)
        return true;
    if (net_buffer_add(&connection->input, net_buffer_front(rest), net_buffer_used(rest)) < 0) {
        sip_connection_fail(streams, connection, "too much input");
        return false;
    }
    net_buffer_consume(rest, net_buffer_used(rest));
    net_buffer_trim(rest, 0);
    return true;
}

bool sip_proxy_read(struct sip_streams *streams, struct connection *connection)
{
    static const char broken[] = "the proxy sends no header of PROXY protocol version 2";
    struct net_buffer *input = &connection->cipher;
    struct proxy_header header;
    assert(connection->state == CONNECTION_PROXIED);
    switch (proxy_header_read(&header, net_buffer_front(input), net_buffer_used(input))) {
    case PROXY_HEADER_MORE: return false;
    case PROXY_HEADER_BROKEN:
        sip_connection_tell_refusal(streams, &connection->peer, STAT_SIP_PROXY_REFUSED, broken);
        sip_connection_fail(streams, connection, broken);
        return false;
    case PROXY_HEADER_DONE: break;
    }
    net_buffer_consume(input, header.size);
    /* LOCAL: the proxy looks whether we are there, in its own name. */
    if (!header.is_local && !become_client(streams, connection, &header.source))
        return false;
    if (!pass_rest(streams, connection))
        return false;
    sip_stream_start(streams, connection);
    return connection->state != CONNECTION_LOST;
}
