/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Networks of the configuration, its addresses to listen on, and the proxies that stand in
   front of them. */
#include <stdio.h>

#include "core/config_schema.h"

static bool read_prefix(const char *text, unsigned max, unsigned *prefix_size)
{
    unsigned number = 0;
    if (text[0] == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || number > max)
            return false;
        number = 10 * number + (unsigned)(*text - '0');
    }
    *prefix_size = number;
    return number <= max;
}

bool config_network_read(const char *text, struct config_network *network)
{
    struct span host = span_to(span_of(text), span_find(span_of(text), '/'));
    char literal[64];
    if (host.size >= sizeof(literal))
        return false;
    memcpy(literal, host.data, host.size);
    literal[host.size] = '\0';
    if (net_address_parse_host(&network->address, literal, 0) != 0)
        return false;
    network->prefix_size = network->address.any.sa_family == AF_INET ? 32 : 128;
    return text[host.size] != '/' ||
           read_prefix(text + host.size + 1, network->prefix_size, &network->prefix_size);
}

void config_listeners(const struct config *config,
                      struct config_listeners out[CONFIG_LISTENERS_COUNT])
{
    const struct config_listeners all[CONFIG_LISTENERS_COUNT] = {
        {"xmpp.listen", config->starttls_listen, config->starttls_listen_count, true},
        {"xmpp.listen_direct_tls", config->direct_listen, config->direct_listen_count, true},
        {"sip.listen_udp", config->udp_listen, config->udp_listen_count, false},
        {"sip.listen_tcp", config->tcp_listen, config->tcp_listen_count, true},
        {"sip.listen_tls", config->tls_listen, config->tls_listen_count, true}};
    memcpy(out, all, sizeof(all));
}

/* The key that has an address of `own` before it; NULL: none. */
static const char *taken_by(const struct config_listeners *all,
                            const struct config_listeners *own, size_t number)
{
    for (const struct config_listeners *other = all; other <= own; other++) {
        size_t count = other == own ? number : other->count;
        for (size_t i = 0; i < count && other->is_stream == own->is_stream; i++)
            if (net_address_equal(&other->addresses[i], &own->addresses[number]))
                return other->key;
    }
    return NULL;
}

static bool check_listeners(struct config_load *load, const struct config_listeners *all,
                            const struct config_listeners *own)
{
    char key[CONFIG_KEY_SIZE], text[NET_ADDRESS_TEXT_SIZE];
    for (size_t i = 0; i < own->count; i++) {
        const char *other = taken_by(all, own, i);
        if (other == NULL)
            continue;
        (void)snprintf(key, sizeof(key), "%s[%zu]", own->key, i);
        net_address_format(&own->addresses[i], text);
        return config_mark_fail(load, &load->files[0], key, "%s stands in %s already", text,
                                other);
    }
    return true;
}

bool config_network_listeners(struct config_load *load)
{
    struct config_listeners all[CONFIG_LISTENERS_COUNT];
    config_listeners(load->config, all);
    bool is_good = true;
    for (size_t i = 0; i < CONFIG_LISTENERS_COUNT && is_good; i++)
        is_good = check_listeners(load, all, &all[i]);
    return is_good;
}

/* Is it one of the section's addresses to listen on, of those with connections? */
static bool is_listener(const struct config *config, const char *section,
                        const union net_address *address)
{
    struct config_listeners all[CONFIG_LISTENERS_COUNT];
    config_listeners(config, all);
    for (size_t i = 0; i < CONFIG_LISTENERS_COUNT; i++)
        for (size_t j = 0; j < all[i].count && all[i].is_stream; j++)
            if (strncmp(all[i].key, section, strlen(section)) == 0 &&
                net_address_equal(&all[i].addresses[j], address))
                return true;
    return false;
}

static bool check_sources(struct config_load *load, const char *section,
                          const struct raw_list *list, struct config_proxies *proxies)
{
    const struct config_file *file = &load->files[0];
    char key[CONFIG_KEY_SIZE];
    (void)snprintf(key, sizeof(key), "%s.proxy_sources", section);
    proxies->sources = config_check_alloc(load, list->count, sizeof(*proxies->sources));
    if (proxies->sources == NULL)
        return config_mark_fail(load, file, key, "out of memory");
    for (unsigned i = 0; i < list->count; i++) {
        (void)snprintf(key, sizeof(key), "%s.proxy_sources[%u]", section, i);
        if (!config_network_read(list->item[i], &proxies->sources[i]))
            return config_mark_fail(load, file, key, "'%s' " CONFIG_NETWORK_HELP,
                                    list->item[i]);
    }
    proxies->source_count = list->count;
    return true;
}

bool config_network_proxy(struct config_load *load, const char *section, const char *listens,
                          const struct raw_list *sources, struct config_proxies *proxies)
{
    const struct config_file *file = &load->files[0];
    char key[CONFIG_KEY_SIZE];
    if (!check_sources(load, section, sources, proxies))
        return false;
    for (size_t i = 0; i < proxies->listen_count; i++) {
        (void)snprintf(key, sizeof(key), "%s.proxy_listen[%zu]", section, i);
        if (!is_listener(load->config, section, &proxies->listen[i]))
            return config_mark_fail(
                load, file, key, "is neither in %s, with the same address and port", listens);
    }
    (void)snprintf(key, sizeof(key), "%s.proxy_listen", section);
    if (proxies->listen_count > 0 && proxies->source_count == 0)
        return config_mark_fail(load, file, key,
                                "nobody could connect: name the proxy's addresses in "
                                "%s.proxy_sources",
                                section);
    return true;
}

bool config_is_proxied(const struct config_proxies *proxies, const union net_address *listener)
{
    for (size_t i = 0; i < proxies->listen_count; i++)
        if (net_address_equal(&proxies->listen[i], listener))
            return true;
    return false;
}

bool config_is_proxy(const struct config_proxies *proxies, const union net_address *peer)
{
    for (size_t i = 0; i < proxies->source_count; i++)
        if (net_address_in(peer, &proxies->sources[i].address,
                           proxies->sources[i].prefix_size))
            return true;
    return false;
}
