/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TCP and TLS on the SIP side. */
#include "egress_scene.h"

static int connect_to(uint16_t port)
{
    union net_address address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(net_address_parse_host(&address, "127.0.0.1", port), 0);
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
    int fd = connect_to(scene.own);
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

/* The first trunk begins to listen; nobody can have taken its port meanwhile. */
static int trunk_listener(void)
{
    int fd = scene.streams[0];
    assert_int_equal(listen(fd, 5), 0);
    scene.streams[0] = -1;
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

/* One lost connection is one failure of its trunk, however many requests were on it: the next
   one connects again. */
static void test_a_lost_connection_is_one_failure(void **state)
{
    enum { MESSAGES = 5 };
    (void)state;
    int listener = trunk_listener();
    for (int i = 0; i < MESSAGES; i++) {
        char user[20];
        (void)snprintf(user, sizeof(user), "romeo%d", i);
        post(user, SPAN("hello"));
    }
    assert_true(hears(listener, TURNS));
    int fd = accept(listener, NULL, NULL);
    for (int i = 0; i < 50; i++)
        egress_turn(scene.egress, 1);
    close(fd);
    for (int i = 0; i < MESSAGES; i++) {
        receive(scene.trunks[1]);
        answer(scene.trunks[1], "200 OK");
        assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    }
    post("juliet", SPAN("again"));
    assert_true(hears(listener, TURNS));
    fd = accept(listener, NULL, NULL);
    receive_stream(fd);
    assert_true(says("\r\n\r\nagain"));
    close(fd);
    close(listener);
}

/* RFC 3261 §18.2.2: with the connection of the request gone, the response takes a new one to
   where the request came from, at the port of its sent-by. */
static void test_response_takes_a_new_connection(void **state)
{
    (void)state;
    char text[2000], via[60];
    int fd = connect_to(scene.own), listener = trunk_listener();
    (void)snprintf(via, sizeof(via), "SIP/2.0/TCP 127.0.0.1:%u", scene.ports[0]);
    request_text(&(struct request){.via = via}, text, sizeof(text));
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
    struct parcel *parcel = take_stanza();
    close(fd);
    for (int i = 0; i < 20; i++)
        egress_turn(scene.egress, 1);
    parcel->outcome.kind = OUTCOME_DELIVERED;
    mesh_return(scene.mesh, WORKER, &parcel);
    assert_true(hears(listener, TURNS));
    fd = accept(listener, NULL, NULL);
    receive_stream(fd);
    assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
    close(fd);
    close(listener);
}

/* A trunk that reads nothing for a while: what is beyond the buffer waits, nothing fails. */
static void test_slow_tcp_trunk(void **state)
{
    enum { MESSAGES = 150, SIZE = 12000 };
    static char body[SIZE], got[4 * SIZE];
    (void)state;
    int small = 4096, listener = scene.streams[0], delivered = 0;
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    listener = trunk_listener();
    memset(body, 'x', sizeof(body));
    for (int i = 0; i < MESSAGES; i++) {
        char user[20];
        (void)snprintf(user, sizeof(user), "romeo%d", i);
        post(user, span_make(body, sizeof(body)));
    }
    assert_true(hears(listener, TURNS));
    int fd = accept(listener, NULL, NULL);
    for (int i = 0; i < 300; i++)
        egress_turn(scene.egress, 1);
    assert_null(mesh_next(scene.mesh, WORKER));
    size_t used = 0;
    for (int i = 0; i < 100000 && delivered < MESSAGES; i++) {
        struct parcel *parcel;
        egress_turn(scene.egress, 0);
        ssize_t n = recv(fd, got + used, sizeof(got) - 1 - used, MSG_DONTWAIT);
        used += n > 0 ? (size_t)n : 0;
        got[used] = '\0';
        for (char *end; (end = strstr(got, "\r\n\r\n")) != NULL &&
                        used >= (size_t)(end - got) + 4 + SIZE;) {
            char text[2000];
            size_t whole = (size_t)(end - got) + 4 + SIZE;
            (void)snprintf(scene.text, sizeof(scene.text), "%.*s", (int)(end - got) + 4, got);
            answer_text("200 OK", text, sizeof(text));
            assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
            memmove(got, got + whole, used - whole + 1);
            used -= whole;
        }
        while ((parcel = mesh_next(scene.mesh, WORKER)) != NULL) {
            assert_int_equal(parcel->outcome.kind, OUTCOME_DELIVERED);
            mesh_give(scene.mesh, WORKER, &parcel);
            delivered++;
        }
    }
    assert_int_equal(delivered, MESSAGES);
    close(fd);
    close(listener);
}

/* The far end of TLS as a trunk would be one, server or client. */
struct proxy {
    int listener, fd; /* listener -1: a client */
    struct tls_context *context;
    struct tls_session *session;
    struct net_buffer input, output;
    bool is_ready, is_closed;
};

static void proxy_context(struct proxy *proxy, const char *name)
{
    char certificate[100], key[100], ca[100], error[300];
    (void)snprintf(certificate, sizeof(certificate), "%s/%s.pem", scene.folder, name);
    (void)snprintf(key, sizeof(key), "%s/%s.key", scene.folder, name);
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", scene.folder);
    struct tls_context_options options = {.ca_file = ca};
    if (name[0] != '\0') {
        options.certificate_file = certificate;
        options.key_file = key;
    }
    if (tls_context_open(&proxy->context, &options, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    net_buffer_init(&proxy->input, 65536);
    net_buffer_init(&proxy->output, 65536);
}

static void proxy_open(struct proxy *proxy, const char *name)
{
    *proxy = (struct proxy){.listener = trunk_listener()};
    proxy_context(proxy, name);
    assert_int_equal(tls_accept(&proxy->session, proxy->context, NULL, NULL, TLS_ALPN_NONE), 0);
}

/* Connects to the relay, with the certificate of `name`, or without one when that is empty. */
static void proxy_dial(struct proxy *proxy, const char *name)
{
    *proxy = (struct proxy){.listener = -1, .fd = connect_to(scene.own_tls)};
    proxy_context(proxy, name);
    assert_int_equal(tls_connect(&proxy->session, proxy->context, "relay.example", TLS_ALPN_NONE),
                     0);
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
    if (proxy->listener >= 0)
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
    net_buffer_consume(&proxy->input, used - tls_return_input(proxy->session));
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

static void proxy_handshake(struct proxy *proxy)
{
    for (int i = 0; i < TURNS && !proxy->is_ready; i++)
        (void)proxy_turn(proxy);
    assert_true(proxy->is_ready);
}

/* RFC 5922 §7: over TLS a client is who its certificate says, not where it comes from. */
static void test_tls_clients_by_their_identity(void **state)
{
    (void)state;
    static const struct {
        const char *name, *line;
    } rows[] = {{"evil.example", "SIP/2.0 403 "},
                {"", "SIP/2.0 403 "},
                {"proxy.example", "SIP/2.0 202 "}};
    char text[2000];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proxy proxy;
        proxy_dial(&proxy, rows[i].name);
        proxy_handshake(&proxy);
        request_text(&(struct request){.via = "SIP/2.0/TLS 127.0.0.1:9"}, text, sizeof(text));
        proxy_send(&proxy, text);
        if (i == 2) {
            struct parcel *parcel = take_stanza();
            parcel->outcome.kind = OUTCOME_HANDED_OVER;
            mesh_return(scene.mesh, WORKER, &parcel);
        }
        proxy_receive(&proxy);
        assert_memory_equal(scene.text, rows[i].line, 12);
        proxy_close(&proxy);
    }
    assert_int_equal(count(STAT_SIP_REQUESTS_FORBIDDEN), 2);
    assert_int_equal(count(STAT_SIP_MESSAGES_ACCEPTED), 1);
}

/* RFC 5923: the trunk's own connection is used for our requests when it asks for that and has
   proved who it is, and only then. */
static void test_alias(void **state)
{
    (void)state;
    struct proxy impostor, proxy;
    char text[2000], via[80];
    (void)snprintf(via, sizeof(via), "SIP/2.0/TLS 127.0.0.1:%u;alias", scene.ports[0]);
    request_text(&(struct request){.method = "OPTIONS", .via = via}, text, sizeof(text));
    proxy_dial(&impostor, "evil.example");
    proxy_handshake(&impostor);
    proxy_send(&impostor, text);
    proxy_receive(&impostor);
    assert_memory_equal(scene.text, "SIP/2.0 403 ", 12);
    proxy_dial(&proxy, "proxy.example");
    proxy_handshake(&proxy);
    proxy_send(&proxy, text);
    proxy_receive(&proxy);
    assert_memory_equal(scene.text, "SIP/2.0 200 ", 12);
    post("romeo", SPAN("on your connection"));
    proxy_receive(&proxy);
    assert_true(says("\r\n\r\non your connection"));
    answer_text("200 OK", text, sizeof(text));
    proxy_send(&proxy, text);
    assert_int_equal(take_outcome().kind, OUTCOME_DELIVERED);
    proxy_close(&proxy);
    proxy_close(&impostor);
}

static int set_up_tcp(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){.transport = "tcp"});
}

static int set_up_patient(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){.transport = "tcp", .t1_ms = 500});
}

static int set_up_tls(void **state)
{
    (void)state;
    return open_scene(&(struct scene_options){.transport = "tls"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_tcp_request_byte_by_byte),
        ROW_WITH(set_up_tcp, test_tcp_trunk),
        ROW_WITH(set_up_tcp, test_a_lost_connection_is_one_failure),
        ROW(test_response_takes_a_new_connection),
        ROW_WITH(set_up_patient, test_slow_tcp_trunk),
        ROW_WITH(set_up_tls, test_tls_clients_by_their_identity),
        ROW_WITH(set_up_tls, test_alias),
        ROW_WITH(set_up_tls, test_tls_trunk),
        ROW_WITH(set_up_tls, test_tls_impostor_gets_nothing),
    };
    return cmocka_run_group_tests(tests, start_tls, stop_tls);
}
