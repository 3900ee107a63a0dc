/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/link_pace.h"

#include <assert.h>

static uint64_t marked(const struct link_pace *pace)
{
    return pace->mark_count > 0 ? pace->marks[pace->mark_count - 1].place : pace->read;
}

/* The second half of the window is for the time in which a ping is on its way. */
static void set_limit(struct link_pace *pace)
{
    bool is_marked = marked(pace) > pace->read;
    pace->limit = pace->read + (is_marked ? pace->window : pace->window / 2);
}

void link_pace_begin(struct link_pace *pace, uint64_t place)
{
    *pace = (struct link_pace){.read = place,
                               .window = LINK_PACE_START,
                               .quickest_ms = UINT32_MAX,
                               .slow = pace->slow};
    set_limit(pace);
}

bool link_pace_wants_ping(const struct link_pace *pace, uint64_t place, uint64_t now_ms,
                          uint32_t patience_ms)
{
    if (place - marked(pace) >= pace->window / 2)
        return true;
    return pace->mark_count > 0 && pace->mark_count < LINK_PACE_MARKS &&
           !link_pace_has_room(pace, place) &&
           now_ms >= pace->marks[pace->mark_count - 1].at_ms + patience_ms;
}

void link_pace_pinged(struct link_pace *pace, uint64_t ping, uint64_t place, uint64_t now_ms)
{
    assert(place >= marked(pace));
    if (pace->mark_count == 0)
        pace->silent_ms = now_ms;
    if (pace->mark_count == LINK_PACE_MARKS) {
        pace->mark_count--;
        memmove(pace->marks, pace->marks + 1, pace->mark_count * sizeof(pace->marks[0]));
    }
    pace->marks[pace->mark_count++] = (struct link_mark){ping, place, now_ms};
    if (pace->limit != UINT64_MAX)
        set_limit(pace);
}

void link_pace_press(struct link_pace *pace)
{
    pace->pressed = true;
}

/* While more waits than may be sent, what is read between two answers takes from one to the
   other; else from the ping to its answer. */
static void measure(struct link_pace *pace, const struct link_mark *mark, uint64_t now_ms)
{
    uint64_t from_ms = pace->answered_ms > mark->at_ms ? pace->answered_ms : mark->at_ms;
    uint64_t took_ms = now_ms > from_ms ? now_ms - from_ms : 1;
    uint64_t rate = (mark->place - pace->read) * 1000 / took_ms;
    pace->rate = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
}

static uint32_t within(uint64_t window)
{
    return window < LINK_PACE_MIN   ? LINK_PACE_MIN
           : window > LINK_PACE_MAX ? LINK_PACE_MAX
                                    : (uint32_t)window;
}

/* To the window whose half takes the time that is aimed at, as `size` bytes took `delay_ms`;
   but not to more than twice or less than half of what it was: an answer may be late for
   another reason. */
static void adapt(struct link_pace *pace, uint64_t size, uint64_t delay_ms, uint32_t aim_ms)
{
    bool is_prompt = 2 * delay_ms <= aim_ms;
    uint64_t window = 2ull * pace->window;
    if (!pace->pressed && delay_ms <= aim_ms)
        return;
    if (!pace->pressed)
        window = pace->window / 2;
    else if (!is_prompt)
        window = 2 * size * aim_ms / delay_ms;
    window = window < 2ull * pace->window ? window : 2ull * pace->window;
    window = window > pace->window / 2 ? window : pace->window / 2;
    pace->slow = !is_prompt;
    pace->window = within(window);
}

void link_pace_answered(struct link_pace *pace, uint64_t ping, uint64_t read_ms,
                        uint64_t now_ms, uint32_t aim_ms)
{
    unsigned i = 0;
    while (i < pace->mark_count && pace->marks[i].ping != ping)
        i++;
    if (i == pace->mark_count)
        return;
    struct link_mark mark = pace->marks[i];
    assert(now_ms >= mark.at_ms);
    uint64_t took_ms = now_ms - mark.at_ms;
    bool is_timed = mark.at_ms >= read_ms;
    if (pace->pressed && is_timed)
        measure(pace, &mark, now_ms);
    if (took_ms < pace->quickest_ms)
        pace->quickest_ms = (uint32_t)took_ms;
    /* The quickest may have had something before it, too. */
    uint32_t usual_ms = pace->quickest_ms < aim_ms / 2 ? pace->quickest_ms : aim_ms / 2;
    uint64_t delay_ms = took_ms - usual_ms;
    if (is_timed || delay_ms <= aim_ms / 2)
        adapt(pace, mark.place - pace->read, delay_ms, aim_ms);
    pace->read = mark.place;
    pace->mark_count -= i + 1;
    memmove(pace->marks, pace->marks + i + 1, pace->mark_count * sizeof(pace->marks[0]));
    pace->pressed = false;
    pace->answered_ms = now_ms;
    if (pace->mark_count > 0)
        pace->silent_ms = pace->marks[0].at_ms;
    set_limit(pace);
}

void link_pace_late(struct link_pace *pace)
{
    if (!link_pace_is_heard(pace)) {
        pace->limit = UINT64_MAX;
        return;
    }
    pace->window = within(pace->window / 2);
    pace->slow = true;
    set_limit(pace);
}

uint64_t link_pace_silent_ms(const struct link_pace *pace, uint64_t now_ms)
{
    return pace->mark_count > 0 ? now_ms - pace->silent_ms : 0;
}
