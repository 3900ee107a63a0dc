/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_connection_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"

int sip_connection_open(struct sip_streams **streams, struct thread *thread, char *error,
                        size_t error_size)
{
    const struct config *config = thread->config;
    struct sip_streams *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int result = -ENOMEM;
    made->thread = thread;
    made->by_trunk = calloc(config->trunk_slots + 1, sizeof(struct connection *));
    table_init(&made->connections);
    TAILQ_INIT(&made->all);
    if (made->by_trunk != NULL)
        result = tls_store_open(&made->tls, thread, TLS_STORE_SIP, error, error_size);
    if (result < 0)
        goto fail;
    *streams = made;
    return 0;
fail:
    sip_connection_close(&made);
    return result;
}

static void connection_free(struct sip_streams *streams, struct connection *connection)
{
    assert(connection->magic == CONNECTION_MAGIC);
    assert(connection->node.owner == NULL);
    assert(streams->open_count > 0);
    streams->open_count--;
    TAILQ_REMOVE(&streams->all, connection, all);
    connection->magic = 0;
    if (connection->tls != NULL)
        tls_close(&connection->tls);
    net_buffer_fini(&connection->cipher);
    net_buffer_fini(&connection->input);
    net_buffer_fini(&connection->pending);
    net_buffer_fini(&connection->output);
    net_buffer_fini(&connection->sending);
    free(connection);
}

void sip_connection_close(struct sip_streams **streams)
{
    struct sip_streams *closed = *streams;
    if (closed == NULL)
        return;
    struct table_node *node;
    while ((node = table_any(&closed->connections)) != NULL)
        sip_connection_fail(closed, node->owner, "closing");
    struct sip_input untold;
    while (closed->lost != NULL)
        (void)sip_connection_next(closed, &untold);
    /* The kernel may still read what is being sent: wait for the last completions. */
    for (int i = 0; closed->open_count > 0 && i < 100; i++) {
        struct ring_event event;
        (void)ring_wait(closed->thread->ring, 10000000);
        while (ring_next(closed->thread->ring, &event)) {
            struct sip_socket *socket = event.owner;
            if (event.kind == RING_GONE && socket != NULL &&
                socket->kind == SIP_SOCKET_CONNECTION)
                connection_free(closed, event.owner);
        }
    }
    tls_store_close(&closed->tls);
    table_fini(&closed->connections);
    free(closed->by_trunk);
    free(closed);
    *streams = NULL;
}

/* ---- life of a connection ---- */

void sip_connection_set_state(struct connection *connection, enum connection_state state)
{
    assert(state > connection->state);
    connection->state = state;
}

static struct connection *connection_make(struct sip_streams *streams,
                                          enum sip_transport transport,
                                          const union net_address *peer)
{
    if (streams->open_count >= CONNECTION_MAX)
        return NULL;
    struct connection *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    streams->open_count++;
    TAILQ_INSERT_TAIL(&streams->all, made, all);
    made->socket.kind = SIP_SOCKET_CONNECTION;
    made->magic = CONNECTION_MAGIC;
    made->transport = transport;
    made->peer = *peer;
    net_address_site(&made->site, peer);
    made->ticket = ++streams->ticket_next;
    made->timer.kind = EGRESS_TIMER_CONNECTION;
    made->timer.owner = made;
    net_buffer_init(&made->cipher, INPUT_SIZE_MAX);
    net_buffer_init(&made->input, INPUT_SIZE_MAX);
    net_buffer_init(&made->pending, OUTPUT_SIZE_MAX / 2);
    net_buffer_init(&made->output, OUTPUT_SIZE_MAX);
    net_buffer_init(&made->sending, OUTPUT_SIZE_MAX);
    timer_arm(&streams->thread->timers, &made->timer,
              streams->thread->now_ms + streams->thread->config->sip_setup_timeout_ms);
    table_add(&streams->connections, &made->node, made->ticket, made);
    return made;
}

static void forget(struct sip_streams *streams, struct connection *connection)
{
    table_remove(&streams->connections, &connection->node);
    timer_disarm(&streams->thread->timers, &connection->timer);
    const struct config_trunk *trunk =
        connection->trunk != NULL ? connection->trunk : connection->alias_of;
    if (trunk != NULL && streams->by_trunk[trunk->index] == connection)
        streams->by_trunk[trunk->index] = NULL;
    if (streams->reading == connection) {
        streams->reading = NULL;
        streams->consume = 0;
    }
}

void sip_connection_fail(struct sip_streams *streams, struct connection *connection,
                         const char *why)
{
    if (connection->state == CONNECTION_LOST)
        return;
    char peer[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&connection->peer, peer);
    log_event(LOG_LEVEL_INFO, "sip.connection_closed", 0, log_text("peer", span_of(peer)),
              log_text("reason", span_of(why)));
    sip_connection_set_state(connection, CONNECTION_LOST);
    forget(streams, connection);
    connection->next_lost = streams->lost;
    streams->lost = connection;
    ring_drop(streams->thread->ring, connection->handle);
}

