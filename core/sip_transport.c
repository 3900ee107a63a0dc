/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_transport.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/sip_connection.h"
#include "core/sip_own.h"

#define LISTENER_MAX 16u

struct listener {
    struct sip_socket socket; /* first: what ring events name */
    enum sip_transport transport;
    bool is_proxied;
    ring_handle handle;
    union net_address address;
};

struct sip_wire {
    struct thread *thread;
    struct sip_streams *streams;
    struct sip_own *own;
    struct listener listeners[LISTENER_MAX];
    size_t listener_count;
    bool has_datagram;
    struct ring_event datagram;
    struct parcel *carrier; /* see sip_transport_carry */
};

static int listen_one(struct sip_wire *wire, enum sip_transport transport,
                      const union net_address *address)
{
    if (wire->listener_count == LISTENER_MAX)
        return -E2BIG;
    struct ring *ring = wire->thread->ring;
    struct listener *listener = &wire->listeners[wire->listener_count];
    *listener = (struct listener){
        .socket = {SIP_SOCKET_LISTENER},
        .transport = transport,
        .is_proxied = transport != SIP_TRANSPORT_UDP &&
                      config_is_proxied(&wire->thread->config->sip_proxies, address)};
    int error = transport == SIP_TRANSPORT_UDP
                    ? ring_listen_datagram(ring, address, listener, &listener->handle)
                    : ring_listen_stream(ring, address, listener, &listener->handle);
    if (error < 0)
        return error;
    wire->listener_count++;
    error = ring_local_address(ring, listener->handle, &listener->address);
    if (error < 0)
        return error;
    sip_own_add(wire->own, transport, &listener->address);
    return 0;
}

static int listen_all(struct sip_wire *wire, char *error, size_t error_size)
{
    const struct config *config = wire->thread->config;
    const union net_address *lists[] = {config->udp_listen, config->tcp_listen,
                                        config->tls_listen};
    size_t counts[] = {config->udp_listen_count, config->tcp_listen_count,
                       config->tls_listen_count};
    for (unsigned transport = 0; transport < 3; transport++) {
        for (size_t i = 0; i < counts[transport]; i++) {
            int result = listen_one(wire, (enum sip_transport)transport, &lists[transport][i]);
            if (result == 0)
                continue;
            char text[NET_ADDRESS_TEXT_SIZE];
            net_address_format(&lists[transport][i], text);
            snprintf(error, error_size, "cannot listen for SIP on %s: %s", text,
                     strerror(-result));
            return result;
        }
    }
    return 0;
}

int sip_transport_open(struct sip_wire **wire, struct thread *thread, char *error,
                       size_t error_size)
{
    assert(wire != NULL);
    assert(thread->ring != NULL);
    struct sip_wire *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->thread = thread;
    int result = sip_own_open(&made->own, thread->config);
    if (result < 0)
        goto fail;
    result = sip_connection_open(&made->streams, thread, error, error_size);
    if (result < 0)
        goto fail;
    result = listen_all(made, error, error_size);
    if (result < 0)
        goto fail;
    *wire = made;
    return 0;
fail:
    sip_transport_close(&made);
    return result;
}

void sip_transport_reload(struct sip_wire *wire, const struct config *former,
                          struct tls_context **context)
{
    sip_own_reload(wire->own, wire->thread->config);
    sip_connection_reload(wire->streams, former, context);
}

bool sip_transport_sent(const struct sip_wire *wire)
{
    return sip_connection_sent(wire->streams);
}

void sip_transport_close(struct sip_wire **wire)
{
    struct sip_wire *closed = *wire;
    if (closed == NULL)
        return;
    for (size_t i = 0; i < closed->listener_count; i++)
        ring_drop(closed->thread->ring, closed->listeners[i].handle);
    sip_connection_close(&closed->streams);
    sip_own_close(&closed->own);
    free(closed);
    *wire = NULL;
}

void sip_transport_feed(struct sip_wire *wire, const struct ring_event *event)
{
    struct sip_socket *socket = event->owner;
    if (socket == NULL)
        return;
    if (socket->kind == SIP_SOCKET_CONNECTION) {
        sip_connection_feed(wire->streams, event);
        return;
    }
    struct listener *listener = event->owner;
    if (event->kind == RING_DATAGRAM) {
        wire->datagram = *event;
        wire->has_datagram = true;
    } else if (event->kind == RING_ACCEPTED) {
        sip_connection_accept(wire->streams, listener->transport, listener->is_proxied, event);
    } else if (event->kind == RING_SEND_FAILED) {
        log_event(LOG_LEVEL_WARN, "sip.send_failed", 0, log_number("errno", -event->result));
    }
}

static bool next_datagram(struct sip_wire *wire, struct sip_input *input)
{
    const struct ring_event *event = &wire->datagram;
    const struct listener *listener = event->owner;
    struct sip_guard guard = {0};
    struct span datagram = span_make(event->data, event->size);
    enum sip_guard_result result = sip_guard_datagram(datagram, &guard);
    wire->has_datagram = false;
    *input = (struct sip_input){.kind = result == SIP_GUARD_OK ? SIP_INPUT_MESSAGE
                                                               : SIP_INPUT_REJECT,
                                .flow = {.transport = SIP_TRANSPORT_UDP,
                                         .peer = event->peer,
                                         .holder = wire->thread->self,
                                         .connection = (uint64_t)(listener - wire->listeners)},
                                .bytes = span_from(datagram, guard.skipped),
                                .is_request = guard.is_request,
                                .status = guard.status,
                                .reason = guard.reason};
    if (result == SIP_GUARD_OK) {
        input->bytes = span_to(input->bytes, guard.size);
        return true;
    }
    stats_count(wire->thread->stats, STAT_SIP_GUARD_REJECTED);
    return result == SIP_GUARD_REJECT;
}

