/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The users whom a tenant's row lists (tenants[].users): by their prepared address, so that one
 * who is written in several ways is one. The lists are read once and written once, and looked
 * up by hash between, so many users cost no more than to read them.
 */
#ifndef PASSERELLE_TOOLS_CTL_USERS_H
#define PASSERELLE_TOOLS_CTL_USERS_H

#include "proto/jid.h"
#include "tools/ctl_tenants_priv.h"

#define USERS_ALLOW "allow"
#define USERS_DENY  "deny"

/* A prepared address without a resource, NUL-terminated. */
struct users_address {
    char text[JID_SIZE_MAX + 1];
};

struct users {
    char *tenant;
    json_t *settings; /* of the row */
    json_t *domains;  /* the tenant's, prepared: a set */
    json_t *access;   /* address → USERS_ALLOW or USERS_DENY */
};

/* The users of the tenant with this name, or of this row. Says what is wrong; to be closed in
   any case. */
bool users_open(struct ctl_job *job, struct users *users, const char *tenant) MUST_USE;
bool users_read(struct ctl_job *job, struct users *users, const char *tenant,
                json_t *settings) MUST_USE;
void users_close(struct users *users);
/* The user whom `text` means: an address in a domain of the tenant, or what stands in front of
   the @ when the tenant has one domain. NULL: *address is it; else why it is none, static. */
const char *users_address(const struct users *users, const char *text,
                          struct users_address *address) MUST_USE;
/* Says why not, of a user of this tenant; false. */
bool users_fail(struct ctl_job *job, const struct users *users, const char *text,
                const char *why);
/* What holds for users who are not listed: USERS_ALLOW or USERS_DENY. */
const char *users_default(const struct users *users);

#endif