static struct connection *find(const struct sip_streams *streams, uint64_t ticket)
{
    struct table_node *node = table_find(&streams->connections, ticket);
    return node != NULL ? node->owner : NULL;
}

const char *sip_connection_identity(const struct config_trunk *trunk)
{
    return trunk->identity != NULL ? trunk->identity : trunk->host;
}

/* ---- events ---- */

const char *sip_connection_refusal(const struct sip_streams *streams,
                                   enum sip_transport transport, const union net_address *peer)
{
    const struct config *config = streams->thread->config;
    const struct connection *one;
    union net_address site;
    size_t next = 0;
    unsigned count = 0;
    if (transport == SIP_TRANSPORT_TCP && config_next_trunk_from(config, peer, &next) == NULL)
        return "no trunk has this address";
    net_address_site(&site, peer);
    TAILQ_FOREACH(one, &streams->all, all)
    count += one->trunk == NULL && net_address_equal_host(&one->site, &site);
    return count >= config->sip_connections_per_address_max ? "too many from this address"
                                                            : NULL;
}

void sip_connection_tell_refusal(const struct sip_streams *streams,
                                 const union net_address *address, enum stats_counter counter,
                                 const char *why)
{
    char peer[NET_ADDRESS_TEXT_SIZE];
    net_address_format(address, peer);
    stats_count(streams->thread->stats, counter);
    log_event(LOG_LEVEL_DEBUG, "sip.connection_refused", 0, log_text("peer", span_of(peer)),
              log_text("reason", span_of(why)));
}

void sip_connection_accept(struct sip_streams *streams, enum sip_transport transport,
                           bool is_proxied, const struct ring_event *event)
{
    const char *why = is_proxied ? sip_proxy_refusal(streams, &event->peer)
                                 : sip_connection_refusal(streams, transport, &event->peer);
    enum stats_counter counter =
        is_proxied && why != NULL ? STAT_SIP_PROXY_REFUSED : STAT_SIP_CONNECTIONS_REFUSED;
    struct connection *made =
        why == NULL ? connection_make(streams, transport, &event->peer) : NULL;
    if (made == NULL) {
        sip_connection_tell_refusal(streams, &event->peer, counter,
                                    why != NULL ? why : "too many connections");
        ring_drop(streams->thread->ring, event->accepted);
        return;
    }
    made->handle = event->accepted;
    made->is_proxied = is_proxied;
    ring_set_owner(streams->thread->ring, made->handle, made);
    if (is_proxied)
        sip_connection_set_state(made, CONNECTION_PROXIED);
    else
        sip_stream_start(streams, made);
}

/* What fails at the end of a turn may be gone before anybody was told that it is lost. */
static bool is_lost_untold(const struct sip_streams *streams,
                           const struct connection *connection)
{
    const struct connection *one = streams->lost;
    while (one != NULL && one != connection)
        one = one->next_lost;
    return one != NULL;
}

void sip_connection_feed(struct sip_streams *streams, const struct ring_event *event)
{
    struct connection *connection = event->owner;
    assert(connection->magic == CONNECTION_MAGIC);
    switch (event->kind) {
    case RING_CONNECTED:
        if (event->result < 0)
            sip_connection_fail(streams, connection, strerror(-event->result));
        else
            sip_stream_start(streams, connection);
        break;
    case RING_RECEIVED: sip_stream_receive(streams, connection, event); break;
    case RING_END:
        sip_connection_fail(streams, connection,
                            event->result == 0 ? "closed" : strerror(-event->result));
        break;
    case RING_SENT:
        connection->in_flight = false;
        net_buffer_consume(&connection->sending, net_buffer_used(&connection->sending));
        net_buffer_trim(&connection->sending, 0);
        if (event->result < 0)
            sip_connection_fail(streams, connection, strerror(-event->result));
        else
            sip_stream_flush(streams, connection);
        break;
    case RING_GONE:
        connection->is_gone = true;
        if (!is_lost_untold(streams, connection))
            connection_free(streams, connection);
        break;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_WOKEN: break;
    }
}

bool sip_connection_next(struct sip_streams *streams, struct sip_input *input)
{
    if (streams->lost == NULL)
        return sip_stream_next(streams, input);
    struct connection *connection = streams->lost;
    streams->lost = connection->next_lost;
    *input = (struct sip_input){.kind = SIP_INPUT_LOST, .flow.connection = connection->ticket};
    if (connection->is_gone)
        connection_free(streams, connection);
    return true;
}

