/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a soak does wrong, and how it judges what became of each message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fault_plan.h"
#include "bench/judge.h"
#include "bench/relay_stats.h"

#define S 1000000000ull

/* ---- the plan ---- */

static void test_one_seed_is_one_plan(void **state)
{
    struct fault_plan plans[3];
    unsigned same = 0;
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        fault_plan_start(&plans[i], i < 2 ? 17 : 18, 2, FAULT_DATAGRAMS | FAULT_PROCESS);
    for (unsigned n = 0; n < 1000; n++) {
        struct fault faults[3];
        for (unsigned i = 0; i < 3; i++)
            fault_plan_next(&plans[i], &faults[i]);
        assert_int_equal(faults[0].kind, faults[1].kind);
        assert_int_equal(faults[0].at_ns, faults[1].at_ns);
        assert_int_equal(faults[0].end_ns, faults[1].end_ns);
        assert_int_equal(faults[0].choice, faults[1].choice);
        same += faults[0].at_ns == faults[2].at_ns;
    }
    assert_int_equal(same, 0);
}

static void test_every_kind_that_can_happen_is_in_every_round(void **state)
{
    (void)state;
    for (unsigned has = 0; has < 8; has++) {
        struct fault_plan plan;
        struct fault fault = {0};
        int kinds = FAULT_KINDS - !(has & FAULT_DATAGRAMS) - !(has & FAULT_CONNECTIONS) -
                    !(has & FAULT_PROCESS);
        fault_plan_start(&plan, 5, 1, has);
        for (unsigned round = 0; round < 20; round++) {
            bool seen[FAULT_KINDS] = {false};
            for (int i = 0; i < kinds; i++) {
                fault_plan_next(&plan, &fault);
                assert_false(seen[fault.kind]);
                seen[fault.kind] = true;
            }
            assert_int_equal(seen[FAULT_LOSS], (has & FAULT_DATAGRAMS) != 0);
            assert_int_equal(seen[FAULT_SIP_RESET], (has & FAULT_CONNECTIONS) != 0);
            assert_int_equal(seen[FAULT_RELOAD], (has & FAULT_PROCESS) != 0);
        }
    }
}

static void test_faults_come_as_often_as_asked_and_last_as_they_may(void **state)
{
    enum { COUNT = 20000 };
    struct fault_plan plan;
    struct fault fault = {0};
    (void)state;
    fault_plan_start(&plan, 3, 0.5, FAULT_DATAGRAMS);
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t last_ns = fault.at_ns;
        fault_plan_next(&plan, &fault);
        assert_true(fault.at_ns >= last_ns);
        assert_int_equal(fault.end_ns > fault.at_ns, fault_lasts(fault.kind));
        assert_true(fault.end_ns - fault.at_ns <= 10 * S);
    }
    assert_in_range(fault.at_ns / S, COUNT / 2 * 95 / 100, COUNT / 2 * 105 / 100);
}

/* ---- the judge ---- */

#define LANES 4

struct scene {
    struct judge judge;
    struct ledger ledger;
    struct judge_verdict verdict;
};

static struct scene *scene_open(bool datagrams)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    assert_non_null(scene);
    judge_open(&scene->judge, LANES, datagrams);
    ledger_start(&scene->ledger, 100, UINT32_MAX, 64);
    return scene;
}

static void scene_close(struct scene *scene)
{
    judge_close(&scene->judge);
    ledger_fini(&scene->ledger);
    free(scene);
}

/* Sends a message of `user`; its number. */
static uint32_t scene_send(struct scene *scene, unsigned user, uint64_t at_ns)
{
    struct ledger_entry *entry = ledger_next(&scene->ledger, at_ns, user);
    assert_non_null(entry);
    ledger_left(&scene->ledger, entry, at_ns);
    return scene->ledger.first + scene->ledger.sent - 1;
}

static void scene_trouble(struct scene *scene, enum judge_cause cause, unsigned lane,
                          uint64_t since_ns, uint64_t until_ns)
{
    struct judge_trouble trouble = {cause, lane, since_ns, until_ns};
    judge_note(&scene->judge, &trouble);
}

static uint32_t scene_judge(struct scene *scene, bool to_sip)
{
    judge_ledger(&scene->judge, &scene->ledger, to_sip, &scene->verdict);
    return judge_unexplained(&scene->verdict);
}

static void test_what_arrived_or_was_refused_is_fine(void **state)
{
    (void)state;
    for (unsigned to_sip = 0; to_sip < 2; to_sip++) {
        struct scene *scene = scene_open(true);
        uint32_t good = scene_send(scene, 1, 10 * S), bad = scene_send(scene, 2, 10 * S);
        ledger_arrived(&scene->ledger, good, 7, 11 * S);
        ledger_arrived(&scene->ledger, good, 7, 12 * S); /* a retransmission */
        ledger_answered(&scene->ledger, good, true);
        ledger_answered(&scene->ledger, bad, false);
        assert_int_equal(scene_judge(scene, to_sip), 0);
        assert_int_equal(scene->verdict.delivered, 1);
        assert_int_equal(scene->verdict.refused, 1);
        scene_close(scene);
    }
}

