/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ground of the simulation: one virtual clock, two streams of random numbers from one seed
 * (what happens, and what TLS and tags are made of), a queue of things to come, a trace with
 * its hash, and the first fault found. One OS thread runs everything, so nothing here is
 * locked.
 *
 * net's headers give their implementations no context, so the state is one global object: the
 * exception to the rule on mutable globals, and only in this program.
 */
#ifndef PASSERELLE_TESTS_SIM_H
#define PASSERELLE_TESTS_SIM_H

#include "proto/span.h"

#define SIM_US         1000ull
#define SIM_MS         1000000ull
#define SIM_S          1000000000ull
#define SIM_FAULT_SIZE 512

/* `number` is of the caller's choice: a generation, a size. */
typedef void (*sim_fn)(void *context, uint64_t number);

struct sim_event {
    uint64_t at_ns;
    uint64_t order; /* of two at the same time the one made first goes first */
    sim_fn run;
    void *context;
    uint64_t number;
};

struct sim {
    uint64_t seed;
    uint64_t now_ns;
    uint64_t chance;  /* state of what happens */
    uint64_t entropy; /* state of keys, tags and ids */
    uint64_t hash;    /* of the trace so far */
    bool is_verbose;
    bool is_scheduled;          /* a thread of the relay or of the world has its turn */
    char fault[SIM_FAULT_SIZE]; /* empty: none so far */
    struct sim_event *events;   /* a binary heap */
    size_t event_count, event_size;
    uint64_t event_order;
};

extern struct sim sim;

void sim_open(uint64_t seed, bool is_verbose);
void sim_close(void);

uint64_t sim_random(void);
/* 0 … n - 1. */
uint64_t sim_below(uint64_t n);
uint64_t sim_between(uint64_t first, uint64_t last);
bool sim_chance(unsigned per_mille);

/* Calls `run` after `delay_ns` of virtual time. */
void sim_after(uint64_t delay_ns, sim_fn run, void *context, uint64_t number);
/* When the next thing happens; UINT64_MAX: never. */
uint64_t sim_next_ns(void);
/* Runs what is due now. */
void sim_run_due(void);

/* Runs all that is left, at once; what it begins too. */
void sim_flush(void);

/* One line of the trace; part of the hash whether printed or not. */
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Notes a fault of the relay (the first one stays) and ends the run. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* FNV-1a. */
uint64_t sim_digest(const void *data, size_t size);

#endif
