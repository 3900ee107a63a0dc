/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which of the links of a pair of domains a stanza goes over, and who hears of its outcome. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/breaker.h"
#include "core/link_priv.h"
#include "tests/unit/config_folder.h"

#define LOCAL   SPAN("a.example")
#define REMOTE  SPAN("b.example")
#define MAKER   0u /* whose parcels they are */
#define SELF    1u /* the worker */
#define SENDERS 1000u

/* A worker that knows one pair of domains. Streams are sessions without a socket. */
struct scene {
    struct thread thread;
    struct worker worker;
    struct session sessions[RULES_STREAMS_MAX];
    struct config *configs[RULES_STREAMS_MAX + 1]; /* by how many streams they allow */
};

static void allow(struct scene *scene, unsigned streams)
{
    char text[600];
    if (scene->configs[streams] == NULL) {
        (void)snprintf(text, sizeof(text),
                       XMPP TENANT "partners:\n  - domain: b.example\n    streams: %u\n",
                       streams);
        write_file("streams.yaml", text, 0644);
        scene->configs[streams] = opened("streams.yaml");
    }
    scene->thread.config = scene->configs[streams];
    struct link *link = link_find(&scene->worker, LOCAL, REMOTE);
    for (; link != NULL; link = link_next(link))
        link_reload(link);
}

static int scene_open(void **state)
{
    static struct scene scene;
    struct worker *worker = &scene.worker;
    memset(&scene, 0, sizeof(scene));
    assert_int_equal(mesh_open(&scene.thread.mesh, 2, 2048), 0);
    scene.thread.self = SELF;
    scene.thread.stats = stats_open(2);
    scene.thread.now_ms = 100000;
    timer_heap_init(&scene.thread.timers);
    worker->thread = &scene.thread;
    worker->breakers = breaker_open();
    table_init(&worker->links);
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
    while ((node = table_any(&scene->worker.links)) != NULL)
        link_close(node->owner);
    table_fini(&scene->worker.links);
    breaker_close(&scene->worker.breakers);
    timer_heap_fini(&scene->thread.timers);
    stats_close(&scene->thread.stats);
    mesh_close(&scene->thread.mesh);
    for (unsigned i = 0; i <= RULES_STREAMS_MAX; i++)
        config_close(&scene->configs[i]);
    return 0;
}

static uint64_t fallen_back(const struct scene *scene)
{
    struct stats *stats = scene->thread.stats;
    return stats_sum(&stats, 1, STAT_LINKS_FELL_BACK);
}

static struct parcel *message_of(struct scene *scene, struct span sender)
{
    struct parcel *parcel = mesh_take(scene->thread.mesh, MAKER, MESH_TRAFFIC);
    assert_non_null(parcel);
    parcel->kind = PARCEL_STANZA_TO_XMPP;
    parcel->wants_outcome = true;
    parcel->born_ms = scene->thread.now_ms;
    parcel->from = (struct jid){parcel_copy(parcel, sender), LOCAL, SPAN_NONE};
    parcel->to = (struct jid){SPAN("romeo"), REMOTE, SPAN_NONE};
    parcel->share = thread_share(sender);
    parcel->bytes = SPAN("<message/>");
    return parcel;
}

/* A sender of the share with this number: with 4 streams it stands with the link `share` % 4.
 */
static struct span sender_of(unsigned share)
{
    static char text[32];
    unsigned number = 0;
    do
        (void)snprintf(text, sizeof(text), "user%u", number++);
    while (thread_share(span_of(text)) != share);
    return span_of(text);
}

/* The link that takes it, made if need be. */
static struct link *chosen(struct scene *scene, const struct parcel *parcel)
{
    unsigned number = 0;
    struct link *link = link_choose(&scene->worker, parcel, &number);
    return link != NULL ? link : link_open(&scene->worker, LOCAL, REMOTE, number);
}

static struct link *chosen_for(struct scene *scene, unsigned share)
{
    struct parcel *parcel = message_of(scene, sender_of(share));
    struct link *link = chosen(scene, parcel);
    mesh_give(scene->thread.mesh, MAKER, &parcel);
    return link;
}

