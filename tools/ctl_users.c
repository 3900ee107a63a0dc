/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_users.h"

#include <errno.h>
#include <stdlib.h>

static const char *const lists[] = {USERS_ALLOW, USERS_DENY};
#define LIST_COUNT 2

/* ---- the lists of a row ---- */

/* NULL: it is no address with a local part and without a resource. */
static const char *address_read(const char *text, struct users_address *out, struct jid *jid,
                                char memory[JID_SIZE_MAX])
{
    struct writer parts = writer_make(memory, JID_SIZE_MAX);
    struct writer writer = writer_make(out->text, sizeof(out->text) - 1);
    if (jid_parse(span_of(text), &parts, jid) != JID_OK || jid->local.size == 0 ||
        jid->resource.size > 0)
        return NULL;
    jid_write_bare(&writer, jid);
    out->text[writer_span(&writer).size] = '\0';
    return out->text;
}

const char *users_address(const struct users *users, const char *text,
                          struct users_address *address)
{
    char memory[JID_SIZE_MAX], full[JID_SIZE_MAX + 1], domain[JID_SIZE_MAX + 1];
    struct jid jid;
    if (strchr(text, '@') == NULL) {
        if (json_object_size(users->domains) != 1)
            return "could be in each domain of this tenant: write the whole address";
        int size = snprintf(full, sizeof(full), "%s@%s", text,
                            json_object_iter_key(json_object_iter(users->domains)));
        if (size < 0 || (size_t)size >= sizeof(full))
            return "is too long";
        text = full;
    }
    if (address_read(text, address, &jid, memory) == NULL)
        return "is no user: write bob, or bob@ and a domain of this tenant";
    (void)snprintf(domain, sizeof(domain), "%.*s", (int)jid.domain.size, jid.domain.data);
    return json_object_get(users->domains, domain) != NULL ? NULL
                                                           : "is in no domain of this tenant";
}

/* What is no domain is left to the check of the configuration. */
static json_t *domains_of(const json_t *settings)
{
    char memory[JID_SIZE_MAX], domain[JID_SIZE_MAX + 1];
    json_t *domains = json_object(), *item;
    size_t i;
    json_array_foreach(json_object_get(settings, "domains"), i, item)
    {
        struct writer writer = writer_make(memory, sizeof(memory));
        struct span prepared;
        if (!json_is_string(item) ||
            jid_prepare_domain(span_of(json_string_value(item)), &writer, &prepared) != JID_OK)
            continue;
        (void)snprintf(domain, sizeof(domain), "%.*s", (int)prepared.size, prepared.data);
        (void)json_object_set_new(domains, domain, json_true());
    }
    return domains;
}

bool users_read(struct ctl_job *job, struct users *users, const char *tenant, json_t *settings)
{
    char memory[JID_SIZE_MAX];
    struct users_address address;
    struct jid jid;
    *users = (struct users){.tenant = strdup(tenant),
                            .settings = json_incref(settings),
                            .domains = domains_of(settings),
                            .access = json_object()};
    if (users->tenant == NULL || users->domains == NULL || users->access == NULL)
        return ctl_fail_file(job, -ENOMEM);
    for (size_t list = 0; list < LIST_COUNT; list++) {
        size_t i;
        const json_t *item;
        json_array_foreach(json_object_get(json_object_get(settings, "users"), lists[list]), i,
                           item)
        {
            const char *text = json_is_string(item) ? json_string_value(item) : "";
            const char *read = address_read(text, &address, &jid, memory);
            /* What is no address stays as it is: the check of the configuration names it. */
            if (json_object_set_new(users->access, read != NULL ? read : text,
                                    json_string(lists[list])) != 0)
                return ctl_fail_file(job, -ENOMEM);
        }
    }
    return true;
}

bool users_open(struct ctl_job *job, struct users *users, const char *tenant)
{
    json_t *settings = NULL;
    *users = (struct users){0};
    if (!ctl_get_row(job, tenant, &settings))
        return false;
    bool done = settings != NULL ? users_read(job, users, tenant, settings)
                                 : ctl_fail(job, "%s: there is no tenant '%s' in it",
                                            job->outline.tenants_file, tenant);
    json_decref(settings);
    return done;
}

void users_close(struct users *users)
{
    free(users->tenant);
    json_decref(users->settings);
    json_decref(users->domains);
    json_decref(users->access);
    *users = (struct users){0};
}

const char *users_default(const struct users *users)
{
    const json_t *section = json_object_get(users->settings, "users");
    const char *text = json_string_value(json_object_get(section, "default"));
    return text != NULL && strcmp(text, USERS_DENY) == 0 ? USERS_DENY : USERS_ALLOW;
}

