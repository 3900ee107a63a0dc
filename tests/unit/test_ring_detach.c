/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A connection goes from one ring to another: nothing is lost, doubled or out of order, and who
   ends it on the way ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "ring_world.h"

/* The connection is made on `here`; its server side goes to `there`. */
struct rings {
    struct world here, there;
};

static void rings_init(struct rings *rings, unsigned buffer_count, unsigned buffer_size)
{
    world_init(&rings->here, buffer_count, buffer_size);
    world_init(&rings->there, buffer_count, buffer_size);
    world_connect(&rings->here);
}

static void rings_fini(struct rings *rings)
{
    world_fini(&rings->here);
    world_fini(&rings->there);
}

#define BOTH_UNTIL(rings, condition)                                                           \
    do {                                                                                       \
        uint64_t until_ = clock_now_ns() + WHOLE_NS;                                           \
        while (!(condition) && clock_now_ns() < until_) {                                      \
            turn(&(rings)->here, 0);                                                           \
            turn(&(rings)->there, 1000000);                                                    \
        }                                                                                      \
        assert_true(condition);                                                                \
    } while (0)

static void move(struct rings *rings)
{
    struct side *server = &rings->there.server;
    ring_detach(rings->here.ring, rings->here.server.handle);
    ring_detach(rings->here.ring, rings->here.server.handle);
    BOTH_UNTIL(rings, rings->here.server.descriptor > 0);
    assert_int_equal(ring_adopt(rings->there.ring, rings->here.server.descriptor, server,
                                &server->handle),
                     0);
    /* The old name means nothing any more. */
    ring_drop(rings->here.ring, rings->here.server.handle);
}

static void moves_in_flow(unsigned buffer_count, unsigned buffer_size)
{
    struct rings rings;
    const size_t size = 4 << 20;
    uint8_t *data = pattern(size);
    rings_init(&rings, buffer_count, buffer_size);
    struct side *before = &rings.here.server, *after = &rings.there.server;
    assert_int_equal(ring_send(rings.here.ring, rings.here.client.handle, data, size), 0);
    BOTH_UNTIL(&rings, before->received_size > 0);
    move(&rings);
    assert_true(before->received_size < size);
    /* Nothing is read before it is asked for. */
    turn(&rings.there, WAIT_NS);
    assert_int_equal(after->received_size, 0);
    ring_resume(rings.there.ring, after->handle);
    BOTH_UNTIL(&rings, before->received_size + after->received_size == size);
    assert_memory_equal(before->received, data, before->received_size);
    assert_memory_equal(after->received, data + before->received_size, after->received_size);
    assert_int_equal(ring_send(rings.there.ring, after->handle, data, size), 0);
    BOTH_UNTIL(&rings, rings.here.client.received_size == size && after->sent == 1);
    assert_memory_equal(rings.here.client.received, data, size);
    assert_int_equal(before->gone, 0);
    rings_fini(&rings);
    free(data);
}

static void test_in_flow(void **state)
{
    (void)state;
    moves_in_flow(0, 0);
}

/* The read ends for want of a buffer at any time. */
static void test_in_flow_few_buffers(void **state)
{
    (void)state;
    moves_in_flow(2, 1024);
}

/* Whose peer has ended goes all the same, and ends there. */
static void test_behind_the_end(void **state)
{
    (void)state;
    struct rings rings;
    rings_init(&rings, 0, 0);
    ring_drop(rings.here.ring, rings.here.client.handle);
    BOTH_UNTIL(&rings, rings.here.server.ended == 1);
    move(&rings);
    ring_resume(rings.there.ring, rings.there.server.handle);
    BOTH_UNTIL(&rings, rings.there.server.ended == 1);
    assert_int_equal(rings.there.server.result, 0);
    rings_fini(&rings);
}

/* A drop is faster: while the read is being cancelled, and when only the word of it is due. */
static void test_dropped(void **state)
{
    (void)state;
    for (int is_idle = 0; is_idle < 2; is_idle++) {
        struct rings rings;
        rings_init(&rings, 0, 0);
        if (is_idle) {
            ring_pause(rings.here.ring, rings.here.server.handle);
            turn(&rings.here, WAIT_NS);
            turn(&rings.here, WAIT_NS);
        }
        ring_detach(rings.here.ring, rings.here.server.handle);
        ring_drop(rings.here.ring, rings.here.server.handle);
        BOTH_UNTIL(&rings, rings.here.server.gone == 1 && rings.here.client.ended == 1);
        assert_int_equal(rings.here.server.descriptor, 0);
        rings_fini(&rings);
    }
}

/* A ring without room closes what it cannot take, one that closes what it has let go of. */
static void test_nowhere_to_go(void **state)
{
    (void)state;
    struct rings rings;
    struct ring *small;
    ring_handle handle;
    const char *text = "";
    struct ring_options options = {.socket_max = 1, .error_text = &text};
    assert_int_equal(ring_open(&small, &options), 0);
    rings_init(&rings, 0, 0);
    assert_int_equal(ring_listen_stream(small, &rings.there.address, &listener_mark, &handle),
                     0);
    ring_detach(rings.here.ring, rings.here.server.handle);
    BOTH_UNTIL(&rings, rings.here.server.descriptor > 0);
    assert_int_equal(
        ring_adopt(small, rings.here.server.descriptor, &rings.there.server, &handle), -EMFILE);
    BOTH_UNTIL(&rings, rings.here.client.ended == 1);
    ring_close(&small);
    rings_fini(&rings);
}

static void test_closed_meanwhile(void **state)
{
    (void)state;
    struct rings rings;
    rings_init(&rings, 0, 0);
    ring_detach(rings.here.ring, rings.here.server.handle);
    BOTH_UNTIL(&rings, rings.here.server.descriptor > 0);
    struct side *server = &rings.there.server, *client = &rings.here.client;
    assert_int_equal(ring_adopt(rings.there.ring, rings.here.server.descriptor, server,
                                &server->handle),
                     0);
    ring_detach(rings.there.ring, server->handle);
    ring_close(&rings.there.ring);
    UNTIL(&rings.here, client->ended == 1);
    assert_int_equal(server->descriptor, 0);
    world_fini(&rings.here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_flow),        cmocka_unit_test(test_in_flow_few_buffers),
        cmocka_unit_test(test_behind_the_end), cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_nowhere_to_go),  cmocka_unit_test(test_closed_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
