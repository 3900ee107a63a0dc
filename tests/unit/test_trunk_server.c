/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who asks a SIP server whether it is there, and what the others learn from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/trunk_priv.h"

#define INTERVAL_MS 30000u

enum { FIRST, SECOND, TRUNKS };

struct scene {
    struct trunk_table table;
    struct config_trunk config;
    struct trunk trunks[TRUNKS];
    struct trunk_target targets[TRUNKS];
};

static void place(struct scene *scene, enum sip_transport transport)
{
    *scene = (struct scene){.config = {.options_interval_s = INTERVAL_MS / 1000}};
    table_init(&scene->table.servers);
    for (uint32_t i = 0; i < TRUNKS; i++) {
        scene->trunks[i] = (struct trunk){
            .config = &scene->config, .serial = i + 1, .table = &scene->table};
        scene->targets[i].at.transport = transport;
        assert_int_equal(
            net_address_parse_host(&scene->targets[i].at.address, "192.0.2.1", 5060), 0);
        assert_int_equal(trunk_server_join(&scene->trunks[i], &scene->targets[i]), 0);
    }
}

static void leave(struct scene *scene)
{
    for (size_t i = 0; i < TRUNKS; i++)
        trunk_server_leave(&scene->table, &scene->targets[i]);
    assert_int_equal(scene->table.servers.count, 0);
    table_fini(&scene->table.servers);
}

static bool asks(struct scene *scene, size_t trunk, uint64_t now_ms)
{
    return trunk_server_ask(scene->targets[trunk].server, &scene->trunks[trunk], now_ms);
}

static void note(struct scene *scene, int status, bool is_keep_alive, uint64_t now_ms)
{
    struct trunk_server *server = scene->targets[FIRST].server;
    const struct trunk_result result = {
        .target = &server->at, .status = status, .is_keep_alive = is_keep_alive};
    trunk_server_note(server, &result, now_ms);
}

static void test_who_shares(void **state)
{
    (void)state;
    static const struct {
        enum sip_transport transport;
        bool shared;
    } rows[] = {{SIP_TRANSPORT_UDP, true},
                {SIP_TRANSPORT_TCP, true},
                {SIP_TRANSPORT_TLS, false}}; /* each tenant has a certificate of his own */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct scene scene;
        place(&scene, rows[i].transport);
        assert_int_equal(scene.targets[FIRST].server == scene.targets[SECOND].server,
                         rows[i].shared);
        leave(&scene);
    }
}

static void test_one_asks(void **state)
{
    (void)state;
    struct scene scene;
    place(&scene, SIP_TRANSPORT_UDP);
    assert_true(asks(&scene, FIRST, 1000));
    assert_false(asks(&scene, SECOND, 1001));
    note(&scene, 200, true, 1002);
    assert_false(asks(&scene, SECOND, 1000 + INTERVAL_MS - 1));
    assert_true(asks(&scene, FIRST, 1000 + INTERVAL_MS));
    assert_false(asks(&scene, SECOND, 1001 + INTERVAL_MS));
    leave(&scene);
}

static void test_another_takes_over(void **state)
{
    (void)state;
    struct scene scene;
    place(&scene, SIP_TRANSPORT_UDP);
    assert_true(asks(&scene, FIRST, 1000));
    note(&scene, 200, true, 1002);
    /* The first is gone. */
    assert_false(asks(&scene, SECOND, 1000 + INTERVAL_MS));
    assert_true(asks(&scene, SECOND, 1000 + 2 * INTERVAL_MS));
    leave(&scene);
}

static void test_traffic_is_answer_enough(void **state)
{
    (void)state;
    struct scene scene;
    place(&scene, SIP_TRANSPORT_UDP);
    note(&scene, 404, false, 20000);
    assert_false(asks(&scene, FIRST, 21000));
    assert_false(asks(&scene, SECOND, 21000));
    assert_true(asks(&scene, FIRST, 20000 + INTERVAL_MS));
    leave(&scene);
}

static void test_misses_are_of_keep_alives(void **state)
{
    (void)state;
    struct scene scene;
    place(&scene, SIP_TRANSPORT_UDP);
    const struct trunk_server *server = scene.targets[SECOND].server;
    note(&scene, 408, false, 1000); /* a phone that is off */
    assert_int_equal(server->misses, 0);
    note(&scene, 408, true, 1000);
    note(&scene, 0, true, 2000);
    assert_int_equal(server->misses, 2);
    note(&scene, 486, false, 3000);
    assert_int_equal(server->misses, 0);
    assert_int_equal(server->status, 486);
    leave(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_shares),
        cmocka_unit_test(test_one_asks),
        cmocka_unit_test(test_another_takes_over),
        cmocka_unit_test(test_traffic_is_answer_enough),
        cmocka_unit_test(test_misses_are_of_keep_alives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
