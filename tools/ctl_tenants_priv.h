/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands of passerellectl tenant|partner share: one command under way. */
#ifndef PASSERELLE_TOOLS_CTL_TENANTS_PRIV_H
#define PASSERELLE_TOOLS_CTL_TENANTS_PRIV_H

#include "core/config.h"
#include "tools/ctl_tenants.h"

struct ctl_job {
    const struct ctl_options *options;
    enum tenant_table table;
    struct config_outline outline;
    struct tenant_file *file;
    json_t *touched; /* the names of the rows that were added or changed */
    size_t added, changed, removed;
    int status; /* of the process; set by whoever says why */
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

/* ctl_bulk.c: many rows in, and the check of what came of it. */
bool ctl_run_import(struct ctl_job *job);
/* Whether the relay could run with what is not committed yet: everything that passerelle
   --check checks, certificates only of the tenants that were touched. */
bool ctl_check(struct ctl_job *job) MUST_USE;

/* ctl_show.c: rows out. */
bool ctl_run_list(struct ctl_job *job);
bool ctl_run_show(struct ctl_job *job);
bool ctl_run_export(struct ctl_job *job);

#endif
