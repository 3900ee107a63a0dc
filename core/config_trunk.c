/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The trunks of a tenant: their URI (RFC 3261 §19.1), who may send, their order. */
#include "core/config_schema.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TRUNK_MAX 64

struct trunk_context {
    struct config_load *load;
    const struct config_file *file;
    char key[CONFIG_KEY_SIZE]; /* tenants[3].trunks[0] */
};

static bool trunk_fail(const struct trunk_context *context, const char *part,
                       const char *sentence, const char *text)
{
    char key[CONFIG_KEY_SIZE + 32];
    (void)snprintf(key, sizeof(key), "%s.%s", context->key, part);
    return config_mark_fail(context->load, context->file, key, sentence, text);
}

static bool trunk_number(struct span text, unsigned max, unsigned *out)
{
    unsigned value = 0;
    if (text.size == 0 || text.size > 5)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (!isdigit((unsigned char)text.data[i]))
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    *out = value;
    return value <= max;
}

static bool trunk_transport(const struct trunk_context *context, const char *uri,
                            struct span parameters, struct config_trunk *trunk)
{
    static const struct {
        struct span name;
        enum sip_transport transport;
    } known[] = {{{"udp", 3}, SIP_TRANSPORT_UDP},
                 {{"tcp", 3}, SIP_TRANSPORT_TCP},
                 {{"tls", 3}, SIP_TRANSPORT_TLS}};
    if (parameters.size == 0)
        return true;
    struct span name = span_to(parameters, span_find(parameters, '='));
    struct span value = span_from(parameters, name.size + 1);
    if (!span_equal_nocase(name, SPAN("transport")))
        return trunk_fail(context, "uri", "'%s': only the parameter ;transport= is known here",
                          uri);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!span_equal_nocase(value, known[i].name))
            continue;
        trunk->transport = known[i].transport;
        trunk->any_transport = false;
        return true;
    }
    return trunk_fail(context, "uri", "'%s': unknown transport; give one of udp, tcp, tls",
                      uri);
}

/* host[:port], where an IPv6 literal stands in brackets. */
static bool trunk_target(const struct trunk_context *context, const char *uri,
                         struct span target, struct config_trunk *trunk)
{
    bool is_v6 = target.size > 0 && target.data[0] == '[';
    size_t host_size = is_v6 ? span_find(target, ']') + 1 : span_find(target, ':');
    struct span host = span_to(target, host_size);
    struct span rest = span_from(target, host.size);
    unsigned port = 0;
    if (rest.size > 0 &&
        (rest.data[0] != ':' || !trunk_number(span_from(rest, 1), 65535, &port) || port == 0))
        return trunk_fail(context, "uri", "'%s': bad port; give 1 to 65535", uri);
    struct span literal =
        is_v6 && host.size > 2 ? span_make(host.data + 1, host.size - 2) : host;
    bool printable = literal.size > 0 && literal.size <= 253;
    for (size_t i = 0; printable && i < literal.size; i++)
        printable = isalnum((unsigned char)literal.data[i]) != 0 ||
                    strchr("-._:", literal.data[i]) != NULL;
    if (!printable)
        return trunk_fail(context, "uri", "'%s': bad host name; write A-labels or an address",
                          uri);
    struct span copy = arena_copy(context->load->arena, literal);
    union net_address address;
    if (copy.data == NULL)
        return trunk_fail(context, "uri", "'%s': out of memory", uri);
    trunk->host = (char *)(uintptr_t)copy.data;
    trunk->locate = net_address_parse_host(&address, trunk->host, 0) != 0;
    if (is_v6 && trunk->locate)
        return trunk_fail(context, "uri", "'%s': bad IPv6 address", uri);
    /* RFC 3263 §4.2: a numeric target without port takes the default one. */
    if (port == 0 && !trunk->locate)
        port = trunk->transport == SIP_TRANSPORT_TLS ? 5061 : 5060;
    trunk->port = (uint16_t)port;
    /* RFC 3263 §4.1: a number or a port leaves nothing to choose. */
    trunk->any_transport = trunk->any_transport && trunk->locate && port == 0;
    return true;
}

