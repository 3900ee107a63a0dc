/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The ring when slots or descriptors run out, and when it is closed with everything under way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ring_world.h"

/* More connections than slots: the listener pauses, closes what it cannot keep, and comes back.
 */
static void test_slots_full(void **state)
{
    (void)state;
    struct world world;
    struct ring_counters counters;
    int fds[80];
    world_init(&world, 0, 0);
    world_listen(&world);
    for (int i = 0; i < 80; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], &world.address.any, net_address_size(&world.address)),
                         0);
    }
    ring_counters(world.ring, &counters);
    for (int i = 0; i < 10 && counters.accept_pauses == 0; i++) {
        turn(&world, WAIT_NS);
        ring_counters(world.ring, &counters);
    }
    assert_true(counters.accept_pauses > 0);
    assert_int_equal(counters.sockets, 64);
    assert_int_equal(world.accepted, 63);
    ring_drop(world.ring, world.server.handle);
    UNTIL(&world, world.server.gone == 1);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, &world.address.any, net_address_size(&world.address)), 0);
    UNTIL(&world, world.accepted > 63);
    for (int i = 0; i < 80; i++)
        close(fds[i]);
    close(late);
    world_fini(&world);
}

/* Without descriptors the listener pauses and resumes by itself. */
static void test_no_descriptors(void **state)
{
    (void)state;
    struct world world;
    struct rlimit old, few;
    struct ring_counters counters;
    world_init(&world, 0, 0);
    /* The kernel takes the limit from the moment the accept is submitted. */
    world_listen(&world);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int rc = connect(fd, &world.address.any, net_address_size(&world.address));
    ring_counters(world.ring, &counters);
    for (int i = 0; i < 20 && counters.accept_pauses == 0; i++) {
        turn(&world, WAIT_NS);
        ring_counters(world.ring, &counters);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(rc, 0);
    assert_true(counters.accept_pauses > 0);
    assert_int_equal(connect(fd, &world.address.any, net_address_size(&world.address)), -1);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, &world.address.any, net_address_size(&world.address)), 0);
    UNTIL(&world, world.accepted >= 1);
    close(late);
    close(fd);
    world_fini(&world);
}

/* ring_close with everything under way. */
static void test_close_busy(void **state)
{
    (void)state;
    struct world world;
    uint8_t *data = pattern(8 << 20);
    world_init(&world, 2, 1024);
    world_connect(&world);
    assert_int_equal(ring_send(world.ring, world.client.handle, data, 8 << 20), 0);
    assert_true(ring_wait(world.ring, WAIT_NS) >= 0);
    world_fini(&world);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_full),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_close_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
