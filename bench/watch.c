/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int watch_open_file(long pid, const char *name)
{
    char path[96];
    snprintf(path, sizeof(path), "/proc/%ld/%s", pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void watch_open_process(struct watch *watch, long pid)
{
    static struct process_times times; /* large */
    struct process_list one = {.pids = {pid}, .count = 1};
    char name[64];
    int fd = watch_open_file(pid, "statm");
    if (fd >= 0)
        watch->memory[watch->memory_count++] = fd;
    process_times(&one, &times);
    for (size_t i = 0; i < times.count && watch->thread_count < WATCH_THREAD_MAX; i++) {
        snprintf(name, sizeof(name), "task/%ld/schedstat", times.threads[i].id);
        fd = watch_open_file(pid, name);
        if (fd < 0)
            continue; /* it has ended */
        watch->threads[watch->thread_count].now = times.threads[i];
        watch->threads[watch->thread_count++].fd = fd;
    }
}

void watch_open(struct watch *watch, const struct process_list *list)
{
    watch->thread_count = watch->memory_count = 0;
    for (size_t i = 0; i < list->count; i++)
        watch_open_process(watch, list->pids[i]);
    watch_look(watch);
}

void watch_look(struct watch *watch)
{
    char line[128];
    unsigned long long cpu, wait;
    for (size_t i = 0; i < watch->thread_count; i++) {
        ssize_t n = pread(watch->threads[i].fd, line, sizeof(line) - 1, 0);
        line[n > 0 ? n : 0] = '\0';
        if (sscanf(line, "%llu %llu", &cpu, &wait) != 2)
            continue;
        watch->threads[i].now.cpu_ns = cpu;
        watch->threads[i].now.wait_ns = wait;
    }
    long pages = 0;
    for (size_t i = 0; i < watch->memory_count; i++) {
        char *after = line;
        ssize_t n = pread(watch->memory[i], line, sizeof(line) - 1, 0);
        line[n > 0 ? n : 0] = '\0';
        (void)strtol(line, &after, 10); /* its whole address space */
        pages += strtol(after, NULL, 10);
    }
    watch->resident_kib = pages * (sysconf(_SC_PAGESIZE) / 1024);
}

void watch_close(struct watch *watch)
{
    for (size_t i = 0; i < watch->thread_count; i++)
        close(watch->threads[i].fd);
    for (size_t i = 0; i < watch->memory_count; i++)
        close(watch->memory[i]);
    watch->thread_count = watch->memory_count = 0;
}