/* It waits for the link that is chosen for it. */
static struct parcel *put(struct scene *scene, unsigned share)
{
    struct parcel *parcel = message_of(scene, sender_of(share));
    link_queue_take(chosen(scene, parcel), parcel);
    return parcel;
}

/* The link has a stream. */
static void stand(struct scene *scene, struct link *link)
{
    struct session *session = &scene->sessions[link->number];
    net_buffer_fini(&session->output);
    *session = (struct session){.magic = SESSION_MAGIC,
                                .worker = &scene->worker,
                                .state = SESSION_OPEN,
                                .outbound = true,
                                .link = link,
                                .unsent = true, /* it is not pumped */
                                .ticket = ++scene->worker.ticket_next};
    net_buffer_init(&session->output, 1 << 20);
    session->out.state = S2S_OUT_READY;
    link->session = session;
    link->ready = true;
    link_pace_begin(&link->pace, 0);
}

/* What waits is written, and a ping behind it. */
static void write_all(struct link *link)
{
    while (!link_queue_is_empty(link)) {
        link_queue_choose(link);
        assert_true(link_write(link));
    }
    link_ping(link);
}

static void answer_ping(struct scene *scene, uint64_t ping)
{
    char id[40];
    (void)snprintf(id, sizeof(id), "ping-%llu", (unsigned long long)ping);
    struct parcel word = {.from = {SPAN_NONE, LOCAL, SPAN_NONE},
                          .to = {SPAN_NONE, REMOTE, SPAN_NONE},
                          .stanza_id = span_of(id),
                          .wants_answer = true,
                          .outcome = {.kind = OUTCOME_DELIVERED}};
    link_confirm(&scene->worker, &word);
}

/* The stream is over, and none comes of the next try. */
static void fail_link(struct link *link)
{
    net_buffer_fini(&link->session->output);
    link->session = NULL;
    link->ready = false;
    link_give_up(link, STANZA_ERROR_REMOTE_SERVER_TIMEOUT);
}

static unsigned link_count(struct scene *scene)
{
    unsigned count = 0;
    struct link *link = link_find(&scene->worker, LOCAL, REMOTE);
    for (; link != NULL; link = link_next(link))
        count++;
    return count;
}

static void finish(struct scene *scene)
{
    for (unsigned i = 0; i < RULES_STREAMS_MAX; i++)
        net_buffer_fini(&scene->sessions[i].output);
}

/* By default all senders have one link, as ever. */
static void test_one(void **state)
{
    struct scene *scene = *state;
    allow(scene, 1);
    struct link *link = chosen_for(scene, 0);
    for (unsigned share = 0; share < 256; share += 5)
        assert_ptr_equal(chosen_for(scene, share), link);
    assert_int_equal(link_count(scene), 1);
    assert_null(link->spread);
}

/* However many there are and whatever they are called: one link for each, of as many as are
   allowed, made when the first of its senders writes. */
static void test_spread(void **state)
{
    struct scene *scene = *state;
    unsigned senders[RULES_STREAMS_MAX] = {0};
    allow(scene, 4);
    assert_int_equal(chosen_for(scene, 6)->number, 2);
    assert_int_equal(link_count(scene), 1);
    for (unsigned i = 0; i < SENDERS; i++) {
        char name[40];
        (void)snprintf(name, sizeof(name), "forged.%u", i);
        struct parcel *parcel = message_of(scene, span_of(name));
        struct link *link = chosen(scene, parcel);
        senders[link->number]++;
        assert_int_equal(link->number, thread_share(span_of(name)) % 4);
        assert_ptr_equal(chosen(scene, parcel), link);
        mesh_give(scene->thread.mesh, MAKER, &parcel);
    }
    assert_int_equal(link_count(scene), 4);
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(senders[i], SENDERS / 8, SENDERS / 2);
}

/* The domain's own stanzas and db:verify go over the first one. */
static void test_domain(void **state)
{
    struct scene *scene = *state;
    allow(scene, 16);
    assert_int_equal(chosen_for(scene, 3)->number, 3);
    struct parcel *answer = message_of(scene, SPAN_NONE);
    assert_int_equal(chosen(scene, answer)->number, 0);
    answer->kind = PARCEL_VERIFY;
    answer->share = 9;
    assert_int_equal(chosen(scene, answer)->number, 0);
    assert_int_equal(link_find(&scene->worker, LOCAL, REMOTE)->number, 0);
    mesh_give(scene->thread.mesh, MAKER, &answer);
}

