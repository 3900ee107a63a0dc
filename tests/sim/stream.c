/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stream sockets: connecting, windows, pieces, resets and ends. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/network.h"

#define PIECE_MAX       40 /* of one write; the last one has the rest */
#define KERNEL_DELAY_NS (100 * SIM_US)
#define BLACK_HOLE_NS   (130 * SIM_S) /* Linux gives up connecting after about that */
#define FATE_WITHIN_NS  (25 * SIM_S)
#define STALL_MAX_NS    (20 * SIM_S)

/* ---- arrival ---- */

/* When something sent now arrives: behind all that was sent before. */
static uint64_t arrival_delay(struct network_socket *target)
{
    uint64_t at_ns = sim.now_ns + target->latency_ns;
    if (network.faults.jitter_ns > 0)
        at_ns += sim_below(network.faults.jitter_ns);
    if (at_ns >= target->stalls_from_ns && at_ns < target->stalls_until_ns) {
        network_socket_trouble(target);
        at_ns = target->stalls_until_ns;
    }
    if (at_ns <= target->arrival_ns)
        at_ns = target->arrival_ns + 1;
    target->arrival_ns = at_ns;
    return at_ns - sim.now_ns;
}

static void end(struct network_socket *socket, int result)
{
    if (socket->has_ended || socket->state != NETWORK_OPEN)
        return;
    socket->has_ended = true;
    struct network_word *word = network_word_make(socket, RING_END, NULL, 0);
    word->result = result;
    network_word_tell(word);
}

static void sent(struct network_socket *socket, int result)
{
    assert(socket->is_sending);
    socket->is_sending = socket->is_blocked = false;
    socket->send_data = NULL;
    struct network_word *word = network_word_make(socket, RING_SENT, NULL, 0);
    word->result = result;
    network_word_tell(word);
}

/* A reset as its receiver sees it. */
static void on_reset(void *context, uint64_t number)
{
    struct network_socket *socket = context;
    (void)number;
    end(socket, -ECONNRESET);
    socket->other = NULL;
    if (socket->is_sending && socket->state == NETWORK_OPEN)
        sent(socket, -ECONNRESET);
}

static void on_fin(void *context, uint64_t number)
{
    (void)number;
    end(context, 0);
}

static void on_piece(void *context, uint64_t number)
{
    struct network_word *word = context;
    struct network_socket *socket = word->socket;
    (void)number;
    if (socket->state == NETWORK_OPEN && !socket->has_ended) {
        network_word_tell(word);
        return;
    }
    /* Nobody is there any more: the sender learns of it (RFC 9293 §3.10.7.1). */
    network_socket_trouble(socket);
    if (socket->other != NULL && socket->other->state == NETWORK_OPEN)
        sim_after(arrival_delay(socket->other), on_reset, socket->other, 0);
    free(word);
}

/* ---- sending ---- */

static size_t window_left(const struct network_socket *socket)
{
    const struct network_socket *other = socket->other;
    size_t window = network.faults.window;
    return other->unread < window ? window - other->unread : 0;
}

/* Bytes leave in pieces of at most what one provided buffer takes. */
static void transmit(struct network_socket *target, const uint8_t *data, size_t size)
{
    bool is_torn = sim_chance(network.faults.tear);
    for (unsigned i = 0; size > 0; i++) {
        size_t piece = size < 16384 ? size : 16384;
        if (is_torn && i < PIECE_MAX)
            piece =
                sim_between(1, piece < 4 || sim_chance(500) ? (piece < 4 ? piece : 4) : piece);
        struct network_word *word = network_word_make(target, RING_RECEIVED, data, piece);
        target->unread += piece;
        sim_after(arrival_delay(target), on_piece, word, 0);
        data += piece;
        size -= piece;
    }
}