void sip_connection_tick(struct sip_streams *streams, struct timer *timer)
{
    struct connection *connection = timer->owner;
    assert(connection->magic == CONNECTION_MAGIC);
    sip_connection_fail(streams, connection,
                        connection->state != CONNECTION_READY ? "no connection in time"
                        : connection->ends_ms != 0            ? "its trunk is no more"
                                                   : "a message did not end in time");
}

/* ---- requests and responses ---- */

static struct connection *dial(struct sip_streams *streams, const struct config_trunk *trunk,
                               const struct sip_target *target, int *error)
{
    struct connection *made = connection_make(streams, target->transport, &target->address);
    if (made == NULL) {
        *error = -ENOBUFS;
        return NULL;
    }
    made->trunk = trunk;
    *error = ring_connect(streams->thread->ring, &target->address, NULL, made, &made->handle);
    if (*error == 0)
        return made;
    forget(streams, made);
    connection_free(streams, made);
    return NULL;
}

/* The connection that leads to the target of a trunk: our own, or one of the trunk that it
   wants to be used both ways (RFC 5923). */
static bool leads_to(const struct connection *connection, const struct sip_target *target)
{
    if (connection->transport != target->transport)
        return false;
    if (connection->alias_port == 0)
        return net_address_equal(&connection->peer, &target->address);
    return net_address_equal_host(&connection->peer, &target->address) &&
           net_address_port(&target->address) == connection->alias_port;
}

int sip_connection_request(struct sip_streams *streams, const struct config_trunk *trunk,
                           const struct sip_target *target, struct span bytes,
                           uint64_t *connection)
{
    struct connection *used = streams->by_trunk[trunk->index];
    if (used == NULL || !leads_to(used, target)) {
        int error;
        used = dial(streams, trunk, target, &error);
        if (used == NULL)
            return error;
        streams->by_trunk[trunk->index] = used;
    }
    if (net_buffer_used(&used->pending) + net_buffer_used(&used->output) + bytes.size >
        REQUESTS_SIZE_MAX)
        return -EAGAIN;
    *connection = used->ticket;
    sip_stream_put(streams, used, bytes);
    return 0;
}

/* The connection of the request is gone: RFC 3261 §18.2.2 wants one to where the request came
   from, at the port of its sent-by, which is in flow->peer. One that is there is used again.
   NULL: nobody whom we know sent it, or there can be none. */
static struct connection *reopen(struct sip_streams *streams, const struct sip_flow *flow)
{
    struct sip_target target = {flow->peer, flow->transport};
    if (flow->trunk == 0)
        return NULL;
    for (size_t i = 0; i < streams->connections.size; i++) {
        struct table_node *node = streams->connections.chains[i];
        for (; node != NULL; node = node->next) {
            struct connection *found = node->owner;
            if (found->trunk != NULL && found->trunk->index == flow->trunk - 1 &&
                found->alias_port == 0 && leads_to(found, &target))
                return found;
        }
    }
    int error;
    return dial(streams, config_trunk_at(streams->thread->config, flow->trunk - 1), &target,
                &error);
}

void sip_connection_respond(struct sip_streams *streams, const struct sip_flow *flow,
                            struct span bytes)
{
    struct connection *connection = find(streams, flow->connection);
    if (connection == NULL) {
        connection = reopen(streams, flow);
        log_event(LOG_LEVEL_INFO,
                  connection != NULL ? "sip.response_reconnects" : "sip.response_lost", 0,
                  log_text("reason", SPAN("the connection of the request is gone")));
    }
    if (connection != NULL)
        sip_stream_put(streams, connection, bytes);
}

bool sip_connection_sent(const struct sip_streams *streams)
{
    for (size_t i = 0; i < streams->connections.size; i++) {
        struct table_node *node = streams->connections.chains[i];
        for (; node != NULL; node = table_next(node))
            if (((const struct connection *)node->owner)->in_flight)
                return false;
    }
    return true;
}

bool sip_connection_proved(struct sip_streams *streams, uint64_t ticket, const char *identity)
{
    struct connection *connection = find(streams, ticket);
    return connection != NULL && connection->state == CONNECTION_READY &&
           sip_stream_proves(connection, identity);
}

void sip_connection_alias(struct sip_streams *streams, uint64_t ticket,
                          const struct config_trunk *trunk, uint16_t port)
{
    struct connection *connection = find(streams, ticket);
    if (connection == NULL || connection->trunk != NULL || connection->alias_of != NULL ||
        connection->is_proxied || connection->state != CONNECTION_READY ||
        !sip_stream_proves(connection, sip_connection_identity(trunk)))
        return;
    connection->alias_port = port;
    connection->alias_of = trunk;
    if (streams->by_trunk[trunk->index] == NULL)
        streams->by_trunk[trunk->index] = connection;
}
