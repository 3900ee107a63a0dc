/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One egress thread, turn by turn, between a fake worker on the mesh and fake trunks on
 * loopback. */
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
#include "net/tls.h"

enum { CONTROL, WORKER, EGRESS, OTHER_EGRESS, THREADS, TURNS = 1500 };

struct scene {
    char folder[40];
    struct config *config;
    struct mesh *mesh;
    struct thread thread;
    struct ring *worker_ring;
    struct egress *egress;
    int trunks[2]; /* UDP sockets; [0] is tried first */
    uint16_t ports[2], own;
    char text[9000]; /* what was received last */
    union net_address from;
};

static struct scene scene;
static unsigned egress_count = 1;
static unsigned keep_alive_s; /* of the first trunk, for the next set-up */

static bool bind_at(int fd, uint16_t port)
{
    union net_address address = {0};
    assert_true(fd >= 0);
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", port), 0);
    return bind(fd, &address.any, net_address_size(&address)) == 0;
}

/* A UDP socket on a port that is free for TCP too, below what the kernel gives to others. */
static int udp_socket(uint16_t *port)
{
    static unsigned next;
    if (next == 0)
        next = (unsigned)getpid() * 17;
    for (int i = 0; i < 1000; i++) {
        *port = (uint16_t)(20000 + next++ % 10000);
        int fd = socket(AF_INET, SOCK_DGRAM, 0), stream = socket(AF_INET, SOCK_STREAM, 0);
        bool is_free = bind_at(fd, *port) && bind_at(stream, *port);
        close(stream);
        if (is_free)
            return fd;
        close(fd);
    }
    fail_msg("no port is free");
    return -1;
}

