/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stats socket: answers, limits, and questions to another thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/control.h"
#include "core/probe.h"
#include "core/inquiry.h"

#define TENANT_COUNT 2000

struct fixture {
    struct config config;
    struct config_tenant tenants[TENANT_COUNT];
    struct config_domain domain;
    struct stats *stats[3];
    struct mesh *mesh;
    struct control *control;
    char folder[64], path[100];
    unsigned probe_rows, probe_ends;
};

static struct control_options options_of(struct fixture *fixture)
{
    return (struct control_options){.config = &fixture->config,
                                    .stats = fixture->stats,
                                    .stats_count = 3,
                                    .mesh = fixture->mesh};
}

static int set_up(void **state)
{
    struct fixture *fixture = aligned_alloc(_Alignof(struct fixture), sizeof(*fixture));
    assert_non_null(fixture);
    *fixture = (struct fixture){0};
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/passerelle-control-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/sock", fixture->folder);
    fixture->domain = (struct config_domain){"bücher.example", "xn--bcher-kva.example"};
    for (uint32_t i = 0; i < TENANT_COUNT; i++)
        fixture->tenants[i] = (struct config_tenant){
            .index = i, .name = "a \"quoted\" name", .domains = &fixture->domain,
            .domain_count = 1};
    fixture->config = (struct config){.path = "(test)", .worker_count = 1, .egress_count = 1,
                                      .stats_socket = fixture->path, .tenant_count = 1,
                                      .tenants = fixture->tenants};
    for (size_t i = 0; i < 3; i++)
        assert_non_null(fixture->stats[i] = stats_open(TENANT_COUNT));
    assert_int_equal(mesh_open(&fixture->mesh, 3, 128), 0);
    struct control_options options = options_of(fixture);
    char error[200] = "";
    assert_int_equal(control_open(&fixture->control, &options, error, sizeof(error)), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    control_close(&fixture->control);
    assert_int_equal(access(fixture->path, F_OK), -1);
    for (size_t i = 0; i < 3; i++)
        stats_close(&fixture->stats[i]);
    mesh_close(&fixture->mesh);
    rmdir(fixture->folder);
    free(fixture);
    return 0;
}

static int connected(const struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, fixture->path, strlen(fixture->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Plays a worker's probe: a row each time, until there were three or nobody listens. */
static void probe_turn(struct fixture *fixture, struct probe_talk *talk)
{
    static const char row[] = "tcp\tok\t1\t192.0.2.1:5269\tconnected\n";
    if (talk->is_cancelled || fixture->probe_rows == 3) {
        talk->is_over = true;
        talk->verdict = PROBE_FAILED;
        (void)snprintf(talk->text, sizeof(talk->text), "%s is \"far\"", talk->remote.text);
        fixture->probe_ends++;
        fixture->probe_rows = 0;
        talk->probe = NULL;
        return;
    }
    talk->probe = (struct probe *)fixture; /* control only looks whether there is one */
    fixture->probe_rows++;
    fputs(row, talk->out);
}

/* Plays the other two threads: answers inquiries. */
static void threads_turn(struct fixture *fixture)
{
    for (unsigned self = 1; self < 3; self++) {
        struct parcel *parcel = mesh_next(fixture->mesh, self);
        if (parcel == NULL)
            continue;
        if (parcel->kind == PARCEL_PROBE) {
            probe_turn(fixture, parcel->inquiry);
            mesh_return(fixture->mesh, self, &parcel);
            continue;
        }
        struct inquiry *inquiry = parcel->inquiry;
        assert_int_equal(inquiry->kind, self == 1 ? INQUIRY_SESSIONS : INQUIRY_TRUNKS);
        fprintf(inquiry->out, self == 1 ? "0\tin\tpeer\n" : "0\t7\tsip:x\n");
        mesh_return(fixture->mesh, self, &parcel);
    }
}

/* Turns until `size` is full, the relay closed, or nothing came for some turns. */
static size_t receive(struct fixture *fixture, int fd, char *text, size_t size, bool *is_closed)
{
    size_t used = 0;
    *is_closed = false;
    for (unsigned idle = 0; idle < 20 && used < size - 1 && !*is_closed; idle++) {
        control_turn(fixture->control, 1);
        threads_turn(fixture);
        ssize_t got = recv(fd, text + used, size - 1 - used, 0);
        *is_closed = got == 0 || (got < 0 && errno == ECONNRESET);
        if (got > 0) {
            used += (size_t)got;
            idle = 0;
        }
    }
    text[used] = '\0';
    return used;
}

/* One connection, the commands, the whole answer, closed in the end. */
static char *ask(struct fixture *fixture, const char *commands)
{
    bool is_closed;
    char *text = malloc(1 << 20);
    assert_non_null(text);
    int fd = connected(fixture);
    assert_int_equal(send(fd, commands, strlen(commands), 0), strlen(commands));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    (void)receive(fixture, fd, text, 1 << 20, &is_closed);
    assert_true(is_closed);
    close(fd);
    return text;
}

static void check_answer(struct fixture *fixture, const char *commands, const char *part)
{
    char *text = ask(fixture, commands);
    if (strstr(text, part) == NULL)
        fail_msg("'%s' gave '%s', not '%s'", commands, text, part);
    assert_true(strlen(text) > 1 && strcmp(text + strlen(text) - 2, "\n\n") == 0);
    free(text);
}

static void test_answers(void **state)
{
    struct fixture *fixture = *state;
    stats_add(fixture->stats[1], STAT_XMPP_STANZAS_IN, 40);
    stats_add(fixture->stats[2], STAT_XMPP_STANZAS_IN, 2);
    stats_tenant(fixture->stats[2], 0)->to_sip = 9;
    stats_count_over_quota(fixture->stats[1], 0);
    stats_count_over_quota(fixture->stats[2], 0);
    stats_error(fixture->stats[1], &(struct stats_trouble){.event = "a.test",
                                                           .trace = 0xabc,
                                                           .tenant = SPAN("acme"),
                                                           .reason = SPAN("bad\nthing")});
    check_answer(fixture, "help\n", "show info|stat");
    check_answer(fixture, "show info", "config\t(test)\n");
    check_answer(fixture, "show info json\n", "\"config\":\"(test)\",\"uptime_s\":0,");
    check_answer(fixture, "show stat\n", "xmpp_stanzas_received_total\t42\n");
    check_answer(fixture, "show stat json\n", "{\"xmpp_stanzas_received_total\":42,");
    check_answer(fixture, "show tenants\n", "bücher.example\topen\t0\t9\t0\t0\t0\t2\n");
    check_answer(fixture, "show tenants json\n", "[{\"tenant\":\"a \\\"quoted\\\" name\",");
    check_answer(fixture, "show errors\n", "Z\t1\ta.test\tacme\t-\t0000000000000abc\tbad\\x0athing\n");
    check_answer(fixture, "metrics\n", "# TYPE passerelle_xmpp_stanzas_received_total counter\n"
                                       "passerelle_xmpp_stanzas_received_total 42\n");
    check_answer(fixture, "show\n", "error: show what?");
    check_answer(fixture, "show stat xml\n", "error: behind");
    check_answer(fixture, "help me\r\n", "error: unknown command");
    check_answer(fixture, "show stat\nshow info\n", "\n\nname\tvalue\nversion\t");
}

static void test_inquiries(void **state)
{
    struct fixture *fixture = *state;
    check_answer(fixture, "show sess\n", "waiting\tbytes_s\tstream\n0\tin\tpeer\n\n");
    check_answer(fixture, "show trunks json\n", "[{\"egress\":0,\"tenant\":\"7\",\"trunk\":\"sip:x\",");
    assert_int_equal(mesh_out(fixture->mesh, 0), 0);
}

/* Rows come one by one; then the streams of that domain, its last refusal, and the verdict. */
static void test_explain(void **state)
{
    struct fixture *fixture = *state;
    stats_error(fixture->stats[1], &(struct stats_trouble){
                                       .event = "session.close",
                                       .partner = SPAN("192.0.2.1"),
                                       .reason = SPAN("far.example (as it says): no proof")});
    char *text = ask(fixture, "explain far.example\n");
    const char *expected[] = {"step\tresult\tms\ttarget\ttext\n",
                              "tcp\tok\t1\t192.0.2.1:5269\tconnected\n",
                              "tcp\tok\t1\t192.0.2.1:5269\tconnected\n",
                              "tcp\tok\t1\t192.0.2.1:5269\tconnected\n",
                              "inbound\tok\t-\t-\ta stream from peer is : ",
                              "s ago: far.example (as it says): no proof\n",
                              "verdict\tfailed\t-\t-\tfar.example is \"far\"\n\n"};
    const char *at = text;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        at = strstr(at, expected[i]);
        if (at == NULL)
            fail_msg("no '%s' in its place in '%s'", expected[i], text);
        at += strlen(expected[i]);
    }
    free(text);
    check_answer(fixture, "explain far.example json\n",
                 "\"text\":\"far.example is \\\"far\\\"\"}]\n\n");
    check_answer(fixture, "explain\n", "error: explain which domain?");
    check_answer(fixture, "explain x y\n", "error: explain DOMAIN");
    assert_int_equal(mesh_out(fixture->mesh, 0), 0);
}

/* Four at a time; who goes away has his probe ended, and makes room. */
static void test_explain_limit(void **state)
{
    struct fixture *fixture = *state;
    int fds[CONTROL_PROBE_MAX];
    for (unsigned i = 0; i < CONTROL_PROBE_MAX; i++) {
        fds[i] = connected(fixture);
        assert_int_equal(send(fds[i], "explain far.example\n", 20, 0), 20);
        for (unsigned turn = 0; turn < 3; turn++)
            control_turn(fixture->control, 1); /* nobody answers yet */
    }
    int fd = connected(fixture);
    char text[200] = "";
    assert_int_equal(send(fd, "explain far.example\n", 20, 0), 20);
    for (unsigned turn = 0; turn < 3; turn++)
        control_turn(fixture->control, 1);
    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
    assert_non_null(strstr(text, "error: enough partners"));
    close(fd);
    for (unsigned i = 0; i < CONTROL_PROBE_MAX; i++)
        close(fds[i]);
    for (unsigned turn = 0; turn < 50 && fixture->probe_ends < CONTROL_PROBE_MAX; turn++) {
        control_turn(fixture->control, 1);
        threads_turn(fixture);
    }
    assert_int_equal(fixture->probe_ends, CONTROL_PROBE_MAX);
    check_answer(fixture, "explain far.example\n", "verdict");
    assert_int_equal(mesh_out(fixture->mesh, 0), 0);
}

static void test_rows_are_clean(void **state)
{
    (void)state;
    char out[100];
    const struct probe_row row = {"tcp", PROBE_NOTE, -1, "",
                                  "a\tb\nc\x1b[1m\xc2\x9b\xe2\x80\xae\xe2\x81\xa6\xff ü\x7f"};
    size_t size = probe_row_write(&row, out, sizeof(out));
    assert_int_equal(out[size - 1], '\n');
    out[size - 1] = '\0';
    assert_string_equal(out, "tcp\tnote\t-\t-\ta?b?c?[1m???? ü?");
    for (size_t room = 20; room < 40; room++) { /* cut, and not within a character */
        const struct probe_row long_row = {"tcp", PROBE_OK, 7, "x", "üüüüüüüüüüüü"};
        size = probe_row_write(&long_row, out, room);
        assert_true(size <= room && out[size - 1] == '\n');
        assert_int_equal((size - strlen("tcp\tok\t7\tx\t\n")) % 2, 0);
    }
}

static void test_long_line(void **state)
{
    struct fixture *fixture = *state;
    char line[CONTROL_LINE_MAX + 10], text[100];
    bool is_closed;
    memset(line, 'x', sizeof(line));
    int fd = connected(fixture);
    assert_int_equal(send(fd, line, sizeof(line), 0), sizeof(line));
    assert_int_equal(receive(fixture, fd, text, sizeof(text), &is_closed), 0);
    assert_true(is_closed);
    close(fd);
}

static void test_client_limit(void **state)
{
    struct fixture *fixture = *state;
    int fds[CONTROL_CLIENT_MAX + 1];
    char text[100];
    bool is_closed;
    for (unsigned i = 0; i <= CONTROL_CLIENT_MAX; i++) {
        fds[i] = connected(fixture);
        control_turn(fixture->control, 1);
    }
    (void)receive(fixture, fds[CONTROL_CLIENT_MAX], text, sizeof(text), &is_closed);
    assert_true(is_closed);
    for (unsigned i = 0; i <= CONTROL_CLIENT_MAX; i++)
        close(fds[i]);
    check_answer(fixture, "help\n", "show");
}

/* Who does not read a large answer does not hinder others and is dropped in the end. */
static void test_slow_reader(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.tenant_count = TENANT_COUNT;
    int fd = connected(fixture);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(send(fd, "show tenants\n", 13, 0), 13);
    for (unsigned i = 0; i < 10; i++)
        control_turn(fixture->control, 1);
    check_answer(fixture, "help\n", "show");
    sleep(CONTROL_DEADLINE_MS / 1000 + 1);
    control_turn(fixture->control, 1);
    char *text = malloc(1 << 20);
    bool is_closed = false;
    size_t total = 0;
    for (unsigned i = 0; i < 100 && !is_closed; i++)
        total += receive(fixture, fd, text, 1 << 20, &is_closed);
    assert_true(is_closed);
    assert_true(total < 40u * TENANT_COUNT * 30u);
    free(text);
    close(fd);
}

static void test_second_relay(void **state)
{
    struct fixture *fixture = *state;
    struct control_options options = options_of(fixture);
    struct control *second = NULL;
    char error[200] = "";
    assert_int_equal(control_open(&second, &options, error, sizeof(error)), -EADDRINUSE);
    assert_non_null(strstr(error, "is another relay running?"));
    assert_null(second);
}

static double seconds_of(clockid_t clock)
{
    struct timespec time;
    assert_int_equal(clock_gettime(clock, &time), 0);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Without descriptors a client waits, and the relay does not turn for nothing meanwhile. */
static void test_no_descriptors(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit old, few;
    int fd = connected(fixture), fillers[128], count = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 100; /* poll wants more than it has descriptors to look at */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (count < 128 && (fillers[count] = dup(0)) >= 0)
        count++;
    control_turn(fixture->control, 1);
    double start = seconds_of(CLOCK_MONOTONIC);
    control_turn(fixture->control, 50);
    double waited = seconds_of(CLOCK_MONOTONIC) - start;
    while (count > 0)
        close(fillers[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(waited > 0.04);
    assert_int_equal(send(fd, "help\n", 5, 0), 5);
    char text[4096] = "";
    bool is_closed;
    for (unsigned i = 0; i < 1000 && text[0] == '\0'; i++)
        (void)receive(fixture, fd, text, sizeof(text), &is_closed);
    assert_non_null(strstr(text, "metrics"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_inquiries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_explain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_explain_limit, set_up, tear_down),
        cmocka_unit_test(test_rows_are_clean),
        cmocka_unit_test_setup_teardown(test_long_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_client_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_second_relay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_descriptors, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
