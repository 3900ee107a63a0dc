/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How far a stream may be ahead of what the other server has read: against servers that read at
   a given rate, that never answer, and that begin to read more slowly or stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/link_pace.h"

#define AIM_MS      1000
#define PATIENCE_MS 4000
#define STANZA_SIZE 400

/* A server that reads so many bytes a second, `way_ms` away, and a link with much to say. */
struct scene {
    struct link_pace pace;
    uint64_t now_ms, place, came; /* written; read, in thousandths */
    uint64_t rate, way_ms;
    uint64_t ping_last, answer_at_ms[LINK_PACE_MARKS + 1];
    uint64_t most; /* ahead at a time */
};

static void begin(struct scene *scene, uint64_t rate, uint64_t way_ms)
{
    *scene = (struct scene){.now_ms = 5000, .rate = rate, .way_ms = way_ms};
    link_pace_begin(&scene->pace, 0);
}

static void ping(struct scene *scene)
{
    link_pace_pinged(&scene->pace, ++scene->ping_last, scene->place, scene->now_ms);
}

/* One millisecond: the server reads and answers, the link writes as it may. */
static void pass(struct scene *scene, bool has_more)
{
    struct link_pace *pace = &scene->pace;
    scene->now_ms++;
    scene->came += scene->rate;
    scene->came = scene->came < scene->place * 1000 ? scene->came : scene->place * 1000;
    if (pace->mark_count > 0 && scene->came >= pace->marks[0].place * 1000 &&
        scene->now_ms >= pace->marks[0].at_ms + scene->way_ms)
        link_pace_answered(pace, pace->marks[0].ping, 0, scene->now_ms, AIM_MS);
    while (has_more && link_pace_has_room(pace, scene->place)) {
        scene->place += STANZA_SIZE;
        if (pace->mark_count == 0 &&
            link_pace_wants_ping(pace, scene->place, scene->now_ms, PATIENCE_MS))
            ping(scene);
    }
    if (has_more)
        link_pace_press(pace);
    if (pace->mark_count == 0 && scene->place > pace->read)
        ping(scene);
    uint64_t ahead = scene->place - scene->came / 1000;
    scene->most = ahead > scene->most ? ahead : scene->most;
}

static void run(struct scene *scene, unsigned ms)
{
    scene->most = 0;
    for (unsigned i = 0; i < ms; i++)
        pass(scene, true);
}

/* Whatever the rate, what is ahead takes the server two to three times as long as an answer is
   to take, it is never idle, and the rate is known. */
static void test_shaped(void **state)
{
    static const uint64_t rates[] = {8000, 30000, 100000, 1000000};
    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct scene scene;
        begin(&scene, rates[i], 40);
        run(&scene, 20000); /* it has found its pace */
        uint64_t before = scene.came;
        run(&scene, 20000);
        assert_true(scene.came - before >= rates[i] * 20000 * 98 / 100);
        assert_in_range(scene.most, rates[i], rates[i] * 3 + STANZA_SIZE);
        assert_true(scene.pace.slow);
        assert_in_range(scene.pace.rate, rates[i] * 8 / 10, rates[i] * 12 / 10);
    }
}

/* A way of 200 ms is no shaper: the allowance grows until it is none. */
static void test_far_and_fast(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 1000000000, 200);
    run(&scene, 5000);
    assert_false(scene.pace.slow);
    assert_int_equal(scene.pace.window, LINK_PACE_MAX);
}

/* Answers that take long though nothing is before them leave a little, and that flows. */
static void test_slow_to_answer(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 1000000000, 3000);
    run(&scene, 60000);
    assert_true(scene.pace.window >= LINK_PACE_MIN);
    assert_true(scene.place >= 60 / 3 * LINK_PACE_MIN / 2);
}

/* A little now and then is never held back, and says nothing of a rate. */
static void test_at_ease(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 30000, 40);
    for (unsigned i = 0; i < 60000; i++) {
        if (i % 100 == 0) {
            assert_true(link_pace_has_room(&scene.pace, scene.place));
            scene.place += STANZA_SIZE;
        }
        pass(&scene, false);
    }
    assert_false(scene.pace.slow);
    assert_int_equal(scene.pace.rate, 0);
    assert_int_equal(scene.pace.window, LINK_PACE_START);
}

