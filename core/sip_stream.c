/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What goes through one connection. */
#include "core/sip_connection_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "core/log.h"
#include "core/trouble.h"
#include "net/certificate.h"

/* ---- output ---- */

void sip_stream_flush(struct sip_streams *streams, struct connection *connection)
{
    if (connection->in_flight || connection->state == CONNECTION_LOST ||
        connection->state < CONNECTION_HANDSHAKE)
        return;
    if (net_buffer_used(&connection->output) == 0) {
        if (connection->state == CONNECTION_CLOSING)
            sip_connection_fail(streams, connection, "protocol error");
        return;
    }
    struct net_buffer empty = connection->sending;
    connection->sending = connection->output;
    connection->output = empty;
    int error = ring_send(streams->thread->ring, connection->handle,
                          net_buffer_front(&connection->sending),
                          net_buffer_used(&connection->sending));
    if (error < 0)
        sip_connection_fail(streams, connection, strerror(-error));
    else
        connection->in_flight = true;
}

void sip_stream_put(struct sip_streams *streams, struct connection *connection,
                    struct span bytes)
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
        sip_connection_fail(streams, connection, "the peer does not read");
    else
        sip_stream_flush(streams, connection);
}

/* The text and not the pointer is compared: many tenants may name one proxy. */
bool sip_stream_proves(struct connection *connection, const char *identity)
{
    const char *reason = NULL;
    size_t size = 0;
    struct certificate certificate;
    if (connection->tls == NULL || connection->state < CONNECTION_HANDSHAKE ||
        !tls_peer_verified(connection->tls, &reason))
        return false;
    if (connection->proved != NULL && strcmp(connection->proved, identity) == 0)
        return true;
    const uint8_t *der = tls_peer_certificate(connection->tls, &size);
    bool proved = der != NULL && certificate_read(&certificate, der, size) == 0 &&
                  certificate_matches_sip(&certificate, identity);
    if (proved)
        connection->proved = identity;
    return proved;
}

/* Arms the deadline for the rest of a message, or for any input at all. */
static void watch(struct sip_streams *streams, struct connection *connection)
{
    struct thread *thread = streams->thread;
    const struct config *config = thread->config;
    if (net_buffer_used(&connection->input) == 0) {
        connection->has_deadline = false;
        net_buffer_trim(&connection->input, 0);
        if (connection->trunk == NULL)
            timer_arm(&thread->timers, &connection->timer,
                      connection->ends_ms != 0 ? connection->ends_ms
                                               : thread->now_ms + config->sip_idle_timeout_ms);
        else
            timer_disarm(&thread->timers, &connection->timer);
    } else if (!connection->has_deadline) {
        connection->has_deadline = true;
        timer_arm(&thread->timers, &connection->timer,
                  thread->now_ms + config->sip_message_timeout_ms);
    }
}

static void become_ready(struct sip_streams *streams, struct connection *connection)
{
    watch(streams, connection);
    if (connection->tls != NULL && connection->trunk != NULL &&
        !sip_stream_proves(connection, sip_connection_identity(connection->trunk))) {
        /* RFC 5922 §7.3: nothing is sent to who cannot say who it is. */
        stats_count(streams->thread->stats, STAT_TLS_FAILURES);
        const char *reason;
        char text[200] = "the certificate does not prove the trunk's identity";
        if (!tls_peer_verified(connection->tls, &reason))
            (void)snprintf(text, sizeof(text), "the certificate does not prove the trunk: %s",
                           reason);
        sip_connection_fail(streams, connection, text);
        return;
    }
    sip_connection_set_state(connection, CONNECTION_READY);
    struct net_buffer *pending = &connection->pending;
    if (net_buffer_used(pending) > 0)
        sip_stream_put(streams, connection,
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
        trouble_tell_revoked(streams->thread, connection->tls, &connection->peer);
        become_ready(streams, connection);
    } else if (result != TLS_MORE) {
        stats_count(streams->thread->stats, STAT_TLS_FAILURES);
        sip_connection_fail(streams, connection, tls_error(connection->tls));
        return;
    }
    sip_stream_flush(streams, connection);
}

