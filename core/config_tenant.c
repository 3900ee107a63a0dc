/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tenants and partners: their domains, prepared and indexed, and who may talk with whom. */
#include "core/config_schema.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "proto/jid.h"

const char *const config_policy_names[] = {"open", "list", "closed", NULL};

/* Prepares one domain for both spellings (RFC 7622 §3.2, RFC 5891); `prefix` goes in front. */
static bool prepare(struct config_load *load, struct span text, struct span prefix,
                    struct config_domain *out)
{
    char unicode_text[JID_PART_SIZE_MAX + 1], ascii_text[JID_PART_SIZE_MAX + 1];
    char both[2][JID_PART_SIZE_MAX + 4];
    struct writer unicode_memory = writer_make(unicode_text, sizeof(unicode_text));
    struct writer ascii_memory = writer_make(ascii_text, sizeof(ascii_text));
    struct span prepared[2];
    if (jid_prepare_domain(text, &unicode_memory, &prepared[0]) != JID_OK ||
        jid_domain_to_ascii(prepared[0], &ascii_memory, &prepared[1]) != JID_OK)
        return false;
    for (size_t i = 0; i < 2; i++) {
        struct writer writer = writer_make(both[i], sizeof(both[i]));
        writer_put(&writer, prefix);
        writer_put(&writer, prepared[i]);
        prepared[i] = writer_span(&writer);
    }
    bool same = span_equal(prepared[0], prepared[1]);
    out->unicode = (char *)(uintptr_t)arena_copy(load->arena, prepared[0]).data;
    out->ascii =
        same ? out->unicode : (char *)(uintptr_t)arena_copy(load->arena, prepared[1]).data;
    return out->unicode != NULL && out->ascii != NULL;
}

static bool tenant_domain(struct config_load *load, const struct config_file *file,
                          const char *key, const char *text, struct config_domain *out)
{
    return prepare(load, span_of(text), SPAN(""), out) ||
           config_mark_fail(load, file, key, "'%s' is not a domain name", text);
}

bool config_tenant_partner(struct config_load *load, const struct config_file *file,
                           const char *key, const char *text, struct config_domain *out)
{
    struct span rest = span_of(text);
    struct span star = span_starts(rest, SPAN("*.")) ? SPAN("*.") : SPAN("");
    return prepare(load, span_from(rest, star.size), star, out) ||
           config_mark_fail(load, file, key,
                            "'%s' is no domain name, nor a wildcard such as *.example.org",
                            text);
}

/* Where the tenant, or partner, with this number among all stands: "file:line" or a row. */
static const char *listed_place(const struct config_load *load, bool is_tenant, unsigned number,
                                char place[CONFIG_PLACE_SIZE])
{
    for (size_t i = 0; i < load->file_count; i++) {
        const struct config_file *file = &load->files[i];
        unsigned count = is_tenant ? file->raw->tenant_count : file->raw->partner_count;
        if (number < count) {
            char key[32];
            (void)snprintf(key, sizeof(key), "%s[%u]", is_tenant ? "tenants" : "partners",
                           number);
            (void)config_mark_place(file, key, place, CONFIG_PLACE_SIZE);
            return place;
        }
        number -= count;
    }
    assert(false);
    return NULL;
}

