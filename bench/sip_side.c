/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/sip_side.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "bench/sip_peer.h"

#define WIRE_OUTPUT_MAX (4u << 20)
#define WIRE_INPUT_MAX  (1u << 20)
#define WIRE_READ_SIZE  16384u

enum sip_wire_state { WIRE_CONNECTING, WIRE_TLS, WIRE_READY, WIRE_DEAD };

/* One TCP or TLS connection. */
struct sip_wire {
    enum bench_owner owner; /* first: what ring events name */
    enum sip_wire_state state;
    struct sip_side *side;
    ring_handle handle;
    struct tls_session *tls;
    struct net_buffer input;     /* plain text that is not a whole message yet */
    struct net_buffer output[2]; /* [0] fills while [1] is in flight */
    bool outbound, sending;
    struct sip_wire *next;
};

static void wire_die(struct sip_wire *wire, const char *problem)
{
    if (wire->state == WIRE_DEAD)
        return;
    ring_drop(wire->side->options.ring, wire->handle);
    wire->state = WIRE_DEAD;
    if (wire->outbound)
        wire->side->problem = problem;
}

static struct sip_wire *wire_make(struct sip_side *side)
{
    struct sip_wire *wire = calloc(1, sizeof(*wire));
    if (wire == NULL)
        abort();
    wire->owner = BENCH_OWNER_SIP_WIRE;
    wire->side = side;
    net_buffer_init(&wire->input, WIRE_INPUT_MAX);
    net_buffer_init(&wire->output[0], WIRE_OUTPUT_MAX);
    net_buffer_init(&wire->output[1], WIRE_OUTPUT_MAX);
    wire->next = side->all;
    side->all = wire;
    return wire;
}

static void wire_flush(struct sip_wire *wire)
{
    if (wire->sending || wire->state == WIRE_CONNECTING || wire->state == WIRE_DEAD ||
        net_buffer_used(&wire->output[0]) == 0)
        return;
    struct net_buffer ready = wire->output[0];
    wire->output[0] = wire->output[1];
    wire->output[1] = ready;
    if (ring_send(wire->side->options.ring, wire->handle, net_buffer_front(&wire->output[1]),
                  net_buffer_used(&wire->output[1])) != 0)
        wire_die(wire, "send refused");
    else
        wire->sending = true;
}

static bool wire_write(struct sip_wire *wire, struct span bytes)
{
    struct net_buffer *output = &wire->output[0];
    if (wire->state != WIRE_READY)
        return false;
    if (wire->tls == NULL)
        return net_buffer_add(output, bytes.data, bytes.size) == 0;
    return net_buffer_used(output) + tls_write_size(bytes.size) <= WIRE_OUTPUT_MAX &&
           tls_write(wire->tls, bytes.data, bytes.size, output) == TLS_DONE;
}

/* Hands out the whole messages at the front of what was received. */
static void wire_frame(struct sip_wire *wire)
{
    struct net_buffer *input = &wire->input;
    struct sip_side *side = wire->side;
    struct sip_flow flow = {.wire = wire};
    while (net_buffer_used(input) > 0) {
        struct span all = span_make(net_buffer_front(input), net_buffer_used(input));
        size_t size = sip_peer_frame(all);
        if (size == 0)
            return;
        if (all.data[0] != '\r')
            side->options.message(side->options.context, span_to(all, size), &flow);
        else if (size >= 4)
            (void)wire_write(wire, SPAN("\r\n")); /* RFC 5626 §4.4.1 */
        net_buffer_consume(input, size);
    }
}

static void wire_decrypt(struct sip_wire *wire)
{
    enum tls_result result = TLS_DONE;
    while (result == TLS_DONE && wire->state == WIRE_READY) {
        size_t size = 0;
        uint8_t *room = net_buffer_reserve(&wire->input, WIRE_READ_SIZE);
        if (room == NULL) {
            wire_die(wire, "no room for input");
            return;
        }
        result = tls_read(wire->tls, room, WIRE_READ_SIZE, &size, &wire->output[0]);
        net_buffer_commit(&wire->input, size);
    }
    if (result != TLS_MORE)
        wire_die(wire, "TLS connection ended");
}

static void wire_shake(struct sip_wire *wire)
{
    switch (tls_handshake(wire->tls, &wire->output[0])) {
    case TLS_DONE: wire->state = WIRE_READY; break;
    case TLS_MORE: break;
    case TLS_CLOSED:
    case TLS_FAILED: wire_die(wire, tls_error(wire->tls)); break;
    }
}

static void wire_received(struct sip_wire *wire, const struct ring_event *event)
{
    if (wire->tls == NULL) {
        if (net_buffer_add(&wire->input, event->data, event->size) != 0)
            wire_die(wire, "no room for input");
    } else {
        tls_set_input(wire->tls, event->data, event->size);
        if (wire->state == WIRE_TLS)
            wire_shake(wire);
        if (wire->state == WIRE_READY)
            wire_decrypt(wire);
    }
    if (wire->state == WIRE_READY)
        wire_frame(wire);
}

