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
/* Whose a file is, as PRAGMA application_id and user_version say. Negative errno. */
enum database_owner {
    DATABASE_NEW, /* nothing is in it */
    DATABASE_OURS,
    DATABASE_OF_OTHER_VERSION,
    DATABASE_FOREIGN
};
int database_owner(sqlite3 *database, int64_t application, int64_t version);

#endif