static void test_nothing_is_excused_without_a_trouble(void **state)
{
    (void)state;
    struct scene *scene = scene_open(true);
    uint32_t lost = scene_send(scene, 0, 10 * S), doubled = scene_send(scene, 1, 10 * S);
    uint32_t late = scene_send(scene, 2, 10 * S), early = scene_send(scene, 2, 11 * S);
    uint32_t both = scene_send(scene, 3, 10 * S);
    ledger_arrived(&scene->ledger, doubled, 7, 11 * S);
    ledger_arrived(&scene->ledger, doubled, 8, 12 * S); /* another transaction */
    ledger_arrived(&scene->ledger, early, 9, 12 * S);
    ledger_arrived(&scene->ledger, late, 10, 13 * S);
    ledger_arrived(&scene->ledger, both, 11, 13 * S);
    ledger_answered(&scene->ledger, both, false);
    assert_int_equal(scene_judge(scene, true), 4);
    assert_int_equal(scene->verdict.first[JUDGE_LOST], lost);
    assert_int_equal(scene->verdict.first[JUDGE_DOUBLED], doubled);
    assert_int_equal(scene->verdict.first[JUDGE_OVERTAKEN], late);
    assert_int_equal(scene->verdict.first[JUDGE_CONTRADICTED], both);
    assert_int_equal(scene->verdict.delivered, 1);
    scene_close(scene);
}

static void test_an_answer_that_is_missing_or_wrong_is_told(void **state)
{
    (void)state;
    struct scene *scene = scene_open(true);
    uint32_t waits = scene_send(scene, 0, 10 * S), gave_up = scene_send(scene, 1, 10 * S);
    uint32_t lie = scene_send(scene, 2, 10 * S), handed = scene_send(scene, 3, 10 * S);
    ledger_arrived(&scene->ledger, waits, 0, 11 * S);
    ledger_timed_out(&scene->ledger, gave_up);
    ledger_answered(&scene->ledger, lie, true);
    ledger_handed_over(&scene->ledger, handed);
    ledger_answered(&scene->ledger, handed, true);
    /* Broken links and silence do not take answers along, nor make a 200 true. */
    for (unsigned lane = 0; lane < LANES - 1; lane++)
        scene_trouble(scene, JUDGE_LINK, lane, 10 * S, 11 * S);
    scene_trouble(scene, JUDGE_SIP, 0, 10 * S, 11 * S);
    assert_int_equal(scene_judge(scene, false), 4);
    assert_int_equal(scene->verdict.unexplained[JUDGE_UNANSWERED], 2);
    assert_int_equal(scene->verdict.first[JUDGE_FALSE], lie);
    assert_int_equal(scene->verdict.first[JUDGE_LOST], handed);
    /* A 202 promises nothing when its own link broke. */
    scene_trouble(scene, JUDGE_LINK, 3, 10 * S, 11 * S);
    assert_int_equal(scene_judge(scene, false), 3);
    assert_int_equal(scene->verdict.excused[JUDGE_LOST][JUDGE_LINK], 1);
    scene_close(scene);
}

/* A trouble excuses what was under way on its lane, nothing before and nothing after. */
static void test_a_trouble_excuses_what_met_it(void **state)
{
    static const struct {
        unsigned user;
        uint64_t at_s;
        bool excused;
    } cases[] = {{1, 95, false}, {1, 98, true},   {1, 100, true}, {1, 104, true},
                 {1, 106, true}, {1, 108, false}, {5, 100, true}, {2, 100, false}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene *scene = scene_open(true);
        (void)scene_send(scene, cases[i].user, cases[i].at_s * S);
        scene_trouble(scene, JUDGE_STREAM, 1, 100 * S, 105 * S);
        assert_int_equal(scene_judge(scene, true), cases[i].excused ? 0 : 1);
        scene_close(scene);
    }
}

