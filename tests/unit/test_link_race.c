/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A partner whose server has an IPv6 and an IPv4 address, of which one does not answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>

#include "core/worker_priv.h"
#include "worker_world.h"

#define WAITING_MAX 8

/* A port of another loopback address than b listens on. It is held, so nobody else listens
   there, and refuses; dug, it never answers: its queue of connections is full. */
struct hole {
    int listener; /* -1: there is no such address here */
    int waiting[WAITING_MAX];
    unsigned waiting_count;
};

/* False when somebody else has this port. */
static bool hole_open(struct hole *hole, const char *host, unsigned port)
{
    union net_address address;
    *hole = (struct hole){.listener = -1};
    assert_int_equal(net_address_parse_host(&address, host, (uint16_t)port), 0);
    int made = socket(address.any.sa_family, SOCK_STREAM, 0);
    if (made >= 0 && bind(made, &address.any, net_address_size(&address)) == 0) {
        hole->listener = made;
        return true;
    }
    bool is_taken = made >= 0 && errno == EADDRINUSE;
    if (made >= 0)
        close(made);
    return !is_taken;
}

static void hole_dig(struct hole *hole)
{
    union net_address address;
    socklen_t size = sizeof(address);
    if (hole->listener < 0)
        return;
    assert_int_equal(getsockname(hole->listener, &address.any, &size), 0);
    assert_int_equal(listen(hole->listener, 0), 0);
    for (; hole->waiting_count < WAITING_MAX; hole->waiting_count++) {
        int made = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_true(made >= 0);
        (void)connect(made, &address.any, size);
        hole->waiting[hole->waiting_count] = made;
    }
}

static void hole_close(struct hole *hole)
{
    while (hole->waiting_count > 0)
        close(hole->waiting[--hole->waiting_count]);
    if (hole->listener >= 0)
        close(hole->listener);
}

/* b's server has a name with two addresses: ::1, and 127.0.0.1, where b listens, or 127.0.0.2. */
struct scene {
    struct world world;
    struct resolver *resolver;
    struct hole v6, v4;
    bool has_v6;
};

/* The world has its port on 127.0.0.1: it takes one that is free on the others, too. */
static void take_ports(struct scene *scene, unsigned port)
{
    bool is_held = false;
    for (unsigned tries = 0; tries < 100 && !is_held; tries++) {
        world_open(&scene->world, "sasl: optional", "sasl: optional", false);
        bool has_both = hole_open(&scene->v6, "::1", scene->world.ports[port].number);
        is_held = hole_open(&scene->v4, "127.0.0.2", scene->world.ports[port].number) && has_both;
        if (is_held)
            break;
        hole_close(&scene->v6);
        hole_close(&scene->v4);
        world_close(&scene->world);
    }
    assert_true(is_held);
    scene->has_v6 = scene->v6.listener >= 0;
}

/* a finds the server by its name at that port. */
static void scene_open(struct scene *scene, const char *v4, unsigned port)
{
    static char name[] = "server.example";
    struct world *world = &scene->world;
    char path[128];
    take_ports(scene, port);
    assert_true(snprintf(path, sizeof(path), "%s/hosts", world->directory) > 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%s %s\n::1 %s\n", v4, name, name) > 0);
    assert_int_equal(fclose(file), 0);
    struct resolver_options options = {.hosts_file = path, .allow_special = true};
    assert_int_equal(resolver_open(&scene->resolver, &options), 0);
    assert_int_equal(resolver_port_open(&world->a.worker->resolver, scene->resolver,
                                        world->a.thread.ring),
                     0);
    world->a.config->partners[0].host = name;
    world->a.config->partners[0].port = (uint16_t)world->ports[port].number;
}

static void scene_close(struct scene *scene)
{
    world_close(&scene->world);
    resolver_close(&scene->resolver);
    hole_close(&scene->v6);
    hole_close(&scene->v4);
}

/* The IPv6 address comes first, and does not answer: the other one is tried beside it. */
static void test_first_is_a_hole(void **state)
{
    (void)state;
    struct scene scene;
    struct world *world = &scene.world;
    scene_open(&scene, "127.0.0.1", PORT_B);
    hole_dig(&scene.v6);
    /* Nobody waits for it: the test would be over. */
    world->a.config->connect_timeout_ms = 120000;
    exchange(world, "m1", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    assert_int_equal(count(&world->a, STAT_CONNECTIONS_OUTRUN), scene.has_v6 ? 1 : 0);
    exchange(world, "m2", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    /* It has left nothing. */
    assert_int_equal(count(&world->a, STAT_SESSIONS_OPENED) -
                         count(&world->a, STAT_SESSIONS_CLOSED),
                     world->a.worker->session_count);
    assert_int_equal(world->a.worker->session_count, 2);
    scene_close(&scene);
}

/* One that is refused makes place for the next at once. */
static void test_first_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, "127.0.0.1", PORT_B);
    scene.world.a.config->connect_delay_ms = 120000;
    exchange(&scene.world, "m1", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    assert_int_equal(count(&scene.world.a, STAT_CONNECTIONS_OUTRUN), 0);
    scene_close(&scene);
}

/* A relay that stops while both connections are without an answer says so, and leaves none. */
static void test_stop_on_the_way(void **state)
{
    (void)state;
    struct scene scene;
    struct world *world = &scene.world;
    scene_open(&scene, "127.0.0.2", PORT_B_DIRECT);
    hole_dig(&scene.v6);
    hole_dig(&scene.v4);
    unsigned waiting = scene.has_v6 ? 2 : 1;
    world->a.config->connect_timeout_ms = 120000;
    send_message(world, "m1", "b.example");
    for (unsigned n = 0; n < TURNS && world->a.worker->session_count < waiting; n++)
        turn(world);
    assert_int_equal(world->a.worker->session_count, waiting);
    (void)worker_drain(world->a.worker, false);
    struct parcel *parcel = await(world, &world->a);
    assert_int_equal(parcel->outcome.kind, OUTCOME_FAILED);
    assert_int_equal(parcel->outcome.fault.error, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    mesh_give(world->a.thread.mesh, EGRESS, &parcel);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_is_a_hole),
        cmocka_unit_test(test_first_is_refused),
        cmocka_unit_test(test_stop_on_the_way),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
