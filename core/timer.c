/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/timer.h"

#include <assert.h>
#include <stdlib.h>

void timer_heap_init(struct timer_heap *heap)
{
    *heap = (struct timer_heap){NULL, 0, 0};
}

void timer_heap_fini(struct timer_heap *heap)
{
    free(heap->items);
    *heap = (struct timer_heap){NULL, 0, 0};
}

static void timer_place(struct timer_heap *heap, size_t position, struct timer *timer)
{
    heap->items[position - 1] = timer;
    timer->position = position;
}

/* Moves the timer at `position` towards the root until its parent is not later. */
static void timer_rise(struct timer_heap *heap, size_t position)
{
    struct timer *timer = heap->items[position - 1];
    while (position > 1 && heap->items[position / 2 - 1]->deadline_ms > timer->deadline_ms) {
        timer_place(heap, position, heap->items[position / 2 - 1]);
        position /= 2;
    }
    timer_place(heap, position, timer);
}

/* Moves the timer at `position` towards the leaves until no child is earlier. */
static void timer_sink(struct timer_heap *heap, size_t position)
{
    struct timer *timer = heap->items[position - 1];
    while (2 * position <= heap->count) {
        size_t child = 2 * position;
        if (child < heap->count &&
            heap->items[child]->deadline_ms < heap->items[child - 1]->deadline_ms)
            child++;
        if (heap->items[child - 1]->deadline_ms >= timer->deadline_ms)
            break;
        timer_place(heap, position, heap->items[child - 1]);
        position = child;
    }
    timer_place(heap, position, timer);
}

static void timer_grow(struct timer_heap *heap)
{
    size_t size = heap->size == 0 ? 64 : 2 * heap->size;
    struct timer **items = realloc(heap->items, size * sizeof(*items));
    if (items == NULL)
        abort(); /* A relay that cannot keep its deadlines cannot keep its promises. */
    heap->items = items;
    heap->size = size;
}

void timer_arm(struct timer_heap *heap, struct timer *timer, uint64_t deadline_ms)
{
    uint64_t before_ms = timer->deadline_ms;
    timer->deadline_ms = deadline_ms;
    if (timer->position == 0) {
        if (heap->count == heap->size)
            timer_grow(heap);
        heap->count++;
        timer_place(heap, heap->count, timer);
        timer_rise(heap, heap->count);
        return;
    }
    assert(heap->items[timer->position - 1] == timer);
    if (deadline_ms < before_ms)
        timer_rise(heap, timer->position);
    else
        timer_sink(heap, timer->position);
}

void timer_disarm(struct timer_heap *heap, struct timer *timer)
{
    if (timer->position == 0)
        return;
    assert(timer->position <= heap->count);
    assert(heap->items[timer->position - 1] == timer);
    size_t position = timer->position;
    struct timer *last = heap->items[heap->count - 1];
    heap->count--;
    timer->position = 0;
    if (last == timer)
        return;
    timer_place(heap, position, last);
    timer_rise(heap, position);
    timer_sink(heap, last->position);
}

uint64_t timer_next_deadline(const struct timer_heap *heap)
{
    return heap->count == 0 ? UINT64_MAX : heap->items[0]->deadline_ms;
}

struct timer *timer_take_due(struct timer_heap *heap, uint64_t now_ms)
{
    if (heap->count == 0 || heap->items[0]->deadline_ms > now_ms)
        return NULL;
    struct timer *timer = heap->items[0];
    timer_disarm(heap, timer);
    return timer;
}
