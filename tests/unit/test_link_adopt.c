/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which of the streams that a partner has opened its link takes, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/breaker.h"
#include "core/heap.h"
#include "core/intake.h"
#include "core/link_priv.h"
#include "core/reload.h"
#include "core/session_priv.h"
#include "tests/unit/config_folder.h"

#define LOCAL  SPAN("a.example")
#define REMOTE SPAN("b.example")
#define MAKER  0u /* whose parcels they are */
#define SELF   1u /* the worker */

enum { FORMER, LATER, SESSIONS };

/* A worker that knows one pair of domains, whose partner opens streams without sockets. */
struct scene {
    struct thread thread;
    struct worker worker;
    struct config *config, *without; /* without: its tenant is gone */
    struct session sessions[SESSIONS];
};

static int scene_open(void **state)
{
    static struct scene scene;
    struct worker *worker = &scene.worker;
    memset(&scene, 0, sizeof(scene));
    write_file("adopt.yaml",
               XMPP TENANT "partners:\n"
                           "  - {domain: b.example, host: 127.0.0.1, bidi: true, sasl: optional}\n",
               0644);
    scene.config = opened("adopt.yaml");
    write_file("without.yaml",
               XMPP "tenants:\n"
                    "  - domains: [c.example]\n"
                    "    trunks: [{uri: 'sip:192.0.2.1'}]\n",
               0644);
    scene.without = opened("without.yaml");
    scene.thread.config = scene.config;
    assert_int_equal(mesh_open(&scene.thread.mesh, 2, 2048), 0);
    scene.thread.self = SELF;
    scene.thread.stats = stats_open(2);
    scene.thread.now_ms = 100000;
    timer_heap_init(&scene.thread.timers);
    worker->thread = &scene.thread;
    worker->breakers = breaker_open();
    worker->quota = quota_open();
    table_init(&worker->links);
    table_init(&worker->both_ways);
    table_init(&worker->intakes);
    table_init(&worker->intakes_by_id);
    TAILQ_INIT(&worker->waiting_intakes);
    TAILQ_INIT(&worker->sessions);
    TAILQ_INIT(&worker->held);
    TAILQ_INIT(&worker->full);
    TAILQ_INIT(&worker->rationed);
    TAILQ_INIT(&worker->paced);
    TAILQ_INIT(&worker->unsent);
    *state = &scene;
    return 0;
}

static int scene_close(void **state)
{
    struct scene *scene = *state;
    struct table_node *node;
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct session *session = &scene->sessions[i];
        if (session->magic != SESSION_MAGIC)
            continue;
        timer_disarm(&scene->thread.timers, &session->timer);
        table_remove(&scene->worker.both_ways, &session->by_pair);
        intake_close(&session->intake);
        s2s_in_fini(&session->in);
        net_buffer_fini(&session->output);
    }
    while ((node = table_any(&scene->worker.links)) != NULL)
        link_close(node->owner);
    intake_close_waiting(&scene->worker);
    table_fini(&scene->worker.links);
    table_fini(&scene->worker.both_ways);
    table_fini(&scene->worker.intakes);
    table_fini(&scene->worker.intakes_by_id);
    breaker_close(&scene->worker.breakers);
    quota_close(&scene->worker.quota);
    timer_heap_fini(&scene->thread.timers);
    stats_close(&scene->thread.stats);
    mesh_close(&scene->thread.mesh);
    config_close(&scene->config);
    config_close(&scene->without);
    return 0;
}