static void on_send(void *context, uint64_t number)
{
    struct network_socket *socket = context;
    (void)number;
    if (!socket->is_sending || socket->state != NETWORK_OPEN || socket->is_blocked)
        return;
    if (socket->other == NULL) {
        sent(socket, -EPIPE);
        return;
    }
    size_t size = window_left(socket);
    size = size < socket->send_left ? size : socket->send_left;
    if (size == 0) {
        socket->is_blocked = true;
        return;
    }
    if (size > 1 && sim_chance(network.faults.short_send))
        size = sim_between(1, size - 1);
    transmit(socket->other, socket->send_data, size);
    socket->send_data += size;
    socket->send_left -= size;
    if (socket->send_left == 0)
        sent(socket, 0);
    else
        sim_after(sim_below(KERNEL_DELAY_NS), on_send, socket, 0);
}

int ring_send(struct ring *ring, ring_handle handle, const void *data, size_t size)
{
    struct network_socket *socket = network_socket_find(ring, handle);
    assert(size > 0 && data != NULL);
    if (socket == NULL || socket->kind != NETWORK_STREAM || socket->state != NETWORK_OPEN)
        return -EPIPE;
    if (socket->is_sending)
        return -EBUSY;
    socket->is_sending = true;
    socket->is_blocked = false;
    socket->send_data = data;
    socket->send_left = size;
    sim_after(sim_below(KERNEL_DELAY_NS), on_send, socket, 0);
    return 0;
}

/* The user took bytes: a sender that waits for the window goes on. */
void network_stream_taken(struct network_socket *socket, size_t size)
{
    assert(socket->unread >= size);
    socket->unread -= size;
    struct network_socket *other = socket->other;
    if (other == NULL || !other->is_blocked)
        return;
    other->is_blocked = false;
    sim_after(socket->latency_ns, on_send, other, 0);
}

void ring_pause(struct ring *ring, ring_handle handle)
{
    struct network_socket *socket = network_socket_find(ring, handle);
    if (socket != NULL && socket->kind == NETWORK_STREAM)
        socket->is_reading = false;
}

void ring_resume(struct ring *ring, ring_handle handle)
{
    struct network_socket *socket = network_socket_find(ring, handle);
    if (socket == NULL || socket->kind != NETWORK_STREAM || socket->state != NETWORK_OPEN)
        return;
    socket->is_reading = true;
    network_stream_read(socket);
}

/* Both directions end. With bytes unread the other side sees a reset (RFC 9293 §3.6.1,
   RFC 2525 §2.17), else what was sent and then the end. */
void network_stream_drop(struct network_socket *socket)
{
    struct network_socket *other = socket->other;
    /* As a kernel would until its last completion: the bytes must still be there. */
    if (socket->is_sending && socket->send_left > 0)
        socket->latency_ns += sim_digest(socket->send_data, socket->send_left) & 1;
    if (other == NULL || other->state != NETWORK_OPEN)
        return;
    sim_after(arrival_delay(other), socket->unread > 0 ? on_reset : on_fin, other, 0);
}

/* ---- connecting ---- */

static uint64_t draw_latency(void)
{
    return sim_between(network.faults.latency_min_ns, network.faults.latency_max_ns);
}

/* The network breaks a connection: each end learns of it in its own time. */
static void on_fate(void *context, uint64_t number)
{
    struct network_socket *socket = context;
    struct network_socket *other = socket->other;
    (void)number;
    if (network.faults.reset == 0 || socket->state != NETWORK_OPEN || other == NULL)
        return;
    network_socket_trouble(socket);
    sim_trace("network: reset %llu", (unsigned long long)socket->handle);
    sim_after(sim_below(50 * SIM_MS), on_reset, socket, 0);
    sim_after(sim_below(50 * SIM_MS), on_reset, other, 0);
}

static void draw_fate(struct network_socket *socket)
{
    if (sim_chance(network.faults.reset))
        sim_after(sim_below(FATE_WITHIN_NS), on_fate, socket, 0);
    if (sim_chance(network.faults.stall)) {
        socket->stalls_from_ns = sim.now_ns + sim_below(FATE_WITHIN_NS);
        socket->stalls_until_ns = socket->stalls_from_ns + sim_below(STALL_MAX_NS);
    }
}

