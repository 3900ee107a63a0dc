/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * passerellectl tenant|partner|user|skype: shows and changes the tenants file. A change is one
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
    bool as_json, dry_run, replaces, no_reload, skips_invalid;
};

/* What the commands are about: a row, a user whom a tenant's row lists, or what was exported of
   Skype for Business. */
enum ctl_object { CTL_TENANT, CTL_PARTNER, CTL_USER, CTL_SKYPE };

/* The object that the first word of a command names; false: it names none. */
bool ctl_object_of(const char *word, enum ctl_object *object);
/* The exit status: 0, 1 when it was refused, 2 when the words are wrong. */
int ctl_tenants(const struct ctl_options *options, enum ctl_object object);

#endif
