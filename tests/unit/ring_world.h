/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A ring with a listener and both ends of a connection to it. */
#ifndef PASSERELLE_TESTS_RING_WORLD_H
#define PASSERELLE_TESTS_RING_WORLD_H

#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/ring.h"

#define WAIT_NS  20000000u
#define WHOLE_NS 10000000000u

struct side {
    ring_handle handle;
    uint8_t *received;
    size_t received_size;
    size_t received_max;
    int connected, sent, ended, gone;
    int descriptor; /* once it is detached */
    int result;
};

struct world {
    struct ring *ring;
    ring_handle listener;
    union net_address address;
    struct side client, server;
    bool accept_silent; /* the accepted socket gets no owner */
    int accepted, woken, datagrams, failed;
    struct ring_event datagram;
    uint8_t datagram_data[8192];
};

static int listener_mark;

static inline void world_init(struct world *world, unsigned buffer_count, unsigned buffer_size)
{
    *world = (struct world){0};
    const char *text = "";
    struct ring_options options = {.socket_max = 64,
                                   .receive_buffer_count = buffer_count,
                                   .receive_buffer_size = buffer_size,
                                   .datagram_send_max = 4,
                                   .error_text = &text};
    int rc = ring_open(&world->ring, &options);
    if (rc < 0)
        fail_msg("ring_open: %d %s", rc, text);
    assert_int_equal(net_address_parse(&world->address, "127.0.0.1:0", 0), 0);
}

static inline void world_listen(struct world *world)
{
    assert_int_equal(
        ring_listen_stream(world->ring, &world->address, &listener_mark, &world->listener), 0);
    assert_int_equal(ring_local_address(world->ring, world->listener, &world->address), 0);
}

static inline void take_data(struct side *side, const struct ring_event *event)
{
    assert_true(event->size > 0);
    if (side->received == NULL)
        side->received = malloc(side->received_max = 4 << 20);
    assert_true(side->received_size + event->size <= side->received_max);
    memcpy(side->received + side->received_size, event->data, event->size);
    side->received_size += event->size;
}

static inline void take_accept(struct world *world, const struct ring_event *event)
{
    assert_ptr_equal(event->owner, &listener_mark);
    world->accepted++;
    if (world->accept_silent || world->server.handle != 0)
        return;
    world->server.handle = event->accepted;
    ring_set_owner(world->ring, event->accepted, &world->server);
}

static inline void take_event(struct world *world, const struct ring_event *event)
{
    struct side *side = event->owner;
    switch (event->kind) {
    case RING_ACCEPTED: take_accept(world, event); break;
    case RING_CONNECTED:
        side->connected++;
        side->result = event->result;
        break;
    case RING_RECEIVED: take_data(side, event); break;
    case RING_END:
        side->ended++;
        side->result = event->result;
        break;
    case RING_SENT:
        side->sent++;
        side->result = event->result;
        break;
    case RING_DATAGRAM:
        world->datagrams++;
        world->datagram = *event;
        memcpy(world->datagram_data, event->data, event->size);
        break;
    case RING_SEND_FAILED: world->failed++; break;
    case RING_DETACHED: side->descriptor = event->result; break;
    case RING_GONE:
        if (side != NULL && event->owner != &listener_mark)
            side->gone++;
        break;
    case RING_WOKEN: world->woken++; break;
    }
}

static inline void turn(struct world *world, uint64_t timeout_ns)
{
    struct ring_event event;
    assert_true(ring_wait(world->ring, timeout_ns) >= 0);
    while (ring_next(world->ring, &event))
        take_event(world, &event);
}

#define UNTIL(world, condition)                                                                \
    do {                                                                                       \
        uint64_t until_ = clock_now_ns() + WHOLE_NS;                                           \
        while (!(condition) && clock_now_ns() < until_)                                        \
            turn(world, WAIT_NS);                                                              \
        assert_true(condition);                                                                \
    } while (0)

static inline void world_connect(struct world *world)
{
    world_listen(world);
    assert_int_equal(
        ring_connect(world->ring, &world->address, NULL, &world->client, &world->client.handle),
        0);
    UNTIL(world, world->client.connected == 1 && world->server.handle != 0);
    assert_int_equal(world->client.result, 0);
}

static inline void world_fini(struct world *world)
{
    struct ring_counters counters;
    ring_counters(world->ring, &counters);
    assert_int_equal(counters.overflows, 0);
    ring_close(&world->ring);
    assert_null(world->ring);
    free(world->client.received);
    free(world->server.received);
}

static inline uint8_t *pattern(size_t size)
{
    uint8_t *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 9));
    return data;
}

#endif
