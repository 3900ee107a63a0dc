/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Datagrams: lost, doubled, late, out of order. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/network.h"

#define DATAGRAM_SIZE_MAX 8192u
#define LATE_MAX_NS       (2 * SIM_S)

struct datagram {
    union net_address source, target;
    size_t size;
    uint8_t data[];
};

/* Of the sockets bound to one address each flow keeps to one, as SO_REUSEPORT does it. */
static struct network_socket *find_target(const struct datagram *datagram)
{
    struct network_socket *bound[NETWORK_RING_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < network.socket_count && count < NETWORK_RING_MAX; i++) {
        struct network_socket *one = network.sockets[i];
        if (one->kind == NETWORK_DATAGRAM && one->state == NETWORK_OPEN &&
            net_address_equal(&one->local, &datagram->target))
            bound[count++] = one;
    }
    return count > 0 ? bound[net_address_hash(&datagram->source) % count] : NULL;
}

static void note_trouble(const union net_address *source, const union net_address *target)
{
    bool is_relay = net_address_equal_host(source, &network.host);
    network_note_trouble(is_relay ? target : source);
}

static void on_arrive(void *context, uint64_t number)
{
    struct datagram *datagram = context;
    struct network_socket *socket = find_target(datagram);
    (void)number;
    if (socket != NULL) {
        struct network_word *word =
            network_word_make(socket, RING_DATAGRAM, datagram->data, datagram->size);
        word->peer = datagram->source;
        network_word_tell(word);
    } else {
        note_trouble(&datagram->source, &datagram->target);
    }
    free(datagram);
}

static void transmit(const struct network_socket *socket, const union net_address *target,
                     const void *data, size_t size)
{
    const struct network_faults *faults = &network.faults;
    uint64_t delay_ns = faults->latency_min_ns + sim_below(faults->jitter_ns + 1);
    struct datagram *datagram = malloc(sizeof(*datagram) + size);
    if (datagram == NULL)
        abort();
    datagram->source = socket->local;
    datagram->target = *target;
    datagram->size = size;
    if (size > 0)
        memcpy(datagram->data, data, size);
    if (sim_chance(faults->delay))
        delay_ns += sim_below(LATE_MAX_NS);
    sim_after(delay_ns, on_arrive, datagram, 0);
}

int ring_send_datagram(struct ring *ring, ring_handle handle, const union net_address *target,
                       const void *data, size_t size)
{
    const struct network_socket *socket = network_socket_find(ring, handle);
    if (size > DATAGRAM_SIZE_MAX)
        return -EMSGSIZE;
    if (socket == NULL || socket->kind != NETWORK_DATAGRAM || socket->state != NETWORK_OPEN)
        return -EPIPE;
    if (sim_chance(network.faults.send_refused)) {
        note_trouble(&socket->local, target);
        return -EAGAIN;
    }
    if (sim_chance(network.faults.lose)) {
        note_trouble(&socket->local, target);
        sim_trace("network: lost a datagram of %zu", size);
        return 0;
    }
    transmit(socket, target, data, size);
    if (sim_chance(network.faults.duplicate))
        transmit(socket, target, data, size);
    return 0;
}
