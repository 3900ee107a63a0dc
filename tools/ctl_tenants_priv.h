/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands of passerellectl tenant|partner|user share: one command under way. */
#ifndef PASSERELLE_TOOLS_CTL_TENANTS_PRIV_H
#define PASSERELLE_TOOLS_CTL_TENANTS_PRIV_H

#include "core/config.h"
#include "tools/ctl_tenants.h"

struct ctl_tally {
    size_t added, changed, removed;
};

struct ctl_listed; /* tools/ctl_users.c: the users of the tenants in an import */

struct ctl_job {
    const struct ctl_options *options;
    enum ctl_object object;
    enum tenant_table table; /* that of the tenants for users */
    struct config_outline outline;
    struct tenant_file *file;
    json_t *touched; /* the names of the rows that were added or changed */
    struct ctl_tally rows, users;
    struct ctl_listed *listed;
    char *warnings; /* about the configuration as it is to be, as the relay would say them */
    int status;     /* of the process; set by whoever says why */
};

/* Says what is wrong; false. */
bool ctl_fail(struct ctl_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for wrong words, which make the status 2. */
bool ctl_misuse(struct ctl_job *job, const char *sentence);
/* The same for an error of the tenants file. */
bool ctl_fail_file(struct ctl_job *job, int rc);
/* *settings is NULL when there is no such row; a new reference. */
bool ctl_get_row(struct ctl_job *job, const char *name, json_t **settings) MUST_USE;
bool ctl_put_row(struct ctl_job *job, const char *name, const json_t *settings) MUST_USE;
bool ctl_remove_row(struct ctl_job *job, const char *name) MUST_USE;
/* Changes settings of this table by KEY=VALUE, KEY+=VALUE or KEY-=VALUE. */
bool ctl_change_by_word(struct ctl_job *job, json_t *settings, const char *word) MUST_USE;

/* ctl_bulk.c: many rows in, and the check of what came of it. */
bool ctl_run_import(struct ctl_job *job);
/* Takes what an import gives, its entry with this number, counted from 1; says what is wrong.
 */
typedef bool (*ctl_take_fn)(struct ctl_job *job, const char *path, json_t *entry,
                            size_t number);
/* Has `take` take all of an import; `list` as for import_open. Says how far it is. */
bool ctl_import(struct ctl_job *job, const char *path, const char *list, ctl_take_fn take);
/* Whether the relay could run with what is not committed yet: everything that passerelle
   --check checks, certificates only of the tenants that were touched. */
bool ctl_check(struct ctl_job *job) MUST_USE;

/* ctl_show.c: rows out. */
bool ctl_run_list(struct ctl_job *job);
bool ctl_run_show(struct ctl_job *job);
bool ctl_run_export(struct ctl_job *job);
/* One setting a line, or as JSON. */
void ctl_print_settings(const struct ctl_job *job, const json_t *settings);
/* The next row whose name contains `part` as it stands in the YAML: with its name, first. 1, 0,
   or -1 with the reason said. */
int ctl_next_row(struct ctl_job *job, const char *part, json_t **row);

/* ctl_users.c: changes of who is listed; `ctl_users_import` also many of them. */
bool ctl_users_add(struct ctl_job *job);
bool ctl_users_set(struct ctl_job *job);
bool ctl_users_del(struct ctl_job *job);
bool ctl_users_import(struct ctl_job *job);
/* ctl_users_show.c */
bool ctl_users_list(struct ctl_job *job);
bool ctl_users_show(struct ctl_job *job);
bool ctl_users_export(struct ctl_job *job);

/* ctl_skype_run.c: the settings of Skype for Business into the tenants file, or as YAML to the
   standard output. */
bool ctl_skype_import(struct ctl_job *job);
bool ctl_skype_yaml(struct ctl_job *job);

#endif
