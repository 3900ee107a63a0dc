/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * passerellectl tenant|partner: shows and changes the tenants file. A change is one
 * transaction: the configuration that would come of it is checked with the code of passerelle
 * --check, and only then it is committed and the relay told.
 */
#ifndef PASSERELLE_TOOLS_CTL_TENANTS_H
#define PASSERELLE_TOOLS_CTL_TENANTS_H

#include "core/tenant_file.h"
#include "tools/ctl_import.h"

struct ctl_options {
    const char *config;  /* of the relay: it names the tenants file */
    const char *socket;  /* NULL: the configured one */
    const char *tenant, *from, *message; /* of explain and ping; NULL: not given */
    const char *command; /* whose words follow */
    char **words;
    int count;
    enum import_format format;
    bool as_json, dry_run, replaces, no_reload;
};

/* The exit status: 0, 1 when it was refused, 2 when the words are wrong. */
int ctl_tenants(const struct ctl_options *options, enum tenant_table table);

#endif
