/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The linker puts __wrap_X in the place of X (CMakeLists.txt), so that counting stops where the
 * relay leaves its own code for what is only simulated here.
 */
#include "tests/cost/count.h"

#include <stdbool.h>
#include <valgrind/callgrind.h>

#include "net/ring.h"

static bool is_counting;

void count_start(void)
{
    CALLGRIND_START_INSTRUMENTATION;
}

void count_on(void)
{
    is_counting = true;
    CALLGRIND_TOGGLE_COLLECT;
}

void count_off(void)
{
    CALLGRIND_TOGGLE_COLLECT;
    is_counting = false;
}

void count_dump(const char *name)
{
    CALLGRIND_DUMP_STATS_AT(name);
}

/* True when counting was going on and stands still now. */
static bool leave(void)
{
    bool was_counting = is_counting;
    if (was_counting)
        count_off();
    return was_counting;
}

static void come_back(bool was_counting)
{
    if (was_counting)
        count_on();
}

/* One of net's functions: how it is declared, and how it is called. */
#define WRAP(type, name, parameters, arguments)                                                \
    type __real_##name parameters;                                                             \
    type __wrap_##name parameters;                                                             \
    type __wrap_##name parameters                                                              \
    {                                                                                          \
        bool was_counting = leave();                                                           \
        type result = __real_##name arguments;                                                 \
        come_back(was_counting);                                                               \
        return result;                                                                         \
    }

#define WRAP_VOID(name, parameters, arguments)                                                 \
    void __real_##name parameters;                                                             \
    void __wrap_##name parameters;                                                             \
    void __wrap_##name parameters                                                              \
    {                                                                                          \
        bool was_counting = leave();                                                           \
        __real_##name arguments;                                                               \
        come_back(was_counting);                                                               \
    }

WRAP(int, ring_wait, (struct ring * ring, uint64_t timeout_ns), (ring, timeout_ns))
WRAP(bool, ring_next, (struct ring * ring, struct ring_event *event), (ring, event))
WRAP(int, ring_send, (struct ring * ring, ring_handle handle, const void *data, size_t size),
     (ring, handle, data, size))
WRAP(int, ring_send_datagram,
     (struct ring * ring, ring_handle handle, const union net_address *target, const void *data,
      size_t size),
     (ring, handle, target, data, size))
WRAP(int, ring_local_address,
     (const struct ring *ring, ring_handle handle, union net_address *address),
     (ring, handle, address))
WRAP_VOID(ring_pause, (struct ring * ring, ring_handle handle), (ring, handle))
WRAP_VOID(ring_resume, (struct ring * ring, ring_handle handle), (ring, handle))
WRAP_VOID(ring_wake, (struct ring * ring), (ring))
WRAP(uint64_t, clock_now_ns, (void), ())
WRAP(uint64_t, clock_wall_ms, (void), ())
WRAP_VOID(digest_random, (void *out, size_t size), (out, size))