/* With fewer or more allowed, a sender moves when nothing of his is without an outcome and the
   other server has read all of it; not before. */
static void test_reload(void **state)
{
    struct scene *scene = *state;
    allow(scene, 4);
    put(scene, 6);
    struct link *third = chosen_for(scene, 6);
    stand(scene, third);
    allow(scene, 2);
    assert_int_equal(chosen_for(scene, 6)->number, 2); /* it waits */
    write_all(third);
    assert_int_equal(chosen_for(scene, 6)->number, 2); /* it is out */
    assert_false(link_choice_is_surplus(third));
    uint64_t ping = third->ping;
    third->covered = 0; /* its answer is late: handed over, and perhaps not read */
    link_finish(third, link_pop(&third->unconfirmed), OUTCOME_HANDED_OVER);
    assert_int_equal(chosen_for(scene, 6)->number, 2);
    answer_ping(scene, ping);
    assert_true(link_choice_is_surplus(third));
    assert_int_equal(chosen_for(scene, 6)->number, 0);
    allow(scene, 16);
    assert_int_equal(chosen_for(scene, 6)->number, 6);
    assert_false(link_choice_is_surplus(third));
    finish(scene);
}

/* The only link may get others in mid-traffic: what is under way there stays. */
static void test_more(void **state)
{
    struct scene *scene = *state;
    allow(scene, 1);
    put(scene, 5);
    struct link *first = chosen_for(scene, 5);
    stand(scene, first);
    write_all(first);
    put(scene, 7);
    allow(scene, 4);
    assert_ptr_equal(chosen_for(scene, 5), first);
    assert_ptr_equal(chosen_for(scene, 7), first);
    assert_ptr_equal(chosen_for(scene, 6), first); /* what he wrote may not have been read */
    answer_ping(scene, first->ping);
    assert_int_equal(chosen_for(scene, 5)->number, 1);
    assert_int_equal(chosen_for(scene, 6)->number, 2);
    assert_ptr_equal(chosen_for(scene, 7), first);
    write_all(first);
    answer_ping(scene, first->ping);
    assert_int_equal(chosen_for(scene, 7)->number, 3);
    finish(scene);
}

/* Where no further stream comes about, what waits for it and its senders go over one that
   stands, in their order; and back when it may be tried again, but not past themselves. */
static void test_fall_back(void **state)
{
    struct scene *scene = *state;
    allow(scene, 2);
    struct link *first = chosen_for(scene, 0), *second = chosen_for(scene, 1);
    stand(scene, first);
    stand(scene, second);
    const struct parcel *one = put(scene, 1);
    scene->thread.now_ms++;
    const struct parcel *two = put(scene, 0);
    scene->thread.now_ms++;
    const struct parcel *three = put(scene, 1);
    fail_link(second);
    assert_int_equal(fallen_back(scene), 1);
    assert_int_equal(link_waiting(second), 0);
    assert_ptr_equal(first->queue.head, one);
    assert_ptr_equal(first->queue.head->next, two);
    assert_ptr_equal(first->queue.tail, three);
    assert_ptr_equal(chosen_for(scene, 1), first);
    scene->thread.now_ms += 3600000;
    assert_ptr_equal(chosen_for(scene, 1), first); /* his are still there */
    write_all(first);
    answer_ping(scene, first->ping);
    assert_ptr_equal(chosen_for(scene, 1), second);
    assert_int_equal(first->failures, 0);
    finish(scene);
}

/* When none of the pair comes about, the others are not tried for it: it is one pair. */
static void test_alone(void **state)
{
    struct scene *scene = *state;
    allow(scene, 4);
    struct link *second = chosen_for(scene, 1);
    stand(scene, second);
    fail_link(second);
    assert_ptr_equal(chosen_for(scene, 2), second);
    assert_ptr_equal(chosen_for(scene, 0), second);
    scene->thread.now_ms = second->backoff_until_ms;
    assert_int_equal(chosen_for(scene, 2)->number, 2);
    finish(scene);
}