static void write_file(const char *name, const char *text)
{
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/%s", scene.folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void write_certificates(bool real)
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

static void read_config(const char *transport)
{
    char text[2000], path[100], error[600];
    (void)snprintf(
        text, sizeof(text),
        "global: {workers: 1, egress: %u, log_level: error}\n"
        "xmpp: {listen: [\"127.0.0.1:5269\"], certificate: a.pem, key: a.key, ca_file: "
        "ca.pem}\n"
        "sip: {listen_udp: [\"127.0.0.1:%u\"], listen_tcp: [\"127.0.0.1:%u\"]}\n"
        "tenants:\n"
        "  - name: example\n"
        "    domains: [sip.example, other.example]\n"
        "    trunks:\n"
        "      - {uri: \"sip:127.0.0.1:%u;transport=%s\", priority: 1, options_interval: 0%s}\n"
        "      - {uri: \"sip:127.0.0.1:%u;transport=udp\", priority: 2, options_interval: 0}\n",
        egress_count, scene.own, scene.own, scene.ports[0], transport,
        strcmp(transport, "tls") == 0 ? ", identity: proxy.example" : "", scene.ports[1]);
    write_certificates(strcmp(transport, "tls") == 0);
    write_file("p.yaml", text);
    (void)snprintf(path, sizeof(path), "%s/p.yaml", scene.folder);
    if (config_open(&scene.config, path, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    scene.config->sip_t1_ms = 10; /* Timer F after 640 ms */
    scene.config->recipient_queue_max = 2;
    scene.config->sip_answered_max = 20;
    scene.config->tenants[0].trunks[0].options_interval_s = keep_alive_s;
}

static int open_scene(const char *transport)
{
    char error[300];
    const char *why = NULL;
    struct ring_options options = {.socket_max = 64, .error_text = &why};
    scene = (struct scene){.folder = "/tmp/passerelle-egress-XXXXXX"};
    assert_non_null(mkdtemp(scene.folder));
    scene.trunks[0] = udp_socket(&scene.ports[0]);
    scene.trunks[1] = udp_socket(&scene.ports[1]);
    close(udp_socket(&scene.own));
    read_config(transport);
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

static int set_up(void **state)
{
    (void)state;
    return open_scene("udp");
}

static int set_up_tcp(void **state)
{
    (void)state;
    return open_scene("tcp");
}

static int set_up_tls(void **state)
{
    (void)state;
    return open_scene("tls");
}

static int tear_down(void **state)
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
    close(scene.trunks[0]);
    close(scene.trunks[1]);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", scene.folder);
    return system(command);
}

static uint64_t count(enum stats_counter stat)
{
    struct stats *const all[] = {scene.thread.stats};
    return stats_sum(all, 1, stat);
}

/* Turns until something is on the socket; false after about 1.5 s. */
static bool hears(int fd, int turns)
{
    struct pollfd ready = {fd, POLLIN, 0};
    for (int i = 0; i < turns; i++) {
        egress_turn(scene.egress, 1);
        if (poll(&ready, 1, 0) == 1)
            return true;
    }
    return false;
}

static void receive(int fd)
{
    socklen_t size = sizeof(scene.from);
    assert_true(hears(fd, TURNS));
    ssize_t n = recvfrom(fd, scene.text, sizeof(scene.text) - 1, 0, &scene.from.any, &size);
    assert_true(n > 0);
    scene.text[n] = '\0';
}

static void send_text(int fd, const char *text)
{
    union net_address address;
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", scene.own), 0);
    assert_true(sendto(fd, text, strlen(text), 0, &address.any, net_address_size(&address)) >
                0);
}

/* One header line of the text received last, with its name and line end. */
static void header(const char *name, char *line, size_t size)
{
    char start[40];
    (void)snprintf(start, sizeof(start), "\r\n%s:", name);
    const char *hit = strstr(scene.text, start);
    assert_non_null(hit);
    const char *end = strstr(hit + 2, "\r\n");
    assert_non_null(end);
    (void)snprintf(line, size, "%.*s\r\n", (int)(end - hit - 2), hit + 2);
}

static void answer_text(const char *status, char *text, size_t size)
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

static void answer(int fd, const char *status)
{
    char text[2000];
    answer_text(status, text, sizeof(text));
    send_text(fd, text);
}

static void post(const char *user, struct span body)
{
    char uri[100];
    struct parcel *parcel = mesh_take(scene.mesh, WORKER, MESH_TRAFFIC);
    assert_non_null(parcel);
    (void)snprintf(uri, sizeof(uri), "sip:%s@sip.example", user);
    parcel->kind = PARCEL_MESSAGE_TO_SIP;
    parcel->wants_outcome = true;
    parcel->draft.request_uri = parcel_copy(parcel, span_of(uri));
    parcel->draft.from_uri = parcel_copy(parcel, SPAN("sip:juliet@xmpp.example;gr=balcony"));
    parcel->draft.content_type = SPAN("text/plain;charset=utf-8");
    parcel->draft.body = parcel_copy(parcel, body);
    mesh_post(scene.mesh, WORKER, EGRESS, &parcel);
}

static struct parcel *at_worker(void)
{
    struct parcel *parcel = NULL;
    for (int i = 0; i < TURNS && parcel == NULL; i++) {
        egress_turn(scene.egress, 1);
        parcel = mesh_next(scene.mesh, WORKER);
    }
    assert_non_null(parcel);
    return parcel;
}

static struct outcome take_outcome(void)
{
    struct parcel *parcel = at_worker();
    assert_true(parcel->is_return);
    assert_int_equal(parcel->kind, PARCEL_MESSAGE_TO_SIP);
    struct outcome outcome = parcel->outcome;
    mesh_give(scene.mesh, WORKER, &parcel);
    return outcome;
}

static bool says(const char *text)
{
    return strstr(scene.text, text) != NULL;
}

/* ---- XMPP to SIP ---- */

static void test_delivers(void **state)
{
    (void)state;
    post("romeo", SPAN("Art thou not Romeo?"));
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "MESSAGE sip:romeo@sip.example SIP/2.0\r\n", 39);
    assert_true(says("\r\n\r\nArt thou not Romeo?"));
    assert_true(says("gr=balcony"));
    assert_true(says("branch=z9hG4bK02"));
    answer(scene.trunks[0], "200 OK");
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_DELIVERED);
    assert_int_equal(outcome.sip_status, 200);
    answer(scene.trunks[0], "200 OK"); /* again: matches nothing, as Timer K would have it */
    for (int i = 0; i < 1000 && count(STAT_SIP_RESPONSES_STRAY) == 0; i++)
        egress_turn(scene.egress, 1);
    assert_int_equal(count(STAT_SIP_RESPONSES_STRAY), 1);
    assert_null(mesh_next(scene.mesh, WORKER));
    assert_int_equal(mesh_out(scene.mesh, WORKER), 0);
}

static void test_refusal(void **state)
{
    (void)state;
    post("nobody", SPAN("hello"));
    receive(scene.trunks[0]);
    answer(scene.trunks[0], "404 Not Found");
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.sip_status, 404);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_ITEM_NOT_FOUND);
}