/* The partner opens a stream that goes both ways and proves itself on it by SASL EXTERNAL. */
static struct session *come(struct scene *scene, unsigned number)
{
    struct session *session = &scene->sessions[number];
    struct s2s_in *in = &session->in;
    *session = (struct session){.magic = SESSION_MAGIC,
                                .worker = &scene->worker,
                                .state = SESSION_OPEN,
                                .opened_ms = scene->thread.now_ms,
                                .active_ms = scene->thread.now_ms,
                                .heard_ms = scene->thread.now_ms,
                                .unsent = true, /* it is not pumped */
                                .expires_ms = UINT64_MAX,
                                .retires_ms = UINT64_MAX,
                                .settles_ms = UINT64_MAX,
                                .ticket = ++scene->worker.ticket_next};
    assert_int_equal(net_address_parse_host(&session->peer, "192.0.2.2", 5269), 0);
    net_buffer_init(&session->output, 1 << 20);
    TAILQ_INSERT_HEAD(&scene->worker.sessions, session, all);
    session_set_policy(session);
    s2s_in_init(in, &heap_memory, &session->policy, true);
    assert_true(s2s_domain_read(&in->local, LOCAL));
    assert_true(s2s_domain_read(&in->remote, REMOTE));
    s2s_in_set_id(in, SPAN("id"));
    in->pairs = heap_memory.resize(heap_memory.context, NULL, sizeof(*in->pairs));
    assert_non_null(in->pairs);
    in->pairs[0] = (struct s2s_pair){
        .local = in->local, .remote = in->remote, .authorised = true, .proof = S2S_PROOF_EXTERNAL};
    in->pair_count = in->pair_size = 1;
    in->state = S2S_IN_SECURE;
    in->header_sent = in->external_done = in->bidi = true;
    session_offer(session);
    return session;
}

/* It says nothing for so long that its link may take it. */
static void be_silent(struct scene *scene, struct session *session)
{
    scene->thread.now_ms = session->settles_ms;
    session_offer(session);
    assert_true(session->is_settled);
}

/* DNS or a server has named where the partner is: it is about to be called. */
static struct link *sought(struct scene *scene)
{
    struct link *link = link_open(&scene->worker, LOCAL, REMOTE, 0);
    assert_non_null(link);
    link->answer = calloc(1, sizeof(*link->answer));
    assert_non_null(link->answer);
    link->answer->target_count = 1;
    link->state = LINK_CONNECTING;
    return link;
}

static void test_elsewhere(void **state)
{
    struct scene *scene = *state;
    struct session *session = come(scene, FORMER);
    be_silent(scene, session);
    struct link *link = sought(scene);
    link->elsewhere = true; /* the records of that host say nothing of the domain */
    assert_false(link_adopt(link));
    assert_null(session->link);
    link->elsewhere = false;
    assert_true(link_adopt(link));
    assert_ptr_equal(session->link, link);
    assert_ptr_equal(link->session, session);
}

/* A message waits for its stream. */
static void put(struct scene *scene, struct link *link)
{
    struct parcel *parcel = mesh_take(scene->thread.mesh, MAKER, MESH_TRAFFIC);
    assert_non_null(parcel);
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->wants_outcome = true;
    parcel->born_ms = scene->thread.now_ms;
    parcel->bytes = SPAN("<message/>");
    link_queue_take(link, parcel);
}

/* Has its stanzas counted, and may resume it: the id for that. */
static struct span enable(struct session *session)
{
    struct s2s_action action = {.kind = S2S_SM_ENABLE, .sm = {.kind = SM_ENABLE, .resume = true}};
    intake_enable(session, &action);
    session_offer(session);
    struct span told = span_make(net_buffer_front(&session->output),
                                 net_buffer_used(&session->output));
    while (told.size > 0 && !span_starts(told, SPAN(" id='")))
        told = span_from(told, 1);
    told = span_from(told, strlen(" id='"));
    return span_to(told, span_find(told, '\''));
}

/* A partner whose stream hangs opens another one, and is slow to resume the first on it: a link
   with more to say takes that only with the numbers of what it has sent. */
static void test_resumed_late(void **state)
{
    struct scene *scene = *state;
    struct session *former = come(scene, FORMER);
    struct s2s_action resume = {.kind = S2S_SM_RESUME,
                                .sm = {.kind = SM_RESUME, .has_h = true, .h = 3}};
    resume.sm.id = enable(former);
    struct link *link = sought(scene);
    assert_true(link_adopt(link));
    assert_ptr_equal(link->session, former);
    link->sm.sender.sent = link->sm.sender.acked = 3;
    put(scene, link);
    struct session *later = come(scene, LATER);
    be_silent(scene, later);
    assert_ptr_equal(link->session, former);
    intake_resume(later, &resume);
    session_offer(later);
    assert_ptr_equal(link->session, later);
    assert_true(session_counts(later));
    assert_int_equal(link->sm.sender.sent, 3);
    assert_int_equal(link->sm.adopted, intake_ticket(later->intake));
}

