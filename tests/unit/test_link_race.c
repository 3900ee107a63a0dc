/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A partner whose server has an IPv6 and an IPv4 address, of which one does not answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "core/worker_priv.h"
#include "worker_world.h"

#define WAITING_MAX 8

/* A port where nobody ever answers: its queue of connections is full. */
struct hole {
    int listener, waiting[WAITING_MAX];
};

/* False when there is no such address here. */
static bool hole_open(struct hole *hole, const char *host, unsigned port)
{
    union net_address address;
    assert_int_equal(net_address_parse_host(&address, host, (uint16_t)port), 0);
    hole->listener = socket(address.any.sa_family, SOCK_STREAM, 0);
    if (bind(hole->listener, &address.any, net_address_size(&address)) != 0) {
        close(hole->listener);
        return false;
    }
    assert_int_equal(listen(hole->listener, 0), 0);
    for (unsigned i = 0; i < WAITING_MAX; i++) {
        hole->waiting[i] = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_true(hole->waiting[i] >= 0);
        (void)connect(hole->waiting[i], &address.any, net_address_size(&address));
    }
    return true;
}

static void hole_close(struct hole *hole)
{
    for (unsigned i = 0; i < WAITING_MAX; i++)
        close(hole->waiting[i]);
    close(hole->listener);
}

/* a knows b's server by a name with two addresses, ::1 and this one, and finds it at that port. */
static struct resolver *world_open_named(struct world *world, const char *v4, unsigned port)
{
    static char name[] = "server.example";
    struct resolver *resolver;
    char path[128];
    world_open(world, "sasl: optional", "sasl: optional", false);
    assert_true(snprintf(path, sizeof(path), "%s/hosts", world->directory) > 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%s %s\n::1 %s\n", v4, name, name) > 0);
    assert_int_equal(fclose(file), 0);
    struct resolver_options options = {.hosts_file = path, .allow_special = true};
    assert_int_equal(resolver_open(&resolver, &options), 0);
    assert_int_equal(
        resolver_port_open(&world->a.worker->resolver, resolver, world->a.thread.ring), 0);
    world->a.config->partners[0].host = name;
    world->a.config->partners[0].port = (uint16_t)world->ports[port].number;
    return resolver;
}

/* The IPv6 address comes first, and does not answer: the other one is tried beside it. */
static void test_first_is_a_hole(void **state)
{
    (void)state;
    struct world world;
    struct hole hole;
    struct resolver *resolver = world_open_named(&world, "127.0.0.1", PORT_B);
    bool has_v6 = hole_open(&hole, "::1", world.ports[PORT_B].number);
    /* Nobody waits for it: the test would be over. */
    world.a.config->connect_timeout_ms = 120000;
    exchange(&world, "m1", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    assert_int_equal(count(&world.a, STAT_CONNECTIONS_OUTRUN), has_v6 ? 1 : 0);
    exchange(&world, "m2", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    /* It has left nothing. */
    assert_int_equal(count(&world.a, STAT_SESSIONS_OPENED) -
                         count(&world.a, STAT_SESSIONS_CLOSED),
                     world.a.worker->session_count);
    assert_int_equal(world.a.worker->session_count, 2);
    world_close(&world);
    resolver_close(&resolver);
    if (has_v6)
        hole_close(&hole);
}

/* One that is refused makes place for the next at once. */
static void test_first_is_refused(void **state)
{
    (void)state;
    struct world world;
    struct resolver *resolver = world_open_named(&world, "127.0.0.1", PORT_B);
    world.a.config->connect_delay_ms = 120000;
    exchange(&world, "m1", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    assert_int_equal(count(&world.a, STAT_CONNECTIONS_OUTRUN), 0);
    world_close(&world);
    resolver_close(&resolver);
}

/* A relay that stops while both connections are without an answer says so, and leaves none. */
static void test_stop_on_the_way(void **state)
{
    (void)state;
    struct world world;
    struct hole v6, v4; /* b listens on 127.0.0.1 only */
    struct resolver *resolver = world_open_named(&world, "127.0.0.2", PORT_B_DIRECT);
    bool has_v6 = hole_open(&v6, "::1", world.ports[PORT_B_DIRECT].number);
    unsigned waiting = has_v6 ? 2 : 1;
    assert_true(hole_open(&v4, "127.0.0.2", world.ports[PORT_B_DIRECT].number));
    world.a.config->connect_timeout_ms = 120000;
    send_message(&world, "m1", "b.example");
    for (unsigned n = 0; n < TURNS && world.a.worker->session_count < waiting; n++)
        turn(&world);
    assert_int_equal(world.a.worker->session_count, waiting);
    (void)worker_drain(world.a.worker, false);
    struct parcel *parcel = await(&world, &world.a);
    assert_int_equal(parcel->outcome.kind, OUTCOME_FAILED);
    assert_int_equal(parcel->outcome.fault.error, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    mesh_give(world.a.thread.mesh, EGRESS, &parcel);
    world_close(&world);
    resolver_close(&resolver);
    hole_close(&v4);
    if (has_v6)
        hole_close(&v6);
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