/* Those who are listed so; a new reference. */
static json_t *listed_as(json_t *access, const char *list)
{
    json_t *array = json_array(), *value;
    const char *address;
    json_object_foreach(access, address, value)
    {
        if (strcmp(json_string_value(value), list) == 0)
            (void)json_array_append_new(array, json_string(address));
    }
    return array;
}

static void count_changes(struct ctl_job *job, json_t *before, json_t *after)
{
    const char *address;
    json_t *value;
    json_object_foreach(after, address, value)
    {
        const json_t *old = json_object_get(before, address);
        job->users.added += old == NULL;
        job->users.changed += old != NULL && !json_equal(old, value);
    }
    json_object_foreach(before, address, value)
    {
        job->users.removed += json_object_get(after, address) == NULL;
    }
}

/* Writes the row again, with `access` in place of what it listed. */
static bool users_put(struct ctl_job *job, struct users *users, json_t *access)
{
    json_t *section = json_object_get(users->settings, "users");
    section = section != NULL ? json_incref(section) : json_object();
    bool is_said = json_object_get(section, "default") != NULL;
    for (size_t i = 0; i < LIST_COUNT; i++) {
        json_t *list = listed_as(access, lists[i]);
        (void)(json_array_size(list) > 0 ? json_object_set(section, lists[i], list)
                                         : json_object_del(section, lists[i]));
        json_decref(list);
    }
    (void)(json_object_size(section) > 0 ? json_object_set(users->settings, "users", section)
                                         : json_object_del(users->settings, "users"));
    bool is_open = json_object_get(section, USERS_ALLOW) != NULL && !is_said;
    json_decref(section);
    if (is_open)
        return ctl_fail(job,
                        "%s: tenant '%s': who may is listed, so say first what holds for the "
                        "others: passerellectl tenant set %s users.default=deny (or allow)",
                        job->outline.tenants_file, users->tenant, users->tenant);
    count_changes(job, users->access, access);
    return ctl_put_row(job, users->tenant, users->settings);
}

/* ---- add, set, del ---- */

enum change { CHANGE_ADD, CHANGE_SET, CHANGE_DEL };

/* Is the word "access=…"? No address begins like this and has no @. */
static bool is_access(const char *word)
{
    return strncmp(word, "access=", 7) == 0 && strchr(word, '@') == NULL;
}

static bool is_access_value(const char *text)
{
    return strcmp(text, USERS_ALLOW) == 0 || strcmp(text, USERS_DENY) == 0;
}

bool users_fail(struct ctl_job *job, const struct users *users, const char *text,
                const char *why)
{
    return ctl_fail(job, "%s: tenant '%s': user '%s' %s", job->outline.tenants_file,
                    users->tenant, text, why);
}

/* What `set` and `add` are to give; NULL when nothing was said. False with the misuse said. */
static bool access_said(struct ctl_job *job, const char **access)
{
    *access = NULL;
    for (int i = 1; i < job->options->count; i++) {
        const char *word = job->options->words[i];
        if (!is_access(word))
            continue;
        if (*access != NULL || !is_access_value(word + 7))
            return ctl_misuse(job, "write access=allow or access=deny, once");
        *access = word + 7;
    }
    return true;
}

static bool change_user(struct ctl_job *job, const struct users *users, json_t *access,
                        const char *text, enum change change, const char *value)
{
    struct users_address address;
    const char *problem = users_address(users, text, &address);
    if (problem != NULL)
        return users_fail(job, users, text, problem);
    bool is_there = json_object_get(access, address.text) != NULL;
    if (change == CHANGE_ADD && is_there)
        return users_fail(job, users, address.text, "is there already; change it with set");
    if (change != CHANGE_ADD && !is_there)
        return users_fail(job, users, address.text,
                          change == CHANGE_SET ? "is not there; add it with add"
                                               : "is not there");
    if (change == CHANGE_DEL)
        return json_object_del(access, address.text) == 0;
    return json_object_set_new(access, address.text, json_string(value)) == 0 ||
           ctl_fail_file(job, -ENOMEM);
}

static bool run_change(struct ctl_job *job, enum change change)
{
    const struct ctl_options *options = job->options;
    struct users users;
    const char *value;
    if (!access_said(job, &value))
        return false;
    if (options->count < 2 + (value != NULL))
        return ctl_misuse(job, "name the tenant, and one user or more");
    if (change == CHANGE_SET && value == NULL)
        return ctl_misuse(job, "say access=allow or access=deny");
    if (change == CHANGE_DEL && value != NULL)
        return ctl_misuse(job, "del takes users only");
    bool done = users_open(job, &users, options->words[0]);
    json_t *access = done ? json_copy(users.access) : NULL;
    for (int i = 1; i < options->count && done; i++)
        if (!is_access(options->words[i]))
            done = change_user(job, &users, access, options->words[i], change,
                               value != NULL ? value : USERS_ALLOW);
    done = done && users_put(job, &users, access);
    json_decref(access);
    users_close(&users);
    return done;
}

