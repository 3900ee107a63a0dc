/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two workers of one relay: a stream that comes in goes to the one that owns its pair, and
   nothing is left behind when that is interrupted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "core/session_priv.h"
#include "worker_world.h"

#define WORKERS 2u
#define CLIENTS 24u /* the kernel deals them out: all at home by chance in one of 16 million */

struct client {
    int fd;
    char from[32], heard[4096];
    size_t heard_size;
    bool has_ended;
};

struct office {
    char directory[64];
    struct port port;
    struct config *config;
    struct mesh *mesh;
    struct thread threads[WORKERS];
    struct worker *workers[WORKERS];
    _Atomic bool stopping;
    struct client clients[CLIENTS];
    unsigned client_count;
};

static void configure(struct office *office)
{
    char path[128], error[512] = "";
    port_hold(&office->port);
    directory_make(office->directory, "a.example");
    snprintf(path, sizeof(path), "%s/a.yaml", office->directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file,
                        "global: {workers: 2}\nxmpp:\n  listen: ['127.0.0.1:%u']\n"
                        "  certificate: a.example.pem\n  key: a.example.key\n"
                        "  ca_file: ca.pem\ntenants:\n  - domains: [a.example]\n"
                        "    trunks: [{uri: 'sip:192.0.2.1'}]\n",
                        office->port.number) > 0);
    assert_int_equal(fclose(file), 0);
    if (config_open(&office->config, path, error, sizeof(error)) != 0)
        fail_msg("%s", error);
}

/* The second worker has room for `socket_max` sockets. */
static void office_open(struct office *office, unsigned socket_max)
{
    char error[512] = "";
    memset(office, 0, sizeof(*office));
    configure(office);
    assert_int_equal(mesh_open(&office->mesh, 2 + WORKERS, 128), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct thread *thread = &office->threads[i];
        struct ring_options options = {.socket_max = i == 1 ? socket_max : 64};
        *thread = (struct thread){.self = i + 1,
                                  .config = office->config,
                                  .mesh = office->mesh,
                                  .stats = stats_open(office->config->tenant_count),
                                  .now_ms = clock_now_ns() / 1000000,
                                  .stopping = &office->stopping};
        assert_int_equal(ring_open(&thread->ring, &options), 0);
        mesh_attach(office->mesh, thread->self, thread->ring);
        timer_heap_init(&thread->timers);
        if (worker_open(&office->workers[i], thread, error, sizeof(error)) != 0)
            fail_msg("%s", error);
    }
}

static void office_close(struct office *office)
{
    for (unsigned i = 0; i < WORKERS; i++)
        worker_close(&office->workers[i]);
    for (unsigned i = 0; i < WORKERS; i++) {
        ring_close(&office->threads[i].ring);
        timer_heap_fini(&office->threads[i].timers);
        stats_close(&office->threads[i].stats);
    }
    mesh_close(&office->mesh);
    config_close(&office->config);
    for (unsigned i = 0; i < office->client_count; i++)
        assert_int_equal(close(office->clients[i].fd), 0);
    port_release(&office->port);
    directory_remove(office->directory);
}

static uint64_t total(const struct office *office, enum stats_counter stat)
{
    struct stats *stats[WORKERS] = {office->threads[0].stats, office->threads[1].stats};
    return stats_sum(stats, WORKERS, stat);
}

/* Which worker owns the pair of this client's domain: 0 or 1. */
static unsigned owner_of(const struct office *office, const char *from)
{
    return route_link(office->config, SPAN("a.example"), span_of(from)) - 1;
}

static void say(struct client *client, const char *text)
{
    size_t size = strlen(text);
    assert_int_equal(send(client->fd, text, size, MSG_NOSIGNAL), size);
}

/* A client with another domain, owned by worker `owner`, or by any: WORKERS. */
static struct client *client_open(struct office *office, unsigned owner)
{
    static unsigned number = 0;
    union net_address address;
    struct client *client = &office->clients[office->client_count++];
    assert_true(office->client_count <= CLIENTS);
    *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    do {
        snprintf(client->from, sizeof(client->from), "x%u.example", number++);
    } while (owner < WORKERS && owner_of(office, client->from) != owner);
    assert_int_equal(
        net_address_parse_host(&address, "127.0.0.1", (uint16_t)office->port.number), 0);
    assert_int_equal(connect(client->fd, &address.any, net_address_size(&address)), 0);
    assert_true(fcntl(client->fd, F_SETFL, O_NONBLOCK) == 0);
    return client;
}