/* A link that failed beside one that stood keeps nobody from a stream when that one is over. */
static void test_beside(void **state)
{
    struct scene *scene = *state;
    allow(scene, 2);
    struct link *first = chosen_for(scene, 0), *second = chosen_for(scene, 1);
    stand(scene, first);
    stand(scene, second);
    fail_link(second);
    net_buffer_fini(&first->session->output);
    first->session = NULL; /* idle */
    first->ready = false;
    assert_ptr_equal(chosen_for(scene, 1), first);
    finish(scene);
}

/* While the partner's breaker is open nobody tries for another stream who has one. */
static void test_breaker(void **state)
{
    struct scene *scene = *state;
    struct breaker_verdict why = {.fault = STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
                                  .reason = SPAN("down")};
    allow(scene, 2);
    stand(scene, chosen_for(scene, 0));
    assert_true(
        breaker_failed(scene->worker.breakers, REMOTE, 1, 1, scene->thread.now_ms, &why));
    assert_int_equal(chosen_for(scene, 1)->number, 0);
    scene->thread.now_ms += BREAKER_MAX_MS;
    assert_int_equal(chosen_for(scene, 1)->number, 1);
    finish(scene);
}

/* The partner's answers come over another stream than what they are about: the link that asked
   hears of them. */
static void test_confirm(void **state)
{
    struct scene *scene = *state;
    allow(scene, 4);
    for (unsigned share = 0; share < 4; share++) {
        struct parcel *parcel = put(scene, share);
        parcel->stanza_id =
            parcel_copy(parcel, span_make("id-0\0id-1\0id-2\0id-3" + 5 * share, 4));
        stand(scene, chosen_for(scene, share));
        write_all(chosen_for(scene, share));
    }
    struct link *third = chosen_for(scene, 2), *fourth = chosen_for(scene, 3);
    struct parcel word = {
        .from = {SPAN("user"), LOCAL, SPAN_NONE},
        .to = {SPAN("romeo"), REMOTE, SPAN_NONE},
        .stanza_id = SPAN("id-2"),
        .outcome = {.kind = OUTCOME_FAILED, .fault = {.error = STANZA_ERROR_ITEM_NOT_FOUND}}};
    link_confirm(&scene->worker, &word);
    assert_int_equal(third->unconfirmed.count, 0);
    assert_int_equal(third->covered, 0);
    answer_ping(scene, fourth->ping);
    assert_int_equal(fourth->unconfirmed.count, 0);
    assert_int_equal(chosen_for(scene, 0)->unconfirmed.count, 1);
    assert_int_equal(chosen_for(scene, 1)->unconfirmed.count, 1);
    assert_true(chosen_for(scene, 0)->pinging && chosen_for(scene, 1)->pinging);
    assert_true(third->pinging && !fourth->pinging);
    finish(scene);
}

/* A slow partner's links together hold no more of a pool than one of them would. */
static void test_share_of_the_pool(void **state)
{
    struct scene *scene = *state;
    allow(scene, 4);
    for (unsigned i = 0; i < 40; i++)
        put(scene, i % 4);
    struct parcel *parcel = message_of(scene, sender_of(3));
    struct link *fourth = chosen(scene, parcel);
    stand(scene, chosen_for(scene, 0));
    chosen_for(scene, 0)->pace.slow =
        true; /* that the others are they may not have shown yet */
    parcel->left = 4 * 40;
    assert_false(link_queue_is_full(fourth, parcel));
    parcel->left = 4 * 40 - 1;
    assert_true(link_queue_is_full(fourth, parcel));
    write_all(chosen_for(scene, 0)); /* what is out and not confirmed counts as well */
    assert_true(link_queue_is_full(fourth, parcel));
    chosen_for(scene, 0)->pace.slow = false;
    fourth->queue_max = 30;
    assert_true(link_queue_is_full(fourth, parcel));
    fourth->queue_max = 31;
    assert_false(link_queue_is_full(fourth, parcel));
    mesh_give(scene->thread.mesh, MAKER, &parcel);
    finish(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_spread, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_domain, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_reload, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_more, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_fall_back, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_alone, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_beside, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_breaker, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_confirm, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(test_share_of_the_pool, scene_open, scene_close),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