static bool trunk_uri(const struct trunk_context *context, const char *uri,
                      struct config_trunk *trunk)
{
    if (uri == NULL)
        return trunk_fail(context, "uri", "is missing; write for example %s",
                          "sip:192.0.2.5:5060;transport=udp");
    struct span text = span_of(uri);
    bool is_sips = text.size > 5 && span_equal_nocase(span_to(text, 5), SPAN("sips:"));
    bool is_sip = text.size > 4 && span_equal_nocase(span_to(text, 4), SPAN("sip:"));
    if (!is_sip && !is_sips)
        return trunk_fail(context, "uri",
                          "'%s' is no trunk; write sip:HOST[:PORT];transport=udp", uri);
    text = span_from(text, is_sips ? 5 : 4);
    struct span target = span_to(text, span_find(text, ';'));
    trunk->transport = is_sips ? SIP_TRANSPORT_TLS : SIP_TRANSPORT_UDP;
    trunk->any_transport = !is_sips;
    if (!trunk_transport(context, uri, span_from(text, target.size + 1), trunk))
        return false;
    if (is_sips && trunk->transport != SIP_TRANSPORT_TLS)
        return trunk_fail(context, "uri", "'%s': sips needs transport=tls", uri);
    return trunk_target(context, uri, target, trunk);
}

static bool trunk_source(const struct trunk_context *context, const char *text,
                         struct config_network *network)
{
    if (!config_network_read(text, network))
        return trunk_fail(context, "sources", "'%s' " CONFIG_NETWORK_HELP, text);
    return true;
}

static bool trunk_sources(const struct trunk_context *context, const struct raw_list *list,
                          struct config_trunk *trunk)
{
    size_t count = list->count;
    /* A trunk with a numeric target is its own source unless others are named. Who has to prove
       himself over TLS is not believed for his address without it. */
    bool is_own = list->item == NULL && !trunk->locate && trunk->transport != SIP_TRANSPORT_TLS;
    trunk->sources =
        config_check_alloc(context->load, is_own ? 1 : count, sizeof(*trunk->sources));
    if (trunk->sources == NULL)
        return trunk_fail(context, "sources", "%s", "out of memory");
    trunk->source_count = is_own ? 1 : count;
    if (is_own)
        return trunk_source(context, trunk->host, &trunk->sources[0]);
    for (size_t i = 0; i < count; i++)
        if (!trunk_source(context, list->item[i], &trunk->sources[i]))
            return false;
    return true;
}

static bool trunk_read(const struct trunk_context *context, const struct raw_trunk *raw,
                       struct config_trunk *trunk)
{
    if (!trunk_uri(context, raw->uri, trunk) || !trunk_sources(context, &raw->sources, trunk))
        return false;
    char key[CONFIG_KEY_SIZE + 32];
    (void)snprintf(key, sizeof(key), "%s.options_interval", context->key);
    trunk->options_interval_s = raw->options_interval != NULL ? *raw->options_interval : 30;
    if (!config_check_number(context->load, context->file, key, trunk->options_interval_s, 0,
                             86400))
        return false;
    trunk->priority = raw->priority;
    trunk->name = config_check_copy(context->load, raw->uri);
    trunk->identity =
        raw->identity != NULL ? config_check_copy(context->load, raw->identity) : trunk->host;
    return trunk->name != NULL && trunk->identity != NULL;
}

/* By priority; those with the same one stay in the order of the file. */
static int trunk_compare(const void *left, const void *right)
{
    const struct config_trunk *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

bool config_trunk_all(struct config_load *load, const struct config_file *file, const char *key,
                      const struct raw_tenant *raw, struct config_tenant *tenant)
{
    struct trunk_context context = {.load = load, .file = file};
    (void)snprintf(context.key, sizeof(context.key), "%s.trunks", key);
    if (raw->trunk_count == 0 || raw->trunk_count > TRUNK_MAX)
        return config_mark_fail(load, file, context.key,
                                raw->trunk_count == 0 ? "a tenant needs at least one trunk"
                                                      : "a tenant has at most 64 trunks");
    tenant->trunks = config_check_alloc(load, raw->trunk_count, sizeof(*tenant->trunks));
    if (tenant->trunks == NULL)
        return config_mark_fail(load, file, context.key, "out of memory");
    tenant->trunk_count = (uint8_t)raw->trunk_count;
    for (unsigned i = 0; i < raw->trunk_count; i++) {
        (void)snprintf(context.key, sizeof(context.key), "%s.trunks[%u]", key, i);
        tenant->trunks[i].index = i; /* for their order only */
        tenant->trunks[i].tenant = tenant->index;
        if (!trunk_read(&context, &raw->trunks[i], &tenant->trunks[i]))
            return false;
    }
    qsort(tenant->trunks, tenant->trunk_count, sizeof(*tenant->trunks), trunk_compare);
    config_slot_trunks(load, tenant);
    load->config->trunk_count += raw->trunk_count;
    return true;
}
