/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The ring over loopback sockets; both ends of each connection live on one ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "ring_world.h"

/* A megabyte there and back; the receiver pauses on the way, so sends come out short. */
static void echo(unsigned buffer_count, unsigned buffer_size)
{
    struct world world;
    const size_t size = 1 << 20;
    uint8_t *data = pattern(size);
    world_init(&world, buffer_count, buffer_size);
    world_connect(&world);
    assert_int_equal(ring_send(world.ring, world.client.handle, data, size), 0);
    assert_int_equal(ring_send(world.ring, world.client.handle, data, size), -EBUSY);
    for (int i = 0; i < 5; i++) {
        ring_pause(world.ring, world.server.handle);
        turn(&world, 1000000);
        turn(&world, 1000000);
        ring_resume(world.ring, world.server.handle);
        turn(&world, 1000000);
    }
    UNTIL(&world, world.server.received_size == size && world.client.sent == 1);
    assert_int_equal(world.client.result, 0);
    assert_memory_equal(world.server.received, data, size);
    assert_int_equal(ring_send(world.ring, world.server.handle, world.server.received, size),
                     0);
    UNTIL(&world, world.client.received_size == size && world.server.sent == 1);
    assert_memory_equal(world.client.received, data, size);
    struct ring_counters counters;
    ring_counters(world.ring, &counters);
    if (buffer_count == 2)
        assert_true(counters.no_buffers > 0);
    world_fini(&world);
    free(data);
}

static void test_echo(void **state)
{
    (void)state;
    echo(0, 0);
}

static void test_echo_few_buffers(void **state)
{
    (void)state;
    echo(2, 1024);
}

/* What is paused stays in the kernel and comes after the resume. */
static void test_pause(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0, 0);
    world_connect(&world);
    ring_pause(world.ring, world.server.handle);
    turn(&world, WAIT_NS);
    assert_int_equal(ring_send(world.ring, world.client.handle, "later", 5), 0);
    UNTIL(&world, world.client.sent == 1);
    turn(&world, WAIT_NS);
    assert_int_equal(world.server.received_size, 0);
    ring_resume(world.ring, world.server.handle);
    UNTIL(&world, world.server.received_size == 5);
    /* A pause taken back at once loses nothing either. */
    ring_pause(world.ring, world.server.handle);
    ring_resume(world.ring, world.server.handle);
    assert_int_equal(ring_send(world.ring, world.client.handle, "now", 3), 0);
    UNTIL(&world, world.server.received_size == 8);
    assert_memory_equal(world.server.received, "laternow", 8);
    world_fini(&world);
}

static void test_drop_during_send(void **state)
{
    (void)state;
    struct world world;
    const size_t size = 16 << 20;
    uint8_t *data = pattern(size);
    world_init(&world, 0, 0);
    world_connect(&world);
    ring_pause(world.ring, world.server.handle);
    turn(&world, WAIT_NS);
    assert_int_equal(ring_send(world.ring, world.client.handle, data, size), 0);
    turn(&world, WAIT_NS);
    turn(&world, WAIT_NS);
    assert_int_equal(world.client.sent, 0);
    ring_drop(world.ring, world.client.handle);
    ring_drop(world.ring, world.client.handle);
    assert_int_equal(ring_send(world.ring, world.client.handle, data, 1), -EPIPE);
    UNTIL(&world, world.client.gone == 1);
    /* After RING_GONE the memory is ours again and the name means nothing. */
    free(data);
    assert_int_equal(world.client.sent, 0);
    assert_int_equal(ring_send(world.ring, world.client.handle, "x", 1), -EPIPE);
    ring_drop(world.ring, world.client.handle);
    ring_pause(world.ring, world.client.handle);
    world.server.received_max = 0;
    ring_drop(world.ring, world.server.handle);
    UNTIL(&world, world.server.gone == 1);
    turn(&world, WAIT_NS);
    assert_int_equal(world.client.gone, 1);
    world_fini(&world);
}