static void test_failover_after_silence(void **state)
{
    (void)state;
    char first[300], second[300], branch[300];
    post("romeo", SPAN("hello"));
    receive(scene.trunks[0]);
    header("Call-ID", first, sizeof(first));
    header("Via", branch, sizeof(branch));
    receive(scene.trunks[0]);
    header("Via", second, sizeof(second));
    assert_string_equal(branch, second); /* a retransmission */
    receive(scene.trunks[1]);
    header("Call-ID", second, sizeof(second));
    assert_string_equal(first, second);
    header("Via", second, sizeof(second));
    assert_string_not_equal(branch, second);
    answer(scene.trunks[1], "202 Accepted");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    assert_int_equal(count(STAT_SIP_TRUNK_FAILOVERS), 1);
    assert_true(count(STAT_SIP_RETRANSMISSIONS_OUT) >= 1);
}

static void test_503_with_retry_after_blocks(void **state)
{
    (void)state;
    post("romeo", SPAN("one"));
    receive(scene.trunks[0]);
    answer(scene.trunks[0], "503 Busy\r\nRetry-After: 60");
    receive(scene.trunks[1]);
    answer(scene.trunks[1], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    post("romeo", SPAN("two"));
    receive(scene.trunks[1]); /* the first trunk is left alone */
    answer(scene.trunks[1], "503 Busy");
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.sip_status, 503);
}

static void test_one_pending_for_each_recipient(void **state)
{
    (void)state;
    post("romeo", SPAN("one"));
    post("romeo", SPAN("two"));
    post("romeo", SPAN("three"));
    post("romeo", SPAN("four")); /* more than recipient_queue_max wait */
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_RESOURCE_CONSTRAINT);
    static const char *const bodies[] = {"\r\n\r\none", "\r\n\r\ntwo", "\r\n\r\nthree"};
    for (int i = 0; i < 3; i++) {
        receive(scene.trunks[0]);
        while (i > 0 && says(bodies[i - 1])) /* a retransmission sent before the answer */
            receive(scene.trunks[0]);
        assert_true(says(bodies[i]));
        answer(scene.trunks[0], "200 OK");
        assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    }
}

static void test_too_long_for_udp(void **state)
{
    static char body[1400];
    (void)state;
    memset(body, 'x', sizeof(body));
    post("romeo", span_make(body, sizeof(body)));
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.fault.error, STANZA_ERROR_POLICY_VIOLATION);
}

/* ---- SIP to XMPP ---- */

struct request {
    const char *method, *uri, *from, *branch, *extra, *tag;
};

static void request_text(const struct request *request, char *text, size_t size)
{
    const char *method = request->method != NULL ? request->method : "MESSAGE";
    (void)snprintf(text, size,
                   "%s %s SIP/2.0\r\n"
                   "Via: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK%s\r\n"
                   "From: <%s>;tag=%s\r\n"
                   "To: <sip:juliet@xmpp.example>\r\n"
                   "Call-ID: asd88asd77a@1.2.3.4\r\n"
                   "CSeq: 1 %s\r\n"
                   "%s"
                   "Content-Type: text/plain\r\n"
                   "Content-Length: 5\r\n\r\nhello",
                   method, request->uri != NULL ? request->uri : "sip:juliet@xmpp.example",
                   request->branch != NULL ? request->branch : "776sgdkse",
                   request->from != NULL ? request->from : "sip:romeo@sip.example",
                   request->tag != NULL ? request->tag : "49583", method,
                   request->extra != NULL ? request->extra : "Max-Forwards: 70\r\n");
}

static void send_request(const struct request *request)
{
    char text[2000];
    request_text(request, text, sizeof(text));
    send_text(scene.trunks[0], text);
}

static struct parcel *take_stanza(void)
{
    struct parcel *parcel = at_worker();
    assert_int_equal(parcel->kind, PARCEL_STANZA_TO_XMPP);
    assert_false(parcel->is_return);
    return parcel;
}