static void check_row(const struct link *link, const char *row)
{
    char *told = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&told, &size);
    assert_non_null(out);
    link_row(link, out);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(told, row);
    free(told);
}

/* `show links` says that a partner is waited for: until its stream settles, and until it resumes
   the one that broke. */
static void test_awaited(void **state)
{
    struct scene *scene = *state;
    struct session *session = come(scene, FORMER);
    struct link *link = link_open(&scene->worker, LOCAL, REMOTE, 0);
    assert_non_null(link);
    check_row(link, "0\ta.example\tb.example\tawaited\t0\t0\t-\t-\n");
    (void)enable(session);
    check_row(link, "0\ta.example\tb.example\tnone\t0\t0\t-\t-\n");
    put(scene, link);
    link_offered(&scene->worker, LOCAL, REMOTE);
    assert_ptr_equal(link->session, session);
    check_row(link, "");
    struct link *asker = link_asker(link);
    assert_ptr_not_equal(asker, link);
    check_row(link, "0\ta.example\tb.example\tnone\t0\t0\t-\t-\n");
    link_close(asker);
    link_pump(link);
    assert_int_equal(link->unconfirmed.count, 1);
    session->cut = session->broken = true;
    session->sending_total = session->written_total;
    session->state = SESSION_DROPPED;
    session->link = NULL;
    session_say_why(session, SPAN("the connection ended"));
    intake_wait(session);
    link_lost(link, session);
    check_row(link,
              "0\ta.example\tb.example\tawaited\t1\t0\t10\tb.example: the connection ended\n");
}

static void reload(struct scene *scene, const struct config *config)
{
    struct reload_offer offer = {.config = config};
    scene->thread.offer = &offer;
    worker_reload(&scene->worker);
    assert_ptr_equal(scene->thread.config, config);
    scene->thread.offer = NULL;
}

/* When its tenant is gone the stream brings home the errors for what was under way, as one of the
   relay's own does; and stays when he is back in time. */
static void test_retired(void **state)
{
    struct scene *scene = *state;
    struct session *session = come(scene, FORMER);
    be_silent(scene, session);
    struct link *link = sought(scene);
    assert_true(link_adopt(link));
    reload(scene, scene->without);
    assert_int_equal(session->state, SESSION_OPEN);
    assert_true(session_is_leaving(session));
    reload(scene, scene->config);
    assert_false(session_is_leaving(session));
    reload(scene, scene->without);
    struct parcel *parcel = mesh_take(scene->thread.mesh, MAKER, MESH_TRAFFIC);
    assert_non_null(parcel);
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->born_ms = scene->thread.now_ms;
    parcel->from.domain = LOCAL;
    parcel->to.domain = REMOTE;
    parcel->bytes = SPAN("<message type='error'/>");
    link_take(&scene->worker, &parcel);
    assert_int_equal(link_waiting(link), 1);
    link_pump(link);
    assert_int_equal(link_waiting(link), 0);
    scene->thread.now_ms = session->retires_ms;
    session_timer(session);
    assert_int_equal(session->state, SESSION_CLOSING);
}

/* At a stop nobody is awaited any more: who waits for that is told, and not left to his own
   time-out. */
static void test_stop(void **state)
{
    struct scene *scene = *state;
    (void)come(scene, FORMER);
    struct link *link = link_open(&scene->worker, LOCAL, REMOTE, 0);
    assert_non_null(link);
    put(scene, link);
    assert_true(link_holds(link));
    (void)worker_drain(&scene->worker, false);
    struct parcel *parcel = mesh_next(scene->thread.mesh, MAKER);
    assert_non_null(parcel);
    assert_int_equal(parcel->outcome.kind, OUTCOME_FAILED);
    mesh_give(scene->thread.mesh, MAKER, &parcel);
    assert_int_equal(link_waiting(link), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resumed_late, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_elsewhere, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_awaited, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_retired, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_stop, scene_open, scene_close),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