static void decrypt(struct sip_streams *streams, struct connection *connection)
{
    enum tls_result result = TLS_DONE;
    while (result == TLS_DONE) {
        size_t size = 0;
        uint8_t *place = net_buffer_reserve(&connection->input, READ_SIZE);
        if (place == NULL) {
            sip_connection_fail(streams, connection, "too much input");
            return;
        }
        result = tls_read(connection->tls, place, READ_SIZE, &size, &connection->output);
        net_buffer_commit(&connection->input, size);
    }
    if (result == TLS_MORE)
        sip_stream_flush(streams, connection);
    else
        sip_connection_fail(streams, connection,
                            result == TLS_CLOSED ? "closed" : tls_error(connection->tls));
}

static void receive_tls(struct sip_streams *streams, struct connection *connection)
{
    struct net_buffer *cipher = &connection->cipher;
    size_t size = net_buffer_used(cipher);
    tls_set_input(connection->tls, net_buffer_front(cipher), size);
    if (connection->state == CONNECTION_HANDSHAKE)
        handshake(streams, connection);
    if (connection->state == CONNECTION_READY)
        decrypt(streams, connection);
    net_buffer_consume(cipher, size - tls_return_input(connection->tls));
    net_buffer_trim(cipher, 0);
}

void sip_stream_receive(struct sip_streams *streams, struct connection *connection,
                        const struct ring_event *event)
{
    bool is_plain = connection->tls == NULL && connection->state != CONNECTION_PROXIED;
    if (connection->state == CONNECTION_CLOSING)
        return;
    if (net_buffer_add(is_plain ? &connection->input : &connection->cipher, event->data,
                       event->size) < 0) {
        sip_connection_fail(streams, connection, "too much input");
        return;
    }
    if (connection->state == CONNECTION_PROXIED && !sip_proxy_read(streams, connection))
        return;
    if (connection->tls != NULL)
        receive_tls(streams, connection);
    if (connection->state == CONNECTION_READY)
        streams->reading = connection;
}

void sip_stream_start(struct sip_streams *streams, struct connection *connection)
{
    const struct config *config = streams->thread->config;
    const struct config_trunk *trunk = connection->trunk;
    if (connection->transport != SIP_TRANSPORT_TLS) {
        become_ready(streams, connection);
        return;
    }
    sip_connection_set_state(connection, CONNECTION_HANDSHAKE);
    int error =
        trunk == NULL
            ? tls_accept(&connection->tls, streams->tls.common, tls_store_choose, &streams->tls,
                         TLS_ALPN_NONE)
            : tls_connect(&connection->tls,
                          tls_store_of(&streams->tls, config_tenant_at(config, trunk->tenant)),
                          sip_connection_identity(trunk), TLS_ALPN_NONE);
    if (error < 0)
        sip_connection_fail(streams, connection, "no memory for TLS");
    else if (trunk != NULL)
        handshake(streams, connection);
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
    sip_connection_set_state(connection, CONNECTION_CLOSING);
    streams->reading = NULL;
    timer_arm(&thread->timers, &connection->timer,
              thread->now_ms + thread->config->sip_setup_timeout_ms);
    sip_stream_flush(streams, connection);
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
        watch(streams, connection);
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
        sip_stream_put(streams, connection, SPAN("\r\n")); /* RFC 5626 §4.4.1 */
        return false;
    }
    stats_count(streams->thread->stats, STAT_SIP_GUARD_REJECTED);
    if (guard.fatal && result == SIP_GUARD_DROP) {
        sip_connection_fail(streams, connection, "the stream cannot be read");
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

bool sip_stream_next(struct sip_streams *streams, struct sip_input *input)
{
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
