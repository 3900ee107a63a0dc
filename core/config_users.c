/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which users of a tenant may talk with XMPP users: those listed as they are listed, all others
   by the default. */
#include "core/config_schema.h"

#include <stdio.h>

#include "proto/jid.h"

static bool user_read(struct config_load *load, const struct config_file *file, const char *key,
                      const char *text, struct config_tenant *tenant)
{
    char memory[JID_SIZE_MAX], bare[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct writer prepared = writer_make(bare, sizeof(bare));
    struct jid jid;
    unsigned present = 0;
    if (jid_parse(span_of(text), &writer, &jid) != JID_OK || jid.local.size == 0 ||
        jid.resource.size > 0)
        return config_mark_fail(load, file, key, "'%s' is no address such as bob@%s", text,
                                tenant->domains[0].unicode);
    if (config_find_tenant(load->config, jid.domain) != tenant)
        return config_mark_fail(load, file, key, "'%s' is in no domain of this tenant", text);
    jid_write_bare(&prepared, &jid);
    char *user = (char *)(uintptr_t)arena_copy(load->arena, writer_span(&prepared)).data;
    if (user == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    if (!config_index_add(load->config, CONFIG_SCOPE_USER, user, (unsigned)tenant->user_count,
                          &present))
        return config_mark_fail(load, file, key, "'%s' stands twice in this tenant", text);
    tenant->users[tenant->user_count++] = user;
    tenant->has_users = true;
    return true;
}

static bool list_read(struct config_load *load, const struct config_file *file,
                      const char *parent, const struct raw_list *list,
                      struct config_tenant *tenant)
{
    char key[CONFIG_KEY_SIZE];
    for (unsigned i = 0; i < list->count; i++) {
        (void)snprintf(key, sizeof(key), "%s[%u]", parent, i);
        if (!user_read(load, file, key, list->item[i], tenant))
            return false;
    }
    return true;
}

bool config_users_read(struct config_load *load, const struct config_file *file,
                       const char *parent, const struct raw_users *raw,
                       struct config_tenant *tenant)
{
    static const struct raw_users none = {0};
    static const char *const defaults[] = {"deny", "allow", NULL};
    char key[CONFIG_KEY_SIZE - 16]; /* with room for a place in a list */
    unsigned is_allowed = 1;
    raw = raw != NULL ? raw : &none;
    (void)snprintf(key, sizeof(key), "%s.users.default", parent);
    if (!config_check_choice(load, file, key, raw->fallback, defaults, &is_allowed))
        return false;
    tenant->users_allowed = is_allowed != 0;
    (void)snprintf(key, sizeof(key), "%s.users.allow", parent);
    /* Whoever writes only this list may think that it bars all others. */
    if (raw->allow.count > 0 && raw->fallback == NULL)
        return config_mark_fail(load, file, key,
                                "write default: deny (only these may) or default: allow "
                                "(the others may, too) beside it");
    tenant->users = config_check_alloc(load, (size_t)raw->allow.count + raw->deny.count,
                                       sizeof(*tenant->users));
    if (tenant->users == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    if (!list_read(load, file, key, &raw->allow, tenant))
        return false;
    tenant->user_allow_count = tenant->user_count;
    (void)snprintf(key, sizeof(key), "%s.users.deny", parent);
    return list_read(load, file, key, &raw->deny, tenant);
}
