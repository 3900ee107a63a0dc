/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/sip_tls.h"
#include "core/table.h"
#include "net/certificate.h"

#define CONNECTION_MAGIC   0x53434f4eu
#define CONNECTION_MAX     4096u
#define INPUT_SIZE_MAX     (2u * SIP_MESSAGE_SIZE_MAX)
#define OUTPUT_SIZE_MAX    (4u * SIP_MESSAGE_SIZE_MAX)
#define SETUP_TIMEOUT_MS   10000u /* connect and TLS handshake together */
#define PARTIAL_TIMEOUT_MS 30000u /* a message that has begun must end by then */
#define READ_SIZE          16384u

_Static_assert(INPUT_SIZE_MAX > SIP_MESSAGE_SIZE_MAX + READ_SIZE,
               "one partial message and one read fit");

enum connection_state {
    CONNECTION_CONNECTING,
    CONNECTION_HANDSHAKE,
    CONNECTION_READY,
    CONNECTION_CLOSING,
    CONNECTION_LOST
};

struct connection {
    struct sip_socket socket; /* first: what ring events name */
    uint32_t magic;
    enum connection_state state;
    enum sip_transport transport;
    ring_handle handle;
    uint64_t ticket;
    struct table_node node;
    union net_address peer;
    const struct config_trunk *trunk; /* outbound; NULL for accepted ones */
    struct tls_session *tls;
    const char *proved;                /* the identity checked last, of the configuration */
    struct net_buffer cipher, input;   /* received: not decrypted, not framed */
    struct net_buffer pending;         /* plain text that waits for CONNECTION_READY */
    struct net_buffer output, sending; /* for the wire; `sending` belongs to the kernel */
    bool in_flight, has_deadline;
    bool ends; /* closes once the answer to what could not be framed is out */
    size_t scanned;
    struct timer timer;
    struct connection *next_lost;
};

struct sip_streams {
    struct thread *thread;
    struct sip_tls tls;
    struct table connections;     /* by ticket */
    struct connection **by_trunk; /* the current outbound connection of each trunk */
    struct connection *lost, *reading;
    size_t consume; /* of reading->input, once the caller is done with it */
    size_t open_count;
    uint64_t ticket_next;
};

static void fail(struct sip_streams *streams, struct connection *connection, const char *why);

int sip_connection_open(struct sip_streams **streams, struct thread *thread, char *error,
                        size_t error_size)
{
    const struct config *config = thread->config;
    struct sip_streams *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int result = -ENOMEM;
    made->thread = thread;
    made->by_trunk = calloc(config->trunk_count + 1, sizeof(struct connection *));
    table_init(&made->connections);
    if (made->by_trunk != NULL)
        result = sip_tls_open(&made->tls, config, error, error_size);
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
        fail(closed, node->owner, "closing");
    closed->lost = NULL;
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
    sip_tls_close(&closed->tls);
    table_fini(&closed->connections);
    free(closed->by_trunk);
    free(closed);
    *streams = NULL;
}

/* ---- life of a connection ---- */

static void set_state(struct connection *connection, enum connection_state state)
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
    made->socket.kind = SIP_SOCKET_CONNECTION;
    made->magic = CONNECTION_MAGIC;
    made->transport = transport;
    made->peer = *peer;
    made->ticket = ++streams->ticket_next;
    made->timer.kind = EGRESS_TIMER_CONNECTION;
    made->timer.owner = made;
    net_buffer_init(&made->cipher, INPUT_SIZE_MAX);
    net_buffer_init(&made->input, INPUT_SIZE_MAX);
    net_buffer_init(&made->pending, OUTPUT_SIZE_MAX / 2);
    net_buffer_init(&made->output, OUTPUT_SIZE_MAX);
    net_buffer_init(&made->sending, OUTPUT_SIZE_MAX);
    timer_arm(&streams->thread->timers, &made->timer,
              streams->thread->now_ms + SETUP_TIMEOUT_MS);
    table_add(&streams->connections, &made->node, made->ticket, made);
    return made;
}

static void forget(struct sip_streams *streams, struct connection *connection)
{
    table_remove(&streams->connections, &connection->node);
    timer_disarm(&streams->thread->timers, &connection->timer);
    if (connection->trunk != NULL && streams->by_trunk[connection->trunk->index] == connection)
        streams->by_trunk[connection->trunk->index] = NULL;
    if (streams->reading == connection) {
        streams->reading = NULL;
        streams->consume = 0;
    }
}

