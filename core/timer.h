/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Timers of one thread: intrusive, in a binary heap of pointers, times in monotonic
 * milliseconds. The thread asks for the next deadline, waits, and takes what is due.
 */
#ifndef PASSERELLE_CORE_TIMER_H
#define PASSERELLE_CORE_TIMER_H

#include "proto/span.h"

struct timer {
    uint64_t deadline_ms; /* valid while armed */
    size_t position;      /* 1-based place in the heap; 0: not armed */
    int kind;             /* of the owner's choice */
    void *owner;
};

struct timer_heap {
    struct timer **items;
    size_t count, size;
};

void timer_heap_init(struct timer_heap *heap);
void timer_heap_fini(struct timer_heap *heap);
/* Arms or re-arms. Aborts when memory for the heap is refused. */
void timer_arm(struct timer_heap *heap, struct timer *timer, uint64_t deadline_ms);
void timer_disarm(struct timer_heap *heap, struct timer *timer);
/* UINT64_MAX when none is armed. */
uint64_t timer_next_deadline(const struct timer_heap *heap);
/* The earliest timer that is due, disarmed; NULL when none is. */
struct timer *timer_take_due(struct timer_heap *heap, uint64_t now_ms);

#endif