static void test_answers_after_outcome(void **state)
{
    (void)state;
    static const struct {
        struct outcome outcome;
        const char *line;
    } rows[] = {
        {{.kind = OUTCOME_DELIVERED}, "SIP/2.0 200 "},
        {{.kind = OUTCOME_HANDED_OVER}, "SIP/2.0 202 "},
        {{.kind = OUTCOME_FAILED, .fault.error = STANZA_ERROR_ITEM_NOT_FOUND}, "SIP/2.0 604 "}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char branch[10], extra[100];
        (void)snprintf(branch, sizeof(branch), "b%zu", i);
        (void)snprintf(extra, sizeof(extra), "Max-Forwards: %zu\r\n", 70 - i);
        send_request(&(struct request){.branch = branch, .extra = extra});
        struct parcel *parcel = take_stanza();
        assert_true(span_equal(parcel->from.domain, SPAN("sip.example")));
        assert_true(span_equal(parcel->to.local, SPAN("juliet")));
        assert_true(span_starts(parcel->stanza_id, SPAN("01")));
        assert_non_null(memmem(parcel->bytes.data, parcel->bytes.size, "hello", 5));
        send_request(&(struct request){.branch = branch, .extra = extra}); /* absorbed */
        assert_false(hears(scene.trunks[0], 10));
        assert_null(mesh_next(scene.mesh, WORKER));
        parcel->outcome = rows[i].outcome;
        mesh_return(scene.mesh, WORKER, &parcel);
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, rows[i].line, 12);
        assert_true(says("received=127.0.0.1"));
        send_request(&(struct request){.branch = branch, .extra = extra}); /* answered again */
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, rows[i].line, 12);
        /* Timer J is 640 ms: then the same tag, Call-ID and CSeq are no merged request. */
        (void)hears(scene.trunks[0], 700);
    }
    assert_int_equal(count(STAT_SIP_MESSAGES_ACCEPTED), 3);
    assert_int_equal(count(STAT_SIP_MESSAGES_DELIVERED), 1);
    assert_int_equal(count(STAT_SIP_MESSAGES_HANDED_OVER), 1);
    assert_int_equal(count(STAT_SIP_MESSAGES_FAILED), 1);
    assert_int_equal(count(STAT_SIP_RETRANSMISSIONS_IN), 6);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
}

static void test_merged(void **state)
{
    (void)state;
    send_request(&(struct request){.branch = "one"});
    struct parcel *parcel = take_stanza();
    send_request(&(struct request){.branch = "two"});
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 482 ", 12);
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
}

static void test_late_outcome_is_not_sent(void **state)
{
    (void)state;
    send_request(&(struct request){0});
    struct parcel *parcel = take_stanza();
    while (hears(scene.trunks[0], 700)) { /* RFC 4320: perhaps a 100 */
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, "SIP/2.0 100 ", 12);
    }
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    assert_false(hears(scene.trunks[0], 20));
    assert_int_equal(count(STAT_SIP_MESSAGES_DROPPED), 1);
}

/* The parcel of an answered or expired transaction never comes home: nothing may leak. */
static void test_closes_with_parcels_out(void **state)
{
    (void)state;
    send_request(&(struct request){0});
    struct parcel *late = take_stanza();
    while (hears(scene.trunks[0], 700))
        receive(scene.trunks[0]);
    send_request(&(struct request){.branch = "other", .extra = "Max-Forwards: 9\r\n"});
    struct parcel *fresh = take_stanza();
    egress_close(&scene.egress);
    assert_int_equal(count(STAT_SIP_MESSAGES_DROPPED), 2);
    assert_non_null(late);
    assert_non_null(fresh);
}

/* One answer too many for the table: the first request counts as new, and nobody gets 503. */
static void test_forgets_the_oldest_answer(void **state)
{
    (void)state;
    char branch[20], from[60];
    unsigned last = scene.config->sip_answered_max;
    for (unsigned i = 0; i <= last; i++) {
        (void)snprintf(branch, sizeof(branch), "%u", i);
        (void)snprintf(from, sizeof(from), "sip:romeo%u@sip.example", i);
        send_request(&(struct request){.branch = branch, .from = from, .tag = branch});
        struct parcel *parcel = take_stanza();
        parcel->outcome.kind = OUTCOME_DELIVERED;
        mesh_return(scene.mesh, WORKER, &parcel);
        receive(scene.trunks[0]);
        assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
    }
    char first[sizeof(scene.text)];
    memcpy(first, scene.text, sizeof(first));
    assert_int_equal(count(STAT_SIP_ANSWERS_FORGOTTEN), 1);
    send_request(&(struct request){.branch = branch, .from = from, .tag = branch});
    receive(scene.trunks[0]);
    assert_string_equal(scene.text, first); /* rebuilt to the last byte */
    send_request(&(struct request){.branch = "0", .from = "sip:romeo0@sip.example", .tag = "0"});
    struct parcel *parcel = take_stanza();
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    receive(scene.trunks[0]);
}

