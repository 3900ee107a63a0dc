/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/config.h"

#include <stdio.h>
#include <string.h>

#include "bench/greedy.h"
#include "bench/half_open.h"
#include "bench/rogue.h"

static const char *const config_transports[] = {"udp", "tcp", "tls"};

static void config_print_relay(const struct bench_options *options)
{
    /* By chance one recipient gets so many at a time that the relay refuses some by default. */
    bool crowded = options->load.choice.spread != CHOICE_EVEN;
    unsigned half_open = options->load.half_open, sessions = 100000 + half_open;
    char s2s[NET_ADDRESS_TEXT_SIZE], sip[NET_ADDRESS_TEXT_SIZE], timeout[64] = "";
    if (half_open > 0)
        snprintf(timeout, sizeof(timeout), "  negotiation_timeout_ms: %u\n",
                 half_open_timeout_ms(&options->load));
    net_address_format(&options->load.relay_xmpp, s2s);
    net_address_format(&options->load.relay_sip, sip);
    printf("global:\n  workers: %u\n  egress: %u\n  stats_socket: stats.sock\n"
           "xmpp:\n  listen: [\"%s\"]\n  certificate: %s\n  key: %s\n  ca_file: %s\n"
           "  sessions_max: %u\n  sessions_per_address_max: %u\n%s"
           "sip:\n  listen_%s: [\"%s\"]\n%s"
           "dns:\n  allow_special: true\n",
           options->workers, options->egress, s2s, options->relay_certificate,
           options->relay_key, options->load.ca, sessions, sessions, timeout,
           config_transports[options->load.transport], sip, crowded ? "  recipient_queue_max: 10000\n" : "");
}

static void config_print_tenant(const struct load_options *load, const char *domain)
{
    char address[NET_ADDRESS_TEXT_SIZE], host[NET_ADDRESS_TEXT_SIZE];
    net_address_format(&load->own_sip, address);
    net_address_format_host(&load->own_sip, host);
    printf("  - name: %.*s\n    domains: [%s]\n    policy: open\n"
           "    trunks:\n      - uri: sip:%s;transport=%s\n        sources: [%s]\n",
           (int)strcspn(domain, "."), domain, domain, address,
           config_transports[load->transport], host);
    if (load->transport == SIP_TRANSPORT_TLS)
        puts("        identity: trunk.bench");
}

static void config_print_greedy(const struct load_options *load)
{
    struct load_options greedy = *load;
    greedy_beside(&greedy.own_sip);
    config_print_tenant(&greedy, GREEDY_PREFIX "s0.bench");
    printf("    xmpp: {messages_per_second_max: %u}\n", load->greedy);
}

static void config_print_greedy_partners(const struct load_options *load)
{
    char host[NET_ADDRESS_TEXT_SIZE];
    union net_address address = load->own_xmpp;
    greedy_beside(&address);
    net_address_format_host(&address, host);
    for (unsigned i = 0; i < GREEDY_PAIRS; i++)
        printf("  - domain: " GREEDY_PREFIX "x%u.bench\n    host: %s\n    port: %u\n", i, host,
               net_address_port(&address));
}

void bench_config_print(const struct bench_options *options)
{
    const struct load_options *load = &options->load;
    char host[NET_ADDRESS_TEXT_SIZE], domain[32];
    config_print_relay(options);
    puts("tenants:");
    for (unsigned i = 0; i < load->sip_domains; i++) {
        snprintf(domain, sizeof(domain), "s%u.bench", i);
        config_print_tenant(load, domain);
    }
    if (load->greedy > 0)
        config_print_greedy(load);
    net_address_format_host(&load->own_xmpp, host);
    puts("partners:");
    if (load->greedy > 0)
        config_print_greedy_partners(load);
    if (load->slow > 0)
        printf("  - domain: " ROGUE_DEAF_DOMAIN "\n    host: %s\n    port: %u\n", host,
               net_address_port(&load->own_xmpp));
    for (unsigned i = 0; i < load->xmpp_domains; i++)
        printf("  - domain: x%u.bench\n    host: %s\n    port: %u\n", i, host,
               net_address_port(&load->own_xmpp));
}
