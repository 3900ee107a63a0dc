/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every allocation refused once: what was to be opened is not and leaves nothing behind (LSan
 * looks in the sanitized build), what runs answers or ends cleanly, and goes on afterwards.
 */
#include "tests/unit/egress_scene.h"

#include <string.h>

#include "core/control.h"
#include "core/worker.h"
#include "tests/unit/allocation.h"
#include "tests/unit/certificates.h"

/* Opens something with its N-th allocation refused, for every N; `open` says 0 or -errno. */
static void check_open(int (*open)(void), void (*close)(void))
{
    for (long n = 1; n < STEPS_MAX; n++) {
        refuse(n);
        int status = open();
        bool more = refuse_end();
        assert_true(status <= 0);
        if (status == 0)
            close();
        if (!more) {
            assert_int_equal(status, 0);
            assert_true(n > 1);
            return;
        }
    }
    fail_msg("there is no end of allocations");
}

/* ---- what is opened once ---- */

static struct ring *ring;
static struct mesh *mesh;
static struct config *config;
static struct egress *egress;
static struct worker *worker;
static struct control *control;
static struct tls_context *context;
static struct certificates certificates;
static char error[600];

static int ring_try(void)
{
    struct ring_options options = {.socket_max = 64};
    return ring_open(&ring, &options);
}

static void ring_end(void)
{
    ring_close(&ring);
}

static int mesh_try(void)
{
    return mesh_open(&mesh, 4, 128);
}

static void mesh_end(void)
{
    mesh_close(&mesh);
}

static int config_try(void)
{
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/p.yaml", scene.folder);
    return config_open(&config, path, error, sizeof(error));
}

static void config_end(void)
{
    config_close(&config);
}

static int egress_try(void)
{
    return egress_open(&egress, &scene.thread, error, sizeof(error));
}

static void egress_end(void)
{
    egress_close(&egress);
}

static int worker_try(void)
{
    return worker_open(&worker, &scene.thread, error, sizeof(error));
}

static void worker_end(void)
{
    worker_close(&worker);
}

static int control_try(void)
{
    struct stats *const all[] = {scene.thread.stats};
    const struct control_options options = {
        .config = scene.config, .stats = all, .stats_count = 1};
    return control_open(&control, &options, error, sizeof(error));
}

static void control_end(void)
{
    control_close(&control);
}

static int context_try(void)
{
    char certificate[256], key[256], root[256];
    certificates_path(&certificates, "one.pem", certificate);
    certificates_path(&certificates, "one.key", key);
    certificates_path(&certificates, "root.pem", root);
    const struct tls_context_options options = {
        .certificate_file = certificate, .key_file = key, .ca_file = root};
    return tls_context_open(&context, &options, error, sizeof(error));
}

static void context_end(void)
{
    tls_context_close(&context);
}

static void test_open(void **state)
{
    (void)state;
    check_open(ring_try, ring_end);
    check_open(mesh_try, mesh_end);
    check_open(config_try, config_end);
    check_open(control_try, control_end);
    check_open(context_try, context_end);
    /* A second one beside the scene's, on a port of its own. */
    net_address_set_port(&scene.config->udp_listen[0], 0);
    net_address_set_port(&scene.config->tcp_listen[0], 0);
    check_open(egress_try, egress_end);
    char certificate[256], key[256], root[256];
    certificates_path(&certificates, "one.pem", certificate);
    certificates_path(&certificates, "one.key", key);
    certificates_path(&certificates, "root.pem", root);
    scene.config->starttls_listen_count = 0;
    scene.config->certificate = certificate;
    scene.config->key = key;
    scene.config->ca_file = root;
    check_open(worker_try, worker_end);
}

/* Either the question is refused or its answer comes: an asker is never left waiting. */
static void test_resolver(void **state)
{
    (void)state;
    struct resolver *resolver = NULL;
    struct resolver_port *port = NULL;
    const struct resolver_options options = {.allow_special = true};
    bool more = true;
    assert_int_equal(resolver_open(&resolver, &options), 0);
    assert_int_equal(resolver_port_open(&port, resolver, NULL), 0);
    for (long n = 1; more; n++) {
        struct resolver_question question = {.domain = "127.0.0.1", .owner = resolver};
        struct resolver_answer *answer = NULL;
        refuse(n);
        int status = resolver_ask(port, &question);
        for (int i = 0; status == 0 && i < 3000 && !resolver_next(port, &answer); i++)
            usleep(1000);
        more = refuse_end();
        assert_true(status == -ENOMEM || answer != NULL);
        free(answer);
    }
    resolver_port_close(&port);
    resolver_close(&resolver);
}

/* ---- TLS ---- */

