/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two workers federate: TLS, EXTERNAL or dialback, messages, their confirmation by ping, errors
   on the way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker_world.h"

static void check_federation(const char *rule_a, const char *rule_b, bool direct)
{
    struct world world;
    world_open(&world, rule_a, rule_b, direct);
    exchange(&world, "m1", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    exchange(&world, "m2", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    assert_int_equal(count(&world.b, STAT_XMPP_MESSAGES_ACCEPTED), 2);
    assert_int_equal(count(&world.b, STAT_XMPP_MESSAGES_DELIVERED), 2);
    assert_int_equal(count(&world.b, STAT_XMPP_MESSAGES_FAILED), 0);
    assert_int_equal(count(&world.a, STAT_TLS_FAILURES), 0);
    world_close(&world);
}

static void test_external(void **state)
{
    (void)state;
    check_federation("sasl: required", "sasl: required", false);
}

static void test_direct_tls(void **state)
{
    (void)state;
    check_federation("sasl: optional", "sasl: optional", true);
}

static void test_dialback(void **state)
{
    (void)state;
    check_federation("sasl: not_supported", "sasl: not_supported", false);
}

/* Without TLS where the policy says so, and with it as soon as one side asks for it. */
static void test_in_clear(void **state)
{
    (void)state;
    check_federation("tls: not_supported", "tls: not_supported", false);
    check_federation("tls: optional", "tls: not_supported", false);
    check_federation("tls: optional", "tls: required", false);
}

/* The pong and the error race: the error is late here, so the sender hears "delivered"; the
   error stanza must come to a all the same, and do no harm. */
static void test_error_comes_back(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, "sasl: optional", "sasl: optional", false);
    exchange(&world, "m1", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    send_message(&world, "m2", "b.example");
    struct parcel *parcel = await(&world, &world.b);
    parcel->outcome.kind = OUTCOME_FAILED;
    parcel->outcome.fault = (struct stanza_fault){.error = STANZA_ERROR_ITEM_NOT_FOUND};
    mesh_return(world.b.thread.mesh, EGRESS, &parcel);
    mesh_flush(world.b.thread.mesh, EGRESS);
    for (unsigned n = 0; n < TURNS && count(&world.a, STAT_XMPP_MESSAGES_IGNORED) == 0; n++)
        turn(&world);
    assert_int_equal(count(&world.a, STAT_XMPP_MESSAGES_IGNORED), 1);
    assert_int_equal(count(&world.b, STAT_XMPP_MESSAGES_FAILED), 1);
    assert_int_equal(count(&world.b, STAT_XMPP_ERRORS_SENT), 1);
    parcel = await(&world, &world.a);
    assert_int_not_equal(parcel->outcome.kind, OUTCOME_PENDING);
    mesh_give(world.a.thread.mesh, EGRESS, &parcel);
    world_close(&world);
}

/* b wants dialback while a's partner entry says external only: no pair can come about. */
static void test_refused(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, "sasl: required", "sasl: not_supported", false);
    send_message(&world, "m1", "b.example");
    struct parcel *parcel = await(&world, &world.a);
    assert_int_equal(parcel->outcome.kind, OUTCOME_FAILED);
    assert_int_equal(parcel->outcome.fault.error, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
    assert_true(parcel->outcome.fault.text.size > 0);
    mesh_give(world.a.thread.mesh, EGRESS, &parcel);
    assert_int_equal(count(&world.b, STAT_XMPP_MESSAGES_ACCEPTED), 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_external),
        cmocka_unit_test(test_direct_tls),
        cmocka_unit_test(test_dialback),
        cmocka_unit_test(test_in_clear),
        cmocka_unit_test(test_error_comes_back),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
