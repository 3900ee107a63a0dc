/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One egress thread, turn by turn, between a fake worker on the mesh and fake trunks on
 * loopback: what the tests of the SIP side share. One scene at a time. */
#ifndef PASSERELLE_TESTS_UNIT_EGRESS_SCENE_H
#define PASSERELLE_TESTS_UNIT_EGRESS_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/egress.h"
#include "core/inquiry.h"
#include "net/tls.h"

enum { CONTROL, WORKER, EGRESS, OTHER_EGRESS, THREADS, TURNS = 1500 };

struct scene {
    char folder[40];
    struct config *config;
    struct mesh *mesh;
    struct thread thread;
    struct ring *worker_ring;
    struct egress *egress;
    int trunks[2];  /* UDP sockets; [0] is tried first */
    int streams[2]; /* TCP sockets of the same ports, not listening yet; -1: closed */
    uint16_t ports[2], own, own_tls;
    char text[9000]; /* what was received last */
    union net_address from;
};

/* How the next scene is to be; {0} is one egress thread and a UDP trunk. */
struct scene_options {
    const char *transport; /* of the first trunk */
    unsigned egress_count;
    unsigned keep_alive_s; /* of the first trunk */
    bool neighbour;        /* another tenant, neighbour.example, whose only trunk is the first,
                              too */
    bool wildcard;         /* listens on 0.0.0.0 */
    unsigned t1_ms;        /* 0: 10, so that Timer F ends after 640 ms */
};

static struct scene scene;

static inline bool bind_at(int fd, uint16_t port)
{
    union net_address address = {0};
    assert_true(fd >= 0);
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", port), 0);
    return bind(fd, &address.any, net_address_size(&address)) == 0;
}

/* A UDP socket and, in *stream, a TCP socket bound to the same port, which nobody else can get
   while they are open; below what the kernel and other tests give out. */
static inline int port_take(uint16_t *port, int *stream)
{
    static unsigned next;
    if (next == 0)
        next = (unsigned)getpid() * 2654435761u >> 8; /* far from the next process's */
    for (int i = 0; i < 1000; i++) {
        *port = (uint16_t)(10000 + next++ % 6000);
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        *stream = socket(AF_INET, SOCK_STREAM, 0);
        if (bind_at(fd, *port) && bind_at(*stream, *port))
            return fd;
        close(*stream);
        close(fd);
    }
    fail_msg("no port is free");
    return -1;
}

