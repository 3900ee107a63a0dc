/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Datagrams that leave together (UDP_SEGMENT), over loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/clock.h"
#include "net/ring.h"

#define WAIT_NS     20000000u
#define WHOLE_NS    10000000000u
#define TARGETS     40 /* more than there may be open batches */
#define PER_TARGET  99
#define NUMBER_SIZE sizeof(uint32_t)

struct receiver {
    ring_handle handle;
    union net_address address;
    unsigned count, sizes[1500];
    uint32_t last[1500]; /* number of the last datagram of each size */
    bool is_ordered, is_gone;
};

struct scene {
    struct ring *ring;
    struct receiver receivers[TARGETS], sender;
    unsigned count, failed;
};

static void listen_at(struct scene *scene, struct receiver *receiver, const char *text)
{
    union net_address address;
    receiver->is_ordered = true;
    assert_int_equal(net_address_parse(&address, text, 0), 0);
    assert_int_equal(ring_listen_datagram(scene->ring, &address, receiver, &receiver->handle),
                     0);
    assert_int_equal(ring_local_address(scene->ring, receiver->handle, &receiver->address), 0);
}

/* Sockets that share ports on purpose may get the same one from the kernel. */
static bool has_another(const struct scene *scene, const struct receiver *receiver)
{
    bool is_shared = false;
    for (unsigned i = 0; i < TARGETS; i++) {
        const struct receiver *other = &scene->receivers[i];
        is_shared |= other != receiver && other->handle != 0 &&
                     net_address_equal(&other->address, &receiver->address);
    }
    return is_shared || (receiver != &scene->sender &&
                         net_address_equal(&scene->sender.address, &receiver->address));
}

static void listen_alone(struct scene *scene, struct receiver *receiver, const char *text)
{
    struct receiver shared = {0};
    listen_at(scene, receiver, text);
    while (has_another(scene, receiver)) {
        struct ring_event event = {.kind = RING_WOKEN};
        ring_set_owner(scene->ring, receiver->handle, &shared);
        ring_drop(scene->ring, receiver->handle);
        while (event.kind != RING_GONE || event.owner != &shared) {
            if (!ring_next(scene->ring, &event))
                assert_true(ring_wait(scene->ring, WAIT_NS) >= 0);
        }
        listen_at(scene, receiver, text);
    }
}

static void scene_open(struct scene *scene, bool batches, const char *address)
{
    *scene = (struct scene){0};
    struct ring_options options = {
        .socket_max = 64, .datagram_send_max = 4096, .datagram_batches = batches};
    assert_int_equal(ring_open(&scene->ring, &options), 0);
    listen_alone(scene, &scene->sender, address);
    for (unsigned i = 0; i < TARGETS; i++)
        listen_alone(scene, &scene->receivers[i], address);
}

static void take(struct scene *scene, const struct ring_event *event)
{
    struct receiver *receiver = event->owner;
    uint32_t number;
    if (event->kind == RING_GONE)
        receiver->is_gone = true;
    if (event->kind == RING_SEND_FAILED)
        scene->failed++;
    if (event->kind != RING_DATAGRAM)
        return;
    assert_true(net_address_equal(&event->peer, &scene->sender.address));
    assert_true(event->size >= NUMBER_SIZE && event->size < 1500);
    memcpy(&number, event->data, NUMBER_SIZE);
    for (size_t i = NUMBER_SIZE; i < event->size; i++)
        assert_int_equal(event->data[i], (uint8_t)(number + i));
    receiver->is_ordered &= receiver->last[event->size] <= number;
    receiver->last[event->size] = number;
    receiver->sizes[event->size]++;
    receiver->count++;
    scene->count++;
}

static void turn(struct scene *scene)
{
    struct ring_event event;
    assert_true(ring_wait(scene->ring, WAIT_NS) >= 0);
    while (ring_next(scene->ring, &event))
        take(scene, &event);
}

#define UNTIL(scene, condition)                                                                \
    do {                                                                                       \
        uint64_t until_ = clock_now_ns() + WHOLE_NS;                                           \
        while (!(condition) && clock_now_ns() < until_)                                        \
            turn(scene);                                                                       \
        assert_true(condition);                                                                \
    } while (0)

static void send_number(struct scene *scene, unsigned target, uint32_t number, size_t size)
{
    uint8_t data[1500];
    memcpy(data, &number, NUMBER_SIZE);
    for (size_t i = NUMBER_SIZE; i < size; i++)
        data[i] = (uint8_t)(number + i);
    assert_int_equal(ring_send_datagram(scene->ring, scene->sender.handle,
                                        &scene->receivers[target].address, data, size),
                     0);
}

static void scene_close(struct scene *scene)
{
    ring_close(&scene->ring);
    assert_null(scene->ring);
}

