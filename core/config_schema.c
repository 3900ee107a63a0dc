/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The schema of the YAML, as libcyaml tables, and its error messages. */
#include "core/config_schema.h"

#include <assert.h>
#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT(key, type, member)                                                                \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type, member, \
                           0, CYAML_UNLIMITED)
#define NUMBER(key, type, member)                                                              \
    CYAML_FIELD_UINT_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type, member)
#define FLAG(key, type, member)                                                                \
    CYAML_FIELD_BOOL_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type, member)
#define LIST(key, type, member)                                                                \
    CYAML_FIELD_SEQUENCE_COUNT(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type,     \
                               member.item, member.count, &text_entry, 0, CYAML_UNLIMITED)
#define SECTION(key, type, member, fields)                                                     \
    CYAML_FIELD_MAPPING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type,        \
                            member, fields)
#define ITEMS(key, type, member, number, entry)                                                \
    CYAML_FIELD_SEQUENCE_COUNT(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type,     \
                               member, number, &entry, 0, CYAML_UNLIMITED)

/* The rules, inside a table. */
#define RULE_NEED(key, type, member)     TEXT(key, type, member),
#define RULE_FLAG(key, type, member)     TEXT(key, type, member),
#define RULE_LEVEL(key, type, member)    TEXT(key, type, member),
#define RULE_REACTION(key, type, member) TEXT(key, type, member),
#define RULE_PARTNER(key, type, member)  TEXT(key, type, member),
#define RULE_NUMBER(key, type, member)   NUMBER(key, type, member),

static const cyaml_schema_value_t text_entry = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED)};

static const cyaml_schema_field_t global_fields[] = {
    NUMBER("workers", raw_global, workers),
    NUMBER("egress", raw_global, egress),
    NUMBER("parcel_count", raw_global, parcel_count),
    TEXT("stats_socket", raw_global, stats_socket),
    TEXT("log_level", raw_global, log_level),
    TEXT("log_format", raw_global, log_format),
    FLAG("watch", raw_global, watch),
    CYAML_FIELD_END};

static const cyaml_schema_field_t identity_fields[] = {TEXT("name", raw_identity, name),
                                                       TEXT("version", raw_identity, version),
                                                       TEXT("abuse", raw_identity, abuse),
                                                       TEXT("admin", raw_identity, admin),
                                                       TEXT("support", raw_identity, support),
                                                       TEXT("security", raw_identity, security),
                                                       CYAML_FIELD_END};

static const cyaml_schema_field_t xmpp_fields[] = {
    LIST("listen", raw_xmpp, listen),
    LIST("listen_direct_tls", raw_xmpp, listen_direct_tls),
    LIST("proxy_listen", raw_xmpp, proxy_listen),
    LIST("proxy_sources", raw_xmpp, proxy_sources),
    TEXT("certificate", raw_xmpp, certificate),
    TEXT("key", raw_xmpp, key),
    TEXT("ca_file", raw_xmpp, ca_file),
    TEXT("dialback_secret", raw_xmpp, dialback_secret),
    NUMBER("stanza_size_max", raw_xmpp, stanza_size_max),
    NUMBER("connect_timeout_ms", raw_xmpp, connect_timeout_ms),
    NUMBER("connect_delay_ms", raw_xmpp, connect_delay_ms),
    NUMBER("breaker_pairs", raw_xmpp, breaker_pairs),
    NUMBER("sessions_max", raw_xmpp, sessions_max),
    NUMBER("sessions_per_address_max", raw_xmpp, sessions_per_address_max),
    NUMBER("certificates_max", raw_xmpp, certificates_max),
    FLAG("stream_management", raw_xmpp, stream_management),
    NUMBER("resume_timeout_ms", raw_xmpp, resume_timeout_ms),
#define RULE(name, key, kind, fallback, min, max) RULE_##kind(#key, raw_xmpp, rules.key)
#include "core/rules.def"
#undef RULE
    SECTION("identity", raw_xmpp, identity, identity_fields),
    CYAML_FIELD_END};