static inline void write_file(const char *name, const char *text)
{
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/%s", scene.folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline void write_certificates(bool real)
{
    char command[200];
    (void)snprintf(command, sizeof(command),
                   "'%s/tools/dev-certificates' '%s' a proxy.example evil.example >/dev/null",
                   TEST_SOURCE_DIR, scene.folder);
    if (real) {
        assert_int_equal(system(command), 0);
        return;
    }
    write_file("a.pem", "certificate");
    write_file("ca.pem", "ca");
    write_file("a.key", "key");
    /* Not chmod(): <sys/stat.h> and core/stats.h both have a `stat`. */
    (void)snprintf(command, sizeof(command), "chmod 600 '%s/a.key'", scene.folder);
    assert_int_equal(system(command), 0);
}

static inline void read_config(const struct scene_options *options)
{
    char text[2000], path[100], error[600];
    const char *transport = options->transport != NULL ? options->transport : "udp";
    const char *host = options->wildcard ? "0.0.0.0" : "127.0.0.1";
    bool is_tls = strcmp(transport, "tls") == 0;
    char tls[60] = "";
    if (is_tls)
        (void)snprintf(tls, sizeof(tls), ", listen_tls: [\"127.0.0.1:%u\"]", scene.own_tls);
    (void)snprintf(
        text, sizeof(text),
        "global: {workers: 1, egress: %u, log_level: error}\n"
        "xmpp: {listen: [\"127.0.0.1:5269\"], certificate: a.pem, key: a.key, ca_file: "
        "ca.pem}\n"
        "sip: {listen_udp: [\"%s:%u\"], listen_tcp: [\"%s:%u\"]%s}\n"
        "tenants:\n"
        "  - name: example\n"
        "    domains: [sip.example, other.example]\n"
        "    trunks:\n"
        "      - {uri: \"sip:127.0.0.1:%u;transport=%s\", priority: 1, options_interval: 0%s}\n"
        "      - {uri: \"sip:127.0.0.1:%u;transport=udp\", priority: 2, options_interval: 0}\n",
        options->egress_count != 0 ? options->egress_count : 1, host, scene.own, host, scene.own,
        tls, scene.ports[0], transport,
        is_tls ? ", identity: proxy.example" : "", scene.ports[1]);
    if (options->neighbour)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
                       "  - {domains: [neighbour.example], trunks: [{uri: "
                       "\"sip:127.0.0.1:%u;transport=%s\", options_interval: %u}]}\n",
                       scene.ports[0], transport, options->keep_alive_s);
    write_certificates(is_tls);
    write_file("p.yaml", text);
    (void)snprintf(path, sizeof(path), "%s/p.yaml", scene.folder);
    if (config_open(&scene.config, path, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    scene.config->sip_t1_ms = options->t1_ms != 0 ? options->t1_ms : 10;
    scene.config->recipient_queue_max = 2;
    scene.config->sip_answered_max = 20;
    scene.config->tenants[0].trunks[0].options_interval_s = options->keep_alive_s;
}

static inline int open_scene(const struct scene_options *how)
{
    char error[300];
    const char *why = NULL;
    struct ring_options options = {.socket_max = 64, .error_text = &why};
    scene = (struct scene){.folder = "/tmp/passerelle-egress-XXXXXX"};
    assert_non_null(mkdtemp(scene.folder));
    int own_stream, own = port_take(&scene.own, &own_stream);
    int tls_stream, tls = port_take(&scene.own_tls, &tls_stream);
    scene.trunks[0] = port_take(&scene.ports[0], &scene.streams[0]);
    scene.trunks[1] = port_take(&scene.ports[1], &scene.streams[1]);
    close(own);
    close(own_stream);
    close(tls);
    close(tls_stream);
    read_config(how);
    assert_int_equal(mesh_open(&scene.mesh, THREADS, 256), 0);
    scene.thread = (struct thread){.self = EGRESS, .config = scene.config, .mesh = scene.mesh};
    if (ring_open(&scene.thread.ring, &options) != 0 ||
        ring_open(&scene.worker_ring, &options) != 0)
        fail_msg("%s", why);
    mesh_attach(scene.mesh, WORKER, scene.worker_ring);
    mesh_attach(scene.mesh, EGRESS, scene.thread.ring);
    scene.thread.stats = stats_open(scene.config->tenant_count);
    timer_heap_init(&scene.thread.timers);
    if (egress_open(&scene.egress, &scene.thread, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    return 0;
}

static inline int tear_down(void **state)
{
    char command[100];
    (void)state;
    egress_close(&scene.egress);
    ring_close(&scene.thread.ring);
    ring_close(&scene.worker_ring);
    mesh_close(&scene.mesh);
    stats_close(&scene.thread.stats);
    timer_heap_fini(&scene.thread.timers);
    config_close(&scene.config);
    for (int i = 0; i < 2; i++) {
        close(scene.trunks[i]);
        close(scene.streams[i]);
    }
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", scene.folder);
    return system(command);
}

static inline uint64_t count(enum stats_counter stat)
{
    struct stats *const all[] = {scene.thread.stats};
    return stats_sum(all, 1, stat);
}

/* Turns until something is on the socket; false after about 1.5 s. */
static inline bool hears(int fd, int turns)
{
    struct pollfd ready = {fd, POLLIN, 0};
    for (int i = 0; i < turns; i++) {
        egress_turn(scene.egress, 1);
        if (poll(&ready, 1, 0) == 1)
            return true;
    }
    return false;
}

static inline void receive(int fd)
{
    socklen_t size = sizeof(scene.from);
    assert_true(hears(fd, TURNS));
    ssize_t n = recvfrom(fd, scene.text, sizeof(scene.text) - 1, 0, &scene.from.any, &size);
    assert_true(n > 0);
    scene.text[n] = '\0';
}

static inline void send_text(int fd, const char *text)
{
    union net_address address;
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", scene.own), 0);
    assert_true(sendto(fd, text, strlen(text), 0, &address.any, net_address_size(&address)) >
                0);
}

/* One header line of the text received last, with its name and line end. */
static inline void header(const char *name, char *line, size_t size)
{
    char start[40];
    (void)snprintf(start, sizeof(start), "\r\n%s:", name);
    const char *hit = strstr(scene.text, start);
    assert_non_null(hit);
    const char *end = strstr(hit + 2, "\r\n");
    assert_non_null(end);
    (void)snprintf(line, size, "%.*s\r\n", (int)(end - hit - 2), hit + 2);
}

static inline void answer_text(const char *status, char *text, size_t size)
{
    char via[300], from[300], to[300], call_id[300], cseq[300];
    header("Via", via, sizeof(via));
    header("From", from, sizeof(from));
    header("To", to, sizeof(to));
    header("Call-ID", call_id, sizeof(call_id));
    header("CSeq", cseq, sizeof(cseq));
    to[strlen(to) - 2] = '\0';
    (void)snprintf(text, size, "SIP/2.0 %s\r\n%s%s%s;tag=abc\r\n%s%sContent-Length: 0\r\n\r\n",
                   status, via, from, to, call_id, cseq);
}

static inline void answer(int fd, const char *status)
{
    char text[2000];
    answer_text(status, text, sizeof(text));
    send_text(fd, text);
}

static inline void post_to(const char *user, const char *domain, struct span body)
{
    char uri[100];
    struct parcel *parcel = mesh_take(scene.mesh, WORKER, MESH_TRAFFIC);
    assert_non_null(parcel);
    (void)snprintf(uri, sizeof(uri), "sip:%s@%s", user, domain);
    parcel->kind = PARCEL_MESSAGE_TO_SIP;
    parcel->snapshot = scene.config->snapshot;
    parcel->wants_outcome = true;
    parcel->draft.request_uri = parcel_copy(parcel, span_of(uri));
    parcel->draft.from_uri = parcel_copy(parcel, SPAN("sip:juliet@xmpp.example;gr=balcony"));
    parcel->draft.content_type = SPAN("text/plain;charset=utf-8");
    parcel->draft.body = parcel_copy(parcel, body);
    mesh_post(scene.mesh, WORKER, EGRESS, &parcel);
}

static inline void post(const char *user, struct span body)
{
    post_to(user, "sip.example", body);
}

static inline struct parcel *at_worker(void)
{
    struct parcel *parcel = NULL;
    for (int i = 0; i < TURNS && parcel == NULL; i++) {
        egress_turn(scene.egress, 1);
        parcel = mesh_next(scene.mesh, WORKER);
    }
    assert_non_null(parcel);
    return parcel;
}

static inline struct outcome take_outcome(void)
{
    struct parcel *parcel = at_worker();
    assert_true(parcel->is_return);
    assert_int_equal(parcel->kind, PARCEL_MESSAGE_TO_SIP);
    struct outcome outcome = parcel->outcome;
    mesh_give(scene.mesh, WORKER, &parcel);
    return outcome;
}

static inline bool says(const char *text)
{
    return strstr(scene.text, text) != NULL;
}

/* ---- requests to the relay ---- */

struct request {
    const char *method, *uri, *from, *branch, *extra, *tag, *via;
};

static inline void request_text(const struct request *request, char *text, size_t size)
{
    const char *method = request->method != NULL ? request->method : "MESSAGE";
    (void)snprintf(text, size,
                   "%s %s SIP/2.0\r\n"
                   "Via: %s;branch=z9hG4bK%s\r\n"
                   "From: <%s>;tag=%s\r\n"
                   "To: <sip:juliet@xmpp.example>\r\n"
                   "Call-ID: asd88asd77a@1.2.3.4\r\n"
                   "CSeq: 1 %s\r\n"
                   "%s"
                   "Content-Type: text/plain\r\n"
                   "Content-Length: 5\r\n\r\nhello",
                   method, request->uri != NULL ? request->uri : "sip:juliet@xmpp.example",
                   request->via != NULL ? request->via : "SIP/2.0/UDP 127.0.0.1:9;rport",
                   request->branch != NULL ? request->branch : "776sgdkse",
                   request->from != NULL ? request->from : "sip:romeo@sip.example",
                   request->tag != NULL ? request->tag : "49583", method,
                   request->extra != NULL ? request->extra : "Max-Forwards: 70\r\n");
}

static inline void send_request(const struct request *request)
{
    char text[2000];
    request_text(request, text, sizeof(text));
    send_text(scene.trunks[0], text);
}

static inline struct parcel *take_stanza(void)
{
    struct parcel *parcel = at_worker();
    assert_int_equal(parcel->kind, PARCEL_STANZA_TO_XMPP);
    assert_false(parcel->is_return);
    return parcel;
}

static inline int start_tls(void **state)
{
    (void)state;
    return tls_start();
}

static inline int stop_tls(void **state)
{
    (void)state;
    tls_stop();
    return 0;
}

static inline int set_up(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){0});
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define ROW_WITH(set, name) cmocka_unit_test_setup_teardown(name, set, tear_down)

#endif
