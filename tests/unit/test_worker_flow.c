/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two workers when one of them is full, does not read, goes, or acknowledges: nothing is lost,
   and what a sender hears is true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/link_priv.h"
#include "core/worker_priv.h"
#include "worker_world.h"

/* b has fewer parcels than messages come: it stops reading, goes on when some come home, and in
   the end every message was delivered once, in order. */
static void test_backpressure(void **state)
{
    (void)state;
    struct world world;
    enum { MESSAGES = 180, HELD = 64 };
    struct parcel *held[MESSAGES];
    unsigned held_count = 0, arrived = 0, confirmed = 0;
    world_open(&world, "sasl: optional", "sasl: optional", false);
    for (unsigned n = 0; n < MESSAGES; n++) {
        char id[16];
        snprintf(id, sizeof(id), "m%u", n);
        send_message(&world, id, "b.example");
    }
    for (unsigned n = 0; n < TURNS && confirmed < MESSAGES; n++) {
        struct parcel *parcel;
        turn(&world);
        while ((parcel = mesh_next(world.b.thread.mesh, EGRESS)) != NULL) {
            char id[16];
            snprintf(id, sizeof(id), "m%u", arrived++);
            assert_true(span_equal(parcel->stanza_id, span_of(id)));
            held[held_count++] = parcel;
        }
        assert_true(held_count <= HELD);
        /* Slow SIP side: answers only when nothing more comes. */
        while (n % 50 == 49 && held_count > 0) {
            parcel = held[--held_count];
            parcel->outcome.kind = OUTCOME_DELIVERED;
            mesh_return(world.b.thread.mesh, EGRESS, &parcel);
        }
        mesh_flush(world.b.thread.mesh, EGRESS);
        while ((parcel = mesh_next(world.a.thread.mesh, EGRESS)) != NULL) {
            assert_int_equal(parcel->outcome.kind, OUTCOME_DELIVERED);
            mesh_give(world.a.thread.mesh, EGRESS, &parcel);
            confirmed++;
        }
    }
    while (held_count > 0) {
        held[--held_count]->outcome.kind = OUTCOME_DELIVERED;
        mesh_return(world.b.thread.mesh, EGRESS, &held[held_count]);
    }
    turn(&world);
    assert_int_equal(arrived, MESSAGES);
    assert_int_equal(confirmed, MESSAGES);
    assert_true(count(&world.b, STAT_BACKPRESSURE_PAUSES) > 0);
    assert_int_equal(count(&world.b, STAT_XMPP_MESSAGES_DELIVERED), MESSAGES);
    assert_int_equal(mesh_out(world.b.thread.mesh, 1), 0);
    world_close(&world);
}

