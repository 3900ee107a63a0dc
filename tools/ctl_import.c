/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_import.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

__attribute__((format(printf, 2, 3))) static bool fail(struct import *import,
                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(import->problem, sizeof(import->problem), format, arguments);
    va_end(arguments);
    return false;
}

int import_slurp(const char *path, char **text, size_t *size)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    FILE *out = in != NULL ? open_memstream(text, size) : NULL;
    char block[65536];
    size_t got;
    while (out != NULL && (got = fread(block, 1, sizeof(block), in)) > 0)
        (void)fwrite(block, 1, got, out);
    bool done = out != NULL && ferror(in) == 0;
    int why = errno;
    if (out != NULL && fclose(out) != 0)
        done = false;
    if (in != NULL && in != stdin)
        (void)fclose(in);
    return done ? 0 : -(why != 0 ? why : EIO);
}

static bool read_all(struct import *import)
{
    int rc = import_slurp(import->path, &import->text, &import->size);
    return rc == 0 || fail(import, "%s: cannot read it: %s", import->path, strerror(-rc));
}

static enum import_format format_of(const char *path)
{
    static const struct {
        const char *ending;
        enum import_format format;
    } known[] = {{".csv", IMPORT_CSV},
                 {".json", IMPORT_JSON},
                 {".yaml", IMPORT_YAML},
                 {".yml", IMPORT_YAML}};
    size_t size = strlen(path);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t ending = strlen(known[i].ending);
        if (size > ending && strcmp(path + size - ending, known[i].ending) == 0)
            return known[i].format;
    }
    return IMPORT_BY_NAME;
}

static bool open_list(struct import *import, enum import_format format)
{
    char problem[SETTINGS_PROBLEM_SIZE];
    json_error_t error;
    json_t *root;
    if (format == IMPORT_YAML) {
        root = import_yaml(import->text, import->size, problem);
    } else {
        root = json_loadb(import->text, import->size, JSON_REJECT_DUPLICATES, &error);
        if (root == NULL)
            (void)snprintf(problem, sizeof(problem), "line %d: %s", error.line, error.text);
    }
    if (root == NULL)
        return fail(import, "%s: %s", import->path, problem);
    json_t *rows = json_is_array(root) ? root : json_object_get(root, import->list);
    import->rows = json_is_array(rows) ? json_incref(rows) : NULL;
    json_decref(root);
    return import->rows != NULL ||
           fail(import, "%s: there is no list of %s in it", import->path, import->list);
}

static bool open_csv(struct import *import)
{
    enum csv_result result = CSV_FIELD;
    csv_init(&import->csv, import->text, import->size);
    import->columns = malloc(sizeof(*import->columns));
    while (import->columns != NULL && result == CSV_FIELD) {
        char *field,
            **wider = realloc(import->columns, (import->column_count + 1) * sizeof(*wider));
        if (wider == NULL)
            break;
        import->columns = wider;
        result = csv_next(&import->csv, &field);
        if (result == CSV_BAD)
            return fail(import, "%s:%u: %s", import->path, import->csv.line,
                        import->csv.problem);
        if (result != CSV_END)
            import->columns[import->column_count++] = field;
    }
    return import->column_count > 0 ||
           fail(import, "%s: the first line is to name the columns", import->path);
}

bool import_open(struct import *import, const char *path, enum import_format format,
                 const char *list)
{
    *import = (struct import){.path = path, .list = list};
    if (format == IMPORT_BY_NAME)
        format = format_of(path);
    if (format == IMPORT_BY_NAME)
        return fail(import, "%s: is it csv, json or yaml? Say so with --format", path);
    if (!read_all(import))
        return false;
    return format == IMPORT_CSV ? open_csv(import) : open_list(import, format);
}

void import_close(struct import *import)
{
    json_decref(import->rows);
    free(import->columns);
    free(import->text);
    *import = (struct import){0};
}

/* ---- an entry ---- */

/* Users are no part of the schema: their keys are these, with texts. */
static bool is_user_key(const char *key, char problem[SETTINGS_PROBLEM_SIZE])
{
    static const char *const keys[] = {"tenant", "user", "access"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "%s: unknown key", key);
    return false;
}

/* A field of CSV, which is UTF-8. */
static bool entry_put(const struct import *import, json_t *entry, const char *key,
                      const char *text, char problem[SETTINGS_PROBLEM_SIZE])
{
    if (strcmp(import->list, IMPORT_USERS) != 0)
        return settings_change(entry, import->list, key, SETTINGS_PUT, text, problem);
    if (!is_user_key(key, problem))
        return false;
    (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "%s: out of memory", key);
    return json_object_set_new(entry, key, json_string(text)) == 0;
}

/* One of a list. */
static bool entry_tidy(const struct import *import, json_t *entry,
                       char problem[SETTINGS_PROBLEM_SIZE])
{
    const char *key;
    json_t *value;
    if (strcmp(import->list, IMPORT_USERS) != 0)
        return settings_tidy(entry, import->list, problem);
    json_object_foreach(entry, key, value)
    {
        if (!is_user_key(key, problem))
            return false;
        (void)snprintf(problem, SETTINGS_PROBLEM_SIZE, "%s: it is to be a text", key);
        if (!json_is_string(value))
            return false;
    }
    return true;
}

/* Reads the rest of a row of CSV; an empty field says nothing. */
static bool csv_row(struct import *import, json_t *row)
{
    struct csv *csv = &import->csv;
    char problem[SETTINGS_PROBLEM_SIZE], *field;
    enum csv_result result = CSV_FIELD;
    size_t i = 0;
    for (; i < import->column_count && result == CSV_FIELD; i++) {
        result = csv_next(csv, &field);
        if (result == CSV_BAD)
            return fail(import, "%s:%u: %s", import->path, csv->line, csv->problem);
        assert(result != CSV_END);
        if (field[0] != '\0' && !entry_put(import, row, import->columns[i], field, problem))
            return fail(import, "%s:%u: %s", import->path, csv->at_line, problem);
    }
    return (i == import->column_count && result == CSV_LAST) ||
           fail(import, "%s:%u: the row has %s fields than the first line", import->path,
                csv->at_line, result == CSV_LAST ? "fewer" : "more");
}

static int next_csv(struct import *import, json_t **row)
{
    if (!csv_more(&import->csv))
        return 0;
    *row = json_object();
    if (*row != NULL && csv_row(import, *row))
        return 1;
    json_decref(*row);
    return -1;
}

int import_next(struct import *import, json_t **row)
{
    char problem[SETTINGS_PROBLEM_SIZE] = "it is to have keys";
    if (import->columns != NULL)
        return next_csv(import, row);
    if (import->next == json_array_size(import->rows))
        return 0;
    json_t *entry = json_array_get(import->rows, import->next);
    if (json_is_object(entry) && entry_tidy(import, entry, problem)) {
        import->next++;
        *row = json_incref(entry);
        return 1;
    }
    (void)fail(import, "%s: %s[%zu]: %s", import->path, import->list, import->next, problem);
    return -1;
}

unsigned import_percent(const struct import *import)
{
    size_t all = import->columns != NULL ? import->size : json_array_size(import->rows);
    size_t done =
        import->columns != NULL ? (size_t)(import->csv.next - import->text) : import->next;
    return all > 0 ? (unsigned)(done * 100 / all) : 100;
}