static void on_connected(void *context, uint64_t number)
{
    struct network_socket *socket = context;
    int result = -(int)number;
    if (socket->state != NETWORK_CONNECTING)
        return;
    socket->state = result == 0 ? NETWORK_OPEN : NETWORK_FAILED;
    struct network_word *word = network_word_make(socket, RING_CONNECTED, NULL, 0);
    word->result = result;
    network_word_tell(word);
}

/* One of the listeners at this address, as SO_REUSEPORT chooses. */
static struct network_socket *find_listener(const union net_address *address)
{
    struct network_socket *found = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < network.socket_count; i++) {
        struct network_socket *one = network.sockets[i];
        if (one->kind != NETWORK_LISTENER || one->state != NETWORK_OPEN ||
            !net_address_equal(&one->local, address))
            continue;
        if (sim_below(++count) == 0)
            found = one;
    }
    return found;
}

static void on_arrive(void *context, uint64_t number)
{
    struct network_socket *socket = context;
    (void)number;
    if (socket->state != NETWORK_CONNECTING)
        return;
    if (socket->is_dark) {
        sim_after(BLACK_HOLE_NS, on_connected, socket, ETIMEDOUT);
        return;
    }
    if (sim_chance(network.faults.black_hole)) {
        network_socket_trouble(socket);
        sim_after(BLACK_HOLE_NS, on_connected, socket, ETIMEDOUT);
        return;
    }
    struct network_socket *listener = find_listener(&socket->peer);
    struct network_socket *made = NULL;
    bool has_none = listener != NULL &&
                    net_address_equal_host(&listener->local, &network.host) &&
                    sim_chance(network.faults.no_socket);
    if (listener != NULL && !has_none && !sim_chance(network.faults.refuse))
        made = network_socket_make(listener->ring, NETWORK_STREAM, NULL);
    if (made == NULL) {
        network_socket_trouble(socket);
        sim_after(socket->latency_ns, on_connected, socket, ECONNREFUSED);
        return;
    }
    made->local = socket->peer;
    made->peer = socket->local;
    made->other = socket;
    made->latency_ns = socket->latency_ns;
    socket->other = made;
    draw_fate(made);
    draw_fate(socket);
    struct network_word *word = network_word_make(listener, RING_ACCEPTED, NULL, 0);
    word->accepted = made->handle;
    word->peer = made->peer;
    network_word_tell(word);
    /* What the accepting side says at once arrives behind this. */
    socket->arrival_ns = sim.now_ns + socket->latency_ns;
    sim_after(socket->latency_ns, on_connected, socket, 0);
}

/* Puts the host in the place of its alias; true when there is none behind it. */
static bool resolve_alias(union net_address *address)
{
    for (unsigned i = 0; i < network.alias_count; i++) {
        const struct network_alias *alias = &network.aliases[i];
        if (!net_address_equal_host(&alias->alias, address))
            continue;
        uint16_t port = net_address_port(address);
        *address = alias->host;
        net_address_set_port(address, port);
        return alias->is_dark;
    }
    return false;
}

int ring_connect(struct ring *ring, const union net_address *target,
                 const union net_address *source, void *owner, ring_handle *handle)
{
    union net_address peer = *target;
    bool is_dark = resolve_alias(&peer);
    if (source == NULL && sim_chance(network.faults.no_socket)) {
        network_note_trouble(&peer);
        return -EMFILE;
    }
    struct network_socket *socket = network_socket_make(ring, NETWORK_STREAM, owner);
    if (socket == NULL)
        return -EMFILE;
    socket->state = NETWORK_CONNECTING;
    socket->is_reading = true;
    socket->peer = peer;
    socket->is_dark = is_dark;
    socket->local = source != NULL ? *source : network.host;
    if (net_address_port(&socket->local) == 0)
        net_address_set_port(&socket->local, ++network.port_next);
    socket->latency_ns = draw_latency();
    *handle = socket->handle;
    sim_after(socket->latency_ns, on_arrive, socket, 0);
    return 0;
}
