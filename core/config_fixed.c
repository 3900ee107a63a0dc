/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a running relay cannot change: its threads, sockets, pools and tables are sized and
 * opened once. A snapshot that takes the place of another says the same about them, whatever
 * its file says, so that whoever reads it sees what is in force.
 */
#include "core/config_schema.h"

#include <errno.h>
#include <stddef.h>

#define FIXED(key, member)                                                                     \
    {                                                                                          \
        key, offsetof(struct config, member)                                                   \
    }

static const struct fixed_row {
    const char *key;
    size_t at;
} numbers[] = {FIXED("global.workers", worker_count),
               FIXED("global.egress", egress_count),
               FIXED("global.parcel_count", parcel_count),
               FIXED("xmpp.sessions_max", sessions_max),
               FIXED("xmpp.sessions_per_address_max", sessions_per_address_max),
               FIXED("sip.t1_ms", sip_t1_ms),
               FIXED("sip.answered_max", sip_answered_max),
               FIXED("dns.timeout_ms", dns_timeout_ms),
               FIXED("store.consents_max", consents_max)},
  texts[] = {FIXED("global.stats_socket", stats_socket), FIXED("sip.host", sip_host),
             FIXED("dns.server", dns_server), FIXED("dns.trust_anchor", dns_trust_anchor),
             FIXED("dns.hosts_file", dns_hosts_file), FIXED("store.path", store_path)};

static const struct fixed_list {
    const char *key;
    size_t at, count_at;
} lists[] = {
    {"xmpp.listen", offsetof(struct config, starttls_listen),
     offsetof(struct config, starttls_listen_count)},
    {"xmpp.listen_direct_tls", offsetof(struct config, direct_listen),
     offsetof(struct config, direct_listen_count)},
    {"xmpp.proxy_listen", offsetof(struct config, xmpp_proxies.listen),
     offsetof(struct config, xmpp_proxies.listen_count)},
    {"sip.listen_udp", offsetof(struct config, udp_listen),
     offsetof(struct config, udp_listen_count)},
    {"sip.listen_tcp", offsetof(struct config, tcp_listen),
     offsetof(struct config, tcp_listen_count)},
    {"sip.listen_tls", offsetof(struct config, tls_listen),
     offsetof(struct config, tls_listen_count)},
    {"sip.proxy_listen", offsetof(struct config, sip_proxies.listen),
     offsetof(struct config, sip_proxies.listen_count)},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct fixed_found {
    const char **keys;
    int count, max;
};

static void note(struct fixed_found *found, const char *key)
{
    if (found->count < found->max)
        found->keys[found->count++] = key;
}

static void *member(struct config *config, size_t at)
{
    return (char *)config + at;
}

static const void *member_of(const struct config *config, size_t at)
{
    return (const char *)config + at;
}

static bool keep_text(struct config *config, const struct config *previous,
                      const struct fixed_row *row, struct fixed_found *found)
{
    char **text = member(config, row->at);
    char *const *before = member_of(previous, row->at);
    bool same =
        *text == NULL || *before == NULL ? *text == *before : strcmp(*text, *before) == 0;
    if (same)
        return true;
    note(found, row->key);
    *text = NULL;
    if (*before != NULL)
        *text =
            (char *)(uintptr_t)arena_copy(config_index_arena(config), span_of(*before)).data;
    return (*text == NULL) == (*before == NULL);
}

static bool keep_list(struct config *config, const struct config *previous,
                      const struct fixed_list *row, struct fixed_found *found)
{
    union net_address **list = member(config, row->at);
    size_t *count = member(config, row->count_at);
    union net_address *const *before = member_of(previous, row->at);
    const size_t *count_before = member_of(previous, row->count_at);
    bool same = *count == *count_before;
    for (size_t i = 0; same && i < *count; i++)
        same = net_address_equal(&(*list)[i], &(*before)[i]);
    if (same)
        return true;
    note(found, row->key);
    size_t size = *count_before * sizeof(**list);
    *list = arena_alloc(config_index_arena(config), size + 1);
    *count = *list != NULL ? *count_before : 0;
    if (*count > 0)
        memcpy(*list, *before, size);
    return *list != NULL;
}

int config_keep_fixed(struct config *config, const struct config *previous, const char **keys,
                      int max)
{
    struct fixed_found found = {keys, 0, max};
    bool kept = true;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        unsigned *number = member(config, numbers[i].at);
        const unsigned *before = member_of(previous, numbers[i].at);
        if (*number != *before)
            note(&found, numbers[i].key);
        *number = *before;
    }
    if (config->log_format != previous->log_format)
        note(&found, "global.log_format");
    config->log_format = previous->log_format;
    if (config->dns_allow_special != previous->dns_allow_special)
        note(&found, "dns.allow_special");
    config->dns_allow_special = previous->dns_allow_special;
    for (size_t i = 0; i < COUNT(texts) && kept; i++)
        kept = keep_text(config, previous, &texts[i], &found);
    for (size_t i = 0; i < COUNT(lists) && kept; i++)
        kept = keep_list(config, previous, &lists[i], &found);
    return kept ? found.count : -ENOMEM;
}
