/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The file of tenants and partners (the key tenants_file): an SQLite database that
 * `passerellectl tenant` changes and the relay only reads. A row is a tenant or a partner: what
 * it is known by (its name, or its domain), and a JSON object of the keys that the YAML has for
 * it, so that this file knows no key and checks none: the relay reads the rows as YAML
 * (core/config.h). The journal is SQLite's rollback journal, as a reader of that needs no right
 * to write. One thread at a time.
 */
#ifndef PASSERELLE_CORE_TENANT_FILE_H
#define PASSERELLE_CORE_TENANT_FILE_H

#include "proto/span.h"

struct tenant_file;

enum tenant_table { TENANT_TABLE_TENANTS, TENANT_TABLE_PARTNERS };
#define TENANT_TABLE_COUNT 2

enum tenant_file_mode {
    TENANT_FILE_READ,
    TENANT_FILE_WRITE, /* makes the file when there is none; it stays, without a row */
};

/* A table's name, which is the YAML's key, and the key by which its rows are known. */
const char *tenant_table_name(enum tenant_table table);
const char *tenant_table_key(enum tenant_table table);

/* Negative errno: -ENOENT, -EACCES, -EBUSY (somebody else is writing), -EINVAL (no tenant file,
   or that of another version), -EIO, -ENOMEM; `error` gets "PATH: sentence". What is not
   committed is undone by the end. To write begins a transaction that keeps other writers out.
 */
int tenant_file_open(struct tenant_file **file, const char *path, enum tenant_file_mode mode,
                     char *error, size_t error_size) MUST_USE;
void tenant_file_close(struct tenant_file **file);
/* Why the last call below failed: SQLite's own words. */
const char *tenant_file_problem(const struct tenant_file *file);

/* All rows of one moment as YAML, a row a line: first "tenants:" and its rows, then
   "partners:"; both by their names. Malloced, ends with a NUL. Negative errno. */
int tenant_file_text(struct tenant_file *file, char **text, size_t *size) MUST_USE;
/* Where a mistake is in such a text: its line is that of a row, `name` gets "tenant 'acme'" and
 *rest the key without "tenants[3].". False when the line is no row's. */
bool tenant_file_place(struct span text, unsigned line, const char *key, char *name,
                       size_t name_size, const char **rest);

/* The settings of a row, malloced; *settings is NULL when there is none. Negative errno. */
int tenant_file_get(struct tenant_file *file, enum tenant_table table, const char *name,
                    char **settings) MUST_USE;
/* Adds or replaces a row; `settings` is a JSON object without the key of the table. */
int tenant_file_put(struct tenant_file *file, enum tenant_table table, const char *name,
                    const char *settings) MUST_USE;
/* -ENOENT when there was none. */
int tenant_file_remove(struct tenant_file *file, enum tenant_table table,
                       const char *name) MUST_USE;
/* One row after the other, by their names; to be called until it says that there are no more.
 *1: name and *settings are good until the next call; 0: that was all; negative errno. */
int tenant_file_next(struct tenant_file *file, enum tenant_table table, const char **name,
                     const char **settings) MUST_USE;
int tenant_file_commit(struct tenant_file *file) MUST_USE;

#endif
