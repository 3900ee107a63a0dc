/* SPDX-License-Identifier: GPL-3.0-or-later */
/* passerellectl skype: reads exports, tells what became of each setting, writes what came of
 * it.
 */
#include <errno.h>
#include <stdlib.h>

#include "tools/ctl_answer.h"
#include "tools/ctl_powershell.h"
#include "tools/ctl_skype.h"
#include "tools/ctl_yaml.h"

#define VALUE_SHOWN 40 /* bytes of a value in the report */

static bool is_setting(const char *word)
{
    return strchr(word, '=') != NULL;
}

static bool read_file(struct ctl_job *job, struct skype *skype, const char *path)
{
    char problem[SETTINGS_PROBLEM_SIZE], *text = NULL;
    size_t size = 0;
    int rc = import_slurp(path, &text, &size);
    json_t *objects = rc == 0 ? powershell_read(text, size, problem) : NULL;
    free(text);
    if (rc != 0)
        return ctl_fail(job, "%s: cannot read it: %s", path, strerror(-rc));
    if (objects == NULL)
        return ctl_fail(job, "%s: %s", path, problem);
    skype_take(skype, path, objects);
    json_decref(objects);
    return true;
}

/* A field of the table: what would break it is a blank, and a long one is cut. */
static void put_field(FILE *out, const char *text, bool is_last)
{
    size_t size = strlen(text), shown = is_last || size <= VALUE_SHOWN ? size : VALUE_SHOWN;
    while (shown < size && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--;
    for (size_t i = 0; i < shown; i++)
        (void)fputc((unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i], out);
    fputs(shown < size ? "…" : "", out);
    (void)fputc(is_last ? '\n' : '\t', out);
}

static bool tell(struct ctl_job *job, const struct skype *skype, FILE *out)
{
    char *text = NULL;
    size_t size, i, j;
    const json_t *row, *field;
    FILE *table = open_memstream(&text, &size);
    if (table == NULL)
        return ctl_fail(job, "out of memory");
    fputs("of\tsetting\tvalue\tresult\there\n", table);
    json_array_foreach(skype->report, i, row)
    {
        json_array_foreach(row, j, field)
            put_field(table, json_string_value(field), j + 1 == json_array_size(row));
    }
    (void)fclose(table);
    ctl_table(text, out);
    free(text);
    (void)fflush(out);
    if (skype->invalid == 0 || job->options->skips_invalid)
        return true;
    return ctl_fail(job,
                    "%zu invalid: nothing is kept; mend the export, or leave what is invalid "
                    "out with --skip-invalid",
                    skype->invalid);
}

/* Reads the files that the words name. */
static bool read_all(struct ctl_job *job, struct skype *skype)
{
    const struct ctl_options *options = job->options;
    size_t files = 0;
    bool done = true;
    for (int i = 1; i < options->count && done; i++) {
        if (is_setting(options->words[i]))
            continue;
        done = read_file(job, skype, options->words[i]);
        files++;
    }
    if (done && files == 0)
        return ctl_misuse(job, "name the tenant, and one exported file or more");
    return done;
}

/* What was exported into the settings of the tenant, and those of the command over it. */
static bool merge(struct ctl_job *job, const struct skype *skype, json_t *settings)
{
    const struct ctl_options *options = job->options;
    char problem[SETTINGS_PROBLEM_SIZE];
    bool done = true;
    if (!skype_merge(skype, settings, options->replaces))
        return ctl_fail(job, "out of memory");
    for (int i = 1; i < options->count && done; i++)
        if (is_setting(options->words[i]))
            done = ctl_change_by_word(job, settings, options->words[i]);
    return done && (settings_tidy(settings, tenant_table_name(TENANT_TABLE_TENANTS), problem) ||
                    ctl_fail(job, "%s", problem));
}

/* ---- into the tenants file ---- */

/* What the partner's row is to be; it is for all tenants, so another host is not overruled. */
static bool merge_host(struct ctl_job *job, const char *domain, json_t *entry, json_t *row)
{
    const json_t *host = json_object_get(row, "host");
    if (host != NULL && !json_equal(host, json_object_get(entry, "host")))
        return ctl_fail(job, "partner '%s' has another host already, for all tenants: %s",
                        domain, json_string_value(host));
    (void)json_object_set(row, "host", json_object_get(entry, "host"));
    json_t *list = json_object_get(row, "additional_domains"), *more;
    size_t i, j;
    if (!json_is_array(list)) {
        list = json_array();
        (void)json_object_set_new(row, "additional_domains", list);
    }
    json_array_foreach(json_object_get(entry, "additional_domains"), i, more)
    {
        for (j = 0; j < json_array_size(list); j++)
            if (json_equal(json_array_get(list, j), more))
                break;
        if (j == json_array_size(list))
            (void)json_array_append(list, more);
    }
    if (json_array_size(list) == 0)
        (void)json_object_del(row, "additional_domains");
    return true;
}

static bool put_hosts(struct ctl_job *job, const struct skype *skype)
{
    size_t i;
    json_t *entry, *row = NULL;
    bool done = true;
    job->table = TENANT_TABLE_PARTNERS;
    json_array_foreach(skype->hosts, i, entry)
    {
        const char *domain = json_string_value(json_object_get(entry, "domain"));
        done = done && ctl_get_row(job, domain, &row);
        if (done && row == NULL)
            row = json_object();
        done = done && merge_host(job, domain, entry, row) && ctl_put_row(job, domain, row);
        (void)json_object_del(job->touched, domain); /* those are tenants */
        json_decref(row);
        row = NULL;
    }
    job->table = TENANT_TABLE_TENANTS;
    return done;
}

static bool open_tenant(struct ctl_job *job, const char *name, json_t **settings)
{
    const struct ctl_options *options = job->options;
    bool has_words = false;
    for (int i = 1; i < options->count; i++)
        has_words |= is_setting(options->words[i]);
    if (!ctl_get_row(job, name, settings))
        return false;
    if (*settings == NULL && !has_words)
        return ctl_fail(job,
                        "%s: there is no tenant '%s' in it; to make one add domains='…' and "
                        "trunks[0].uri='sip:…' to the command",
                        job->outline.tenants_file, name);
    if (*settings == NULL)
        *settings = json_object();
    return true;
}

bool ctl_skype_import(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    struct skype skype;
    json_t *settings = NULL;
    bool done = skype_init(&skype) || ctl_fail(job, "out of memory");
    done = done && read_all(job, &skype);
    if (done) {
        skype_map(&skype);
        done = tell(job, &skype, stdout);
    }
    done = done && open_tenant(job, options->words[0], &settings) &&
           merge(job, &skype, settings) && put_hosts(job, &skype) &&
           ctl_put_row(job, options->words[0], settings);
    json_decref(settings);
    skype_fini(&skype);
    return done;
}

/* ---- as YAML ---- */

static json_t *document_of(const struct skype *skype, const char *name, json_t *settings)
{
    json_t *tenant = json_pack("{s:s}", "name", name);
    (void)json_object_update(tenant, settings);
    json_t *document = json_pack("{s:[o]}", "tenants", tenant);
    if (json_array_size(skype->hosts) > 0)
        (void)json_object_set(document, "partners", skype->hosts);
    return document;
}

bool ctl_skype_yaml(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    struct skype skype;
    json_t *settings = json_object();
    bool done = skype_init(&skype) || ctl_fail(job, "out of memory");
    done = done && read_all(job, &skype);
    if (done) {
        skype_map(&skype);
        done = tell(job, &skype, stderr);
    }
    done = done && merge(job, &skype, settings);
    if (done && (json_object_get(settings, "domains") == NULL ||
                 json_object_get(settings, "trunks") == NULL))
        fputs("warning: the tenant needs domains and trunks, too: add them to the YAML, or "
              "domains='…' and trunks[0].uri='sip:…' to the command\n",
              stderr);
    if (done) {
        json_t *document = document_of(&skype, options->words[0], settings);
        done = yaml_write(document, stdout) || ctl_fail(job, "the YAML cannot be written");
        json_decref(document);
    }
    json_decref(settings);
    skype_fini(&skype);
    return done;
}
