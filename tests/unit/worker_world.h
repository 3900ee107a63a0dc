/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two workers that federate with each other over loopback sockets. The test plays both egress
 * threads.
 */
#ifndef PASSERELLE_TESTS_WORKER_WORLD_H
#define PASSERELLE_TESTS_WORKER_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

/* A port of 127.0.0.1 that the kernel gives to nobody else while the socket is open. */
struct port {
    int holder;
    unsigned number;
};

/* Where the two listen, in clear and with direct TLS. */
enum { PORT_A, PORT_B, PORT_A_DIRECT, PORT_B_DIRECT, PORTS };

struct world {
    char directory[64];
    struct port ports[PORTS];
    struct relay a, b;
};

/* It is bound and does not listen: a listener of the relay shares the port (SO_REUSEPORT). */
static inline void port_hold(struct port *port)
{
    const int one = 1;
    union net_address address;
    socklen_t size = sizeof(address);
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", 0), 0);
    port->holder = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(port->holder, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    assert_int_equal(bind(port->holder, &address.any, net_address_size(&address)), 0);
    assert_int_equal(getsockname(port->holder, &address.any, &size), 0);
    port->number = net_address_port(&address);
}

static inline void port_release(struct port *port)
{
    assert_int_equal(close(port->holder), 0);
}

/* A folder of its own with certificates for these domains. */
static inline void directory_make(char directory[64], const char *domains)
{
    char command[512];
    snprintf(directory, 64, "/tmp/worker-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(command, sizeof(command),
             TEST_SOURCE_DIR "/tools/dev-certificates %s %s >/dev/null 2>&1", directory,
             domains);
    assert_int_equal(system(command), 0);
}

static inline void directory_remove(const char *directory)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

static inline void write_config(const struct world *world, const char *name, const char *domain,
                                const char *partner, const char *more)
{
    unsigned own = name[0] == 'a' ? PORT_A : PORT_B;
    char path[128];
    assert_true(snprintf(path, sizeof(path), "%s/%s.yaml", world->directory, name) > 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(
        fprintf(file,
                "xmpp:\n  listen: ['127.0.0.1:%u']\n  listen_direct_tls: ['127.0.0.1:%u']\n"
                "  certificate: %s.pem\n  key: %s.key\n  ca_file: ca.pem\n"
                "tenants:\n  - domains: [%s]\n    trunks: [{uri: 'sip:192.0.2.1'}]\n"
                "partners:\n  - domain: %s\n    host: 127.0.0.1\n%s",
                world->ports[own].number, world->ports[own + PORT_A_DIRECT].number, domain,
                domain, domain, partner, more) > 0);
    assert_int_equal(fclose(file), 0);
}

static inline void relay_open(const struct world *world, struct relay *relay, const char *name)
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

static inline void relay_close(struct relay *relay)
{
    worker_close(&relay->worker);
    ring_close(&relay->thread.ring);
    mesh_close(&relay->thread.mesh);
    timer_heap_fini(&relay->thread.timers);
    stats_close(&relay->thread.stats);
    config_close(&relay->config);
}

static inline void world_open(struct world *world, const char *rule_a, const char *rule_b,
                              bool direct)
{
    char more[128];
    unsigned first = direct ? PORT_A_DIRECT : PORT_A;
    memset(world, 0, sizeof(*world));
    for (unsigned i = 0; i < PORTS; i++)
        port_hold(&world->ports[i]);
    directory_make(world->directory, "a.example b.example");
    snprintf(more, sizeof(more), "    port: %u\n    direct_tls: %s\n    %s\n",
             world->ports[first + PORT_B].number, direct ? "true" : "false", rule_a);
    write_config(world, "a", "a.example", "b.example", more);
    snprintf(more, sizeof(more), "    port: %u\n    direct_tls: %s\n    %s\n",
             world->ports[first + PORT_A].number, direct ? "true" : "false", rule_b);
    write_config(world, "b", "b.example", "a.example", more);
    relay_open(world, &world->a, "a");
    relay_open(world, &world->b, "b");
}

static inline void world_close(struct world *world)
{
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
    for (unsigned i = 0; i < PORTS; i++)
        port_release(&world->ports[i]);
    directory_remove(world->directory);
}

static inline void turn(struct world *world)
{
    worker_turn(world->a.worker, 1);
    worker_turn(world->b.worker, 1);
}

/* The next parcel at the egress thread of `relay`, while both run. */
static inline struct parcel *await(struct world *world, struct relay *relay)
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

static inline void send_text(struct world *world, const char *id, const char *remote,
                             const char *text)
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

static inline void send_message(struct world *world, const char *id, const char *remote)
{
    send_text(world, id, remote, "hello");
}

static inline uint64_t count(const struct relay *relay, enum stats_counter stat)
{
    struct stats *stats = relay->thread.stats;
    return stats_sum(&stats, 1, stat);
}

/* The message comes out at b, whose SIP side says `kind`; a's sender then learns `expected`. */
static inline void exchange(struct world *world, const char *id, enum outcome_kind kind,
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

static inline int start(void **state)
{
    (void)state;
    log_setup(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
              LOG_FORMAT_LOGFMT);
    return tls_start();
}

static inline int stop(void **state)
{
    (void)state;
    tls_stop();
    return 0;
}

#endif
