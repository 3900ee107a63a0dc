/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/tenant_file.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/database.h"

/* PRAGMA application_id: "PSRL". Whatever else SQLite can open is refused. */
#define FILE_APPLICATION 1347637836
#define FILE_VERSION     1
#define FILE_BUSY_MS     2000 /* how long another writer's commit is waited for */

enum statement {
    STATEMENT_GET,
    STATEMENT_PUT,
    STATEMENT_REMOVE,
    STATEMENT_NEXT,
    STATEMENT_COUNT
};

struct tenant_file {
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENT_COUNT][TENANT_TABLE_COUNT]; /* prepared when needed */
};

static const struct table_row {
    const char *name, *key, *one;
    /* Each row as a line of YAML. The JSON is written anew, so whatever stands in the file is
       one object on one line; with nothing in it a comma is left, which YAML allows. */
    const char *lines;
    const char *statements[STATEMENT_COUNT];
} tables[TENANT_TABLE_COUNT] = {
#define TABLE(name, key, one)                                                                  \
    {                                                                                          \
        name, key, one,                                                                        \
            "SELECT '- {\"" key "\": ' || json_quote(" key ") || ', ' || "                     \
            "substr(json(settings), 2) FROM " name " ORDER BY " key,                           \
        {                                                                                      \
            "SELECT settings FROM " name " WHERE " key " = ?1",                                \
                "INSERT INTO " name "(" key ", settings) VALUES (?1, ?2) ON CONFLICT(" key     \
                ") DO UPDATE SET settings = excluded.settings",                                \
                "DELETE FROM " name " WHERE " key " = ?1",                                     \
                "SELECT " key ", settings FROM " name " ORDER BY " key,                        \
        }                                                                                      \
    }
    [TENANT_TABLE_TENANTS] = TABLE("tenants", "name", "tenant"),
    [TENANT_TABLE_PARTNERS] = TABLE("partners", "domain", "partner"),
};

static const char schema[] =
    "CREATE TABLE tenants (name TEXT PRIMARY KEY NOT NULL CHECK (name <> ''),"
    " settings TEXT NOT NULL CHECK (json_type(settings) = 'object')) WITHOUT ROWID;"
    "CREATE TABLE partners (domain TEXT PRIMARY KEY NOT NULL CHECK (domain <> ''),"
    " settings TEXT NOT NULL CHECK (json_type(settings) = 'object')) WITHOUT ROWID;"
    "PRAGMA application_id = 1347637836;"
    "PRAGMA user_version = 1;";

const char *tenant_table_name(enum tenant_table table)
{
    return tables[table].name;
}

const char *tenant_table_key(enum tenant_table table)
{
    return tables[table].key;
}

/* A file without anything in it becomes a tenant file; else it must be one already. */
static int file_identify(struct tenant_file *file, enum tenant_file_mode mode,
                         const char **problem)
{
    sqlite3 *database = file->database;
    int owner = database_owner(database, FILE_APPLICATION, FILE_VERSION);
    if (owner < 0)
        return owner;
    if (mode == TENANT_FILE_WRITE && owner == DATABASE_NEW) {
        /* At once: SQLite has made the file, and without a schema nobody could read it. */
        int rc = database_execute(database, schema);
        return rc != 0 ? rc : database_execute(database, "COMMIT; BEGIN IMMEDIATE");
    }
    if (owner == DATABASE_OURS)
        return 0;
    *problem = owner == DATABASE_OF_OTHER_VERSION
                   ? "was made by another version of passerellectl"
                   : "is no tenant file of passerellectl";
    return -EINVAL;
}

static int file_prepare(struct tenant_file *file, enum tenant_file_mode mode,
                        const char **problem)
{
    (void)sqlite3_busy_timeout(file->database, FILE_BUSY_MS);
    (void)sqlite3_extended_result_codes(file->database, 1);
    /* Spilled pages would take the lock that readers need: the relay, before the commit. */
    int rc = database_execute(file->database, mode == TENANT_FILE_WRITE
                                                  ? "PRAGMA journal_mode = DELETE;"
                                                    "PRAGMA cache_spill = OFF; BEGIN IMMEDIATE"
                                                  : "BEGIN");
    return rc != 0 ? rc : file_identify(file, mode, problem);
}

