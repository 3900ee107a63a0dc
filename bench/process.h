/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the kernel says about the processes under load: CPU time of each thread (schedstat: what
 * the scheduler charged, softirq work of its own packets included), and resident memory. One
 * thread; nothing is kept open.
 */
#ifndef PASSERELLE_BENCH_PROCESS_H
#define PASSERELLE_BENCH_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROCESS_MAX        64
#define PROCESS_THREAD_MAX 512

struct process_list {
    long pids[PROCESS_MAX];
    size_t count;
};

struct process_thread {
    long id;
    char name[16];
    uint64_t cpu_ns, wait_ns; /* ran; was ready but had no core */
};

struct process_times {
    struct process_thread threads[PROCESS_THREAD_MAX];
    size_t count;
    uint64_t cpu_ns; /* of all */
};

/* "123" or "123,124". False when a name is no number or no such process is there. */
bool process_list_parse(struct process_list *list, const char *text);
/* All are there and have not ended. */
bool process_list_lives(const struct process_list *list);
/* Open file descriptors of all. */
unsigned process_files(const struct process_list *list);
void process_times(const struct process_list *list, struct process_times *times);
/* Makes `end` what was used since `start`; threads that used nothing are left out. */
void process_times_since(const struct process_times *start, struct process_times *end);
/* Resident KiB of all: RssAnon and RssFile together, as VmRSS; `peak_kib` (may be NULL) is the
   high-water mark since process_reset_peak. 0 when unknown. */
long process_resident_kib(const struct process_list *list, long *peak_kib);
/* Anonymous resident KiB (RssAnon): what the processes allocated themselves. */
long process_anonymous_kib(const struct process_list *list);
void process_reset_peak(const struct process_list *list);
/* The core on which the thread that used most ran last; -1 when there is none. */
int process_busiest_core(const struct process_times *times);
/* CPU time and time without a core of the calling thread. */
void process_own_times(uint64_t *cpu_ns, uint64_t *wait_ns);

#endif