/* Its header, but for the last byte. */
static void begin_header(struct client *client)
{
    char text[512];
    assert_true(
        snprintf(text, sizeof(text),
                 "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
                 "xmlns:stream='http://etherx.jabber.org/streams' to='a.example' from='%s' "
                 "version='1.0'",
                 client->from) > 0);
    say(client, text);
}

static void say_header(struct client *client)
{
    begin_header(client);
    say(client, ">");
}

static void hear(struct client *client)
{
    size_t room = sizeof(client->heard) - 1 - client->heard_size;
    ssize_t size = recv(client->fd, client->heard + client->heard_size, room, 0);
    client->has_ended = client->has_ended || size == 0 || (size < 0 && errno != EAGAIN);
    if (size > 0)
        client->heard_size += (size_t)size;
    client->heard[client->heard_size] = '\0';
}

static void turn_all(struct office *office)
{
    for (unsigned i = 0; i < WORKERS; i++)
        worker_turn(office->workers[i], 1);
    for (unsigned i = 0; i < office->client_count; i++)
        hear(&office->clients[i]);
}

static bool is_answered(const struct client *client)
{
    return strstr(client->heard, "</stream:features>") != NULL;
}

static unsigned answered(const struct office *office)
{
    unsigned count = 0;
    for (unsigned i = 0; i < office->client_count; i++)
        count += is_answered(&office->clients[i]);
    return count;
}

#define TURN_UNTIL(office, condition)                                                          \
    do {                                                                                       \
        for (unsigned n_ = 0; n_ < TURNS && !(condition); n_++)                                \
            turn_all(office);                                                                  \
        assert_true(condition);                                                                \
    } while (0)

/* All streams that have said their name are where they belong. */
static void assert_at_home(const struct office *office)
{
    const struct session *session;
    unsigned count = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        TAILQ_FOREACH(session, &office->workers[i]->sessions, all)
        {
            assert_ptr_equal(session->worker, office->workers[i]);
            assert_int_equal(owner_of(office, session->in.remote.text), i);
            count++;
        }
    assert_int_equal(count, office->client_count);
}

/* A stream that is not where it belongs. */
static struct session *find_mover(const struct office *office)
{
    struct session *session;
    for (unsigned i = 0; i < WORKERS; i++)
        TAILQ_FOREACH(session, &office->workers[i]->sessions, all)
        if (session->mover != NULL)
            return session;
    return NULL;
}

/* Clients with a header come until one waits for its socket. Only its worker has turns then. */
static struct session *await_mover(struct office *office)
{
    struct session *session;
    while ((session = find_mover(office)) == NULL) {
        say_header(client_open(office, WORKERS));
        for (unsigned n = 0; n < TURNS && find_mover(office) == NULL; n++) {
            worker_turn(office->workers[n % WORKERS], 1);
            hear(&office->clients[office->client_count - 1]);
            if (is_answered(&office->clients[office->client_count - 1]))
                break;
        }
    }
    return session;
}

static void test_all_come_home(void **state)
{
    (void)state;
    struct office office;
    office_open(&office, 64);
    while (office.client_count < CLIENTS)
        begin_header(client_open(&office, WORKERS));
    for (unsigned n = 0; n < 20; n++)
        turn_all(&office);
    /* It says more than its header, and some of it late. */
    for (unsigned i = 0; i < CLIENTS; i++)
        say(&office.clients[i], "> <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'");
    for (unsigned n = 0; n < 3; n++)
        turn_all(&office);
    for (unsigned i = 0; i < CLIENTS; i++)
        say(&office.clients[i], "/>");
    TURN_UNTIL(&office, answered(&office) == CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++)
        TURN_UNTIL(&office, strstr(office.clients[i].heard, "<proceed ") != NULL);
    assert_at_home(&office);
    assert_in_range(total(&office, STAT_SESSIONS_MOVED), 1, CLIENTS);
    assert_int_equal(total(&office, STAT_SESSIONS_OPENED), CLIENTS);
    TURN_UNTIL(&office, mesh_out(office.mesh, 1) == 0 && mesh_out(office.mesh, 2) == 0);
    office_close(&office);
}

