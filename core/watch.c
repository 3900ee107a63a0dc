/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/log.h"

#define LINK_MAX_DEPTH 8

void watch_init(struct watch *watch)
{
    *watch = (struct watch){.fd = -1};
}

void watch_fini(struct watch *watch)
{
    if (watch->fd >= 0)
        (void)close(watch->fd);
    watch->fd = -1;
}

/* Makes the path that of its folder: "a/b" → "a", "b" → ".", "/b" → "/". */
static void to_folder(char path[PATH_MAX])
{
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        (void)snprintf(path, PATH_MAX, ".");
    else
        slash[slash == path ? 1 : 0] = '\0';
}

/* What is being watched, and the folder before, as neighbours are often in one. */
struct arming {
    int fd;
    int problem; /* errno of what failed for good */
    char last[PATH_MAX];
};

/* A folder that is not there is awaited where it will appear. */
static void add_folder(struct arming *arming, const char *folder)
{
    const uint32_t mask = IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                          IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    char path[PATH_MAX];
    if (arming->problem != 0 || strcmp(folder, arming->last) == 0)
        return;
    (void)snprintf(arming->last, sizeof(arming->last), "%s", folder);
    (void)snprintf(path, sizeof(path), "%s", folder);
    /* Each turn makes the path shorter; "/" and "." end it. */
    while (inotify_add_watch(arming->fd, path, mask) < 0) {
        bool is_missing = errno == ENOENT || errno == ENOTDIR;
        bool is_last = strcmp(path, "/") == 0 || strcmp(path, ".") == 0;
        if (!is_missing)
            arming->problem = errno;
        if (!is_missing || is_last)
            return;
        to_folder(path);
    }
}

/* The folder of a file, and those of all that it is a link to. */
static void add_file(struct arming *arming, const char *name)
{
    char path[PATH_MAX], folder[PATH_MAX], target[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%s", name);
    for (int depth = 0; depth < LINK_MAX_DEPTH && size > 0 && size < PATH_MAX; depth++) {
        ssize_t got = readlink(path, target, sizeof(target) - 1);
        (void)snprintf(folder, sizeof(folder), "%s", path);
        to_folder(folder);
        add_folder(arming, folder);
        if (got <= 0)
            return;
        target[got] = '\0';
        size = target[0] == '/' ? snprintf(path, sizeof(path), "%s", target)
                                : snprintf(path, sizeof(path), "%s/%s", folder, target);
    }
}

static void tell_problem(int problem)
{
    log_event(LOG_LEVEL_WARN, "watch.failed", 0, log_text("reason", span_of(strerror(problem))),
              log_text("remedy", problem == ENOSPC
                                     ? SPAN("raise sysctl fs.inotify.max_user_watches")
                                     : SPAN("reload by hand, or mend it and reload")));
}

void watch_arm(struct watch *watch, const struct config *config, uint64_t now_ns)
{
    watch_fini(watch);
    if (!config->watch)
        return;
    struct arming arming = {.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    if (arming.fd < 0) {
        tell_problem(errno);
        return;
    }
    bool is_folder;
    size_t next = 0;
    for (const char *name; (name = config_next_file(config, &next, &is_folder)) != NULL;) {
        add_file(&arming, name);
        if (is_folder)
            add_folder(&arming, name);
    }
    if (arming.problem != 0)
        tell_problem(arming.problem);
    watch->fd = arming.fd;
    /* What has changed between the load and now has made no event here. */
    watch->is_due = true;
    watch->due_ns = now_ns;
}

/* Takes all events off; true when there was one. */
static bool drain(int fd)
{
    char events[4096];
    bool any = false;
    while (read(fd, events, sizeof(events)) > 0)
        any = true;
    return any;
}

bool watch_turn(struct watch *watch, const struct config *config, uint64_t now_ns)
{
    if (watch->fd < 0)
        return false;
    if (drain(watch->fd) && !watch->is_due) {
        watch->is_due = true;
        watch->due_ns = now_ns + WATCH_PAUSE_MS * 1000000ull;
    }
    if (!watch->is_due || now_ns < watch->due_ns)
        return false;
    uint64_t now = config_stamp_now(config);
    bool is_old = now == config_stamp_read(config) || now == watch->tried;
    if (!is_old && now != watch->seen) {
        /* Somebody may still be writing: it must stay so for a while. */
        watch->seen = now;
        watch->due_ns = now_ns + WATCH_PAUSE_MS * 1000000ull;
        return false;
    }
    watch->is_due = false;
    if (is_old)
        return false;
    watch->tried = now;
    log_event(LOG_LEVEL_INFO, "watch.changed", 0, log_text("config", span_of(config->path)));
    return true;
}