static void fail(struct sip_streams *streams, struct connection *connection, const char *why)
{
    if (connection->state == CONNECTION_LOST)
        return;
    char peer[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&connection->peer, peer);
    log_event(LOG_LEVEL_INFO, "sip.connection_closed", 0, log_text("peer", span_of(peer)),
              log_text("reason", span_of(why)));
    set_state(connection, CONNECTION_LOST);
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

/* ---- output ---- */

static void flush(struct sip_streams *streams, struct connection *connection)
{
    if (connection->in_flight || connection->state == CONNECTION_LOST ||
        connection->state == CONNECTION_CONNECTING)
        return;
    if (net_buffer_used(&connection->output) == 0) {
        if (connection->state == CONNECTION_CLOSING)
            fail(streams, connection, "protocol error");
        return;
    }
    struct net_buffer empty = connection->sending;
    connection->sending = connection->output;
    connection->output = empty;
    int error = ring_send(streams->thread->ring, connection->handle,
                          net_buffer_front(&connection->sending),
                          net_buffer_used(&connection->sending));
    if (error < 0)
        fail(streams, connection, strerror(-error));
    else
        connection->in_flight = true;
}

static void put(struct sip_streams *streams, struct connection *connection, struct span bytes)
{
    int error = 0;
    if (connection->state == CONNECTION_LOST || connection->state == CONNECTION_CLOSING)
        return;
    if (connection->state != CONNECTION_READY)
        error = net_buffer_add(&connection->pending, bytes.data, bytes.size);
    else if (connection->tls == NULL)
        error = net_buffer_add(&connection->output, bytes.data, bytes.size);
    else if (tls_write(connection->tls, bytes.data, bytes.size, &connection->output) !=
             TLS_DONE)
        error = -EPIPE;
    if (error < 0)
        fail(streams, connection, "the peer does not read");
    else
        flush(streams, connection);
}

static bool proves(struct connection *connection, const char *identity)
{
    const char *reason = NULL;
    size_t size = 0;
    struct certificate certificate;
    if (connection->tls == NULL || connection->state < CONNECTION_HANDSHAKE)
        return false;
    if (connection->proved == identity)
        return true;
    const uint8_t *der = tls_peer_certificate(connection->tls, &size);
    bool proved = der != NULL && tls_peer_verified(connection->tls, &reason) &&
                  certificate_read(&certificate, der, size) == 0 &&
                  certificate_matches_sip(&certificate, identity);
    if (proved)
        connection->proved = identity;
    return proved;
}

static const char *identity_of(const struct config_trunk *trunk)
{
    return trunk->identity != NULL ? trunk->identity : trunk->host;
}

static void become_ready(struct sip_streams *streams, struct connection *connection)
{
    timer_disarm(&streams->thread->timers, &connection->timer);
    if (connection->tls != NULL && connection->trunk != NULL &&
        !proves(connection, identity_of(connection->trunk))) {
        /* RFC 5922 §7.3: nothing is sent to who cannot say who it is. */
        stats_count(streams->thread->stats, STAT_TLS_FAILURES);
        fail(streams, connection, "the certificate does not prove the trunk's identity");
        return;
    }
    set_state(connection, CONNECTION_READY);
    struct net_buffer *pending = &connection->pending;
    if (net_buffer_used(pending) > 0)
        put(streams, connection,
            span_make(net_buffer_front(pending), net_buffer_used(pending)));
    net_buffer_consume(pending, net_buffer_used(pending));
    net_buffer_trim(pending, 0);
}

/* ---- input ---- */

static void handshake(struct sip_streams *streams, struct connection *connection)
{
    enum tls_result result = tls_handshake(connection->tls, &connection->output);
    if (result == TLS_DONE) {
        stats_count(streams->thread->stats, STAT_TLS_HANDSHAKES);
        become_ready(streams, connection);
    } else if (result != TLS_MORE) {
        stats_count(streams->thread->stats, STAT_TLS_FAILURES);
        fail(streams, connection, tls_error(connection->tls));
        return;
    }
    flush(streams, connection);
}

static void decrypt(struct sip_streams *streams, struct connection *connection)
{
    enum tls_result result = TLS_DONE;
    while (result == TLS_DONE) {
        size_t size = 0;
        uint8_t *place = net_buffer_reserve(&connection->input, READ_SIZE);
        if (place == NULL) {
            fail(streams, connection, "too much input");
            return;
        }
        result = tls_read(connection->tls, place, READ_SIZE, &size, &connection->output);
        net_buffer_commit(&connection->input, size);
    }
    if (result == TLS_MORE)
        flush(streams, connection);
    else
        fail(streams, connection, result == TLS_CLOSED ? "closed" : tls_error(connection->tls));
}

static void receive_tls(struct sip_streams *streams, struct connection *connection,
                        const struct ring_event *event)
{
    struct net_buffer *cipher = &connection->cipher;
    if (net_buffer_add(cipher, event->data, event->size) < 0) {
        fail(streams, connection, "too much input");
        return;
    }
    size_t size = net_buffer_used(cipher);
    tls_set_input(connection->tls, net_buffer_front(cipher), size);
    if (connection->state == CONNECTION_HANDSHAKE)
        handshake(streams, connection);
    if (connection->state == CONNECTION_READY)
        decrypt(streams, connection);
    net_buffer_consume(cipher, size - tls_input_left(connection->tls));
    net_buffer_trim(cipher, 0);
}

static void receive(struct sip_streams *streams, struct connection *connection,
                    const struct ring_event *event)
{
    if (connection->state == CONNECTION_CLOSING)
        return;
    if (connection->tls != NULL)
        receive_tls(streams, connection, event);
    else if (net_buffer_add(&connection->input, event->data, event->size) < 0)
        fail(streams, connection, "too much input");
    if (connection->state == CONNECTION_READY)
        streams->reading = connection;
}

static void connected(struct sip_streams *streams, struct connection *connection, int result)
{
    if (result < 0) {
        fail(streams, connection, strerror(-result));
        return;
    }
    if (connection->transport != SIP_TRANSPORT_TLS) {
        become_ready(streams, connection);
        return;
    }
    assert(connection->trunk != NULL);
    set_state(connection, CONNECTION_HANDSHAKE);
    const struct config *config = streams->thread->config;
    struct tls_context *context =
        sip_tls_context(&streams->tls, &config->tenants[connection->trunk->tenant]);
    if (tls_connect(&connection->tls, context, identity_of(connection->trunk), TLS_ALPN_NONE) <
        0)
        fail(streams, connection, "no memory for TLS");
    else
        handshake(streams, connection);
}

void sip_connection_accept(struct sip_streams *streams, enum sip_transport transport,
                           const struct ring_event *event)
{
    struct connection *made = connection_make(streams, transport, &event->peer);
    if (made == NULL) {
        ring_drop(streams->thread->ring, event->accepted);
        return;
    }
    made->handle = event->accepted;
    ring_set_owner(streams->thread->ring, made->handle, made);
    if (transport == SIP_TRANSPORT_TCP) {
        become_ready(streams, made);
        return;
    }
    set_state(made, CONNECTION_HANDSHAKE);
    if (tls_accept(&made->tls, streams->tls.context, sip_tls_choose, &streams->tls,
                   TLS_ALPN_NONE) < 0)
        fail(streams, made, "no memory for TLS");
}

void sip_connection_feed(struct sip_streams *streams, const struct ring_event *event)
{
    struct connection *connection = event->owner;
    assert(connection->magic == CONNECTION_MAGIC);
    switch (event->kind) {
    case RING_CONNECTED: connected(streams, connection, event->result); break;
    case RING_RECEIVED: receive(streams, connection, event); break;
    case RING_END:
        fail(streams, connection, event->result == 0 ? "closed" : strerror(-event->result));
        break;
    case RING_SENT:
        connection->in_flight = false;
        net_buffer_consume(&connection->sending, net_buffer_used(&connection->sending));
        net_buffer_trim(&connection->sending, 0);
        if (event->result < 0)
            fail(streams, connection, strerror(-event->result));
        else
            flush(streams, connection);
        break;
    case RING_GONE:
        /* It was told as lost in the turn that dropped it. */
        connection_free(streams, connection);
        break;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_WOKEN: break;
    }
}

static void watch_partial(struct sip_streams *streams, struct connection *connection)
{
    struct thread *thread = streams->thread;
    if (net_buffer_used(&connection->input) == 0) {
        timer_disarm(&thread->timers, &connection->timer);
        connection->has_deadline = false;
        net_buffer_trim(&connection->input, 0);
    } else if (!connection->has_deadline) {
        connection->has_deadline = true;
        timer_arm(&thread->timers, &connection->timer, thread->now_ms + PARTIAL_TIMEOUT_MS);
    }
}

static void fill_input(const struct sip_streams *streams, const struct connection *connection,
                       const struct sip_guard *guard, struct sip_input *input)
{
    struct span all =
        span_make(net_buffer_front(&connection->input), net_buffer_used(&connection->input));
    *input = (struct sip_input){.kind = SIP_INPUT_MESSAGE,
                                .flow = {.transport = connection->transport,
                                         .peer = connection->peer,
                                         .holder = streams->thread->self,
                                         .connection = connection->ticket},
                                .bytes = span_to(span_from(all, guard->skipped), guard->size),
                                .is_request = guard->is_request,
                                .status = guard->status,
                                .reason = guard->reason};
}

static void end_after_output(struct sip_streams *streams, struct connection *connection)
{
    struct thread *thread = streams->thread;
    set_state(connection, CONNECTION_CLOSING);
    streams->reading = NULL;
    timer_arm(&thread->timers, &connection->timer, thread->now_ms + SETUP_TIMEOUT_MS);
    flush(streams, connection);
}

/* Frames one message. True: *input has it. False with streams->reading NULL: all is read. */
static bool frame(struct sip_streams *streams, struct connection *connection,
                  struct sip_input *input)
{
    struct span all =
        span_make(net_buffer_front(&connection->input), net_buffer_used(&connection->input));
    struct sip_guard guard = {0};
    enum sip_guard_result result =
        all.size == 0 ? SIP_GUARD_MORE : sip_guard_stream(all, connection->scanned, &guard);
    if (result == SIP_GUARD_MORE) {
        connection->scanned = all.size;
        watch_partial(streams, connection);
        streams->reading = NULL;
        return false;
    }
    connection->scanned = 0;
    connection->has_deadline = false;
    timer_disarm(&streams->thread->timers, &connection->timer);
    fill_input(streams, connection, &guard, input);
    streams->consume = guard.skipped + guard.size;
    if (result == SIP_GUARD_OK)
        return true;
    if (result == SIP_GUARD_PING) {
        put(streams, connection, SPAN("\r\n")); /* RFC 5626 §4.4.1 */
        return false;
    }
    stats_count(streams->thread->stats, STAT_SIP_GUARD_REJECTED);
    if (guard.fatal && result == SIP_GUARD_DROP) {
        fail(streams, connection, "the stream cannot be read");
        return false;
    }
    if (guard.fatal) {
        input->bytes = all; /* the answer copies what header fields there are */
        streams->consume = all.size;
        connection->ends = true;
    }
    input->kind = SIP_INPUT_REJECT;
    return result == SIP_GUARD_REJECT;
}

bool sip_connection_next(struct sip_streams *streams, struct sip_input *input)
{
    if (streams->lost != NULL) {
        struct connection *connection = streams->lost;
        streams->lost = connection->next_lost;
        *input =
            (struct sip_input){.kind = SIP_INPUT_LOST, .flow.connection = connection->ticket};
        return true;
    }
    /* Every pass consumes input or ends reading. */
    while (streams->reading != NULL) {
        struct connection *connection = streams->reading;
        net_buffer_consume(&connection->input, streams->consume);
        streams->consume = 0;
        if (connection->ends)
            end_after_output(streams, connection);
        else if (frame(streams, connection, input))
            return true;
        assert(streams->reading == NULL || streams->consume > 0);
    }
    return false;
}

void sip_connection_tick(struct sip_streams *streams, struct timer *timer)
{
    struct connection *connection = timer->owner;
    assert(connection->magic == CONNECTION_MAGIC);
    fail(streams, connection,
         connection->state == CONNECTION_READY ? "a message did not end in time"
                                               : "no connection in time");
}

/* ---- requests and responses ---- */

int sip_connection_request(struct sip_streams *streams, const struct config_trunk *trunk,
                           const union net_address *target, struct span bytes,
                           uint64_t *connection)
{
    struct connection *used = streams->by_trunk[trunk->index];
    if (used == NULL || !net_address_equal(&used->peer, target)) {
        used = connection_make(streams, trunk->transport, target);
        if (used == NULL)
            return -ENOBUFS;
        int error = ring_connect(streams->thread->ring, target, NULL, used, &used->handle);
        if (error < 0) {
            forget(streams, used);
            connection_free(streams, used);
            return error;
        }
        used->trunk = trunk;
        streams->by_trunk[trunk->index] = used;
    }
    *connection = used->ticket;
    put(streams, used, bytes);
    return 0;
}

void sip_connection_respond(struct sip_streams *streams, uint64_t ticket, struct span bytes)
{
    struct connection *connection = find(streams, ticket);
    if (connection == NULL)
        log_event(LOG_LEVEL_INFO, "sip.response_lost", 0,
                  log_text("reason", SPAN("the connection of the request is gone")));
    else
        put(streams, connection, bytes);
}

bool sip_connection_proved(struct sip_streams *streams, uint64_t ticket, const char *identity)
{
    struct connection *connection = find(streams, ticket);
    return connection != NULL && connection->state == CONNECTION_READY &&
           proves(connection, identity);
}