/* Refused pairs, and streams without a name, are answered where they are. */
static void test_some_stay(void **state)
{
    (void)state;
    struct office office;
    office_open(&office, 64);
    while (office.client_count < CLIENTS) {
        struct client *client = client_open(&office, WORKERS);
        snprintf(client->from, sizeof(client->from), office.client_count % 2 ? "" : "a.example");
        say_header(client);
    }
    TURN_UNTIL(&office, answered(&office) == CLIENTS);
    assert_int_equal(total(&office, STAT_SESSIONS_MOVED), 0);
    office_close(&office);
}

/* No parcel is left: they wait for one. */
static void test_no_parcel(void **state)
{
    (void)state;
    struct office office;
    struct parcel *taken[WORKERS][128];
    office_open(&office, 64);
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned n = 0; n < 128; n++)
            taken[i][n] = mesh_take(office.mesh, i + 1, MESH_CONTROL);
    while (office.client_count < CLIENTS)
        say_header(client_open(&office, WORKERS));
    for (unsigned n = 0; n < 50; n++)
        turn_all(&office);
    assert_int_equal(total(&office, STAT_SESSIONS_MOVED), 0);
    assert_true(answered(&office) < CLIENTS);
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned n = 0; n < 128; n++)
            mesh_give(office.mesh, i + 1, &taken[i][n]);
    TURN_UNTIL(&office, answered(&office) == CLIENTS);
    assert_at_home(&office);
    office_close(&office);
}

/* The other worker has no socket left: the connection ends, and nothing else. */
static void test_no_room(void **state)
{
    (void)state;
    struct office office;
    enum { ROOM = 3 }; /* beside its listener */
    office_open(&office, 1 + ROOM);
    /* What the kernel gives to the full worker itself is no session. */
    while (total(&office, STAT_SESSIONS_CLOSED) == 0) {
        struct client *client = client_open(&office, 1);
        say_header(client);
        TURN_UNTIL(&office, is_answered(client) || client->has_ended);
    }
    assert_int_equal(answered(&office), ROOM);
    assert_int_equal(total(&office, STAT_SESSIONS_CLOSED), 1);
    assert_int_equal(office.workers[0]->session_count, 0);
    assert_int_equal(office.workers[1]->session_count, ROOM);
    office_close(&office);
}

/* It takes too long to prove itself just then. */
static void test_late(void **state)
{
    (void)state;
    struct office office;
    office_open(&office, 64);
    session_timer(await_mover(&office));
    TURN_UNTIL(&office, office.clients[office.client_count - 1].has_ended);
    TURN_UNTIL(&office, total(&office, STAT_SESSIONS_CLOSED) == 1);
    assert_null(find_mover(&office));
    TURN_UNTIL(&office, mesh_out(office.mesh, 1) == 0 && mesh_out(office.mesh, 2) == 0);
    office_close(&office);
}

/* The relay stops: with the stream still at its ring, and with it between the two workers. */
static void test_stopped(void **state)
{
    (void)state;
    for (int is_between = 0; is_between < 2; is_between++) {
        struct office office;
        office_open(&office, 64);
        struct session *session = await_mover(&office);
        struct worker *worker = session->worker;
        unsigned here = worker->session_count;
        for (unsigned n = 0; is_between && n < TURNS && worker->session_count == here; n++)
            worker_turn(worker, 1);
        assert_int_equal(worker->session_count, here - (unsigned)is_between);
        for (unsigned i = 0; i < WORKERS; i++)
            (void)worker_drain(office.workers[i], false);
        if (!is_between)
            TURN_UNTIL(&office, office.clients[office.client_count - 1].has_ended);
        office_close(&office);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_come_home), cmocka_unit_test(test_some_stay),
        cmocka_unit_test(test_no_parcel),     cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_late),          cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
