/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The settings of Skype for Business' XMPP gateway as settings of a tenant: what was exported
 * of Get-CsXmppAllowedPartner, Get-CsXmppGatewayConfiguration, Get-CsExternalAccessPolicy and
 * Get-CsUser. An object is known by its properties, so that files may be given in any order,
 * and hold a part of them (Select-Object). Every property ends in a row of the report.
 */
#ifndef PASSERELLE_TOOLS_CTL_SKYPE_H
#define PASSERELLE_TOOLS_CTL_SKYPE_H

#include "core/rules.h"
#include "tools/ctl_tenants_priv.h"

enum skype_kind { SKYPE_PARTNER, SKYPE_GATEWAY, SKYPE_POLICY, SKYPE_USER, SKYPE_KINDS };

enum skype_result {
    SKYPE_TAKEN,
    SKYPE_DEFAULT, /* not in the export: what holds there then was taken */
    SKYPE_CHANGED, /* as near as there is here */
    SKYPE_BY_HAND, /* of the whole relay, in its YAML */
    SKYPE_LEFT,    /* there is no such thing here */
    SKYPE_WARNING,
    SKYPE_INVALID
};

struct skype {
    json_t *objects[SKYPE_KINDS];
    json_t *ignored[SKYPE_KINDS]; /* properties that are no settings: a set */
    json_t *report;               /* rows of texts */
    size_t invalid;               /* rows of SKYPE_INVALID */
    /* What comes of it for a tenant. */
    bool is_open;    /* everybody is a partner */
    json_t *names;   /* tenants[].partners */
    json_t *rules;   /* tenants[].xmpp */
    json_t *pairs;   /* tenants[].partner_rules */
    json_t *hosts;   /* entries of partners[]: those with a host */
    json_t *access;  /* address → USERS_ALLOW or USERS_DENY */
    bool has_policy; /* `default_access` is known */
    const char *default_access;
};

/* One object that is being read. */
struct skype_place {
    enum skype_kind kind;
    const char *what; /* in the report */
    const json_t *object;
    json_t *out;                 /* the rules that come of it */
    struct rules rules;          /* the same as values */
    const char *property, *text; /* text: NULL where the value is none */
    const json_t *value;
    bool is_default; /* the property is not in the export */
    bool is_bad;
    json_t *additional; /* of a partner: more domains; NULL */
    const char *host;   /* … ProxyFqdn; NULL */
    char memory[32];
};

struct skype_setting {
    const char *property, *fallback; /* what holds there by default; NULL: nothing */
    /* NULL: who calls skype_read sees to it. */
    void (*take)(struct skype *skype, struct skype_place *place,
                 const struct skype_setting *setting);
    enum rule rule; /* that it becomes, for some */
    unsigned unit;  /* … and how many of ours one of theirs is */
};

bool skype_init(struct skype *skype) MUST_USE;
void skype_fini(struct skype *skype);
/* Takes the objects of an export; `path` is for the report. */
void skype_take(struct skype *skype, const char *path, const json_t *objects);
/* Makes settings of all that was taken. */
void skype_map(struct skype *skype);

/* A row of the report, and the count of the invalid ones. */
__attribute__((format(printf, 6, 7))) void skype_tell(struct skype *skype, const char *what,
                                                      const char *setting, const char *value,
                                                      enum skype_result result,
                                                      const char *format, ...);
/* The same of the property that is being read. */
__attribute__((format(printf, 4, 5))) void skype_say(struct skype *skype,
                                                     struct skype_place *place,
                                                     enum skype_result result,
                                                     const char *format, ...);
/* Goes through the settings of an object, and notes what else it has. */
void skype_read(struct skype *skype, struct skype_place *place,
                const struct skype_setting *settings, size_t count);
/* A word of theirs is one of the rule's: NotSupported is not_supported. */
void skype_take_name(struct skype *skype, struct skype_place *place,
                     const struct skype_setting *setting);
/* A number, by `unit`, as far as the rule goes. 0 leaves what would hold otherwise. */
void skype_take_number(struct skype *skype, struct skype_place *place,
                       const struct skype_setting *setting);
/* The property as a text; NULL: it is not there, empty, or no text. */
const char *skype_text(const json_t *object, const char *property, char memory[32]);

/* tools/ctl_skype_partner.c, ctl_skype_users.c */
void skype_map_partners(struct skype *skype);
void skype_map_users(struct skype *skype);
/* tools/ctl_skype_merge.c: into the settings of a tenant; with `replaces` what it had of that
   kind before goes. False when memory is short. */
bool skype_merge(const struct skype *skype, json_t *settings, bool replaces) MUST_USE;

#endif
