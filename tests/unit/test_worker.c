/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two workers federate with each other over loopback sockets: TLS, EXTERNAL or dialback, messages,
 * their confirmation by ping, errors on the way back. The test plays both egress threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/worker.h"
#include "net/clock.h"
#include "net/tls.h"

#define EGRESS 2u
#define TURNS  4000

struct relay {
    struct thread thread;
    struct config *config;
    struct worker *worker;
    _Atomic bool stopping;
};

struct world {
    char directory[64];
    unsigned port;
    struct relay a, b;
};

static void write_config(const struct world *world, const char *name, const char *domain,
                         const char *partner, unsigned port, const char *more)
{
    char path[128];
    assert_true(snprintf(path, sizeof(path), "%s/%s.yaml", world->directory, name) > 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file,
                        "xmpp:\n  listen: ['127.0.0.1:%u']\n  listen_direct_tls: ['127.0.0.1:%u']\n"
                        "  certificate: %s.pem\n  key: %s.key\n  ca_file: ca.pem\n"
                        "tenants:\n  - domains: [%s]\n    trunks: [{uri: 'sip:192.0.2.1'}]\n"
                        "partners:\n  - domain: %s\n    host: 127.0.0.1\n%s",
                        port, port + 2, domain, domain, domain, partner, more) > 0);
    assert_int_equal(fclose(file), 0);
}