static void test_refused_requests(void **state)
{
    (void)state;
    static const struct {
        struct request request;
        const char *line, *also;
    } rows[] = {{{.from = "sip:mallory@foreign.example"}, "SIP/2.0 403 ", NULL},
                {{.uri = "sip:romeo@sip.example"}, "SIP/2.0 404 ", NULL},
                {{.uri = "sip:xmpp.example"}, "SIP/2.0 404 ", NULL},
                {{.uri = "sips:juliet@xmpp.example"}, "SIP/2.0 480 ", "Warning: 380"},
                {{.uri = "http://juliet.example"}, "SIP/2.0 416 ", NULL},
                {{.extra = "Max-Forwards: 0\r\n"}, "SIP/2.0 483 ", NULL},
                {{.extra = "Require: magic\r\n"}, "SIP/2.0 420 ", "Unsupported: magic"},
                {{.method = "OPTIONS"}, "SIP/2.0 200 ", "Allow: MESSAGE, OPTIONS"},
                {{.method = "INVITE"}, "SIP/2.0 405 ", "Allow: "},
                {{.method = "CANCEL"}, "SIP/2.0 481 ", NULL},
                {{.method = "DANCE"}, "SIP/2.0 501 ", "Allow: "}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        send_request(&rows[i].request);
        receive(scene.trunks[0]);
        if (strncmp(scene.text, rows[i].line, 12) != 0)
            fail_msg("row %zu: %s", i, scene.text);
        assert_true(rows[i].also == NULL || says(rows[i].also));
    }
    send_request(&(struct request){.method = "ACK"});
    assert_false(hears(scene.trunks[0], 20));
    assert_int_equal(count(STAT_SIP_REQUESTS_FORBIDDEN), 1);
    assert_int_equal(count(STAT_SIP_MESSAGES_ACCEPTED), 0);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
}

static void test_our_via_is_a_loop(void **state)
{
    (void)state;
    char extra[200];
    (void)snprintf(extra, sizeof(extra),
                   "Max-Forwards: 60\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bKx\r\n",
                   scene.own);
    send_request(&(struct request){.extra = extra});
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "SIP/2.0 482 ", 12);
    assert_int_equal(count(STAT_LOOPS_REFUSED), 1);
}

/* ---- streams ---- */

static int stream_socket(void)
{
    union net_address address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", scene.own), 0);
    assert_int_equal(connect(fd, &address.any, net_address_size(&address)), 0);
    return fd;
}

static void receive_stream(int fd)
{
    assert_true(hears(fd, TURNS));
    ssize_t n = recv(fd, scene.text, sizeof(scene.text) - 1, 0);
    assert_true(n > 0);
    scene.text[n] = '\0';
}

static void test_tcp_request_byte_by_byte(void **state)
{
    (void)state;
    char text[2000];
    int fd = stream_socket();
    assert_int_equal(send(fd, "\r\n\r\n", 4, 0), 4);
    receive_stream(fd);
    assert_string_equal(scene.text, "\r\n");
    request_text(&(struct request){0}, text, sizeof(text));
    for (size_t i = 0; i < strlen(text); i++) {
        assert_int_equal(send(fd, text + i, 1, 0), 1);
        egress_turn(scene.egress, 0);
    }
    struct parcel *parcel = take_stanza();
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    receive_stream(fd);
    assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
    /* Noise that cannot be framed ends the connection. */
    static const char noise[] = "MESSAGE sip:a@b SIP/2.0\r\nContent-Length: x\r\n\r\n";
    assert_int_equal(send(fd, noise, sizeof(noise) - 1, 0), sizeof(noise) - 1);
    while (hears(fd, 200) && recv(fd, scene.text, sizeof(scene.text), 0) > 0)
        ;
    assert_int_equal(recv(fd, scene.text, 1, MSG_DONTWAIT), 0);
    close(fd);
}

