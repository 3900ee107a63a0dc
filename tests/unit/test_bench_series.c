/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What passerelle-bench makes of latencies and intervals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "bench/series.h"

/* ---- the histogram ---- */

static void test_every_latency_is_told_to_three_percent(void **state)
{
    (void)state;
    for (uint64_t us = 1; us < (1ull << 32); us += 1 + us / 7) {
        struct histogram histogram = {0};
        histogram_add(&histogram, us);
        uint64_t told = histogram_percentile(&histogram, 0.5);
        assert_true(told >= us);
        assert_true(told <= us + us / 32 + (us >= HISTOGRAM_LINEAR));
        assert_int_equal(histogram_percentile(&histogram, 1), told);
    }
}

static void test_percentiles_are_those_of_the_sorted_list(void **state)
{
    static struct histogram histogram;
    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    assert_int_equal(histogram_percentile(&histogram, 0.99), 0);
    for (unsigned us = 1; us <= 60; us++)
        histogram_add(&histogram, us);
    assert_int_equal(histogram_percentile(&histogram, 0), 1);
    assert_int_equal(histogram_percentile(&histogram, 0.5), 30);
    assert_int_equal(histogram_percentile(&histogram, 0.99), 60);
    assert_int_equal(histogram_percentile(&histogram, 1), 60);
}

static void test_what_is_too_long_is_told_as_the_longest(void **state)
{
    static struct histogram histogram, other;
    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    memset(&other, 0, sizeof(other));
    histogram_add(&histogram, UINT64_MAX);
    histogram_add(&other, 5);
    histogram_merge(&histogram, &other);
    assert_int_equal(histogram.count, 2);
    assert_int_equal(histogram_percentile(&histogram, 0.5), 5);
    assert_int_equal(histogram_percentile(&histogram, 1), UINT32_MAX);
}

/* ---- the series ---- */

struct scene {
    struct series series;
    struct ledger to_sip, to_xmpp;
    struct process_list nobody;
    uint64_t now_ns;
    uint32_t number;
};

static struct scene *scene_open(void)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    assert_non_null(scene);
    ledger_start(&scene->to_sip, 0, UINT32_MAX, 1);
    ledger_start(&scene->to_xmpp, 0, 0, 1);
    scene->now_ns = 1000000000;
    series_start(&scene->series, &scene->nobody, scene->now_ns);
    return scene;
}

static void scene_close(struct scene *scene)
{
    ledger_fini(&scene->to_sip);
    free(scene);
}

/* `count` messages that each take `us`, in the time of one look. */
static bool scene_look(struct scene *scene, unsigned count, uint64_t us)
{
    for (unsigned i = 0; i < count; i++) {
        assert_non_null(ledger_next(&scene->to_sip, scene->now_ns, 0));
        scene->to_sip.sent++;
        ledger_arrived(&scene->to_sip, scene->number++, 0, scene->now_ns + us * 1000);
    }
    scene->now_ns += SERIES_INTERVAL_NS;
    return series_tick(&scene->series, &scene->to_sip, &scene->to_xmpp, scene->now_ns);
}

static void test_each_interval_has_its_own_latency(void **state)
{
    struct scene *scene = scene_open();
    (void)state;
    for (unsigned i = 1; i <= 3; i++)
        assert_true(scene_look(scene, i, 10 * i));
    assert_int_equal(scene->series.count, 3);
    for (unsigned i = 1; i <= 3; i++) {
        const struct series_point *point = &scene->series.points[i - 1];
        assert_int_equal(point->end_ns, i * SERIES_INTERVAL_NS);
        assert_int_equal(point->flows[SERIES_TO_SIP].sent, i);
        assert_int_equal(point->flows[SERIES_TO_SIP].arrived, i);
        assert_int_equal(histogram_percentile(&point->flows[SERIES_TO_SIP].latency, 0.5),
                         10 * i);
    }
    scene_close(scene);
}

static void test_nothing_is_due_before_its_time(void **state)
{
    struct scene *scene = scene_open();
    (void)state;
    assert_false(series_tick(&scene->series, &scene->to_sip, &scene->to_xmpp,
                             scene->now_ns + SERIES_INTERVAL_NS - 1));
    assert_int_equal(scene->series.count, 0);
    scene_close(scene);
}

static void test_any_length_fits_and_no_message_is_forgotten(void **state)
{
    enum { LOOKS = 5 * SERIES_MAX };
    struct scene *scene = scene_open();
    uint32_t arrived = 0, latencies = 0;
    uint64_t end_ns = 0;
    (void)state;
    for (unsigned i = 0; i < LOOKS; i++)
        (void)scene_look(scene, 2, 50);
    series_stop(&scene->series, &scene->to_sip, &scene->to_xmpp, scene->now_ns + 1000);
    assert_true(scene->series.count >= SERIES_MAX / 2 && scene->series.count <= SERIES_MAX);
    for (size_t i = 0; i < scene->series.count; i++) {
        const struct series_point *point = &scene->series.points[i];
        assert_true(point->end_ns > end_ns);
        end_ns = point->end_ns;
        arrived += point->flows[SERIES_TO_SIP].arrived;
        latencies += point->flows[SERIES_TO_SIP].latency.count;
    }
    assert_int_equal(arrived, 2 * LOOKS);
    assert_int_equal(latencies, 2 * LOOKS);
    assert_int_equal(end_ns, LOOKS * SERIES_INTERVAL_NS + 1000);
    scene_close(scene);
}

static void test_the_last_second_forgets_what_was_before(void **state)
{
    struct scene *scene = scene_open();
    struct series_recent recent;
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        (void)scene_look(scene, 100, 60000);
    series_recent(&scene->series, &recent);
    assert_true(recent.rate > 999 && recent.rate < 1001);
    assert_true(recent.p99_ms >= 60 && recent.p99_ms < 62);
    for (unsigned i = 0; i < 10; i++)
        (void)scene_look(scene, 200, 20);
    series_recent(&scene->series, &recent);
    assert_true(recent.rate > 1999 && recent.rate < 2001);
    assert_true(recent.p99_ms > 0.019 && recent.p99_ms < 0.021);
    scene_close(scene);
}

static void test_the_slope_is_that_of_what_grows_at_the_end(void **state)
{
    struct scene *scene = scene_open();
    struct series *series = &scene->series;
    (void)state;
    assert_true(series_slope(series) == 0);
    for (series->count = 0; series->count < 100; series->count++) {
        struct series_point *point = &series->points[series->count];
        point->end_ns = series->count * 3000000000ull; /* 20 of them a minute */
        /* It fills its pools, then grows by 2 KiB from point to point. */
        point->resident_kib = series->count < 20 ? 1000 * (long)series->count
                                                 : 20000 + 2 * (long)series->count;
    }
    assert_true(series_slope(series) > 39.9 && series_slope(series) < 40.1);
    scene_close(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_latency_is_told_to_three_percent),
        cmocka_unit_test(test_percentiles_are_those_of_the_sorted_list),
        cmocka_unit_test(test_what_is_too_long_is_told_as_the_longest),
        cmocka_unit_test(test_each_interval_has_its_own_latency),
        cmocka_unit_test(test_nothing_is_due_before_its_time),
        cmocka_unit_test(test_any_length_fits_and_no_message_is_forgotten),
        cmocka_unit_test(test_the_last_second_forgets_what_was_before),
        cmocka_unit_test(test_the_slope_is_that_of_what_grows_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
