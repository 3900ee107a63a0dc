/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/clock.h"
#include "net/digest.h"

#define START_NS      (1000 * SIM_S)
#define START_WALL_MS 1767225600000ull /* 2026-01-01 */
#define FNV_START     14695981039346656037ull
#define FNV_PRIME     1099511628211ull

struct sim sim;

/* splitmix64, public domain by S. Vigna: each state gives a good number. */
static uint64_t next_of(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15ull;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

void sim_open(uint64_t seed, bool is_verbose)
{
    sim = (struct sim){.seed = seed,
                       .now_ns = START_NS,
                       .chance = seed * 2 + 1,
                       .entropy = ~seed,
                       .hash = FNV_START,
                       .is_verbose = is_verbose};
}

void sim_close(void)
{
    free(sim.events);
    sim.events = NULL;
}

uint64_t sim_random(void)
{
    return next_of(&sim.chance);
}

uint64_t sim_below(uint64_t n)
{
    assert(n > 0);
    return sim_random() % n;
}

uint64_t sim_between(uint64_t first, uint64_t last)
{
    assert(first <= last);
    return first + sim_below(last - first + 1);
}

bool sim_chance(unsigned per_mille)
{
    return per_mille > 0 && sim_below(1000) < per_mille;
}

/* ---- what is to come ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

void sim_after(uint64_t delay_ns, sim_fn run, void *context, uint64_t number)
{
    if (sim.event_count == sim.event_size) {
        sim.event_size = sim.event_size * 2 + 256;
        sim.events = realloc(sim.events, sim.event_size * sizeof(*sim.events));
        if (sim.events == NULL)
            abort();
    }
    struct sim_event event = {sim.now_ns + delay_ns, ++sim.event_order, run, context, number};
    size_t i = sim.event_count++;
    for (; i > 0 && is_before(&event, &sim.events[(i - 1) / 2]); i = (i - 1) / 2)
        sim.events[i] = sim.events[(i - 1) / 2];
    sim.events[i] = event;
}

static struct sim_event take_first(void)
{
    assert(sim.event_count > 0);
    struct sim_event first = sim.events[0];
    struct sim_event moved = sim.events[--sim.event_count];
    size_t i = 0;
    for (size_t child = 1; child < sim.event_count; child = 2 * i + 1) {
        if (child + 1 < sim.event_count &&
            is_before(&sim.events[child + 1], &sim.events[child]))
            child++;
        if (!is_before(&sim.events[child], &moved))
            break;
        sim.events[i] = sim.events[child];
        i = child;
    }
    sim.events[i] = moved;
    return first;
}

uint64_t sim_next_ns(void)
{
    return sim.event_count > 0 ? sim.events[0].at_ns : UINT64_MAX;
}

void sim_run_due(void)
{
    while (sim_next_ns() <= sim.now_ns) {
        struct sim_event event = take_first();
        event.run(event.context, event.number);
    }
}

void sim_flush(void)
{
    while (sim.event_count > 0) {
        struct sim_event event = take_first();
        sim.now_ns = event.at_ns > sim.now_ns ? event.at_ns : sim.now_ns;
        event.run(event.context, event.number);
    }
}

/* ---- trace ---- */

static uint64_t digest_on(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    return hash;
}

uint64_t sim_digest(const void *data, size_t size)
{
    return digest_on(FNV_START, data, size);
}

void sim_trace(const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    assert(size >= 0);
    sim.hash = digest_on(sim.hash, &sim.now_ns, sizeof(sim.now_ns));
    sim.hash = digest_on(sim.hash, line, strlen(line));
    if (sim.is_verbose)
        printf("%12.6f %s\n", (double)(sim.now_ns - START_NS) / (double)SIM_S, line);
}

void sim_fail(const char *format, ...)
{
    char text[SIM_FAULT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    sim_trace("FAULT %s", text);
    if (sim.fault[0] == '\0')
        memcpy(sim.fault, text, sizeof(text));
}

/* ---- net's clock and random bytes ---- */

uint64_t clock_now_ns(void)
{
    return sim.now_ns;
}

uint64_t clock_wall_ms(void)
{
    return START_WALL_MS + (sim.now_ns - START_NS) / SIM_MS;
}

void digest_random(void *out, size_t size)
{
    unsigned char *bytes = out;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(next_of(&sim.entropy) >> 32);
}

/* wolfCrypt's source of all keys, nonces and hello randoms; the build puts it in the place of
   wc_RNG_GenerateBlock (CMakeLists.txt), so that a seed gives the same bytes on the wire. */
int SIM_RANDOM_BLOCK(void *generator, unsigned char *out, unsigned size);
int SIM_RANDOM_BLOCK(void *generator, unsigned char *out, unsigned size)
{
    (void)generator;
    digest_random(out, size);
    return 0;
}