static const cyaml_schema_field_t sip_fields[] = {
    LIST("listen_udp", raw_sip, listen_udp),
    LIST("listen_tcp", raw_sip, listen_tcp),
    LIST("listen_tls", raw_sip, listen_tls),
    LIST("proxy_listen", raw_sip, proxy_listen),
    LIST("proxy_sources", raw_sip, proxy_sources),
    TEXT("host", raw_sip, host),
    TEXT("certificate", raw_sip, certificate),
    TEXT("key", raw_sip, key),
    TEXT("ca_file", raw_sip, ca_file),
    NUMBER("recipient_queue_max", raw_sip, recipient_queue_max),
    NUMBER("t1_ms", raw_sip, t1_ms),
    NUMBER("setup_timeout_ms", raw_sip, setup_timeout_ms),
    NUMBER("message_timeout_ms", raw_sip, message_timeout_ms),
    NUMBER("idle_timeout_ms", raw_sip, idle_timeout_ms),
    NUMBER("connections_per_address_max", raw_sip, connections_per_address_max),
    NUMBER("answered_max", raw_sip, answered_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t dns_fields[] = {
    TEXT("server", raw_dns, server),
    TEXT("trust_anchor", raw_dns, trust_anchor),
    TEXT("hosts_file", raw_dns, hosts_file),
    CYAML_FIELD_BOOL("allow_special", CYAML_FLAG_OPTIONAL, struct raw_dns, allow_special),
    NUMBER("timeout_ms", raw_dns, timeout_ms),
    CYAML_FIELD_END};

static const cyaml_schema_field_t store_fields[] = {
    TEXT("path", raw_store, path), NUMBER("consents_max", raw_store, consents_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t trunk_fields[] = {
    TEXT("uri", raw_trunk, uri),
    TEXT("identity", raw_trunk, identity),
    CYAML_FIELD_UINT("priority", CYAML_FLAG_OPTIONAL, struct raw_trunk, priority),
    NUMBER("options_interval", raw_trunk, options_interval),
    LIST("sources", raw_trunk, sources),
    CYAML_FIELD_END};

static const cyaml_schema_value_t trunk_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_trunk, trunk_fields)};

static const cyaml_schema_field_t rules_fields[] = {
#define RULE(name, key, kind, fallback, min, max) RULE_##kind(#key, raw_rules, key)
#include "core/rules.def"
#undef RULE
    CYAML_FIELD_END};

static const cyaml_schema_field_t pair_fields[] = {
#define RULE(name, key, kind, fallback, min, max) RULE_##kind(#key, raw_pair, rules.key)
#include "core/rules.def"
#undef RULE
    TEXT("domain", raw_pair, domain), CYAML_FIELD_END};

static const cyaml_schema_value_t pair_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_pair, pair_fields)};

static const cyaml_schema_field_t users_fields[] = {
    TEXT("default", raw_users, fallback), LIST("allow", raw_users, allow),
    LIST("deny", raw_users, deny), CYAML_FIELD_END};

static const cyaml_schema_field_t tenant_fields[] = {
    TEXT("name", raw_tenant, name),
    LIST("domains", raw_tenant, domains),
    TEXT("certificate", raw_tenant, certificate),
    TEXT("key", raw_tenant, key),
    ITEMS("trunks", raw_tenant, trunks, trunk_count, trunk_entry),
    TEXT("policy", raw_tenant, policy),
    LIST("partners", raw_tenant, partners),
    SECTION("users", raw_tenant, users, users_fields),
    SECTION("xmpp", raw_tenant, rules, rules_fields),
    ITEMS("partner_rules", raw_tenant, pairs, pair_count, pair_entry),
    CYAML_FIELD_END};

static const cyaml_schema_value_t tenant_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_tenant, tenant_fields)};

static const cyaml_schema_field_t partner_fields[] = {
    TEXT("domain", raw_partner, domain),
    LIST("additional_domains", raw_partner, additional_domains),
    TEXT("host", raw_partner, host),
    NUMBER("port", raw_partner, port),
    CYAML_FIELD_BOOL("direct_tls", CYAML_FLAG_OPTIONAL, struct raw_partner, direct_tls),
#define RULE(name, key, kind, fallback, min, max) RULE_##kind(#key, raw_partner, rules.key)
#include "core/rules.def"
#undef RULE
    CYAML_FIELD_END};

static const cyaml_schema_value_t partner_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_partner, partner_fields)};

static const cyaml_schema_field_t file_fields[] = {
    SECTION("global", raw_file, global, global_fields),
    SECTION("xmpp", raw_file, xmpp, xmpp_fields),
    SECTION("sip", raw_file, sip, sip_fields),
    SECTION("dns", raw_file, dns, dns_fields),
    SECTION("store", raw_file, store, store_fields),
    ITEMS("tenants", raw_file, tenants, tenant_count, tenant_entry),
    ITEMS("partners", raw_file, partners, partner_count, partner_entry),
    TEXT("include", raw_file, include),
    TEXT("tenants_file", raw_file, tenants_file),
    CYAML_FIELD_END};

