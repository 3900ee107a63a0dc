/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "tools/ctl_skype.h"
#include "tools/ctl_users.h"

/* The list under a key, made when it is missing. */
static json_t *list_of(json_t *holder, const char *key, bool is_fresh)
{
    if (is_fresh || !json_is_array(json_object_get(holder, key)))
        (void)json_object_set_new(holder, key, json_array());
    return json_object_get(holder, key);
}

static bool add_to_list(json_t *list, json_t *item)
{
    size_t i = 0;
    while (i < json_array_size(list) && !json_equal(json_array_get(list, i), item))
        i++;
    return i < json_array_size(list) || json_array_append(list, item) == 0;
}

/* In the place of the entry for the same domain, or behind them all. */
static bool put_pair(json_t *pairs, json_t *pair)
{
    const json_t *domain = json_object_get(pair, "domain");
    size_t i = 0;
    while (i < json_array_size(pairs) &&
           !json_equal(json_object_get(json_array_get(pairs, i), "domain"), domain))
        i++;
    return (i < json_array_size(pairs) ? json_array_set(pairs, i, pair)
                                       : json_array_append(pairs, pair)) == 0;
}

static bool merge_partners(const struct skype *skype, json_t *settings, bool replaces)
{
    size_t i;
    json_t *item;
    bool done = true;
    if (json_array_size(skype->names) == 0 && !skype->is_open)
        return true;
    if (skype->is_open) {
        (void)json_object_del(settings, "partners");
    } else {
        json_t *names = list_of(settings, "partners", replaces);
        json_array_foreach(skype->names, i, item) done = done && add_to_list(names, item);
    }
    json_t *pairs = list_of(settings, "partner_rules", replaces);
    json_array_foreach(skype->pairs, i, item) done = done && put_pair(pairs, item);
    if (json_array_size(pairs) == 0)
        (void)json_object_del(settings, "partner_rules");
    return done && json_object_set_new(settings, "policy",
                                       json_string(skype->is_open ? "open" : "list")) == 0;
}

/* Who is listed in a section of users: address → list. */
static json_t *listed_in(const json_t *section)
{
    static const char *const lists[] = {USERS_ALLOW, USERS_DENY};
    json_t *access = json_object(), *address;
    size_t i;
    for (size_t list = 0; list < 2; list++) {
        json_array_foreach(json_object_get(section, lists[list]), i, address)(void)
            json_object_set_new(access, json_string_value(address), json_string(lists[list]));
    }
    return access;
}

static bool merge_users(const struct skype *skype, json_t *settings, bool replaces)
{
    const char *address;
    json_t *list;
    bool done = true;
    if (!skype->has_policy)
        return true;
    json_t *access = replaces ? json_object() : listed_in(json_object_get(settings, "users"));
    done = json_object_update(access, skype->access) == 0;
    json_t *section = json_pack("{s:s}", "default", skype->default_access);
    json_object_foreach(access, address, list)
    {
        json_t *addresses = list_of(section, json_string_value(list), false);
        done = done && json_array_append_new(addresses, json_string(address)) == 0;
    }
    json_decref(access);
    return json_object_set_new(settings, "users", section) == 0 && done;
}

bool skype_merge(const struct skype *skype, json_t *settings, bool replaces)
{
    json_t *rules = json_object_get(settings, "xmpp");
    if (json_object_size(skype->rules) > 0 && rules == NULL) {
        (void)json_object_set_new(settings, "xmpp", json_object());
        rules = json_object_get(settings, "xmpp");
    }
    return (rules == NULL || json_object_update(rules, skype->rules) == 0) &&
           merge_partners(skype, settings, replaces) && merge_users(skype, settings, replaces);
}