static void test_end(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0, 0);
    world_connect(&world);
    assert_int_equal(ring_send(world.ring, world.client.handle, "bye", 3), 0);
    UNTIL(&world, world.client.sent == 1);
    ring_drop(world.ring, world.client.handle);
    UNTIL(&world, world.server.ended == 1);
    assert_int_equal(world.server.result, 0);
    assert_int_equal(world.server.received_size, 3);
    ring_drop(world.ring, world.server.handle);
    UNTIL(&world, world.server.gone == 1 && world.client.gone == 1);
    struct ring_counters counters;
    ring_counters(world.ring, &counters);
    assert_int_equal(counters.sockets, 1);
    world_fini(&world);
}

/* Data that came before somebody owned the socket is not lost. */
static void test_owner_later(void **state)
{
    (void)state;
    struct world world;
    struct ring_event event;
    world_init(&world, 0, 0);
    world_listen(&world);
    world.accept_silent = true;
    assert_int_equal(
        ring_connect(world.ring, &world.address, NULL, &world.client, &world.client.handle), 0);
    ring_handle accepted = 0;
    for (int i = 0; i < 100 && (accepted == 0 || world.client.connected == 0); i++) {
        assert_true(ring_wait(world.ring, WAIT_NS) >= 0);
        while (ring_next(world.ring, &event)) {
            if (event.kind == RING_ACCEPTED)
                accepted = event.accepted;
            take_event(&world, &event);
        }
    }
    assert_int_equal(ring_send(world.ring, world.client.handle, "early", 5), 0);
    UNTIL(&world, world.client.sent == 1);
    turn(&world, WAIT_NS);
    ring_set_owner(world.ring, accepted, &world.server);
    UNTIL(&world, world.server.received_size == 5);
    world_fini(&world);
}

static void test_connect_refused(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0, 0);
    world_listen(&world);
    ring_drop(world.ring, world.listener);
    turn(&world, WAIT_NS);
    turn(&world, WAIT_NS);
    union net_address source;
    assert_int_equal(net_address_parse(&source, "127.0.0.2:0", 0), 0);
    assert_int_equal(
        ring_connect(world.ring, &world.address, &source, &world.client, &world.client.handle),
        0);
    UNTIL(&world, world.client.connected == 1);
    assert_int_equal(world.client.result, -ECONNREFUSED);
    assert_int_equal(ring_send(world.ring, world.client.handle, "x", 1), -EPIPE);
    ring_drop(world.ring, world.client.handle);
    UNTIL(&world, world.client.gone == 1);
    /* Dropped while connecting: no RING_CONNECTED, only RING_GONE. */
    assert_int_equal(net_address_parse(&world.address, "192.0.2.1:9", 0), 0);
    int rc =
        ring_connect(world.ring, &world.address, NULL, &world.server, &world.server.handle);
    assert_int_equal(rc, 0);
    ring_drop(world.ring, world.server.handle);
    UNTIL(&world, world.server.gone == 1);
    assert_int_equal(world.server.connected, 0);
    world_fini(&world);
}

static void *wake_often(void *argument)
{
    struct ring *ring = argument;
    usleep(20000);
    for (int i = 0; i < 1000; i++)
        ring_wake(ring);
    return NULL;
}

static void test_wake(void **state)
{
    (void)state;
    struct world world;
    pthread_t thread;
    world_init(&world, 0, 0);
    ring_wake(world.ring);
    ring_wake(world.ring);
    turn(&world, WAIT_NS);
    turn(&world, 0);
    assert_int_equal(world.woken, 1);
    for (int round = 0; round < 3; round++) {
        int before = world.woken;
        assert_int_equal(pthread_create(&thread, NULL, wake_often, world.ring), 0);
        uint64_t start = clock_now_ns();
        turn(&world, WHOLE_NS);
        assert_true(clock_now_ns() - start < WHOLE_NS / 2);
        UNTIL(&world, world.woken > before);
        pthread_join(thread, NULL);
        turn(&world, 0);
    }
    world_fini(&world);
}