static bool tenant_domains(struct config_load *load, const struct config_file *file,
                           const char *parent, const struct raw_tenant *raw,
                           struct config_tenant *tenant)
{
    char key[CONFIG_KEY_SIZE], where[CONFIG_PLACE_SIZE];
    (void)snprintf(key, sizeof(key), "%s.domains", parent);
    if (raw->domains.count == 0)
        return config_mark_fail(load, file, key, "a tenant needs at least one domain");
    tenant->domains = config_check_alloc(load, raw->domains.count, sizeof(*tenant->domains));
    if (tenant->domains == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    tenant->domain_count = raw->domains.count;
    unsigned place = (unsigned)(tenant - load->config->tenants);
    for (unsigned i = 0; i < raw->domains.count; i++) {
        struct config_domain *domain = &tenant->domains[i];
        unsigned owner = 0;
        (void)snprintf(key, sizeof(key), "%s.domains[%u]", parent, i);
        if (!tenant_domain(load, file, key, raw->domains.item[i], domain))
            return false;
        bool is_new =
            config_index_add(load->config, CONFIG_SCOPE_UNICODE, domain->unicode, place,
                             &owner) &&
            config_index_add(load->config, CONFIG_SCOPE_ASCII, domain->ascii, place, &owner);
        if (!is_new && owner == place)
            return config_mark_fail(load, file, key, "'%s' stands twice in this tenant",
                                    domain->unicode);
        if (!is_new)
            return config_mark_fail(load, file, key, "'%s' also belongs to tenant '%s' (%s)",
                                    domain->unicode, load->config->tenants[owner].name,
                                    listed_place(load, true, owner, where));
    }
    return true;
}

static bool tenant_policy(struct config_load *load, const struct config_file *file,
                          const char *parent, const struct raw_tenant *raw,
                          struct config_tenant *tenant)
{
    char key[CONFIG_KEY_SIZE];
    unsigned policy = PARTNER_OPEN, present;
    (void)snprintf(key, sizeof(key), "%s.policy", parent);
    if (!config_check_choice(load, file, key, raw->policy, config_policy_names, &policy))
        return false;
    tenant->policy = (enum partner_policy)policy;
    if (tenant->policy == PARTNER_LIST && raw->partners.count == 0)
        return config_mark_fail(load, file, key, "policy list needs partners: [DOMAIN, …]");
    if (tenant->policy != PARTNER_LIST && raw->partners.count > 0)
        return config_mark_fail(load, file, key, "partners are only read with policy: list");
    tenant->partners = config_check_alloc(load, raw->partners.count, sizeof(*tenant->partners));
    if (tenant->partners == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    tenant->partner_count = raw->partners.count;
    for (unsigned i = 0; i < raw->partners.count; i++) {
        (void)snprintf(key, sizeof(key), "%s.partners[%u]", parent, i);
        if (!config_tenant_partner(load, file, key, raw->partners.item[i],
                                   &tenant->partners[i]))
            return false;
        /* A domain that stands twice does no harm. */
        (void)config_index_add(load->config, config_scope(CONFIG_SCOPE_ALLOWED, tenant),
                               tenant->partners[i].unicode, i, &present);
    }
    return true;
}

/* The name is needed first: a later duplicate is told by it, and by it a tenant is known again.
 */
static bool tenant_name(struct config_load *load, const struct config_file *file,
                        const char *key, const struct raw_tenant *raw,
                        struct config_tenant *tenant)
{
    char part[CONFIG_KEY_SIZE], place[CONFIG_PLACE_SIZE];
    unsigned present = 0;
    const char *name = raw->name;
    if (name == NULL && raw->domains.count > 0)
        name = raw->domains.item[0];
    tenant->name = config_check_copy(load, name != NULL ? name : "");
    if (tenant->name == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    (void)snprintf(part, sizeof(part), "%s.name", key);
    if (name != NULL && !config_index_add(load->config, CONFIG_SCOPE_NAME, tenant->name,
                                          (unsigned)(tenant - load->config->tenants), &present))
        return config_mark_fail(load, file, part, "another tenant has the name '%s', too (%s)",
                                tenant->name, listed_place(load, true, present, place));
    return true;
}

/* Certificate and key, and whether they are other ones than before. */
static bool tenant_certificate(struct config_load *load, const struct config_file *file,
                               const char *parent, const struct raw_tenant *raw,
                               struct config_tenant *tenant)
{
    const struct config_tenant *before = config_slot_tenant(load, tenant);
    char key[CONFIG_KEY_SIZE], part[CONFIG_KEY_SIZE];
    if ((raw->certificate == NULL) != (raw->key == NULL))
        return config_mark_fail(load, file, parent, "certificate and key belong together");
    (void)snprintf(part, sizeof(part), "%s.certificate", parent);
    (void)snprintf(key, sizeof(key), "%s.key", parent);
    if (!config_check_path(load, file, part, raw->certificate, false, &tenant->certificate) ||
        !config_check_path(load, file, key, raw->key, true, &tenant->key))
        return false;
    tenant->stamp = config_stamp_tenant(tenant);
    bool changed = load->previous != NULL && (before == NULL || before->stamp != tenant->stamp);
    return config_check_certificate(
        load, file, part, (const char *const[]){tenant->certificate, tenant->key}, changed);
}

static bool tenant_read(struct config_load *load, const struct config_file *file,
                        unsigned number, struct config_tenant *tenant)
{
    const struct raw_tenant *raw = &file->raw->tenants[number];
    char key[32];
    (void)snprintf(key, sizeof(key), "tenants[%u]", number);
    return tenant_name(load, file, key, raw, tenant) &&
           tenant_domains(load, file, key, raw, tenant) &&
           tenant_certificate(load, file, key, raw, tenant) &&
           config_trunk_all(load, file, key, raw, tenant) &&
           tenant_policy(load, file, key, raw, tenant) &&
           config_users_read(load, file, key, raw->users, tenant) &&
           config_rules_tenant(load, file, key, raw, tenant);
}

static bool partner_domain(struct config_load *load, const struct config_file *file,
                           const char *key, const char *text, struct config_partner *partner)
{
    struct config_domain *domain = &partner->domains[partner->domain_count];
    char place[CONFIG_PLACE_SIZE];
    unsigned present = 0, index = (unsigned)(partner - load->config->partners);
    if (!config_tenant_partner(load, file, key, text, domain))
        return false;
    const struct config_tenant *tenant =
        config_find_tenant(load->config, span_of(domain->unicode));
    if (tenant != NULL)
        return config_mark_fail(
            load, file, key, "'%s' is a domain of tenant '%s' as well (%s)", text, tenant->name,
            listed_place(load, true, (unsigned)(tenant - load->config->tenants), place));
    if (!config_index_add(load->config, CONFIG_SCOPE_PARTNER, domain->unicode, index, &present))
        return config_mark_fail(load, file, key, "'%s' is configured twice (%s)", text,
                                listed_place(load, false, present, place));
    partner->domain_count++;
    return true;
}

static bool partner_domains(struct config_load *load, const struct config_file *file,
                            unsigned number, const struct raw_partner *raw,
                            struct config_partner *partner)
{
    char key[CONFIG_KEY_SIZE];
    (void)snprintf(key, sizeof(key), "partners[%u].domain", number);
    if (raw->domain == NULL)
        return config_mark_fail(load, file, key, "is missing");
    partner->domains = config_check_alloc(load, (size_t)raw->additional_domains.count + 1,
                                          sizeof(*partner->domains));
    if (partner->domains == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    bool is_good = partner_domain(load, file, key, raw->domain, partner);
    for (unsigned i = 0; i < raw->additional_domains.count && is_good; i++) {
        (void)snprintf(key, sizeof(key), "partners[%u].additional_domains[%u]", number, i);
        is_good = partner_domain(load, file, key, raw->additional_domains.item[i], partner);
    }
    return is_good;
}

static bool partner_read(struct config_load *load, const struct config_file *file,
                         unsigned number, struct config_partner *partner)
{
    const struct raw_partner *raw = &file->raw->partners[number];
    char key[CONFIG_KEY_SIZE];
    if (!partner_domains(load, file, number, raw, partner))
        return false;
    (void)snprintf(key, sizeof(key), "partners[%u].port", number);
    unsigned port = raw->port != NULL ? *raw->port : (raw->direct_tls ? 5270 : 5269);
    if (!config_check_number(load, file, key, port, 1, 65535))
        return false;
    if (raw->port != NULL && raw->host == NULL)
        return config_mark_fail(load, file, key, "a port needs a host");
    partner->port = (uint16_t)port;
    partner->direct_tls = raw->direct_tls;
    partner->host = config_check_copy(load, raw->host);
    (void)snprintf(key, sizeof(key), "partners[%u]", number);
    return config_rules_read(load, file, key, &raw->rules, &partner->rules);
}

static size_t user_count(const struct raw_users *users)
{
    return users != NULL ? (size_t)users->allow.count + users->deny.count : 0;
}

/* Makes the tables and says how many names the index will hold. */
static bool tenant_reserve(struct config_load *load)
{
    struct config *config = load->config;
    size_t names = 0;
    for (size_t i = 0; i < load->file_count; i++) {
        const struct raw_file *raw = load->files[i].raw;
        config->tenant_count += raw->tenant_count;
        config->partner_count += raw->partner_count;
        for (unsigned j = 0; j < raw->partner_count; j++)
            names += 1 + raw->partners[j].additional_domains.count;
        for (unsigned j = 0; j < raw->tenant_count; j++)
            names += 1 + 2 * raw->tenants[j].domains.count + raw->tenants[j].partners.count +
                     raw->tenants[j].pair_count + user_count(raw->tenants[j].users);
    }
    config->tenants = config_check_alloc(load, config->tenant_count, sizeof(*config->tenants));
    config->partners =
        config_check_alloc(load, config->partner_count, sizeof(*config->partners));
    if (config->tenants == NULL || config->partners == NULL ||
        config_index_reserve(config, names) != 0)
        return config_mark_fail(load, &load->files[0], "tenants", "out of memory");
    /* Those of the tenants file may all come later. */
    if (config->tenant_count == 0 && load->files[0].raw->tenants_file == NULL)
        return config_mark_fail(load, &load->files[0], "tenants", "there is no tenant");
    return true;
}

bool config_tenant_all(struct config_load *load)
{
    struct config *config = load->config;
    if (!tenant_reserve(load))
        return false;
    size_t next = 0;
    for (size_t i = 0; i < load->file_count; i++) {
        for (unsigned j = 0; j < load->files[i].raw->tenant_count; j++, next++)
            if (!tenant_read(load, &load->files[i], j, &config->tenants[next]))
                return false;
    }
    assert(next == config->tenant_count);
    /* The partners after all tenants: a domain cannot be both. */
    next = 0;
    for (size_t i = 0; i < load->file_count; i++)
        for (unsigned j = 0; j < load->files[i].raw->partner_count; j++, next++)
            if (!partner_read(load, &load->files[i], j, &config->partners[next]))
                return false;
    return config_rules_check(load);
}