static void relay_open(const struct world *world, struct relay *relay, const char *name)
{
    char path[128], error[512] = "";
    assert_true(snprintf(path, sizeof(path), "%s/%s.yaml", world->directory, name) > 0);
    if (config_open(&relay->config, path, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    struct thread *thread = &relay->thread;
    struct ring_options options = {.socket_max = 64};
    assert_int_equal(ring_open(&thread->ring, &options), 0);
    assert_int_equal(mesh_open(&thread->mesh, 3, name[0] == 'a' ? 1024 : 128), 0);
    mesh_attach(thread->mesh, 1, thread->ring);
    thread->self = 1;
    thread->config = relay->config;
    thread->stats = stats_open(relay->config->tenant_count);
    thread->stopping = &relay->stopping;
    thread->now_ms = clock_now_ns() / 1000000;
    timer_heap_init(&thread->timers);
    if (worker_open(&relay->worker, thread, error, sizeof(error)) != 0)
        fail_msg("%s", error);
}

static void relay_close(struct relay *relay)
{
    worker_close(&relay->worker);
    ring_close(&relay->thread.ring);
    mesh_close(&relay->thread.mesh);
    timer_heap_fini(&relay->thread.timers);
    stats_close(&relay->thread.stats);
    config_close(&relay->config);
}

static void world_open(struct world *world, const char *rule_a, const char *rule_b, bool direct)
{
    static unsigned ports = 0;
    char more[128], command[512];
    memset(world, 0, sizeof(*world));
    /* A block of ports for each process: neighbours in the table of processes do not meet. */
    world->port = 21000 + ((unsigned)getpid() * 2654435761u >> 8) % 280 * 32 + 4 * ports++;
    snprintf(world->directory, sizeof(world->directory), "/tmp/worker-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    snprintf(command, sizeof(command),
             TEST_SOURCE_DIR "/tools/dev-certificates %s a.example b.example >/dev/null 2>&1",
             world->directory);
    assert_int_equal(system(command), 0);
    unsigned target = direct ? 2 : 0;
    snprintf(more, sizeof(more), "    port: %u\n    direct_tls: %s\n    %s\n",
             world->port + 1 + target, direct ? "true" : "false", rule_a);
    write_config(world, "a", "a.example", "b.example", world->port, more);
    snprintf(more, sizeof(more), "    port: %u\n    direct_tls: %s\n    %s\n",
             world->port + target, direct ? "true" : "false", rule_b);
    write_config(world, "b", "b.example", "a.example", world->port + 1, more);
    relay_open(world, &world->a, "a");
    relay_open(world, &world->b, "b");
}

static void world_close(struct world *world)
{
    char command[128];
    for (unsigned turn = 0; turn < TURNS; turn++) {
        bool a = worker_drain(world->a.worker, false), b = worker_drain(world->b.worker, false);
        if (a && b)
            break;
        worker_turn(world->a.worker, 1);
        worker_turn(world->b.worker, 1);
    }
    assert_true(worker_drain(world->a.worker, false));
    assert_true(worker_drain(world->b.worker, false));
    relay_close(&world->a);
    relay_close(&world->b);
    snprintf(command, sizeof(command), "rm -r %s", world->directory);
    assert_int_equal(system(command), 0);
}

static void turn(struct world *world)
{
    worker_turn(world->a.worker, 1);
    worker_turn(world->b.worker, 1);
}

/* The next parcel at the egress thread of `relay`, while both run. */
static struct parcel *await(struct world *world, struct relay *relay)
{
    for (unsigned n = 0; n < TURNS; n++) {
        struct parcel *parcel = mesh_next(relay->thread.mesh, EGRESS);
        if (parcel != NULL)
            return parcel;
        turn(world);
    }
    fail_msg("nothing came to the egress thread");
    return NULL;
}

static void send_text(struct world *world, const char *id, const char *remote, const char *text)
{
    struct mesh *mesh = world->a.thread.mesh;
    struct parcel *parcel = mesh_take(mesh, EGRESS, MESH_TRAFFIC);
    char domain[64];
    assert_non_null(parcel);
    snprintf(domain, sizeof(domain), "%s", remote);
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->wants_outcome = true;
    parcel->born_ms = clock_now_ns() / 1000000;
    parcel->from.local = parcel_copy(parcel, SPAN("ann"));
    parcel->from.domain = parcel_copy(parcel, SPAN("a.example"));
    parcel->to.local = parcel_copy(parcel, SPAN("bob"));
    parcel->to.domain = parcel_copy(parcel, span_of(domain));
    struct writer writer = parcel_writer(parcel);
    writer_put_literal(&writer, "<message from='ann@a.example' to='bob@");
    writer_put(&writer, span_of(remote));
    writer_put_literal(&writer, "' id='");
    writer_put(&writer, span_of(id));
    writer_put_literal(&writer, "' type='chat'><body>");
    writer_put(&writer, span_of(text));
    writer_put_literal(&writer, "</body></message>");
    parcel->bytes = writer_span(&writer);
    parcel_keep(parcel, &writer);
    mesh_post(mesh, EGRESS, 1, &parcel);
    mesh_flush(mesh, EGRESS);
}

static void send_message(struct world *world, const char *id, const char *remote)
{
    send_text(world, id, remote, "hello");
}

static uint64_t count(const struct relay *relay, enum stats_counter stat)
{
    struct stats *stats = relay->thread.stats;
    return stats_sum(&stats, 1, stat);
}

/* The message comes out at b, whose SIP side says `kind`; a's sender then learns `expected`. */
static void exchange(struct world *world, const char *id, enum outcome_kind kind,
                     enum outcome_kind expected)
{
    send_message(world, id, "b.example");
    struct parcel *parcel = await(world, &world->b);
    assert_int_equal(parcel->kind, PARCEL_MESSAGE_TO_SIP);
    assert_true(span_equal(parcel->draft.body, SPAN("hello")));
    assert_true(span_equal(parcel->stanza_id, span_of(id)));
    parcel->outcome.kind = kind;
    if (kind == OUTCOME_FAILED)
        parcel->outcome.fault = (struct stanza_fault){.error = STANZA_ERROR_ITEM_NOT_FOUND,
                                                      .text = SPAN("no such user")};
    mesh_return(world->b.thread.mesh, EGRESS, &parcel);
    mesh_flush(world->b.thread.mesh, EGRESS);
    parcel = await(world, &world->a);
    assert_true(parcel->is_return);
    assert_int_equal(parcel->outcome.kind, expected);
    if (expected == OUTCOME_FAILED) {
        assert_int_equal(parcel->outcome.fault.error, STANZA_ERROR_ITEM_NOT_FOUND);
        assert_true(span_equal(parcel->outcome.fault.text, SPAN("no such user")));
    }
    mesh_give(world->a.thread.mesh, EGRESS, &parcel);
}

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
    enum { MESSAGES = 180 };
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

/* b does not read: a calls handed over what the kernel took, and nothing else. */
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
    world.a.config->confirm_timeout_ms = 50;
    world.a.config->deliver_timeout_ms = 400;
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
    /* By now the stream was given up for an answer that did not come, or, when the kernel was slow
       to take the last of them, what waited behind has run out of time. */
    assert_true(failed > 0);
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

static void answer(struct world *world, struct parcel *parcel)
{
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(world->b.thread.mesh, EGRESS, &parcel);
    mesh_flush(world->b.thread.mesh, EGRESS);
}

/* b acknowledges what is before the first open outcome, and nothing behind it; and when it stops it
   goes only when the last one is known and a has heard of it. */
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

static int start(void **state)
{
    (void)state;
    log_setup(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
              LOG_FORMAT_LOGFMT);
    return tls_start();
}

static int stop(void **state)
{
    (void)state;
    tls_stop();
    return 0;
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
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_full_keeps_answers),
        cmocka_unit_test(test_end_behind_backpressure),
        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_acknowledged_in_order),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