bool ctl_users_add(struct ctl_job *job)
{
    return run_change(job, CHANGE_ADD);
}

bool ctl_users_set(struct ctl_job *job)
{
    return run_change(job, CHANGE_SET);
}

bool ctl_users_del(struct ctl_job *job)
{
    return run_change(job, CHANGE_DEL);
}

/* ---- import ---- */

/* One tenant of an import. */
struct given {
    struct users users;
    json_t *access; /* what the import gives, as in `users` */
};

struct ctl_listed {
    const char *tenant; /* that the command names; NULL: each entry names its own */
    struct given *given;
    size_t count;
    json_t *places; /* tenant → its place in `given` */
};

/* NULL with the reason said. */
static struct given *given_of(struct ctl_job *job, const char *tenant)
{
    struct ctl_listed *listed = job->listed;
    const json_t *place = json_object_get(listed->places, tenant);
    if (place != NULL)
        return &listed->given[json_integer_value(place)];
    struct given *wider =
        reallocarray(listed->given, listed->count + 1, sizeof(*listed->given));
    if (wider == NULL) {
        (void)ctl_fail_file(job, -ENOMEM);
        return NULL;
    }
    listed->given = wider;
    struct given *given = &wider[listed->count];
    *given = (struct given){.access = json_object()};
    bool done = users_open(job, &given->users, tenant);
    (void)json_object_set_new(listed->places, tenant,
                              json_integer((json_int_t)listed->count++));
    return done ? given : NULL;
}

static bool take_user(struct ctl_job *job, const char *path, json_t *entry, size_t number)
{
    const char *tenant = json_string_value(json_object_get(entry, "tenant"));
    const char *text = json_string_value(json_object_get(entry, "user"));
    const char *access = json_string_value(json_object_get(entry, "access"));
    const char *wanted = job->listed->tenant;
    struct users_address address;
    if (tenant == NULL)
        tenant = wanted;
    if (tenant == NULL || text == NULL)
        return ctl_fail(job, "%s: entry %zu has no %s", path, number,
                        text != NULL ? "tenant" : "user");
    if (wanted != NULL && strcmp(tenant, wanted) != 0)
        return ctl_fail(job, "%s: entry %zu is for tenant '%s'", path, number, tenant);
    if (access != NULL && !is_access_value(access))
        return ctl_fail(job, "%s: entry %zu: access is allow or deny, not '%s'", path, number,
                        access);
    struct given *given = given_of(job, tenant);
    if (given == NULL)
        return false;
    const char *problem = users_address(&given->users, text, &address);
    if (problem == NULL && json_object_get(given->access, address.text) != NULL)
        problem = "stands in it twice";
    if (problem != NULL)
        return ctl_fail(job, "%s: entry %zu: tenant '%s': user '%s' %s", path, number, tenant,
                        text, problem);
    return json_object_set_new(given->access, address.text,
                               json_string(access != NULL ? access : USERS_ALLOW)) == 0 ||
           ctl_fail_file(job, -ENOMEM);
}

static bool given_put(struct ctl_job *job, struct given *given)
{
    json_t *access = job->options->replaces ? json_object() : json_copy(given->users.access);
    bool done = access != NULL && json_object_update(access, given->access) == 0;
    done = done ? users_put(job, &given->users, access) : ctl_fail_file(job, -ENOMEM);
    json_decref(access);
    return done;
}

bool ctl_users_import(struct ctl_job *job)
{
    const struct ctl_options *options = job->options;
    struct ctl_listed listed = {.tenant = options->count == 2 ? options->words[0] : NULL,
                                .places = json_object()};
    if (options->count != 1 && options->count != 2) {
        json_decref(listed.places);
        return ctl_misuse(job, "name a tenant or none, and one file or - for standard input");
    }
    job->listed = &listed;
    /* The one that is named loses its users to --replace also when the import is empty. */
    bool done = listed.tenant == NULL || given_of(job, listed.tenant) != NULL;
    done = done && ctl_import(job, options->words[options->count - 1], IMPORT_USERS, take_user);
    for (size_t i = 0; i < listed.count; i++) {
        done = done && given_put(job, &listed.given[i]);
        users_close(&listed.given[i].users);
        json_decref(listed.given[i].access);
    }
    job->listed = NULL;
    json_decref(listed.places);
    free(listed.given);
    return done;
}
