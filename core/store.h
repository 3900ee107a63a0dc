/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What must survive a restart and is no configuration: short rows in an SQLite file (WAL) that
 * this process has to itself. Who keeps something has it in its own memory, reads the rows of
 * its kind once at the start, and from then on only says what has changed. A change is queued
 * and nobody waits for the disk: a thread of the store's own writes what has gathered since its
 * last commit in one transaction, so a change is on disk after one or two commits, be the
 * process killed or the machine lose its power then. When a commit fails (disk full, file
 * damaged) the changes are kept and tried again every second, STORE_QUEUE_MAX of them; others
 * are lost, and counted. The file: rows(kind, subject, partner, value, time).
 */
#ifndef PASSERELLE_CORE_STORE_H
#define PASSERELLE_CORE_STORE_H

#include "core/stats.h"

#define STORE_QUEUE_MAX 65536u /* changes that wait; some 100 to 200 bytes each */

/* In the file: a kind keeps its number. */
enum store_kind {
    STORE_CONSENT = 1, /* core/consent.h: subject and partner are bare addresses, value is 0 */
    STORE_PROOF = 2 /* core/trust.h: partner is a domain, subject is empty, value its trust */
};

/* One row; of a kind there is one for each subject and partner. */
struct store_row {
    enum store_kind kind;
    struct span subject, partner; /* at most JID_SIZE_MAX bytes each */
    int64_t value;
    int64_t time_s; /* since the epoch; of what it tells, not of its writing */
};

struct store;

/* Makes the file when there is none. Negative errno; `error` gets "PATH: what is wrong and how
   to mend it": somebody else has it (-EBUSY), it is no store or one of another version
   (-EINVAL), it is damaged (-EIO), it may not be read or written (-EACCES) … */
int store_open(struct store **store, const char *path, char *error, size_t error_size) MUST_USE;
/* The rows of a kind, the oldest first; to be called until it says that there are no more.
   Before store_start. 1: `row` is good until the next call; 0: that was all; negative errno. */
int store_next(struct store *store, enum store_kind kind, struct store_row *row) MUST_USE;
/* Starts the thread, which counts in `stats` and nobody else does. Negative errno. */
int store_start(struct store *store, struct stats *stats) MUST_USE;
/* Puts a row, or takes it away (whose value and time do not count then). Any thread, also
   before store_start; never waits for the disk. NULL: nothing is kept. */
void store_put(struct store *store, const struct store_row *row);
void store_remove(struct store *store, const struct store_row *row);
/* Writes what waits, if it can be written, and ends the thread. After those who use it. */
void store_close(struct store **store);

#endif
