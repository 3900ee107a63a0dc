/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pings of a link whose answers stand in a stream that the relay itself does not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/intake.h"
#include "core/link_priv.h"
#include "core/session_priv.h"
#include "tests/unit/config_folder.h"

#define STANZA_SIZE 400
#define STANZAS     1000 /* far more than a stream may be ahead at first */

/* A stream that goes both ways, and its link, which has much to say. */
struct scene {
    struct thread thread;
    struct worker worker;
    struct session session;
    struct link link;
};

/* Why the relay does not read. */
enum reason { PARCELS, OUTCOMES, RATE, IN_FLIGHT, STOP, REASON_COUNT };

static void scene_open(struct scene *scene)
{
    struct worker *worker = &scene->worker;
    struct session *session = &scene->session;
    struct link *link = &scene->link;
    memset(scene, 0, sizeof(*scene));
    write_file("ping.yaml",
               XMPP TENANT "  - domains: [c.example]\n    trunks: [{uri: 'sip:192.0.2.1'}]\n",
               0644);
    scene->thread.config = opened("ping.yaml");
    scene->thread.stats = stats_open(2);
    scene->thread.now_ms = 5000;
    timer_heap_init(&scene->thread.timers);
    worker->thread = &scene->thread;
    worker->quota = quota_open();
    TAILQ_INIT(&worker->held);
    TAILQ_INIT(&worker->full);
    TAILQ_INIT(&worker->rationed);
    TAILQ_INIT(&worker->paced);
    TAILQ_INIT(&worker->unsent);
    table_init(&worker->intakes);
    table_init(&worker->intakes_by_id);
    session->magic = SESSION_MAGIC;
    session->worker = worker;
    session->state = SESSION_OPEN;
    session->outbound = session->out.bidi = session->out.proved = true;
    net_buffer_init(&session->output, 65536);
    link->magic = LINK_MAGIC;
    link->worker = worker;
    link->session = session;
    link->ready = true;
    assert_true(s2s_domain_read(&link->local, SPAN("a.example")));
    assert_true(s2s_domain_read(&link->remote, SPAN("b.example")));
    session->out.local = link->local;
    session->out.remote = link->remote;
    link_take_rules(link);
    link_pace_begin(&link->pace, 0);
}

static void scene_close(struct scene *scene)
{
    struct config *config = (struct config *)(uintptr_t)scene->thread.config;
    session_unhold(&scene->session);
    intake_close(&scene->session.intake);
    net_buffer_fini(&scene->session.output);
    table_fini(&scene->worker.intakes);
    table_fini(&scene->worker.intakes_by_id);
    quota_close(&scene->worker.quota);
    timer_heap_fini(&scene->thread.timers);
    stats_close(&scene->thread.stats);
    config_close(&config);
}

/* How many stanzas go. */
static unsigned write_all(struct scene *scene)
{
    unsigned count = 0;
    struct link_hearing hearing = {0};
    for (; count < STANZAS && link_has_room(&scene->link, &hearing); count++)
        scene->session.written_total += STANZA_SIZE;
    return count;
}

static void hold(struct scene *scene, enum reason reason)
{
    struct session *session = &scene->session;
    const struct config *config = scene->thread.config;
    struct quota_account *account =
        quota_account(scene->worker.quota, config, &config->tenants[0], SPAN("b.example"));
    assert_non_null(account);
    if (reason == STOP) {
        scene->worker.draining = true;
        return;
    }
    if (reason == OUTCOMES)
        intake_begin(session);
    while (reason == OUTCOMES && intake_has_room(session->intake))
        (void)intake_take(session->intake);
    if (reason == RATE || reason == IN_FLIGHT)
        session_ration(session, account, reason == RATE ? QUOTA_RATE : QUOTA_IN_FLIGHT);
    session_hold(session);
}

static uint64_t slowed(const struct scene *scene)
{
    struct stats *stats = scene->thread.stats;
    return stats_sum(&stats, 1, STAT_XMPP_SLOWED);
}

/* Whatever the reason, that no answer comes neither stops nor slows nor ends the link. */
static void test_unread(void **state)
{
    static struct scene scene;
    (void)state;
    for (enum reason reason = PARCELS; reason < REASON_COUNT; reason++) {
        scene_open(&scene);
        assert_in_range(write_all(&scene), 1, STANZAS - 1);
        link_ping_answered(&scene.link, scene.link.ping, 0);
        scene.link.pinging = false;
        assert_in_range(write_all(&scene), 1, STANZAS - 1);
        hold(&scene, reason);
        assert_int_equal(write_all(&scene), STANZAS);
        scene.thread.now_ms += scene.link.confirm_timeout_ms;
        link_ping_late(&scene.link);
        scene.thread.now_ms += scene.link.deliver_timeout_ms;
        assert_false(link_is_stalled(&scene.link));
        assert_int_equal(slowed(&scene), 0);
        session_unhold(&scene.session);
        scene.worker.draining = false;
        assert_true(link_is_stalled(&scene.link));
        assert_int_equal(write_all(&scene), 0);
        scene_close(&scene);
    }
}

/* Who stands still is looked for once in a row of stanzas, and only when it matters. */
static void test_one_look_for_a_row(void **state)
{
    static struct scene scene;
    struct link_hearing hearing = {0}, next = {0};
    (void)state;
    scene_open(&scene);
    assert_true(link_has_room(&scene.link, &hearing));
    assert_false(hearing.is_known);
    assert_in_range(write_all(&scene), 1, STANZAS - 1);
    hold(&scene, PARCELS);
    assert_true(link_has_room(&scene.link, &hearing));
    session_unhold(&scene.session);
    assert_true(link_has_room(&scene.link, &hearing));
    assert_false(link_has_room(&scene.link, &next));
    scene_close(&scene);
}

/* When the relay reads again, the answer that stood there is late for nobody's fault; one to a
   later ping is. */
static void test_read_again(void **state)
{
    static struct scene scene;
    (void)state;
    scene_open(&scene);
    uint32_t late_ms = scene.link.confirm_timeout_ms - 1;
    assert_in_range(write_all(&scene), 1, STANZAS - 1);
    hold(&scene, PARCELS);
    scene.thread.now_ms += late_ms;
    session_unhold(&scene.session);
    link_ping_answered(&scene.link, scene.link.ping, scene.session.unheld_ms);
    scene.link.pinging = false;
    assert_int_equal(slowed(&scene), 0);
    assert_in_range(write_all(&scene), 1, STANZAS - 1);
    scene.thread.now_ms += late_ms;
    link_ping_answered(&scene.link, scene.link.ping, scene.session.unheld_ms);
    assert_int_equal(slowed(&scene), 1);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unread, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_one_look_for_a_row, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_read_again, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
