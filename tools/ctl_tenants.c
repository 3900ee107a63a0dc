/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_tenants.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "tools/ctl_answer.h"
#include "tools/ctl_tenants_priv.h"

__attribute__((format(printf, 2, 3))) bool ctl_fail(struct ctl_job *job, const char *format,
                                                    ...)
{
    va_list arguments;
    fputs("passerellectl: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    job->status = EXIT_FAILURE;
    return false;
}

bool ctl_fail_file(struct ctl_job *job, int rc)
{
    return ctl_fail(job, "%s: %s", job->outline.tenants_file,
                    rc == -ENOMEM ? "out of memory" : tenant_file_problem(job->file));
}

bool ctl_misuse(struct ctl_job *job, const char *sentence)
{
    (void)ctl_fail(job, "%s; passerellectl --help tells more", sentence);
    job->status = 2;
    return false;
}

/* ---- changes ---- */

bool ctl_put_row(struct ctl_job *job, const char *name, const json_t *settings)
{
    /* Sorted: what says the same is the same text, whatever it came from. */
    char *before = NULL, *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    int rc = text != NULL ? tenant_file_get(job->file, job->table, name, &before) : -ENOMEM;
    bool is_same = rc == 0 && before != NULL && strcmp(before, text) == 0;
    if (rc == 0 && !is_same)
        rc = tenant_file_put(job->file, job->table, name, text);
    if (rc == 0 && json_object_set_new(job->touched, name, json_true()) != 0)
        rc = -ENOMEM;
    job->rows.added += rc == 0 && before == NULL;
    job->rows.changed += rc == 0 && before != NULL && !is_same;
    free(before);
    free(text);
    return rc == 0 || ctl_fail_file(job, rc);
}

bool ctl_get_row(struct ctl_job *job, const char *name, json_t **settings)
{
    char *text = NULL;
    int rc = tenant_file_get(job->file, job->table, name, &text);
    *settings = text != NULL ? json_loads(text, 0, NULL) : NULL;
    bool is_bad = text != NULL && !json_is_object(*settings);
    free(text);
    if (rc != 0)
        return ctl_fail_file(job, rc);
    return !is_bad ||
           ctl_fail(job, "%s: '%s' holds no JSON object", job->outline.tenants_file, name);
}

/* KEY=VALUE, KEY+=VALUE or KEY-=VALUE. */
bool ctl_change_by_word(struct ctl_job *job, json_t *settings, const char *word)
{
    const char *list = tenant_table_name(job->table);
    char problem[SETTINGS_PROBLEM_SIZE];
    size_t size = strcspn(word, "=");
    if (size == 0 || word[size] == '\0')
        return ctl_misuse(job, "a setting is KEY=VALUE, KEY+=VALUE or KEY-=VALUE");
    const char *value = word + size + 1;
    enum settings_change change = word[size - 1] == '+'   ? SETTINGS_ADD
                                  : word[size - 1] == '-' ? SETTINGS_REMOVE
                                                          : SETTINGS_PUT;
    char *path = strndup(word, change == SETTINGS_PUT ? size : size - 1);
    if (path == NULL)
        return ctl_fail_file(job, -ENOMEM);
    bool done =
        strcmp(path, tenant_table_key(job->table)) != 0
            ? settings_change(settings, list, path, change, value, problem)
            : (snprintf(problem, sizeof(problem), "%s: it stays what it was added with", path),
               false);
    free(path);
    return done || ctl_fail(job, "%s", problem);
}

static bool run_put(struct ctl_job *job, bool is_new)
{
    const struct ctl_options *options = job->options;
    json_t *settings = NULL;
    if (options->count < 2 || options->words[0][0] == '\0')
        return ctl_misuse(job, "name it, and say KEY=VALUE…");
    const char *name = options->words[0];
    if (!ctl_get_row(job, name, &settings))
        return false;
    if ((settings != NULL) == is_new) {
        json_decref(settings);
        return ctl_fail(job,
                        is_new ? "'%s' is there already; change it with set"
                               : "'%s' is not there; add it with add",
                        name);
    }
    if (is_new)
        settings = json_object();
    bool done = settings != NULL;
    for (int i = 1; i < options->count && done; i++)
        done = ctl_change_by_word(job, settings, options->words[i]);
    done = done && ctl_put_row(job, name, settings);
    json_decref(settings);
    return done;
}

static bool run_add(struct ctl_job *job)
{
    return run_put(job, true);
}

static bool run_set(struct ctl_job *job)
{
    return run_put(job, false);
}

bool ctl_remove_row(struct ctl_job *job, const char *name)
{
    int rc = tenant_file_remove(job->file, job->table, name);
    job->rows.removed += rc == 0;
    if (rc == -ENOENT)
        return ctl_fail(job, "'%s' is not there", name);
    return rc == 0 || ctl_fail_file(job, rc);
}

static bool run_del(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    if (options->count == 0)
        return ctl_misuse(job, "name what is to go");
    bool done = true;
    for (int i = 0; i < options->count && done; i++)
        done = ctl_remove_row(job, options->words[i]);
    return done;
}

/* ---- a command ---- */

static const struct command {
    const char *name;
    bool (*run)(struct ctl_job *job); /* of tenants and partners; NULL: there is none */
    bool (*run_users)(struct ctl_job *job);
    bool (*run_skype)(struct ctl_job *job);
    bool writes;
} commands[] = {{"add", run_add, ctl_users_add, NULL, true},
                {"set", run_set, ctl_users_set, NULL, true},
                {"del", run_del, ctl_users_del, NULL, true},
                {"import", ctl_run_import, ctl_users_import, ctl_skype_import, true},
                {"list", ctl_run_list, ctl_users_list, NULL, false},
                {"show", ctl_run_show, ctl_users_show, NULL, false},
                {"export", ctl_run_export, ctl_users_export, NULL, false}};

static bool (*run_of(const struct command *command, enum ctl_object object))(struct ctl_job *)
{
    switch (object) {
    case CTL_TENANT:
    case CTL_PARTNER: return command->run;
    case CTL_USER: return command->run_users;
    case CTL_SKYPE: return command->run_skype;
    }
    return NULL;
}

static const struct command *command_of(const char *name, enum ctl_object object)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (name != NULL && strcmp(commands[i].name, name) == 0 &&
            run_of(&commands[i], object) != NULL)
            return &commands[i];
    return NULL;
}

