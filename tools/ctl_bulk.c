/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "net/clock.h"
#include "net/tls.h"
#include "tools/ctl_tenants_priv.h"

#define PROGRESS_NS 1000000000u /* between two lines about it */

/* Once a second: whether to say how far it is. */
static bool is_time(uint64_t *told_ns)
{
    uint64_t now_ns = clock_now_ns();
    if (now_ns - *told_ns < PROGRESS_NS)
        return false;
    *told_ns = now_ns;
    return true;
}

/* What the row is known by, taken out of it: its key, or for a tenant its first domain. */
static char *row_name(const struct ctl_job *job, json_t *row)
{
    const char *key = tenant_table_key(job->table);
    const json_t *name = json_object_get(row, key);
    if (name == NULL && job->table == TENANT_TABLE_TENANTS)
        name = json_array_get(json_object_get(row, "domains"), 0);
    const char *text = json_string_value(name);
    char *copy = text != NULL && text[0] != '\0' ? strdup(text) : NULL;
    (void)json_object_del(row, key);
    return copy;
}

static bool take_row(struct ctl_job *job, const char *path, json_t *row, size_t number)
{
    char *name = row_name(job, row);
    bool done = name != NULL;
    if (!done)
        (void)ctl_fail(job, "%s: entry %zu has no %s", path, number,
                       tenant_table_key(job->table));
    else if (json_object_get(job->touched, name) != NULL)
        done = ctl_fail(job, "%s: entry %zu: '%s' stands in it twice", path, number, name);
    else
        done = ctl_put_row(job, name, row);
    free(name);
    return done;
}

static bool take_all(struct ctl_job *job, struct import *import, ctl_take_fn take)
{
    uint64_t told_ns = clock_now_ns();
    json_t *entry;
    size_t number = 0;
    int got;
    while ((got = import_next(import, &entry)) == 1) {
        bool done = take(job, import->path, entry, ++number);
        json_decref(entry);
        if (!done)
            return false;
        if (is_time(&told_ns))
            fprintf(stderr, "import: %zu read, %u %%\n", number, import_percent(import));
    }
    return got == 0 || ctl_fail(job, "%s", import->problem);
}

bool ctl_import(struct ctl_job *job, const char *path, const char *list, ctl_take_fn take)
{
    struct import import;
    bool done = (import_open(&import, path, job->options->format, list) ||
                 ctl_fail(job, "%s", import.problem)) &&
                take_all(job, &import, take);
    import_close(&import);
    return done;
}

/* --replace: what was not in the import goes. */
static bool remove_others(struct ctl_job *job)
{
    const char *name, *settings;
    json_t *others = json_array(), *other;
    size_t i;
    int got;
    while ((got = tenant_file_next(job->file, job->table, &name, &settings)) == 1)
        if (json_object_get(job->touched, name) == NULL)
            (void)json_array_append_new(others, json_string(name));
    bool done = got == 0 || ctl_fail_file(job, got);
    json_array_foreach(others, i, other) done =
        done && ctl_remove_row(job, json_string_value(other));
    json_decref(others);
    return done;
}

bool ctl_run_import(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    if (options->count != 1)
        return ctl_misuse(job, "name one file to import, or - for the standard input");
    return ctl_import(job, options->words[0], tenant_table_name(job->table), take_row) &&
           (!options->replaces || remove_others(job));
}

static bool check_certificates(struct ctl_job *job, const struct config *config)
{
    char problem[300];
    const char *name;
    json_t *value;
    uint64_t told_ns = clock_now_ns();
    size_t number = 0;
    json_object_foreach(job->touched, name, value)
    {
        number++;
        if (is_time(&told_ns))
            fprintf(stderr, "certificates: %zu of %zu tenants\n", number,
                    json_object_size(job->touched));
        const struct config_tenant *tenant = config_find_named(config, span_of(name));
        if (tenant->certificate != NULL &&
            tls_certificate_check(tenant->certificate, tenant->key, problem, sizeof(problem)) !=
                0)
            return ctl_fail(job, "%s: tenant '%s': certificate: %s", job->outline.tenants_file,
                            name, problem);
    }
    return true;
}

bool ctl_check(struct ctl_job *job)
{
    char error[600];
    struct config *config = NULL;
    const struct config_source source = {.path = job->options->config, .tenants = job->file};
    if (config_read(&config, &source, error, sizeof(error)) != 0)
        return ctl_fail(job, "%s", error);
    size_t size;
    FILE *out = open_memstream(&job->warnings, &size);
    if (out != NULL) {
        config_tell_warnings(config, out);
        (void)fclose(out);
    }
    bool good = job->table != TENANT_TABLE_TENANTS || check_certificates(job, config);
    config_close(&config);
    return good;
}