/* The wait ends in time, also when it had something to submit. */
static void test_timeout(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0, 0);
    world_listen(&world);
    for (int i = 0; i < 3; i++) {
        uint64_t start = clock_now_ns();
        turn(&world, 50000000);
        uint64_t passed = clock_now_ns() - start;
        assert_true(passed >= 45000000);
        assert_true(passed < WHOLE_NS / 2);
    }
    uint64_t start = clock_now_ns();
    for (int i = 0; i < 100; i++)
        turn(&world, 0);
    assert_true(clock_now_ns() - start < WHOLE_NS / 2);
    world_fini(&world);
}

static void test_datagram(void **state)
{
    (void)state;
    struct world world;
    ring_handle a, b;
    union net_address at_a, at_b = {0};
    uint8_t *data = pattern(9000);
    world_init(&world, 0, 0);
    assert_int_equal(ring_listen_datagram(world.ring, &world.address, &world.client, &a), 0);
    assert_int_equal(ring_listen_datagram(world.ring, &world.address, &world.server, &b), 0);
    assert_int_equal(ring_local_address(world.ring, a, &at_a), 0);
    assert_int_equal(ring_local_address(world.ring, b, &at_b), 0);
    static const size_t sizes[] = {1, 500, 1472, 8192};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ring_send_datagram(world.ring, a, &at_b, data, sizes[i]), 0);
        UNTIL(&world, world.datagrams == (int)i + 1);
        assert_int_equal(world.datagram.size, sizes[i]);
        assert_int_equal(world.datagram.result, 0);
        assert_memory_equal(world.datagram_data, data, sizes[i]);
        assert_true(net_address_equal(&world.datagram.peer, &at_a));
        assert_ptr_equal(world.datagram.owner, &world.server);
        assert_int_equal(world.datagram.handle, b);
    }
    assert_int_equal(ring_send_datagram(world.ring, a, &at_b, data, 8193), -EMSGSIZE);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ring_send_datagram(world.ring, a, &at_b, data, 10), 0);
    assert_int_equal(ring_send_datagram(world.ring, a, &at_b, data, 10), -EAGAIN);
    UNTIL(&world, world.datagrams == 8);
    /* One too large for us comes marked as cut. */
    int raw = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(sendto(raw, data, 9000, 0, &at_b.any, net_address_size(&at_b)), 9000);
    UNTIL(&world, world.datagrams == 9);
    assert_int_equal(world.datagram.result, -EMSGSIZE);
    /* An empty one is not told, and nothing stops for it. */
    assert_int_equal(sendto(raw, data, 0, 0, &at_b.any, net_address_size(&at_b)), 0);
    assert_int_equal(sendto(raw, data, 3, 0, &at_b.any, net_address_size(&at_b)), 3);
    UNTIL(&world, world.datagram.size == 3);
    /* A burst larger than the group of buffers. */
    int before = world.datagrams;
    for (int i = 0; i < 600; i++)
        assert_int_equal(sendto(raw, data, 100, 0, &at_b.any, net_address_size(&at_b)), 100);
    UNTIL(&world, world.datagrams == before + 600);
    close(raw);
    /* The network refuses: a v4 socket cannot send to v6. */
    union net_address v6;
    assert_int_equal(net_address_parse(&v6, "[::1]:9", 0), 0);
    assert_int_equal(ring_send_datagram(world.ring, a, &v6, data, 10), 0);
    UNTIL(&world, world.failed == 1);
    ring_drop(world.ring, a);
    ring_drop(world.ring, b);
    UNTIL(&world, world.client.gone == 1 && world.server.gone == 1);
    world_fini(&world);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_echo_few_buffers),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_drop_during_send),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_owner_later),
        cmocka_unit_test(test_connect_refused),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_datagram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