static void tell_change(const struct ctl_job *job)
{
    const struct ctl_tally *tally = job->object == CTL_USER ? &job->users : &job->rows;
    printf("%s: %zu added, %zu changed, %zu removed\n",
           job->options->dry_run ? "dry run, nothing is kept" : "done", tally->added,
           tally->changed, tally->removed);
    (void)fflush(stdout);
}

static void tell_warnings(const struct ctl_job *job)
{
    if (job->warnings != NULL)
        fputs(job->warnings, stderr);
}

/* The relay's own answer, which has the warnings in it, stands behind ours. */
static void tell_relay(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    const char *path = options->socket != NULL ? options->socket : job->outline.stats_socket;
    int rc = ctl_ask(path, "reload\n");
    if (rc >= 0) {
        job->status = rc;
        return;
    }
    printf("no relay answers at %s (%s): the change counts from its next start\n", path,
           strerror(-rc));
    tell_warnings(job);
}

static void finish(struct ctl_job *job)
{
    int rc = job->options->dry_run ? 0 : tenant_file_commit(job->file);
    if (rc != 0) {
        (void)ctl_fail_file(job, rc);
        return;
    }
    tell_change(job);
    if (job->options->dry_run || job->options->no_reload)
        tell_warnings(job);
    else
        tell_relay(job);
}

static bool open_file(struct ctl_job *job, bool writes)
{
    char error[600];
    const char *config = job->options->config;
    if (config_outline(&job->outline, config, error, sizeof(error)) != 0)
        return ctl_fail(job, "%s", error);
    if (job->outline.tenants_file == NULL)
        return ctl_fail(job, "%s: it names no tenants_file; write tenants_file: sqlite:PATH",
                        config);
    int rc = tenant_file_open(&job->file, job->outline.tenants_file,
                              writes ? TENANT_FILE_WRITE : TENANT_FILE_READ, error,
                              sizeof(error));
    if (rc != 0)
        return ctl_fail(job, "%s%s", error, rc == -ENOENT ? "; the first add makes it" : "");
    job->touched = json_object();
    return job->touched != NULL;
}

bool ctl_object_of(const char *word, enum ctl_object *object)
{
    static const char *const words[] = {[CTL_TENANT] = "tenant",
                                        [CTL_PARTNER] = "partner",
                                        [CTL_USER] = "user",
                                        [CTL_SKYPE] = "skype"};
    size_t i = 0, count = sizeof(words) / sizeof(words[0]);
    while (i < count && strcmp(words[i], word) != 0)
        i++;
    *object = (enum ctl_object)i;
    return i < count;
}

int ctl_tenants(const struct ctl_options *options, enum ctl_object object)
{
    struct ctl_job job = {.options = options,
                          .object = object,
                          .table = object == CTL_PARTNER ? TENANT_TABLE_PARTNERS
                                                         : TENANT_TABLE_TENANTS,
                          .status = EXIT_SUCCESS};
    const struct command *command = command_of(options->command, object);
    if (object == CTL_SKYPE && options->command != NULL &&
        strcmp(options->command, "yaml") == 0) {
        (void)ctl_skype_yaml(&job);
        return job.status;
    }
    if (command == NULL) {
        (void)ctl_misuse(&job,
                         object == CTL_SKYPE
                             ? "the command is import or yaml"
                             : "the command is add, set, del, list, show, import or export");
        return job.status;
    }
    bool done = open_file(&job, command->writes) && run_of(command, object)(&job);
    if (done && command->writes && ctl_check(&job))
        finish(&job);
    assert(done || job.status != EXIT_SUCCESS);
    free(job.warnings);
    json_decref(job.touched);
    tenant_file_close(&job.file);
    config_outline_free(&job.outline);
    return job.status;
}
