/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Imports: the settings that are read can be written as CSV and read again to the same ones; a
   user is texts under the keys of one. */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "tools/ctl_import.h"

static void check_user(const json_t *row)
{
    static const char *const keys[] = {"tenant", "user", "access"};
    size_t found = 0;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        found += json_is_string(json_object_get(row, keys[i]));
    CHECK(found == json_object_size(row));
}

static void check_row(const json_t *row, const char *list)
{
    json_t *texts = settings_texts(row), *again = json_object(), *value;
    char *line, *field, problem[SETTINGS_PROBLEM_SIZE];
    const char *path;
    size_t size;
    FILE *out = open_memstream(&line, &size);
    CHECK(texts != NULL && again != NULL && out != NULL);
    (void)fputs("x,", out); /* a byte order mark counts at the very beginning only */
    json_object_foreach(texts, path, value)
    {
        CHECK(utf8_valid(span_of(json_string_value(value))));
        csv_put(out, span_of(json_string_value(value)));
        (void)fputc(',', out);
    }
    CHECK(fclose(out) == 0);
    struct csv csv;
    csv_init(&csv, line, size);
    CHECK(csv_next(&csv, &field) == CSV_FIELD);
    json_object_foreach(texts, path, value)
    {
        CHECK(csv_next(&csv, &field) == CSV_FIELD);
        CHECK(settings_change(again, list, path, SETTINGS_PUT, field, problem));
    }
    CHECK(json_equal(row, again));
    free(line);
    json_decref(texts);
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum import_format formats[] = {IMPORT_CSV, IMPORT_JSON, IMPORT_YAML};
    struct span input = span_make(data, size);
    unsigned choice = fuzz_choice(&input);
    const char *list = choice & 8 ? IMPORT_USERS : choice & 4 ? "partners" : "tenants";
    char path[64];
    struct import import;
    json_t *row;
    int fd = memfd_create("import", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, input.data, input.size) == (ssize_t)input.size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int got = import_open(&import, path, formats[choice % 4 % 3], list) ? 1 : -1;
    while (got == 1 && (got = import_next(&import, &row)) == 1) {
        CHECK(import_percent(&import) <= 100);
        if (choice & 8)
            check_user(row);
        else
            check_row(row, list);
        json_decref(row);
    }
    CHECK(got == 0 || strncmp(import.problem, path, strlen(path)) == 0);
    import_close(&import);
    (void)close(fd);
    return 0;
}
