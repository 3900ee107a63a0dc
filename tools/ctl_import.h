/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads tenants, partners or users from CSV, JSON or YAML, one after the other, as JSON
 * objects: tenants and partners in the form in which they are kept, users with the texts
 * "tenant", "user" and "access", or some of them. CSV has the keys in its first line, paths of
 * settings (tools/ctl_settings.h) for tenants and partners; JSON and YAML have a list, or an
 * object with the list under its name, whose other keys are not read.
 */
#ifndef PASSERELLE_TOOLS_CTL_IMPORT_H
#define PASSERELLE_TOOLS_CTL_IMPORT_H

#include "tools/ctl_csv.h"
#include "tools/ctl_settings.h"

enum import_format { IMPORT_BY_NAME, IMPORT_CSV, IMPORT_JSON, IMPORT_YAML };

/* The list of users, beside "tenants" and "partners", which are those of the schema. */
#define IMPORT_USERS "users"

#define IMPORT_PROBLEM_SIZE (SETTINGS_PROBLEM_SIZE + 300)

struct import {
    const char *path, *list;
    char *text;
    size_t size;
    struct csv csv;
    char **columns; /* of the first line of CSV; NULL: the rows stand in a list */
    size_t column_count;
    json_t *rows;
    size_t next; /* of `rows` */
    char problem[IMPORT_PROBLEM_SIZE];
};

/* `path` may be "-", the standard input. By name: the format that its ending says. False:
   import->problem names file, line or entry, and key. To be closed in any case. */
bool import_open(struct import *import, const char *path, enum import_format format,
                 const char *list) MUST_USE;
void import_close(struct import *import);
/* 1: *row is the next one, a new reference; 0: that was all; -1: import->problem. */
int import_next(struct import *import, json_t **row) MUST_USE;
/* How much of it has been read, 0 to 100. */
unsigned import_percent(const struct import *import);

/* The whole of a file, or for "-" of the standard input, and a NUL behind it. Malloced, also
   when it fails; *text is to be NULL before. Negative errno. */
int import_slurp(const char *path, char **text, size_t *size) MUST_USE;

/* A YAML text as JSON, scalars as strings. NULL with the problem said. */
json_t *import_yaml(const char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE]);

#endif
