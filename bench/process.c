/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/process.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool process_list_parse(struct process_list *list, const char *text)
{
    char path[64], *end = NULL;
    list->count = 0;
    for (; list->count < PROCESS_MAX; text = end + 1) {
        long pid = strtol(text, &end, 10);
        snprintf(path, sizeof(path), "/proc/%ld/task", pid);
        if (end == text || pid <= 0 || access(path, R_OK) != 0)
            return false;
        list->pids[list->count++] = pid;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
    }
    return false;
}

/* The first line of a file of /proc into `line`. */
static bool process_read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool good = fgets(line, (int)size, file) != NULL;
    fclose(file);
    line[good ? strcspn(line, "\n") : 0] = '\0';
    return good;
}

/* proc(5), the stat file: what is behind the name, which ends at the last parenthesis, begins
   with the state. NULL when there is no such process or thread. */
static char *process_read_stat(long id, char *line, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/stat", id);
    char *name = process_read_line(path, line, size) ? strrchr(line, ')') : NULL;
    return name != NULL && name[1] == ' ' ? name + 2 : NULL;
}

bool process_list_lives(const struct process_list *list)
{
    char line[1024];
    for (size_t i = 0; i < list->count; i++) {
        const char *state = process_read_stat(list->pids[i], line, sizeof(line));
        if (state == NULL || *state == 'Z' || *state == 'X')
            return false;
    }
    return true;
}

unsigned process_files(const struct process_list *list)
{
    unsigned count = 0;
    char path[64];
    for (size_t i = 0; i < list->count; i++) {
        snprintf(path, sizeof(path), "/proc/%ld/fd", list->pids[i]);
        DIR *directory = opendir(path);
        const struct dirent *entry;
        while (directory != NULL && (entry = readdir(directory)) != NULL)
            count += entry->d_name[0] != '.';
        if (directory != NULL)
            closedir(directory);
    }
    return count;
}

static bool process_schedstat(const char *path, uint64_t *cpu_ns, uint64_t *wait_ns)
{
    char line[128];
    unsigned long long cpu, wait;
    if (!process_read_line(path, line, sizeof(line)) ||
        sscanf(line, "%llu %llu", &cpu, &wait) != 2)
        return false;
    *cpu_ns = cpu;
    *wait_ns = wait;
    return true;
}

static void process_add_threads(long pid, struct process_times *times)
{
    char path[320];
    snprintf(path, sizeof(path), "/proc/%ld/task", pid);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL && times->count < PROCESS_THREAD_MAX) {
        struct process_thread *thread = &times->threads[times->count];
        *thread = (struct process_thread){.id = strtol(entry->d_name, NULL, 10)};
        snprintf(path, sizeof(path), "/proc/%ld/task/%ld/schedstat", pid, thread->id);
        if (thread->id <= 0 || !process_schedstat(path, &thread->cpu_ns, &thread->wait_ns))
            continue;
        snprintf(path, sizeof(path), "/proc/%ld/task/%ld/comm", pid, thread->id);
        (void)process_read_line(path, thread->name, sizeof(thread->name));
        times->cpu_ns += thread->cpu_ns;
        times->count++;
    }
    closedir(directory);
}

void process_times(const struct process_list *list, struct process_times *times)
{
    times->count = 0;
    times->cpu_ns = 0;
    for (size_t i = 0; i < list->count; i++)
        process_add_threads(list->pids[i], times);
}

void process_times_since(const struct process_times *start, struct process_times *end)
{
    size_t kept = 0;
    for (size_t i = 0; i < end->count; i++) {
        struct process_thread thread = end->threads[i];
        for (size_t j = 0; j < start->count; j++) {
            if (start->threads[j].id != thread.id)
                continue;
            thread.cpu_ns -= start->threads[j].cpu_ns;
            thread.wait_ns -= start->threads[j].wait_ns;
            break;
        }
        if (thread.cpu_ns > 0)
            end->threads[kept++] = thread;
    }
    end->count = kept;
    end->cpu_ns = end->cpu_ns > start->cpu_ns ? end->cpu_ns - start->cpu_ns : 0;
}

/* A field of /proc/PID/status in KiB; 0 when it is not there. */
static long process_status_kib(long pid, const char *field)
{
    char path[64], line[256];
    long kib = 0;
    size_t size = strlen(field);
    snprintf(path, sizeof(path), "/proc/%ld/status", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, size) == 0 && line[size] == ':') {
            kib = strtol(line + size + 1, NULL, 10);
            break;
        }
    }
    fclose(file);
    return kib;
}

long process_resident_kib(const struct process_list *list, long *peak_kib)
{
    long sum = 0, peak = 0;
    for (size_t i = 0; i < list->count; i++) {
        sum += process_status_kib(list->pids[i], "VmRSS");
        if (peak_kib != NULL)
            peak += process_status_kib(list->pids[i], "VmHWM");
    }
    if (peak_kib != NULL)
        *peak_kib = peak;
    return sum;
}

long process_anonymous_kib(const struct process_list *list)
{
    long sum = 0;
    for (size_t i = 0; i < list->count; i++)
        sum += process_status_kib(list->pids[i], "RssAnon");
    return sum;
}

void process_reset_peak(const struct process_list *list)
{
    char path[64];
    for (size_t i = 0; i < list->count; i++) {
        snprintf(path, sizeof(path), "/proc/%ld/clear_refs", list->pids[i]);
        FILE *file = fopen(path, "we");
        if (file == NULL)
            continue; /* the mark is then that of the whole life */
        fputs("5", file);
        fclose(file);
    }
}

int process_busiest_core(const struct process_times *times)
{
    const struct process_thread *busiest = NULL;
    char line[1024];
    for (size_t i = 0; i < times->count; i++) {
        if (busiest == NULL || times->threads[i].cpu_ns > busiest->cpu_ns)
            busiest = &times->threads[i];
    }
    if (busiest == NULL)
        return -1;
    /* "processor" is field 39, the state is field 3. */
    char *field = process_read_stat(busiest->id, line, sizeof(line));
    for (unsigned i = 3; field != NULL && i < 39; i++) {
        field = strchr(field, ' ');
        field = field != NULL ? field + 1 : NULL;
    }
    return field != NULL ? (int)strtol(field, NULL, 10) : -1;
}

void process_own_times(uint64_t *cpu_ns, uint64_t *wait_ns)
{
    *cpu_ns = *wait_ns = 0;
    (void)process_schedstat("/proc/thread-self/schedstat", cpu_ns, wait_ns);
}