static void wire_connected(struct sip_wire *wire, int result)
{
    const struct sip_side_options *options = &wire->side->options;
    char host[NET_ADDRESS_TEXT_SIZE];
    if (result != 0) {
        wire_die(wire, "cannot connect to the relay's SIP listener");
        return;
    }
    wire->state = WIRE_READY;
    if (options->transport != SIP_TRANSPORT_TLS)
        return;
    wire->state = WIRE_TLS;
    net_address_format_host(&options->relay, host);
    if (tls_connect(&wire->tls, options->tls, host, TLS_ALPN_NONE) != 0)
        wire_die(wire, "TLS session refused");
    else
        wire_shake(wire);
}

static void wire_free(struct sip_wire *wire)
{
    if (wire->tls != NULL)
        tls_close(&wire->tls);
    net_buffer_fini(&wire->input);
    net_buffer_fini(&wire->output[0]);
    net_buffer_fini(&wire->output[1]);
    free(wire);
}

/* The last event of its socket has come. */
static void wire_forget(struct sip_wire *wire)
{
    struct sip_wire **at = &wire->side->all;
    while (*at != wire)
        at = &(*at)->next;
    *at = wire->next;
    if (wire->side->out == wire)
        wire->side->out = NULL;
    wire_free(wire);
}

static void wire_event(struct sip_wire *wire, const struct ring_event *event)
{
    switch (event->kind) {
    case RING_CONNECTED: wire_connected(wire, event->result); break;
    case RING_RECEIVED: wire_received(wire, event); break;
    case RING_SENT:
        wire->sending = false;
        net_buffer_consume(&wire->output[1], net_buffer_used(&wire->output[1]));
        if (event->result != 0)
            wire_die(wire, "send failed");
        break;
    case RING_END: wire_die(wire, "connection ended"); break;
    case RING_GONE: wire_forget(wire); return;
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_WOKEN: break;
    }
    wire_flush(wire);
}

static void side_accepted(struct sip_side *side, const struct ring_event *event)
{
    struct sip_wire *wire = wire_make(side);
    wire->handle = event->accepted;
    wire->state = WIRE_READY;
    if (side->options.transport == SIP_TRANSPORT_TLS) {
        wire->state = WIRE_TLS;
        if (tls_accept(&wire->tls, side->options.tls, NULL, NULL, TLS_ALPN_NONE) != 0)
            wire_die(wire, "TLS session refused");
    }
    ring_set_owner(side->options.ring, wire->handle, wire);
}

static int side_connect(struct sip_side *side)
{
    union net_address source = side->options.own; /* that the trunk's `sources` has */
    net_address_set_port(&source, 0);
    side->out = wire_make(side);
    side->out->outbound = true;
    return ring_connect(side->options.ring, &side->options.relay, &source, side->out,
                        &side->out->handle);
}

int sip_side_open(struct sip_side *side, const struct sip_side_options *options)
{
    *side = (struct sip_side){.owner = BENCH_OWNER_SIP_LISTENER, .options = *options};
    if (options->transport == SIP_TRANSPORT_UDP)
        return ring_listen_datagram(options->ring, &options->own, side, &side->socket);
    int status = ring_listen_stream(options->ring, &options->own, side, &side->listener);
    return status != 0 || !options->sends ? status : side_connect(side);
}

bool sip_side_has(const struct sip_side *side, const struct sip_flow *flow)
{
    const struct sip_wire *wire = side->all;
    while (wire != NULL && wire != flow->wire)
        wire = wire->next;
    return flow->wire == NULL || wire != NULL;
}

int sip_side_reset(struct sip_side *side)
{
    for (struct sip_wire *wire = side->all; wire != NULL; wire = wire->next) {
        wire->outbound = false; /* its end is no problem */
        wire_die(wire, "reset");
    }
    return side->options.sends && side->options.transport != SIP_TRANSPORT_UDP
               ? side_connect(side)
               : 0;
}

bool sip_side_ready(const struct sip_side *side)
{
    return side->out == NULL || side->out->state == WIRE_READY;
}

bool sip_side_request(struct sip_side *side, struct span message)
{
    const struct sip_side_options *options = &side->options;
    if (options->transport != SIP_TRANSPORT_UDP)
        return side->out != NULL && wire_write(side->out, message);
    return ring_send_datagram(options->ring, side->socket, &options->relay, message.data,
                              message.size) == 0;
}

bool sip_side_answer(struct sip_side *side, const struct sip_flow *flow, struct span message)
{
    if (flow->wire != NULL)
        return wire_write(flow->wire, message);
    return ring_send_datagram(side->options.ring, side->socket, &flow->peer, message.data,
                              message.size) == 0;
}

bool sip_side_event(struct sip_side *side, const struct ring_event *event)
{
    if (bench_is_of(event, BENCH_OWNER_SIP_WIRE)) {
        wire_event(event->owner, event);
        return true;
    }
    if (!bench_is_of(event, BENCH_OWNER_SIP_LISTENER))
        return false;
    if (event->kind == RING_ACCEPTED)
        side_accepted(side, event);
    if (event->kind == RING_DATAGRAM) {
        struct sip_flow flow = {.peer = event->peer};
        side->options.message(side->options.context, span_make(event->data, event->size),
                              &flow);
    }
    return true;
}

void sip_side_flush(struct sip_side *side)
{
    for (struct sip_wire *wire = side->all; wire != NULL; wire = wire->next)
        wire_flush(wire);
}

void sip_side_close(struct sip_side *side)
{
    for (struct sip_wire *wire = side->all, *next; wire != NULL; wire = next) {
        next = wire->next;
        wire_free(wire);
    }
    side->all = NULL;
}
