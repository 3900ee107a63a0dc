/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every allocation refused once: what was to be opened is not and leaves nothing behind (LSan
 * looks in the sanitized build), what runs answers or ends cleanly, and goes on afterwards. The
 * linker puts the allocator below in the place of libc's for all that is linked statically,
 * wolfSSL included.
 */
#include "tests/unit/egress_scene.h"

#include <string.h>

#include "core/control.h"
#include "core/heap.h"
#include "core/worker.h"
#include "proto/s2s_in.h"
#include "tests/unit/certificates.h"

#define STEPS_MAX 20000

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static _Atomic long refuse_in; /* allocations until the one that is refused; 0: none is */
static _Atomic bool refused;

static bool is_refused(void)
{
    if (refuse_in == 0 || --refuse_in > 0)
        return false;
    refused = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count_, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count_, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return is_refused() ? NULL : __real_realloc(block, size);
}

static void refuse(long n)
{
    refused = false;
    refuse_in = n;
}

/* True when the allocation was reached and refused: there may be a further one. */
static bool refuse_end(void)
{
    refuse_in = 0;
    return refused;
}

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

/* ---- proto ---- */

static bool feed(struct xml_stream *xml, const char *text, struct xml_event *event)
{
    void *room = xml_stream_room(xml, strlen(text));
    if (room == NULL)
        return false;
    memcpy(room, text, strlen(text));
    xml_stream_commit(xml, strlen(text));
    return xml_stream_next(xml, event) != XML_EVENT_NONE && event->kind != XML_EVENT_ERROR;
}

#define HEADER                                                                                 \
    "<stream:stream xmlns='jabber:server' "                                                    \
    "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "       \
    "from='xmpp.example' to='sip.example' version='1.0'>"

static bool hosts(void *context, struct span local)
{
    (void)context;
    return span_equal(local, SPAN("sip.example"));
}

static unsigned any_pair(void *context, struct span local, struct span remote)
{
    (void)context;
    (void)local;
    (void)remote;
    return S2S_PROOF_TLS;
}

static bool not_certified(void *context, struct span remote)
{
    (void)context;
    (void)remote;
    return false;
}

/* A stream from its header to a pair that is verified and a stanza with a large tree. */
static void run_stream(void)
{
    static char stanza[9000];
    char memory[8192];
    const struct s2s_policy policy = {.hosts = hosts,
                                      .proofs = any_pair,
                                      .certified = not_certified};
    struct writer writer = writer_make(memory, sizeof(memory));
    struct s2s_action action;
    struct xml_event event;
    struct s2s_in in;
    size_t used = (size_t)snprintf(stanza, sizeof(stanza), "<message><body>");
    memset(stanza + used, 'x', 4000);
    (void)snprintf(stanza + used + 4000, sizeof(stanza) - used - 4000,
                   "</body><a b='c'><d/><e/></a></message>");
    struct xml_stream *xml = xml_stream_open(&heap_memory, NULL);
    if (xml == NULL)
        return;
    s2s_in_init(&in, &heap_memory, &policy, true);
    s2s_in_set_id(&in, SPAN("id"));
    if (feed(xml, HEADER, &event)) {
        s2s_in_event(&in, &event, &writer, &action);
        bool more = true;
        for (char name = 'a'; name < 'f' && more; name++) {
            char text[200];
            (void)snprintf(text, sizeof(text),
                           "<db:result from='%c.example' to='sip.example'>key</db:result>",
                           name);
            more = feed(xml, text, &event);
            if (more)
                s2s_in_event(&in, &event, &writer, &action);
        }
        if (more && feed(xml, stanza, &event))
            assert_int_equal(event.kind, XML_EVENT_STANZA);
        xml_stream_restart(xml);
        (void)feed(xml, HEADER, &event);
    }
    s2s_in_fini(&in);
    xml_stream_close(&xml);
}

static void test_stream(void **state)
{
    (void)state;
    long n = 0;
    bool more = true;
    while (more) {
        refuse(++n);
        run_stream();
        more = refuse_end();
        assert_true(n < STEPS_MAX);
    }
    assert_true(n > 10);
}

static void test_sip_parser(void **state)
{
    (void)state;
    static const char text[] =
        "MESSAGE sip:romeo@xmpp.example SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:a@sip.example>;tag=1\r\nTo: "
        "<sip:romeo@xmpp.example>\r\n"
        "Call-ID: c\r\nCSeq: 1 MESSAGE\r\nRequire: a, b\r\nRequire: c\r\nContent-Length: "
        "0\r\n\r\n";
    long n = 0;
    bool more = true;
    while (more) {
        struct sip_message message;
        struct span reason;
        int status = 0;
        refuse(++n);
        struct sip_parser *parser = sip_parser_open(&heap_memory);
        if (parser != NULL && sip_message_parse(parser, span_of(text), &message, &status,
                                                &reason) == SIP_PARSE_OK)
            assert_true(span_equal(message.call_id, SPAN("c")));
        more = refuse_end();
        if (parser != NULL)
            sip_parser_close(&parser);
        assert_true(n < STEPS_MAX);
    }
    assert_true(n > 1);
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
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_sip_parser),
        ROW(test_open),
        cmocka_unit_test(test_resolver),
        cmocka_unit_test(test_handshake),
        ROW(test_message_to_sip),
        ROW(test_message_to_xmpp),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