/* Who has never answered is not paced, until he does. */
static void test_mute(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 0, 0);
    run(&scene, 1000);
    assert_false(link_pace_has_room(&scene.pace, scene.place));
    link_pace_late(&scene.pace);
    assert_true(link_pace_has_room(&scene.pace, UINT64_MAX - 1));
    ping(&scene);
    assert_true(link_pace_has_room(&scene.pace, UINT64_MAX - 1));
    link_pace_answered(&scene.pace, 1, 0, scene.now_ms, AIM_MS);
    assert_false(link_pace_has_room(&scene.pace, UINT64_MAX - 1));
}

/* Who answered and stops: no more goes, he is asked again some times, and how long he has been
   silent is known. A late answer to any of these pings lets it go on. */
static void test_stops_and_goes_on(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 30000, 40);
    run(&scene, 10000);
    scene.rate = 0;
    run(&scene, 100);
    ping(&scene);
    uint64_t place = scene.place, first = scene.pace.marks[0].ping;
    uint64_t since_ms = scene.pace.marks[0].at_ms;
    for (unsigned i = 2; i < LINK_PACE_MARKS; i++) {
        assert_false(link_pace_wants_ping(&scene.pace, place, scene.now_ms, PATIENCE_MS));
        scene.now_ms += PATIENCE_MS;
        link_pace_late(&scene.pace);
        assert_false(link_pace_has_room(&scene.pace, place));
        assert_true(link_pace_wants_ping(&scene.pace, place, scene.now_ms, PATIENCE_MS));
        ping(&scene);
    }
    scene.now_ms += PATIENCE_MS;
    assert_false(link_pace_wants_ping(&scene.pace, place, scene.now_ms, PATIENCE_MS));
    assert_int_equal(link_pace_silent_ms(&scene.pace, scene.now_ms), scene.now_ms - since_ms);
    assert_true(scene.pace.slow);
    struct link_pace next = scene.pace;
    link_pace_begin(&next, 0);
    assert_true(next.slow); /* also on a new stream */
    link_pace_answered(&scene.pace, 99999, 0, scene.now_ms, AIM_MS);
    assert_int_equal(scene.pace.mark_count, LINK_PACE_MARKS);
    link_pace_answered(&scene.pace, first + 1, 0, scene.now_ms, AIM_MS);
    assert_int_equal(scene.pace.mark_count, LINK_PACE_MARKS - 2);
    assert_int_equal(scene.pace.read, place);
    assert_true(link_pace_has_room(&scene.pace, place));
}

/* How long somebody has been silent is known beyond the pings that are. */
static void test_silence_is_counted_from_its_first_ping(void **state)
{
    (void)state;
    struct link_pace pace = {0};
    link_pace_begin(&pace, 0);
    link_pace_pinged(&pace, 1, 100, 1000);
    link_pace_answered(&pace, 1, 0, 1040, AIM_MS);
    assert_true(link_pace_is_heard(&pace));
    assert_int_equal(link_pace_silent_ms(&pace, 9000), 0); /* nothing was asked */
    for (uint64_t i = 0; i < 3 * LINK_PACE_MARKS; i++)
        link_pace_pinged(&pace, 2 + i, 200 + i, 10000 + 1000 * i);
    assert_int_equal(link_pace_silent_ms(&pace, 30000), 20000);
    link_pace_answered(&pace, 3 * LINK_PACE_MARKS, 0, 30000, AIM_MS); /* the last but one */
    assert_int_equal(link_pace_silent_ms(&pace, 30000), 30000 - (10000 + 1000 * (3 * LINK_PACE_MARKS - 1)));
    link_pace_begin(&pace, 0);
    assert_false(link_pace_is_heard(&pace));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence_is_counted_from_its_first_ping),
        cmocka_unit_test(test_shaped),         cmocka_unit_test(test_far_and_fast),
        cmocka_unit_test(test_slow_to_answer), cmocka_unit_test(test_at_ease),
        cmocka_unit_test(test_mute),           cmocka_unit_test(test_stops_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
