/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sees that a file of the configuration has changed (the key global.watch): the YAML, included
 * ones, the tenants file, certificates, keys and authorities. Folders are watched (inotify), so
 * that a file that takes another's place is seen; where a name is a symbolic link, each folder
 * on its way. An event only says when to look: what counts is whether another load would find
 * something else (config_stamp_now), and for as long as WATCH_PAUSE_MS the same. Control
 * thread.
 */
#ifndef PASSERELLE_CORE_WATCH_H
#define PASSERELLE_CORE_WATCH_H

#include "core/config.h"

#define WATCH_PAUSE_MS 500

struct watch {
    int fd; /* of inotify; -1: nothing is watched */
    bool is_due;
    uint64_t due_ns;
    uint64_t seen;  /* the stamp at the last look */
    uint64_t tried; /* that for which somebody was told: bad files are not tried again */
};

void watch_init(struct watch *watch);
void watch_fini(struct watch *watch);
/* After each load, good or bad: watches the files of the configuration that is in force, and
   looks at them once. */
void watch_arm(struct watch *watch, const struct config *config, uint64_t now_ns);
/* When the descriptor is readable, and now and then. True: the configuration is to be read. */
bool watch_turn(struct watch *watch, const struct config *config, uint64_t now_ns) MUST_USE;

#endif