static int trunk_listener(void)
{
    union net_address address;
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", scene.ports[0]), 0);
    assert_int_equal(bind(fd, &address.any, net_address_size(&address)), 0);
    assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static void test_tcp_trunk(void **state)
{
    static char body[6000];
    (void)state;
    int listener = trunk_listener();
    memset(body, 'x', sizeof(body));
    post("romeo", span_make(body, sizeof(body)));
    assert_true(hears(listener, TURNS));
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    size_t used = 0;
    while (used < sizeof(body)) {
        assert_true(hears(fd, TURNS));
        ssize_t n = recv(fd, scene.text + used, sizeof(scene.text) - 1 - used, 0);
        assert_true(n > 0);
        used += (size_t)n;
    }
    assert_true(says("SIP/2.0/TCP"));
    /* The connection ends without an answer: the next trunk is UDP and too short, so it fails.
     */
    close(fd);
    struct outcome outcome = take_outcome();
    assert_int_equal(outcome.kind, OUTCOME_FAILED);
    assert_int_equal(outcome.sip_status, 503);
    /* With nobody at the first trunk a short one goes by the second. */
    close(listener);
    post("romeo", SPAN("short"));
    receive(scene.trunks[1]);
    answer(scene.trunks[1], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
}

/* A TLS server as a trunk would be one. */
struct proxy {
    int listener, fd;
    struct tls_context *context;
    struct tls_session *session;
    struct net_buffer input, output;
    bool is_ready, is_closed;
};

static void proxy_open(struct proxy *proxy, const char *name)
{
    char certificate[100], key[100], ca[100], error[300];
    (void)snprintf(certificate, sizeof(certificate), "%s/%s.pem", scene.folder, name);
    (void)snprintf(key, sizeof(key), "%s/%s.key", scene.folder, name);
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", scene.folder);
    struct tls_context_options options = {certificate, key, ca, NULL};
    *proxy = (struct proxy){.listener = trunk_listener()};
    if (tls_context_open(&proxy->context, &options, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    assert_int_equal(tls_accept(&proxy->session, proxy->context, NULL, NULL, TLS_ALPN_NONE), 0);
    net_buffer_init(&proxy->input, 65536);
    net_buffer_init(&proxy->output, 65536);
}

static void proxy_accept(struct proxy *proxy)
{
    assert_true(hears(proxy->listener, TURNS));
    proxy->fd = accept(proxy->listener, NULL, NULL);
    assert_true(proxy->fd >= 0);
}

static void proxy_close(struct proxy *proxy)
{
    tls_close(&proxy->session);
    tls_context_close(&proxy->context);
    net_buffer_fini(&proxy->input);
    net_buffer_fini(&proxy->output);
    close(proxy->fd);
    close(proxy->listener);
}

/* One turn of both sides. True when there is plain text, which goes into scene.text. */
static bool proxy_turn(struct proxy *proxy)
{
    uint8_t bytes[4096];
    size_t size = 0;
    egress_turn(scene.egress, 1);
    ssize_t n = recv(proxy->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    proxy->is_closed |= n == 0;
    if (n > 0)
        assert_int_equal(net_buffer_add(&proxy->input, bytes, (size_t)n), 0);
    size_t used = net_buffer_used(&proxy->input);
    tls_set_input(proxy->session, net_buffer_front(&proxy->input), used);
    if (!proxy->is_ready)
        proxy->is_ready = tls_handshake(proxy->session, &proxy->output) == TLS_DONE;
    if (proxy->is_ready)
        (void)tls_read(proxy->session, scene.text, sizeof(scene.text) - 1, &size,
                       &proxy->output);
    net_buffer_consume(&proxy->input, used - tls_input_left(proxy->session));
    used = net_buffer_used(&proxy->output);
    if (used > 0 && !proxy->is_closed)
        (void)send(proxy->fd, net_buffer_front(&proxy->output), used, MSG_NOSIGNAL);
    net_buffer_consume(&proxy->output, used);
    scene.text[size] = '\0';
    return size > 0;
}

static void proxy_receive(struct proxy *proxy)
{
    bool got = false;
    for (int i = 0; i < TURNS && !got; i++)
        got = proxy_turn(proxy);
    assert_true(got);
}

static void proxy_send(struct proxy *proxy, const char *text)
{
    assert_int_equal(tls_write(proxy->session, text, strlen(text), &proxy->output), TLS_DONE);
    (void)proxy_turn(proxy);
}

static void test_tls_trunk(void **state)
{
    (void)state;
    struct proxy proxy;
    char text[2000];
    proxy_open(&proxy, "proxy.example");
    post("romeo", SPAN("secret"));
    proxy_accept(&proxy);
    proxy_receive(&proxy);
    assert_true(says("SIP/2.0/TLS"));
    assert_true(says("\r\n\r\nsecret"));
    answer_text("200 OK", text, sizeof(text));
    proxy_send(&proxy, text);
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    /* The trunk may send its own requests over the connection that proved who it is. */
    request_text(&(struct request){0}, text, sizeof(text));
    proxy_send(&proxy, text);
    struct parcel *parcel = take_stanza();
    parcel->outcome.kind = OUTCOME_HANDED_OVER;
    mesh_return(scene.mesh, WORKER, &parcel);
    proxy_receive(&proxy);
    assert_memory_equal(scene.text, "SIP/2.0 202 ", 12);
    request_text(&(struct request){.from = "sip:mallory@foreign.example"}, text, sizeof(text));
    proxy_send(&proxy, text);
    proxy_receive(&proxy);
    assert_memory_equal(scene.text, "SIP/2.0 403 ", 12);
    assert_int_equal(count(STAT_TLS_HANDSHAKES), 1);
    proxy_close(&proxy);
}

static void test_tls_impostor_gets_nothing(void **state)
{
    (void)state;
    struct proxy proxy;
    proxy_open(&proxy, "evil.example");
    post("romeo", SPAN("secret"));
    proxy_accept(&proxy);
    for (int i = 0; i < TURNS && !proxy.is_closed; i++)
        assert_false(proxy_turn(&proxy));
    assert_true(proxy.is_closed);
    receive(scene.trunks[1]); /* the next trunk */
    answer(scene.trunks[1], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    assert_int_equal(count(STAT_TLS_FAILURES), 1);
    proxy_close(&proxy);
}

static int set_up_keep_alive(void **state)
{
    (void)state;
    keep_alive_s = 1;
    int result = open_scene("udp");
    keep_alive_s = 0;
    return result;
}

static void test_keep_alive(void **state)
{
    (void)state;
    receive(scene.trunks[0]);
    assert_memory_equal(scene.text, "OPTIONS sip:127.0.0.1", 21);
    answer(scene.trunks[0], "200 OK");
    /* Then silence: three misses are the end of the trunk. */
    for (int i = 0; i < 4500; i++) {
        egress_turn(scene.egress, 1);
        while (recv(scene.trunks[0], scene.text, sizeof(scene.text), MSG_DONTWAIT) > 0)
            ;
    }
    post("romeo", SPAN("hello"));
    receive(scene.trunks[1]);
    assert_false(hears(scene.trunks[0], 1));
    assert_int_equal(count(STAT_SIP_TRUNK_FAILOVERS), 0);
    answer(scene.trunks[1], "200 OK");
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
}

static int set_up_two(void **state)
{
    (void)state;
    egress_count = 2;
    int result = open_scene("udp");
    egress_count = 1;
    return result;
}

/* What the relay posted to the other egress thread, whose part the test plays. */
static struct parcel *at_other(void)
{
    struct parcel *parcel = NULL;
    for (int i = 0; i < 50 && parcel == NULL; i++) {
        egress_turn(scene.egress, 1);
        parcel = mesh_next(scene.mesh, OTHER_EGRESS);
    }
    return parcel;
}

static void test_hands_over_to_the_owner(void **state)
{
    (void)state;
    unsigned kept = 0, given = 0;
    for (unsigned i = 0; i < 16; i++) {
        char from[60], branch[10];
        (void)snprintf(from, sizeof(from), "sip:user%u@sip.example", i);
        (void)snprintf(branch, sizeof(branch), "h%u", i);
        struct jid user = {.local = span_make(from + 4, span_find(span_of(from), '@') - 4),
                           .domain = SPAN("sip.example")};
        struct jid peer = {.local = SPAN("juliet"), .domain = SPAN("xmpp.example")};
        unsigned owner = route_egress(scene.config, &user, &peer);
        char extra[40];
        (void)snprintf(extra, sizeof(extra), "Subject: %u\r\nMax-Forwards: 9\r\n", i);
        send_request(&(struct request){.from = from, .branch = branch, .extra = extra});
        struct parcel *parcel = at_other();
        assert_int_equal(parcel != NULL, owner == OTHER_EGRESS);
        if (parcel == NULL) {
            kept++;
            /* The same tags from another user are a merged request here. */
            (void)hears(scene.trunks[0], 1);
            parcel = mesh_next(scene.mesh, WORKER);
            if (parcel != NULL) {
                parcel->outcome.kind = OUTCOME_DELIVERED;
                mesh_return(scene.mesh, WORKER, &parcel);
            }
            continue;
        }
        given++;
        assert_int_equal(parcel->kind, PARCEL_SIP_BYTES);
        assert_true(parcel->trunk > 0);
        assert_true(span_starts(parcel->bytes, SPAN("MESSAGE ")));
        mesh_return(scene.mesh, OTHER_EGRESS, &parcel);
    }
    assert_true(kept > 0);
    assert_true(given > 0);
}

static void test_response_of_the_other_thread(void **state)
{
    (void)state;
    send_text(scene.trunks[0],
              "SIP/2.0 200 OK\r\n"
              "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK030123456789abcdef\r\n"
              "From: <sip:a@b.example>;tag=1\r\nTo: <sip:c@d.example>;tag=2\r\n"
              "Call-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
    struct parcel *parcel = at_other();
    assert_non_null(parcel);
    assert_int_equal(parcel->kind, PARCEL_SIP_BYTES);
    assert_true(span_starts(parcel->bytes, SPAN("SIP/2.0 200 OK")));
    mesh_return(scene.mesh, OTHER_EGRESS, &parcel);
    egress_turn(scene.egress, 1);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
    assert_int_equal(count(STAT_SIP_RESPONSES_STRAY), 0);
}

static void test_request_of_the_other_thread(void **state)
{
    (void)state;
    char text[2000];
    struct parcel *parcel = mesh_take(scene.mesh, OTHER_EGRESS, MESH_TRAFFIC);
    assert_non_null(parcel);
    request_text(&(struct request){0}, text, sizeof(text));
    parcel->kind = PARCEL_SIP_BYTES;
    parcel->transport = SIP_TRANSPORT_TCP;
    parcel->connection = 77;
    parcel->trunk = 1;
    assert_int_equal(net_address_parse(&parcel->peer, "127.0.0.1:9", 0), 0);
    parcel->bytes = parcel_copy(parcel, span_of(text));
    mesh_post(scene.mesh, OTHER_EGRESS, EGRESS, &parcel);
    parcel = take_stanza();
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    parcel = at_other(); /* its own, home again */
    assert_true(parcel != NULL && parcel->is_return);
    mesh_give(scene.mesh, OTHER_EGRESS, &parcel);
    parcel = at_other();
    assert_non_null(parcel);
    assert_int_equal(parcel->kind, PARCEL_SIP_REPLY);
    assert_int_equal(parcel->connection, 77);
    assert_true(span_starts(parcel->bytes, SPAN("SIP/2.0 200 ")));
    mesh_return(scene.mesh, OTHER_EGRESS, &parcel);
    egress_turn(scene.egress, 1);
    assert_int_equal(mesh_out(scene.mesh, EGRESS), 0);
}

static int start_tls(void **state)
{
    (void)state;
    return tls_start();
}

static int stop_tls(void **state)
{
    (void)state;
    tls_stop();
    return 0;
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ROW(test_delivers),
        ROW(test_refusal),
        ROW(test_failover_after_silence),
        ROW(test_503_with_retry_after_blocks),
        ROW(test_one_pending_for_each_recipient),
        ROW(test_too_long_for_udp),
        ROW(test_answers_after_outcome),
        ROW(test_merged),
        ROW(test_late_outcome_is_not_sent),
        ROW(test_closes_with_parcels_out),
        ROW(test_forgets_the_oldest_answer),
        ROW(test_refused_requests),
        ROW(test_our_via_is_a_loop),
        ROW(test_tcp_request_byte_by_byte),
        cmocka_unit_test_setup_teardown(test_tcp_trunk, set_up_tcp, tear_down),
        cmocka_unit_test_setup_teardown(test_hands_over_to_the_owner, set_up_two, tear_down),
        cmocka_unit_test_setup_teardown(test_response_of_the_other_thread, set_up_two,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_request_of_the_other_thread, set_up_two,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_tls_trunk, set_up_tls, tear_down),
        cmocka_unit_test_setup_teardown(test_tls_impostor_gets_nothing, set_up_tls, tear_down),
        cmocka_unit_test_setup_teardown(test_keep_alive, set_up_keep_alive, tear_down)};
#undef ROW
    return cmocka_run_group_tests(tests, start_tls, stop_tls);
}