static void test_each_fault_has_its_own_excuse(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 2 * JUDGE_CAUSES; n++) {
        enum judge_cause cause = n / 2;
        bool datagrams = n % 2;
        struct scene *scene = scene_open(datagrams);
        uint32_t doubled = scene_send(scene, 1, 10 * S);
        (void)scene_send(scene, 1, 10 * S); /* lost */
        ledger_arrived(&scene->ledger, doubled, 7, 11 * S);
        ledger_arrived(&scene->ledger, doubled, 8, 12 * S);
        scene_trouble(scene, cause, 1, 10 * S, 10 * S);
        (void)scene_judge(scene, true);
        assert_int_equal(scene->verdict.unexplained[JUDGE_LOST], cause != JUDGE_STREAM);
        /* Over UDP no answer is lost for good. */
        assert_int_equal(scene->verdict.unexplained[JUDGE_DOUBLED],
                         cause != JUDGE_SIP || datagrams);
        /* To XMPP nothing may come twice, whatever breaks. */
        (void)scene_judge(scene, false);
        assert_int_equal(scene->verdict.unexplained[JUDGE_DOUBLED], 1);
        scene_close(scene);
    }
}

static void test_an_error_may_be_lost_with_the_stream_that_carried_it(void **state)
{
    (void)state;
    struct scene *scene = scene_open(true);
    (void)scene_send(scene, 1, 10 * S);
    scene_trouble(scene, JUDGE_SIP, 0, 12 * S, 15 * S);
    assert_int_equal(scene_judge(scene, true), 1);
    scene_trouble(scene, JUDGE_LINK, 1, 40 * S, 40 * S);
    assert_int_equal(scene_judge(scene, true), 0);
    assert_int_equal(scene->verdict.excused[JUDGE_LOST][JUDGE_LINK], 1);
    scene_close(scene);
}

/* Over a connection a request that nobody read is not sent again; over UDP it is. */
static void test_a_lost_connection_takes_requests_along(void **state)
{
    (void)state;
    for (unsigned datagrams = 0; datagrams < 2; datagrams++) {
        struct scene *scene = scene_open(datagrams);
        (void)scene_send(scene, 1, 10 * S);
        scene_trouble(scene, JUDGE_SIP, 0, 10 * S, 10 * S);
        assert_int_equal(scene_judge(scene, false), datagrams);
        scene_close(scene);
    }
}

/* ---- the relay's counters ---- */

static void test_the_counters_balance_or_not(void **state)
{
    char json[4096] = "{";
    static const char *const names[] = {
        "xmpp_messages_accepted_total",   "xmpp_messages_delivered_total",
        "xmpp_messages_failed_total",     "xmpp_messages_dropped_total",
        "sip_messages_accepted_total",    "sip_messages_delivered_total",
        "sip_messages_handed_over_total", "sip_messages_failed_total",
        "sip_messages_dropped_total",     "config_reloads_total",
        "xmpp_answers_lost_total",        "ring_enters_total",
        "ring_submissions_total",         "ring_completions_total",
        "datagrams_sent_total",           "datagram_batches_total",
        "datagrams_batched_total",        "xmpp_sessions_opened_total",
        "xmpp_sessions_closed_total"};
    static const unsigned values[] = {10, 6, 3, 1, 20, 9, 5,  4,  0, 2,
                                      0,  7, 8, 9, 50, 3, 40, 12, 5};
    struct relay_stats stats, start = {.flows = {{.accepted = 1}}};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        snprintf(json + strlen(json), sizeof(json) - strlen(json), "%s\"%s\":%u",
                 i > 0 ? "," : "", names[i], values[i]);
    assert_false(relay_stats_parse(&stats, json)); /* no end */
    snprintf(json + strlen(json), sizeof(json) - strlen(json), "}\n\n");
    assert_true(relay_stats_parse(&stats, json));
    assert_int_equal(stats.sessions, 7);
    assert_int_equal(stats.reloads, 2);
    assert_int_equal(relay_flow_in_flight(&stats.flows[RELAY_TO_SIP]), 0);
    assert_int_equal(relay_flow_in_flight(&stats.flows[RELAY_TO_XMPP]), 2);
    relay_stats_since(&start, &stats);
    assert_int_equal(stats.flows[RELAY_TO_SIP].accepted, 9);
    assert_int_equal(stats.sessions, 7);
    assert_false(relay_stats_parse(&stats, "{\"xmpp_messages_accepted_total\":1}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_seed_is_one_plan),
        cmocka_unit_test(test_every_kind_that_can_happen_is_in_every_round),
        cmocka_unit_test(test_faults_come_as_often_as_asked_and_last_as_they_may),
        cmocka_unit_test(test_what_arrived_or_was_refused_is_fine),
        cmocka_unit_test(test_nothing_is_excused_without_a_trouble),
        cmocka_unit_test(test_an_answer_that_is_missing_or_wrong_is_told),
        cmocka_unit_test(test_a_trouble_excuses_what_met_it),
        cmocka_unit_test(test_each_fault_has_its_own_excuse),
        cmocka_unit_test(test_an_error_may_be_lost_with_the_stream_that_carried_it),
        cmocka_unit_test(test_a_lost_connection_takes_requests_along),
        cmocka_unit_test(test_the_counters_balance_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