int tenant_file_open(struct tenant_file **out, const char *path, enum tenant_file_mode mode,
                     char *error, size_t error_size)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (mode == TENANT_FILE_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                           : SQLITE_OPEN_READONLY);
    struct tenant_file *file = calloc(1, sizeof(*file));
    *out = NULL;
    const char *problem = NULL;
    bool is_there = file != NULL && (mode == TENANT_FILE_WRITE || access(path, R_OK) == 0);
    int rc = is_there ? 0 : -errno;
    if (is_there) {
        rc = database_errno(sqlite3_open_v2(path, &file->database, flags, NULL));
        if (rc == 0)
            rc = file_prepare(file, mode, &problem);
        if (problem == NULL)
            problem = sqlite3_errmsg(file->database);
    }
    if (rc == 0) {
        *out = file;
        return 0;
    }
    (void)snprintf(error, error_size, "%s: %s", path, is_there ? problem : strerror(-rc));
    tenant_file_close(&file);
    return rc;
}

void tenant_file_close(struct tenant_file **file)
{
    struct tenant_file *closed = *file;
    *file = NULL;
    if (closed == NULL)
        return;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        for (size_t j = 0; j < TENANT_TABLE_COUNT; j++)
            (void)sqlite3_finalize(closed->statements[i][j]);
    /* Undoes what was not committed. */
    int rc = sqlite3_close(closed->database);
    assert(rc == SQLITE_OK);
    free(closed);
}

const char *tenant_file_problem(const struct tenant_file *file)
{
    return sqlite3_errmsg(file->database);
}

/* ---- as YAML ---- */

static int text_table(struct tenant_file *file, const struct table_row *table, FILE *out)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(file->database, table->lines, -1, &statement, NULL);
    bool any = false;
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const void *line = sqlite3_column_text(statement, 0);
        if (line == NULL) {
            code = SQLITE_NOMEM;
            break;
        }
        if (!any)
            fprintf(out, "%s:\n", table->name);
        any = true;
        (void)fwrite(line, 1, (size_t)sqlite3_column_bytes(statement, 0), out);
        (void)fputc('\n', out);
        code = SQLITE_OK;
    }
    (void)sqlite3_finalize(statement);
    if (!any && code == SQLITE_DONE)
        fprintf(out, "%s: []\n", table->name);
    return database_errno(code);
}

int tenant_file_text(struct tenant_file *file, char **text, size_t *size)
{
    *text = NULL;
    FILE *out = open_memstream(text, size);
    if (out == NULL)
        return -ENOMEM;
    int rc = 0;
    for (size_t i = 0; i < TENANT_TABLE_COUNT && rc == 0; i++)
        rc = text_table(file, &tables[i], out);
    if (fclose(out) != 0 && rc == 0)
        rc = -ENOMEM;
    if (rc != 0) {
        free(*text);
        *text = NULL;
    }
    return rc;
}

/* The text's line, counted from 1. */
static struct span text_line(struct span text, unsigned line)
{
    for (unsigned i = 1; i < line && text.size > 0; i++)
        text = span_from(text, span_find(text, '\n') + 1);
    return span_to(text, span_find(text, '\n'));
}