bool sip_transport_next(struct sip_wire *wire, struct sip_input *input)
{
    if (wire->has_datagram && next_datagram(wire, input))
        return true;
    return sip_connection_next(wire->streams, input);
}

void sip_transport_tick(struct sip_wire *wire, struct timer *timer)
{
    sip_connection_tick(wire->streams, timer);
}

static const struct listener *find_listener(const struct sip_wire *wire,
                                            enum sip_transport transport,
                                            const union net_address *target)
{
    for (size_t i = 0; i < wire->listener_count; i++) {
        const struct listener *listener = &wire->listeners[i];
        if (listener->transport == transport &&
            listener->address.any.sa_family == target->any.sa_family)
            return listener;
    }
    return NULL;
}

struct span sip_transport_sent_by(struct sip_wire *wire, const struct config_trunk *trunk,
                                  const struct sip_target *target)
{
    return sip_own_sent_by(wire->own, trunk, target, wire->thread->now_ms);
}

bool sip_transport_is_ours(const struct sip_wire *wire, struct span sent_by)
{
    return sip_own_is(wire->own, sent_by);
}

int sip_transport_request(struct sip_wire *wire, const struct config_trunk *trunk,
                          const struct sip_target *target, struct span bytes,
                          uint64_t *connection)
{
    *connection = 0;
    if (target->transport != SIP_TRANSPORT_UDP && trunk == NULL)
        return -ENOTCONN;
    if (target->transport != SIP_TRANSPORT_UDP)
        return sip_connection_request(wire->streams, trunk, target, bytes, connection);
    const struct listener *listener = find_listener(wire, SIP_TRANSPORT_UDP, &target->address);
    if (listener == NULL)
        return -EAFNOSUPPORT;
    int error = ring_send_datagram(wire->thread->ring, listener->handle, &target->address,
                                   bytes.data, bytes.size);
    /* A full send queue is what a lost datagram is: Timer E sends it again. */
    return error == -EAGAIN ? 0 : error;
}

void sip_transport_carry(struct sip_wire *wire, struct parcel *carrier)
{
    assert(carrier == NULL || carrier->kind == PARCEL_SIP_BYTES);
    wire->carrier = carrier;
}

static void answer_with_carrier(struct sip_wire *wire, const struct sip_flow *flow,
                                struct span bytes)
{
    struct parcel *carrier = wire->carrier;
    wire->carrier = NULL;
    if (carrier == NULL || carrier->home != flow->holder || bytes.size > PARCEL_TEXT_SIZE) {
        log_event(LOG_LEVEL_ERROR, "sip.response_dropped", 0,
                  log_text("reason", SPAN("no parcel is free")));
        return;
    }
    carrier->kind = PARCEL_SIP_ANSWERED;
    carrier->text_used = 0;
    carrier->bytes = parcel_copy(carrier, bytes);
}

static void respond_elsewhere(struct sip_wire *wire, const struct sip_flow *flow,
                              struct span bytes)
{
    struct thread *thread = wire->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL) {
        answer_with_carrier(wire, flow, bytes);
        return;
    }
    parcel->kind = PARCEL_SIP_REPLY;
    parcel->connection = flow->connection;
    parcel->transport = (uint8_t)flow->transport;
    parcel->peer = flow->peer;
    thread_put_trunk(thread, parcel, flow->trunk);
    parcel->bytes = parcel_copy(parcel, bytes);
    if (parcel->bytes.data != NULL) {
        mesh_post(thread->mesh, thread->self, flow->holder, &parcel);
        return;
    }
    log_event(LOG_LEVEL_ERROR, "sip.response_dropped", 0,
              log_text("reason", SPAN("it is longer than a parcel")));
    mesh_give(thread->mesh, thread->self, &parcel);
}

void sip_transport_respond(struct sip_wire *wire, const struct sip_flow *flow,
                           struct span bytes)
{
    struct thread *thread = wire->thread;
    if (flow->transport == SIP_TRANSPORT_UDP) {
        assert(flow->connection < wire->listener_count);
        const struct listener *listener = &wire->listeners[flow->connection];
        int error = ring_send_datagram(thread->ring, listener->handle, &flow->peer, bytes.data,
                                       bytes.size);
        /* The client's retransmission asks for it again. */
        if (error < 0)
            log_event(LOG_LEVEL_DEBUG, "sip.response_lost", 0, log_number("errno", -error));
    } else if (flow->holder != thread->self) {
        respond_elsewhere(wire, flow, bytes);
    } else {
        sip_connection_respond(wire->streams, flow, bytes);
    }
}

bool sip_transport_proved(struct sip_wire *wire, const struct sip_flow *flow,
                          const char *identity)
{
    if (flow->transport != SIP_TRANSPORT_TLS || flow->holder != wire->thread->self)
        return false;
    return sip_connection_proved(wire->streams, flow->connection, identity);
}

void sip_transport_alias(struct sip_wire *wire, const struct sip_flow *flow,
                         const struct config_trunk *trunk, uint16_t port)
{
    if (flow->transport == SIP_TRANSPORT_TLS && flow->holder == wire->thread->self)
        sip_connection_alias(wire->streams, flow->connection, trunk, port);
}
