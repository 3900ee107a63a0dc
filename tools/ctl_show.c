/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "tools/ctl_answer.h"
#include "tools/ctl_tenants_priv.h"

int ctl_next_row(struct ctl_job *job, const char *part, json_t **row)
{
    const char *name, *settings;
    int got;
    while ((got = tenant_file_next(job->file, job->table, &name, &settings)) == 1) {
        if (strstr(name, part) == NULL)
            continue;
        json_t *inner = json_loads(settings, 0, NULL);
        *row = json_pack("{s:s}", tenant_table_key(job->table), name);
        bool whole = json_is_object(inner) && json_object_update(*row, inner) == 0;
        json_decref(inner);
        if (whole)
            return 1;
        json_decref(*row);
        (void)ctl_fail(job, "%s: '%s' holds no JSON object", job->outline.tenants_file, name);
        return -1;
    }
    if (got < 0)
        (void)ctl_fail_file(job, got);
    return got;
}

/* Every row by itself, so that many need no memory. */
static bool print_json(struct ctl_job *job, const char *part)
{
    json_t *row;
    const char *before = "[\n";
    int got;
    while ((got = ctl_next_row(job, part, &row)) == 1) {
        fputs(before, stdout);
        (void)json_dumpf(row, stdout, 0);
        json_decref(row);
        before = ",\n";
    }
    puts(before[0] == '[' ? "[]" : "\n]");
    return got == 0;
}

/* "path=text …" behind the name. */
static void print_words(FILE *out, const json_t *texts, const char *key)
{
    const char *path, *separator = "\t";
    json_t *text;
    fputs(json_string_value(json_object_get(texts, key)), out);
    json_object_foreach((json_t *)(uintptr_t)texts, path, text)
    {
        if (strcmp(path, key) == 0)
            continue;
        fprintf(out, "%s%s=%s", separator, path, json_string_value(text));
        separator = "  ";
    }
    fputc('\n', out);
}

static bool print_list(struct ctl_job *job, const char *part)
{
    const char *key = tenant_table_key(job->table);
    char *table = NULL;
    size_t size;
    FILE *out = open_memstream(&table, &size);
    json_t *row;
    int got = 0;
    if (out == NULL)
        return ctl_fail_file(job, -ENOMEM);
    fprintf(out, "%s\tsettings\n", key);
    while ((got = ctl_next_row(job, part, &row)) == 1) {
        json_t *texts = settings_texts(row);
        print_words(out, texts, key);
        json_decref(texts);
        json_decref(row);
    }
    (void)fclose(out);
    if (got == 0)
        ctl_table(table, stdout);
    free(table);
    return got == 0;
}

bool ctl_run_list(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    const char *part = options->count > 0 ? options->words[0] : "";
    return options->as_json ? print_json(job, part) : print_list(job, part);
}

void ctl_print_settings(const struct ctl_job *job, const json_t *settings)
{
    const char *path;
    json_t *text;
    if (job->options->as_json) {
        (void)json_dumpf(settings, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
        return;
    }
    json_t *texts = settings_texts(settings);
    json_object_foreach(texts, path, text) printf("%s=%s\n", path, json_string_value(text));
    json_decref(texts);
}

bool ctl_run_show(struct ctl_job *job)
{
    const char *name = job->options->count == 1 ? job->options->words[0] : NULL;
    json_t *settings = NULL;
    if (name == NULL)
        return ctl_misuse(job, "name what is to be shown");
    if (!ctl_get_row(job, name, &settings))
        return false;
    if (settings == NULL)
        return ctl_fail(job, "'%s' is not there", name);
    ctl_print_settings(job, settings);
    json_decref(settings);
    return true;
}

/* ---- CSV ---- */

/* The columns: every path that some row has, in the order of their coming. */
static bool collect_columns(struct ctl_job *job, json_t *columns)
{
    json_t *row, *text;
    const char *path;
    int got;
    while ((got = ctl_next_row(job, "", &row)) == 1) {
        json_t *texts = settings_texts(row);
        json_object_foreach(texts, path, text) if (json_object_get(columns, path) == NULL)(void)
            json_object_set_new(columns, path, json_true());
        json_decref(texts);
        json_decref(row);
    }
    return got == 0;
}

/* A line of CSV: the columns themselves, or what `texts` has for them. */
static void print_csv_line(const json_t *columns, const json_t *texts)
{
    const char *path, *separator = "";
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)columns, path, value)
    {
        const char *text =
            texts != NULL ? json_string_value(json_object_get(texts, path)) : path;
        fputs(separator, stdout);
        csv_put(stdout, span_of(text));
        separator = ",";
    }
    fputs("\r\n", stdout); /* RFC 4180 §2.1 */
}

static bool export_csv(struct ctl_job *job)
{
    json_t *columns = json_pack("{s:b}", tenant_table_key(job->table), 1), *row;
    bool done = collect_columns(job, columns);
    int got = 0;
    if (done)
        print_csv_line(columns, NULL);
    while (done && (got = ctl_next_row(job, "", &row)) == 1) {
        json_t *texts = settings_texts(row);
        print_csv_line(columns, texts);
        json_decref(texts);
        json_decref(row);
    }
    json_decref(columns);
    return done && got == 0;
}

bool ctl_run_export(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    if (options->count != 0 || options->format == IMPORT_YAML)
        return ctl_misuse(job, "an export goes to the standard output, as csv or json");
    return options->format == IMPORT_CSV ? export_csv(job) : print_json(job, "");
}
