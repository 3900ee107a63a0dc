/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may talk with XMPP users: Get-CsExternalAccessPolicy says it, Get-CsUser for whom. */
#include <string.h>
#include <strings.h>

#include "tools/ctl_powershell.h"
#include "tools/ctl_skype.h"
#include "tools/ctl_users.h"

/* The name of a policy for single users, which may have "Tag:" in front. */
static const char *policy_name(const char *identity)
{
    return strncasecmp(identity, "tag:", 4) == 0 ? identity + 4 : identity;
}

/* NULL: it says neither. */
static const char *access_of(const json_t *policy)
{
    char memory[32];
    const char *text = skype_text(policy, "EnableXmppAccess", memory);
    if (text == NULL || (strcasecmp(text, "True") != 0 && strcasecmp(text, "False") != 0))
        return NULL;
    return strcasecmp(text, "True") == 0 ? USERS_ALLOW : USERS_DENY;
}

static const char *access_by_name(const struct skype *skype, const char *name)
{
    char memory[32];
    size_t i;
    const json_t *policy;
    const char *access = NULL;
    json_array_foreach(skype->objects[SKYPE_POLICY], i, policy)
    {
        const char *identity = skype_text(policy, "Identity", memory);
        if (identity != NULL && strcasecmp(policy_name(identity), policy_name(name)) == 0)
            access = access_of(policy);
    }
    return access;
}

static void map_default(struct skype *skype)
{
    static const char name[] = "Global";
    const char *access = access_by_name(skype, name);
    skype->default_access = access != NULL ? access : USERS_DENY;
    skype_tell(skype, name, "EnableXmppAccess",
               access == NULL                     ? "-"
               : strcmp(access, USERS_ALLOW) == 0 ? "True"
                                                  : "False",
               access != NULL ? SKYPE_TAKEN : SKYPE_DEFAULT, "users.default: %s",
               skype->default_access);
}

/* Those of a site are told nowhere else than in the topology. */
static void map_policy(struct skype *skype, const json_t *policy, bool has_users)
{
    char memory[32], value_memory[32];
    const char *identity = skype_text(policy, "Identity", memory);
    const char *access = access_of(policy);
    const char *value = skype_text(policy, "EnableXmppAccess", value_memory);
    if (identity == NULL || access == NULL) {
        skype_tell(skype, identity != NULL ? identity : "(access policy)", "EnableXmppAccess",
                   value != NULL ? value : "-", SKYPE_INVALID,
                   identity != NULL ? "it is neither True nor False" : "it has no Identity");
        return;
    }
    bool is_same = strcmp(access, skype->default_access) == 0;
    bool is_site = strncasecmp(identity, "site:", 5) == 0;
    if (strcasecmp(identity, "Global") == 0)
        return;
    if (is_same)
        skype_tell(skype, identity, "EnableXmppAccess", value, SKYPE_TAKEN, "as users.default");
    else if (is_site)
        skype_tell(skype, identity, "EnableXmppAccess", value, SKYPE_WARNING,
                   "which users are of this site is not in the export: list them by "
                   "passerellectl user add, with access=%s",
                   access);
    else
        skype_tell(skype, identity, "EnableXmppAccess", value,
                   has_users ? SKYPE_TAKEN : SKYPE_WARNING, "users.%s: %s", access,
                   has_users ? "who has it" : "who has it tells Get-CsUser: export that, too");
}

/* As it is compared: prepared, without a resource. */
static const char *prepared(const char *address, struct users_address *out)
{
    char memory[JID_SIZE_MAX];
    struct jid jid;
    struct writer parts = writer_make(memory, sizeof(memory));
    struct writer writer = writer_make(out->text, sizeof(out->text) - 1);
    if (jid_parse(span_of(address), &parts, &jid) != JID_OK || jid.local.size == 0)
        return NULL;
    jid_write_bare(&writer, &jid);
    out->text[writer_span(&writer).size] = '\0';
    return out->text;
}

static void map_user(struct skype *skype, const json_t *user, size_t *listed)
{
    char memory[32], name_memory[32];
    const char *address = skype_text(user, "SipAddress", memory);
    const char *name = skype_text(user, "ExternalAccessPolicy", name_memory), *bare = NULL;
    struct users_address prepared_address;
    if (address != NULL && strncasecmp(address, "sip:", 4) == 0)
        bare = prepared(address + 4, &prepared_address);
    if (bare == NULL) {
        skype_tell(skype, address != NULL ? address : "(user)", "SipAddress",
                   address != NULL ? address : "-", SKYPE_INVALID, "it is no SIP address");
        return;
    }
    const char *access = name != NULL ? access_by_name(skype, name) : skype->default_access;
    if (access == NULL) {
        skype_tell(skype, bare, "ExternalAccessPolicy", name, SKYPE_INVALID,
                   "this policy is not exported: Get-CsExternalAccessPolicy");
        return;
    }
    if (strcmp(access, skype->default_access) == 0)
        return;
    (void)json_object_set_new(skype->access, bare, json_string(access));
    ++*listed;
}

static void ignore_others(struct skype *skype, enum skype_kind kind, const char *const *known)
{
    size_t i;
    json_t *object, *value;
    const char *property;
    json_array_foreach(skype->objects[kind], i, object)
    {
        json_object_foreach(object, property, value)
        {
            if (property[0] != '\0' && strcmp(property, known[0]) != 0 &&
                strcmp(property, known[1]) != 0)
                (void)json_object_set_new(skype->ignored[kind], property, json_true());
        }
    }
}

void skype_map_users(struct skype *skype)
{
    static const char *const of_policy[] = {"Identity", "EnableXmppAccess"};
    static const char *const of_user[] = {"SipAddress", "ExternalAccessPolicy"};
    size_t i, listed = 0, users = json_array_size(skype->objects[SKYPE_USER]);
    const json_t *object;
    skype->has_policy = json_array_size(skype->objects[SKYPE_POLICY]) > 0;
    if (!skype->has_policy) {
        skype_tell(skype, "(users)", "EnableXmppAccess", "-",
                   users > 0 ? SKYPE_INVALID : SKYPE_WARNING,
                   "Get-CsExternalAccessPolicy is not in the export: users.default stays as it "
                   "is (allow unless it is given; there nobody may by default)");
        return;
    }
    map_default(skype);
    json_array_foreach(skype->objects[SKYPE_POLICY], i, object)
        map_policy(skype, object, users > 0);
    json_array_foreach(skype->objects[SKYPE_USER], i, object) map_user(skype, object, &listed);
    if (users > 0) {
        char count[32];
        (void)snprintf(count, sizeof(count), "%zu users", users);
        skype_tell(skype, "(users)", "ExternalAccessPolicy", count, SKYPE_TAKEN,
                   "%zu differ from users.default and are listed in users.%s", listed,
                   strcmp(skype->default_access, USERS_DENY) == 0 ? USERS_ALLOW : USERS_DENY);
    }
    ignore_others(skype, SKYPE_POLICY, of_policy);
    ignore_others(skype, SKYPE_USER, of_user);
}