static bool step(struct tls_session *session, struct net_buffer *in, struct net_buffer *out,
                 enum tls_result *result)
{
    size_t size = net_buffer_used(in);
    if (*result != TLS_MORE)
        return false;
    tls_set_input(session, size > 0 ? net_buffer_front(in) : NULL, size);
    *result = tls_handshake(session, out);
    net_buffer_consume(in, size - tls_return_input(session));
    return true;
}

static bool shake_hands(void)
{
    struct tls_session *client = NULL, *server = NULL;
    struct net_buffer to_server, to_client;
    enum tls_result results[2] = {TLS_MORE, TLS_MORE};
    net_buffer_init(&to_server, 1 << 20);
    net_buffer_init(&to_client, 1 << 20);
    bool is_open = tls_connect(&client, context, "one.example", TLS_ALPN_NONE) == 0 &&
                   tls_accept(&server, context, NULL, NULL, TLS_ALPN_NONE) == 0;
    for (unsigned turn = 0; is_open && turn < 10; turn++) {
        (void)step(client, &to_client, &to_server, &results[0]);
        (void)step(server, &to_server, &to_client, &results[1]);
    }
    if (is_open && results[0] == TLS_DONE && results[1] == TLS_DONE)
        (void)tls_write(client, "hello", 5, &to_server);
    if (client != NULL)
        tls_close(&client);
    if (server != NULL)
        tls_close(&server);
    net_buffer_fini(&to_server);
    net_buffer_fini(&to_client);
    return is_open && results[0] == TLS_DONE && results[1] == TLS_DONE;
}

static void test_handshake(void **state)
{
    (void)state;
    long n = 1;
    bool more = true;
    assert_int_equal(context_try(), 0);
    assert_true(shake_hands());
    /* Each of the first, then some of the hundreds of wolfSSL's own. */
    while (more) {
        refuse(n);
        (void)shake_hands();
        more = refuse_end();
        n += n < 40 ? 1 : 17;
        assert_true(n < STEPS_MAX);
    }
    assert_true(n > 100); /* wolfSSL's own were among them */
    assert_true(shake_hands());
    context_end();
}

/* ---- messages ---- */

static void sip_message(bool must)
{
    struct parcel *parcel = NULL;
    post("romeo", SPAN("hello"));
    for (int i = 0; i < TURNS && parcel == NULL; i++) {
        if (hears(scene.trunks[0], 1)) {
            receive(scene.trunks[0]);
            answer(scene.trunks[0], "200 OK");
        }
        parcel = mesh_next(scene.mesh, WORKER);
    }
    assert_non_null(parcel);
    assert_true(parcel->is_return);
    assert_true(!must || parcel->outcome.kind == OUTCOME_DELIVERED);
    assert_int_not_equal(parcel->outcome.kind, OUTCOME_PENDING);
    mesh_give(scene.mesh, WORKER, &parcel);
}

static void test_message_to_sip(void **state)
{
    (void)state;
    bool more = true;
    sip_message(true);
    for (long n = 1; more; n++) {
        refuse(n);
        sip_message(false);
        more = refuse_end();
        sip_message(true);
    }
}

static void xmpp_message(unsigned number, bool must)
{
    char name[40];
    struct parcel *parcel = NULL;
    (void)snprintf(name, sizeof(name), "n%u", number);
    send_request(&(struct request){.branch = name, .tag = name});
    for (int i = 0; i < (must ? TURNS : 5) && parcel == NULL; i++) {
        egress_turn(scene.egress, 1);
        parcel = mesh_next(scene.mesh, WORKER);
    }
    assert_true(!must || parcel != NULL);
    if (parcel != NULL) {
        parcel->outcome.kind = OUTCOME_DELIVERED;
        mesh_return(scene.mesh, WORKER, &parcel);
    }
    if (must || hears(scene.trunks[0], 5))
        receive(scene.trunks[0]);
    assert_true(!must || says("SIP/2.0 200"));
}

static void test_message_to_xmpp(void **state)
{
    (void)state;
    bool more = true;
    unsigned number = 0;
    xmpp_message(number++, true);
    for (long n = 1; more; n++) {
        refuse(n);
        xmpp_message(number++, false);
        more = refuse_end();
        while (hears(scene.trunks[0], 2)) /* what came late */
            receive(scene.trunks[0]);
        xmpp_message(number++, true);
    }
}

static int start(void **state)
{
    (void)state;
    if (tls_start() != 0 || certificates_open(&certificates) != 0)
        return -1;
    return certificates_root(&certificates, "root") == 0
               ? certificates_issue(&certificates, "one", "root",
                                    "subjectAltName=DNS:one.example")
               : -1;
}

static int stop(void **state)
{
    (void)state;
    certificates_close(&certificates);
    tls_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_open),
        cmocka_unit_test(test_resolver),
        cmocka_unit_test(test_handshake),
        ROW(test_message_to_sip),
        ROW(test_message_to_xmpp),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
