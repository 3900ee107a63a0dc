/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The processes under load, looked at many times a second: the files of /proc stay open, so
 * that a look costs the generator a few microseconds a thread. What is there when it is opened
 * is watched; a thread that comes later is not (process.h counts all). One thread.
 */
#ifndef PASSERELLE_BENCH_WATCH_H
#define PASSERELLE_BENCH_WATCH_H

#include "bench/process.h"

#define WATCH_THREAD_MAX 128

struct watch {
    struct {
        struct process_thread now; /* its times as of the last look */
        int fd;
    } threads[WATCH_THREAD_MAX];
    size_t thread_count;
    int memory[PROCESS_MAX];
    size_t memory_count;
    long resident_kib; /* as of the last look */
};

void watch_open(struct watch *watch, const struct process_list *list);
/* A look: all times and the resident memory. What has ended keeps its last times. */
void watch_look(struct watch *watch);
void watch_close(struct watch *watch);

#endif