/* Sizes and targets in turns; every datagram arrives whole, those of one kind in order. */
static void run_mix(bool batches, const char *address)
{
    static const size_t sizes[] = {640, 704, 704, 640, 640, 1400, 640, 1450};
    struct scene scene;
    struct ring_counters counters;
    uint32_t number = 0;
    scene_open(&scene, batches, address);
    for (unsigned i = 0; i < PER_TARGET / 3; i++) {
        for (unsigned n = 0; n < 3 * TARGETS; n++, number++)
            send_number(&scene, n / 3, number, sizes[(i + n / 2) % 8]);
        if (i % 7 == 6)
            UNTIL(&scene, scene.count == number);
    }
    UNTIL(&scene, scene.count == number);
    for (unsigned target = 0; target < TARGETS; target++) {
        assert_int_equal(scene.receivers[target].count, PER_TARGET);
        assert_true(scene.receivers[target].is_ordered);
    }
    ring_counters(scene.ring, &counters);
    assert_int_equal(counters.batches > 0, batches);
    assert_int_equal(counters.batches_datagrams > 0, batches);
    assert_int_equal(counters.datagrams, number);
    assert_int_equal(counters.batches_refused, 0);
    assert_int_equal(scene.failed, 0);
    scene_close(&scene);
}

static void test_mix(void **state)
{
    (void)state;
    run_mix(true, "127.0.0.1:0");
    run_mix(true, "[::1]:0");
    run_mix(false, "127.0.0.1:0");
}

/* A full batch goes at once, and the next begins. */
static void test_full(void **state)
{
    (void)state;
    struct scene scene;
    struct ring_counters counters;
    scene_open(&scene, true, "127.0.0.1:0");
    for (uint32_t number = 0; number < 200; number++)
        send_number(&scene, 0, number, 100);
    for (uint32_t number = 200; number < 300; number++)
        send_number(&scene, 1, number, 1400); /* bounded by its bytes */
    UNTIL(&scene, scene.count == 300);
    assert_true(scene.receivers[0].is_ordered && scene.receivers[1].is_ordered);
    ring_counters(scene.ring, &counters);
    assert_int_equal(counters.batches, 4 + 3); /* 64 × 3 + 8, 42 × 2 + 16 */
    assert_int_equal(counters.batches_datagrams, 300);
    assert_int_equal(counters.datagrams, 300);
    /* The receives of the sockets, the wake-up and a send for each batch, no more. */
    assert_in_range(counters.submissions, 7, 7 + TARGETS + 2);
    assert_in_range(counters.enters, 1, counters.submissions + counters.completions);
    scene_close(&scene);
}

/* The descriptor of the sender's socket, for what the ring's interface has no word for. */
static int descriptor_of(const struct receiver *receiver)
{
    for (int fd = 0; fd < 1024; fd++) {
        union net_address address;
        socklen_t size = sizeof(address);
        if (getsockname(fd, &address.any, &size) == 0 &&
            net_address_equal(&address, &receiver->address))
            return fd;
    }
    return -1;
}

/* The kernel cuts no packets that have no checksum: each datagram then goes by itself. */
static void test_refused(void **state)
{
    (void)state;
    struct scene scene;
    struct ring_counters counters;
    const int one = 1;
    scene_open(&scene, true, "127.0.0.1:0");
    int fd = descriptor_of(&scene.sender);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)), 0);
    for (uint32_t number = 0; number < 150; number++)
        send_number(&scene, number % 2, number, 300);
    UNTIL(&scene, scene.count == 150);
    ring_counters(scene.ring, &counters);
    assert_true(counters.batches_refused > 0);
    assert_int_equal(counters.batches_refused, counters.batches);
    assert_int_equal(scene.failed, 0);
    scene_close(&scene);
}

/* What was handed over before the socket is dropped still leaves, and every slot comes back. */
static void test_drop(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, true, "127.0.0.1:0");
    for (uint32_t number = 0; number < 30; number++)
        send_number(&scene, number % 3, number, 200);
    ring_drop(scene.ring, scene.sender.handle);
    UNTIL(&scene, scene.count == 30 && scene.sender.is_gone);
    listen_at(&scene, &scene.sender, "127.0.0.1:0");
    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t number = 0; number < 500; number++)
            send_number(&scene, 0, number, 200 + number % 40);
        UNTIL(&scene, scene.count == 30 + 500 * (round + 1));
    }
    scene_close(&scene);
}

/* A batch that cannot be sent is told, once or one by one. */
static void test_failure(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, true, "127.0.0.1:0");
    union net_address v6;
    assert_int_equal(net_address_parse(&v6, "[::1]:9", 0), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(ring_send_datagram(scene.ring, scene.sender.handle, &v6, "data", 4),
                         0);
    UNTIL(&scene, scene.failed > 0);
    send_number(&scene, 0, 1, 100);
    UNTIL(&scene, scene.count == 1);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mix),     cmocka_unit_test(test_full),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_drop),
        cmocka_unit_test(test_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