/* a has no parcel left when b answers the ping: the answer waits and is not lost. */
static void test_full_keeps_answers(void **state)
{
    (void)state;
    struct world world;
    struct parcel *taken[2048], *parcel;
    unsigned held = 0;
    world_open(&world, "sasl: optional", "sasl: optional", false);
    exchange(&world, "m1", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    struct mesh *mesh = world.a.thread.mesh;
    while (held < 2048 && (taken[held] = mesh_take(mesh, 1, MESH_CONTROL)) != NULL)
        held++;
    assert_true(held > 0 && held < 2048);
    send_message(&world, "m2", "b.example");
    parcel = await(&world, &world.b);
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(world.b.thread.mesh, EGRESS, &parcel);
    mesh_flush(world.b.thread.mesh, EGRESS);
    for (unsigned n = 0; n < TURNS && count(&world.a, STAT_BACKPRESSURE_PAUSES) == 0; n++)
        turn(&world);
    assert_int_equal(count(&world.a, STAT_BACKPRESSURE_PAUSES), 1);
    assert_null(mesh_next(mesh, EGRESS));
    while (held > 0)
        mesh_give(mesh, 1, &taken[--held]);
    parcel = await(&world, &world.a);
    assert_int_equal(parcel->outcome.kind, OUTCOME_DELIVERED);
    mesh_give(mesh, EGRESS, &parcel);
    world_close(&world);
}

/* a says good-bye behind more messages than b has parcels for: what a handed over to b's kernel
   must not be forgotten because the connection has ended. */
static void test_end_behind_backpressure(void **state)
{
    (void)state;
    struct world world;
    enum { MESSAGES = 100 }; /* no more than are sent before b answers a ping */
    unsigned arrived = 0, told = 0;
    world_open(&world, "sasl: optional", "sasl: optional", false);
    world.a.config->stream_management = false;
    exchange(&world, "m", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    for (unsigned n = 0; n < MESSAGES; n++)
        send_message(&world, "m", "b.example");
    worker_turn(world.a.worker, 1);
    /* b sees the messages and the end behind them at once. */
    for (unsigned n = 0; n < TURNS && !worker_drain(world.a.worker, false); n++)
        worker_turn(world.a.worker, 1);
    struct parcel *parcel;
    while ((parcel = mesh_next(world.a.thread.mesh, EGRESS)) != NULL) {
        told += parcel->outcome.kind == OUTCOME_HANDED_OVER;
        mesh_give(world.a.thread.mesh, EGRESS, &parcel);
    }
    for (unsigned n = 0; n < TURNS && arrived < MESSAGES; n++) {
        worker_turn(world.b.worker, 1);
        while ((parcel = mesh_next(world.b.thread.mesh, EGRESS)) != NULL) {
            arrived++;
            parcel->outcome.kind = OUTCOME_DELIVERED;
            mesh_return(world.b.thread.mesh, EGRESS, &parcel);
        }
        mesh_flush(world.b.thread.mesh, EGRESS);
    }
    worker_turn(world.b.worker, 1);
    assert_int_equal(told, MESSAGES);
    assert_int_equal(arrived, MESSAGES);
    world_close(&world);
}

/* b does not read: a calls handed over what the kernel took, and nothing else; and that is no
   more than b may have before it answers a ping. */
static void test_peer_that_does_not_read(void **state)
{
    (void)state;
    struct world world;
    enum { MESSAGES = 950 }; /* 10 MB: more than a connection's buffers */
    static char text[11000];
    unsigned arrived = 0, failed = 0, told = 0;
    memset(text, 'x', sizeof(text) - 1);
    world_open(&world, "sasl: optional", "sasl: optional", false);
    world.a.config->stream_management = false;
    exchange(&world, "m", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    rules_give(&world.a.config->rules, RULE_CONFIRM_TIMEOUT, 50);
    rules_give(&world.a.config->rules, RULE_DELIVER_TIMEOUT, 400);
    link_take_rules(link_find(world.a.worker, SPAN("a.example"), SPAN("b.example")));
    for (unsigned n = 0; n < MESSAGES; n++)
        send_text(&world, "m", "b.example", text);
    struct parcel *parcel;
    for (unsigned n = 0; n < TURNS && told + failed < MESSAGES; n++) {
        worker_turn(world.a.worker, 1);
        while ((parcel = mesh_next(world.a.thread.mesh, EGRESS)) != NULL) {
            told += parcel->outcome.kind == OUTCOME_HANDED_OVER;
            failed += parcel->outcome.kind == OUTCOME_FAILED;
            mesh_give(world.a.thread.mesh, EGRESS, &parcel);
        }
    }
    assert_int_equal(told + failed, MESSAGES);
    /* By now the stream was given up for an answer that did not come, or, when the kernel was
       slow to take the last of them, what waited behind has run out of time. */
    assert_true(failed > 0);
    assert_in_range(told, 1, 3);
    assert_int_equal(count(&world.a, STAT_XMPP_WAITING), 0);
    for (unsigned n = 0; n < TURNS && arrived < told; n++) {
        turn(&world);
        while ((parcel = mesh_next(world.b.thread.mesh, EGRESS)) != NULL) {
            arrived++;
            parcel->outcome.kind = OUTCOME_DELIVERED;
            mesh_return(world.b.thread.mesh, EGRESS, &parcel);
        }
        mesh_flush(world.b.thread.mesh, EGRESS);
    }
    assert_true(arrived >= told);
    turn(&world);
    world_close(&world);
}

/* A message at which a stream stops is counted once, also when it stops there again for another
   quota. */
static void test_stop_is_counted_once(void **state)
{
    (void)state;
    struct world world;
    enum { MESSAGES = 60, PASSED = 25 };
    struct parcel *held[MESSAGES], *parcel;
    unsigned held_count = 0, ended = 0;
    world_open(&world, "sasl: optional", "messages_per_second_max: 25", false);
    /* The partner has its rate, the tenant no more in flight than it lets in at first. */
    rules_give(&world.b.config->rules, RULE_MESSAGES_IN_FLIGHT, PASSED);
    for (unsigned n = 0; n < MESSAGES; n++)
        send_message(&world, "m", "b.example");
    for (unsigned n = 0; n < TURNS && TAILQ_EMPTY(&world.b.worker->rationed); n++) {
        turn(&world);
        while ((parcel = mesh_next(world.b.thread.mesh, EGRESS)) != NULL)
            held[held_count++] = parcel;
    }
    assert_false(TAILQ_EMPTY(&world.b.worker->rationed));
    assert_int_equal(count(&world.b, STAT_QUOTA_PAUSES), 1);
    for (unsigned n = 0; n < TURNS && ended < MESSAGES; n++) {
        while (held_count > 0) {
            held[--held_count]->outcome.kind = OUTCOME_DELIVERED;
            mesh_return(world.b.thread.mesh, EGRESS, &held[held_count]);
        }
        mesh_flush(world.b.thread.mesh, EGRESS);
        turn(&world);
        while ((parcel = mesh_next(world.b.thread.mesh, EGRESS)) != NULL)
            held[held_count++] = parcel;
        for (; (parcel = mesh_next(world.a.thread.mesh, EGRESS)) != NULL; ended++)
            mesh_give(world.a.thread.mesh, EGRESS, &parcel);
    }
    assert_int_equal(ended, MESSAGES);
    world_close(&world);
}

static void answer(struct world *world, struct parcel *parcel)
{
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(world->b.thread.mesh, EGRESS, &parcel);
    mesh_flush(world->b.thread.mesh, EGRESS);
}

/* b acknowledges what is before the first open outcome, and nothing behind it; and when it
   stops it goes only when the last one is known and a has heard of it. */
static void test_acknowledged_in_order(void **state)
{
    (void)state;
    struct world world;
    struct parcel *held[4], *parcel;
    world_open(&world, "sasl: optional", "sasl: optional", false);
    exchange(&world, "m", OUTCOME_DELIVERED, OUTCOME_DELIVERED);
    for (unsigned n = 0; n < 4; n++) {
        send_message(&world, "m", "b.example");
        held[n] = await(&world, &world.b);
        parcel = await(&world, &world.a); /* the pong says that b has it */
        assert_int_equal(parcel->outcome.kind, OUTCOME_DELIVERED);
        mesh_give(world.a.thread.mesh, EGRESS, &parcel);
    }
    uint64_t acked = count(&world.a, STAT_SM_ACKED);
    answer(&world, held[1]);
    answer(&world, held[3]);
    for (unsigned n = 0; n < 20; n++)
        turn(&world);
    assert_int_equal(count(&world.a, STAT_SM_ACKED), acked);
    answer(&world, held[0]);
    for (unsigned n = 0; n < 20; n++)
        assert_false(worker_drain(world.b.worker, false)), turn(&world);
    answer(&world, held[2]);
    for (unsigned n = 0; n < TURNS && !worker_drain(world.b.worker, false); n++)
        turn(&world);
    assert_true(worker_drain(world.b.worker, false));
    for (unsigned n = 0; n < TURNS && count(&world.a, STAT_SM_LOST) == 0 &&
                         count(&world.a, STAT_SM_ACKED) < acked + 7;
         n++)
        turn(&world);
    assert_true(count(&world.a, STAT_SM_ACKED) >= acked + 7); /* three pings between them */
    assert_int_equal(count(&world.a, STAT_SM_LOST), 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_full_keeps_answers),
        cmocka_unit_test(test_end_behind_backpressure),
        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_stop_is_counted_once),
        cmocka_unit_test(test_acknowledged_in_order),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