bool tenant_file_place(struct span text, unsigned line, const char *key, char *name,
                       size_t name_size, const char **rest)
{
    struct span row = text_line(text, line);
    for (size_t i = 0; i < TENANT_TABLE_COUNT; i++) {
        char start[32];
        (void)snprintf(start, sizeof(start), "- {\"%s\": \"", tables[i].key);
        if (!span_starts(row, span_of(start)))
            continue;
        struct span value = span_from(row, strlen(start));
        /* A quote that the name itself holds stands behind a backslash. */
        size_t end = 0;
        while (end < value.size && value.data[end] != '"')
            end += value.data[end] == '\\' ? 2 : 1;
        value = span_to(value, end);
        (void)snprintf(name, name_size, "%s '%.*s'", tables[i].one, (int)value.size,
                       value.data);
        *rest = key + strcspn(key, "]");
        *rest += strspn(*rest, "].");
        return true;
    }
    return false;
}

/* ---- rows ---- */

/* NULL when SQLite refuses. */
static sqlite3_stmt *prepared(struct tenant_file *file, enum statement which,
                              enum tenant_table table)
{
    sqlite3_stmt **statement = &file->statements[which][table];
    if (*statement == NULL)
        (void)sqlite3_prepare_v3(file->database, tables[table].statements[which], -1,
                                 SQLITE_PREPARE_PERSISTENT, statement, NULL);
    return *statement;
}

/* From its beginning, with its first parameter. */
static sqlite3_stmt *bound(struct tenant_file *file, enum statement which,
                           enum tenant_table table, const char *name)
{
    sqlite3_stmt *statement = prepared(file, which, table);
    (void)sqlite3_reset(statement);
    return statement != NULL &&
                   sqlite3_bind_text(statement, 1, name, -1, SQLITE_TRANSIENT) == SQLITE_OK
               ? statement
               : NULL;
}

static int failed(const struct tenant_file *file)
{
    int rc = database_errno(sqlite3_errcode(file->database));
    return rc != 0 ? rc : -EIO;
}

/* For statements that give no row. */
static int step(struct tenant_file *file, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    int rc = code == SQLITE_DONE ? 0 : failed(file);
    if (rc == 0)
        (void)sqlite3_reset(statement); /* else tenant_file_problem would lose it */
    return rc;
}

int tenant_file_get(struct tenant_file *file, enum tenant_table table, const char *name,
                    char **settings)
{
    *settings = NULL;
    sqlite3_stmt *statement = bound(file, STATEMENT_GET, table, name);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    if (code == SQLITE_DONE)
        return 0;
    if (code != SQLITE_ROW)
        return failed(file);
    *settings = strdup((const char *)sqlite3_column_text(statement, 0));
    (void)sqlite3_reset(statement);
    return *settings != NULL ? 0 : -ENOMEM;
}

int tenant_file_put(struct tenant_file *file, enum tenant_table table, const char *name,
                    const char *settings)
{
    sqlite3_stmt *statement = bound(file, STATEMENT_PUT, table, name);
    if (statement == NULL ||
        sqlite3_bind_text(statement, 2, settings, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        return failed(file);
    return step(file, statement);
}

int tenant_file_remove(struct tenant_file *file, enum tenant_table table, const char *name)
{
    sqlite3_stmt *statement = bound(file, STATEMENT_REMOVE, table, name);
    int rc = statement != NULL ? step(file, statement) : failed(file);
    return rc != 0 ? rc : (sqlite3_changes(file->database) > 0 ? 0 : -ENOENT);
}

int tenant_file_next(struct tenant_file *file, enum tenant_table table, const char **name,
                     const char **settings)
{
    sqlite3_stmt *statement = prepared(file, STATEMENT_NEXT, table);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    if (code == SQLITE_DONE) {
        (void)sqlite3_reset(statement);
        return 0;
    }
    if (code != SQLITE_ROW)
        return failed(file);
    *name = (const char *)sqlite3_column_text(statement, 0);
    *settings = (const char *)sqlite3_column_text(statement, 1);
    return *name != NULL && *settings != NULL ? 1 : -ENOMEM;
}

int tenant_file_commit(struct tenant_file *file)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        for (size_t j = 0; j < TENANT_TABLE_COUNT; j++)
            (void)sqlite3_reset(file->statements[i][j]);
    return database_execute(file->database, "COMMIT");
}
