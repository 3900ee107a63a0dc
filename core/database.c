/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/database.h"

#include <errno.h>
#include <stddef.h>

int database_errno(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW: return 0;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return -EBUSY;
    case SQLITE_NOMEM: return -ENOMEM;
    case SQLITE_FULL: return -ENOSPC;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH: return -EACCES;
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR: return -EINVAL;
    default: return -EIO;
    }
}

int database_execute(sqlite3 *database, const char *sql)
{
    return database_errno(sqlite3_exec(database, sql, NULL, NULL, NULL));
}

/* Its number; -1 when it cannot be had. */
static int64_t pragma(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return value;
}

int database_owner(sqlite3 *database, int64_t application, int64_t version)
{
    int64_t found = pragma(database, "PRAGMA application_id");
    int64_t found_version = pragma(database, "PRAGMA user_version");
    if (found < 0 || found_version < 0)
        return database_errno(sqlite3_errcode(database));
    if (found == 0 && pragma(database, "PRAGMA schema_version") == 0)
        return DATABASE_NEW;
    if (found != application)
        return DATABASE_FOREIGN;
    return found_version == version ? DATABASE_OURS : DATABASE_OF_OTHER_VERSION;
}
