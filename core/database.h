/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the relay that are SQLite databases share. One thread at a time for each.
 */
#ifndef PASSERELLE_CORE_DATABASE_H
#define PASSERELLE_CORE_DATABASE_H

#include <sqlite3.h>
#include <stdint.h>

/* SQLite's code, also an extended one, as a negative errno: -EBUSY (somebody else has it),
   -EACCES, -ENOSPC, -ENOMEM, -EINVAL (no database, or not such a one), -EIO. 0: no error. */
int database_errno(int code);
/* Statements without rows. Negative errno. */
int database_execute(sqlite3 *database, const char *sql);
/* A PRAGMA's number; -1 when it cannot be had. */
int64_t database_pragma(sqlite3 *database, const char *sql);

#endif