static const cyaml_schema_value_t file_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_file, file_fields)};

const struct cyaml_schema_field *config_schema_fields(void)
{
    return file_fields;
}

/* What libcyaml says about a mistake: one sentence, then a backtrace from the inside out. */
struct complaint {
    char sentence[200];
    char key[CONFIG_KEY_SIZE];
    size_t line;
};

/* Puts a part in front of the key: "uri" and "trunks[0]" become "trunks[0].uri". */
static void complaint_prepend(struct complaint *complaint, const char *part)
{
    char key[CONFIG_KEY_SIZE];
    const char *dot = complaint->key[0] != '\0' && complaint->key[0] != '[' ? "." : "";
    int size = snprintf(key, sizeof(key), "%s%s%s", part, dot, complaint->key);
    if (size > 0 && (size_t)size < sizeof(key))
        memcpy(complaint->key, key, (size_t)size + 1);
}

static void complaint_take(struct complaint *complaint, const char *line)
{
    char name[100];
    unsigned index;
    size_t number = 0;
    if (sscanf(line, " in mapping field '%99[^']' (line: %zu", name, &number) >= 1) {
        complaint_prepend(complaint, name);
    } else if (sscanf(line, " in sequence entry '%u' (line: %zu", &index, &number) >= 1) {
        /* libcyaml counts from 1. */
        (void)snprintf(name, sizeof(name), "[%u]", index > 0 ? index - 1 : 0);
        complaint_prepend(complaint, name);
    } else if (sscanf(line, " in mapping (line: %zu", &number) < 1 &&
               complaint->sentence[0] == '\0') {
        const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
        bool is_number = strncmp(text, "Invalid uint64_t value", 22) == 0;
        size_t size = strcspn(text, "\n");
        (void)snprintf(complaint->sentence, sizeof(complaint->sentence), "%s%.*s",
                       is_number ? "not a whole number: " : "", (int)size, text);
        if (sscanf(text, "Unexpected key: %99[^\n]", name) == 1)
            complaint_prepend(complaint, name);
    }
    if (complaint->line == 0)
        complaint->line = number;
}

__attribute__((format(printf, 3, 0))) static void
complaint_log(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    (void)level;
    char line[300];
    int size = vsnprintf(line, sizeof(line), format, arguments);
    if (size > 0)
        complaint_take(context, line);
}

static cyaml_config_t schema_config(struct complaint *complaint)
{
    return (cyaml_config_t){.log_fn = complaint_log,
                            .log_ctx = complaint,
                            .mem_fn = cyaml_mem,
                            .log_level = CYAML_LOG_ERROR,
                            .flags = CYAML_CFG_DEFAULT};
}

static bool schema_fail(struct config_load *load, const struct config_file *file,
                        const struct complaint *complaint)
{
    char problem[200];
    unsigned line =
        config_mark_syntax(span_make(file->text, file->size), problem, sizeof(problem));
    if (line != 0) {
        char place[CONFIG_PLACE_SIZE];
        (void)config_mark_at(file, line, "", place, sizeof(place));
        (void)snprintf(load->error, load->error_size, "%s: %s: syntax error", place, problem);
        return false;
    }
    const char *what = complaint->sentence[0] != '\0' ? complaint->sentence : "is not usable";
    const char *hint = strncmp(what, "Unexpected key", 14) == 0
                           ? "unknown key; docs/configuration.md lists every key"
                           : what;
    return config_mark_fail(load, file, complaint->key[0] != '\0' ? complaint->key : "(file)",
                            "%s", hint);
}

bool config_schema_load(struct config_load *load, struct config_file *file)
{
    assert(file->raw == NULL);
    assert(file->text != NULL);
    struct complaint complaint = {0};
    cyaml_config_t config = schema_config(&complaint);
    cyaml_data_t *data = NULL;
    cyaml_err_t rc = cyaml_load_data((const uint8_t *)file->text, file->size, &config,
                                     &file_value, &data, NULL);
    if (rc != CYAML_OK)
        return schema_fail(load, file, &complaint);
    file->raw = data;
    if (file->raw == NULL)
        return config_mark_fail(load, file, "(file)", "the file is empty");
    return true;
}

void config_schema_free(struct config_file *file)
{
    struct complaint complaint = {0};
    cyaml_config_t config = schema_config(&complaint);
    if (file->raw != NULL)
        (void)cyaml_free(&config, &file_value, file->raw, 0);
    file->raw = NULL;
}
