/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The configuration of the relay under test, each edition a little different. */
#include "tests/sim/relay.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const transports[] = {"udp", "tcp", "tls"};

/* Another reading may allow fewer streams. */
static unsigned streams_of(const struct plan_partner *partner)
{
    return sim_chance(700) ? partner->streams : 1 + (unsigned)sim_below(partner->streams);
}

static void write_rules(FILE *file, const char *indent, const struct plan_partner *partner)
{
    const char *const *needs = rules_row(RULE_TLS)->names;
    fprintf(file,
            "%stls: %s\n%ssasl: %s\n%sdialback: %s\n%skeepalive_interval_ms: %u\n"
            "%skeepalive_demand_ms: %u\n%stype: %s\n%sbidi: %s\n%sstreams: %u\n",
            indent, needs[partner->tls], indent, needs[partner->sasl], indent,
            partner->dialback ? "true" : "false", indent, partner->keepalive_ms, indent,
            partner->demand_ms, indent,
            partner->is_unverified ? "public_unverified" : "federated", indent,
            partner->bidi ? "true" : "false", indent, streams_of(partner));
}

/* What this tenant agrees with those whose rules do not stand at the partner. */
static void write_pairs(FILE *file, const struct plan *plan)
{
    bool is_first = true;
    for (unsigned i = 0; i < plan->partner_count; i++) {
        if (!plan->partners[i].is_pair)
            continue;
        fprintf(file, "%s      - domain: %s\n", is_first ? "    partner_rules:\n" : "",
                plan->partners[i].domain);
        write_rules(file, "        ", &plan->partners[i]);
        is_first = false;
    }
}

static void write_partner(FILE *file, const struct plan_partner *partner)
{
    char host[NET_ADDRESS_TEXT_SIZE];
    net_address_format_host(&partner->address, host);
    fprintf(file, "  - domain: %s\n", partner->domain);
    if (!partner->is_pair)
        write_rules(file, "    ", partner);
    if (!partner->by_dns)
        fprintf(file, "    host: %s\n    port: %u\n    direct_tls: %s\n", host,
                net_address_port(&partner->address) + partner->direct_tls,
                partner->direct_tls ? "true" : "false");
}

static void write_tenant(FILE *file, const struct plan *plan, unsigned number)
{
    const struct plan_tenant *tenant = &plan->tenants[number];
    fprintf(file, "  - name: t%u\n    domains: [%s]\n    policy: open\n", number,
            tenant->domain);
    fprintf(file,
            "    xmpp: {messages_per_second_max: %u, messages_burst_max: %u,\n"
            "           messages_in_flight_max: %u}\n",
            tenant->per_second_max, tenant->burst_max, tenant->in_flight_max);
    write_pairs(file, plan);
    fputs("    trunks:\n", file);
    for (unsigned i = 0; i < tenant->trunk_count; i++) {
        const struct plan_trunk *trunk = &tenant->trunks[i];
        char host[NET_ADDRESS_TEXT_SIZE];
        net_address_format_host(&trunk->address, host);
        if (trunk->by_dns)
            fprintf(file, "      - uri: sip:trunk%u.%s;transport=%s\n", i, tenant->domain,
                    transports[trunk->transport]);
        else
            fprintf(file, "      - uri: sip:%s:%u;transport=%s\n", host,
                    net_address_port(&trunk->address), transports[trunk->transport]);
        fprintf(file,
                "        sources: [%s]\n        priority: %u\n"
                "        options_interval: %u\n        identity: %s\n",
                host, i, trunk->options_interval_s, tenant->domain);
    }
}

/* Tenants that nobody talks with, others in each edition. */
static void write_passing(FILE *file, unsigned edition)
{
    unsigned count = edition == 0 ? 0 : 1 + edition % 3;
    for (unsigned i = edition; i < edition + count; i++)
        fprintf(file,
                "  - name: p%u\n    domains: [p%u.example]\n    trunks:\n"
                "      - uri: sip:10.9.0.1;transport=%s\n        options_interval: 0\n",
                i, i, transports[i % 3]);
}

static void write_tenants(const struct relay *relay, FILE *file)
{
    const struct plan *plan = relay->plan;
    unsigned edition = relay->edition;
    if (edition % 2 == 0)
        write_passing(file, edition);
    for (unsigned i = 0; i < plan->tenant_count; i++) {
        unsigned at = edition % 3 == 0 ? plan->tenant_count - 1 - i : i;
        if (!relay->is_missing[at])
            write_tenant(file, plan, at);
    }
    if (edition % 2 == 1)
        write_passing(file, edition);
}

void relay_write_config(const struct relay *relay)
{
    const struct plan *plan = relay->plan;
    FILE *file = fopen(relay->path, "w");
    if (file == NULL)
        abort();
    fprintf(file,
            "global:\n  workers: %u\n  egress: %u\n  parcel_count: %u\n"
            "xmpp:\n  listen: [\"" PLAN_RELAY_HOST ":5269\"]\n"
            "  listen_direct_tls: [\"" PLAN_RELAY_HOST ":5270\"]\n"
            "  certificate: relay.pem\n  key: relay.key\n  ca_file: ca.pem\n"
            "  dialback_secret: the-secret-of-the-simulated-relay\n"
            "  confirm_timeout_ms: %u\n  deliver_timeout_ms: %u\n  breaker_pairs: %u\n"
            "  connect_timeout_ms: 5000\n  negotiation_timeout_ms: 10000\n"
            "  idle_timeout_ms: 60000\n  sessions_max: 200\n"
            "sip:\n  listen_udp: [\"" PLAN_RELAY_HOST ":5060\"]\n"
            "  listen_tcp: [\"" PLAN_RELAY_HOST ":5060\"]\n"
            "  listen_tls: [\"" PLAN_RELAY_HOST ":5061\"]\n"
            "  recipient_queue_max: %u\n"
            "dns:\n  allow_special: true\n  timeout_ms: 5000\ntenants:\n",
            plan->workers, plan->egress, plan->parcels, plan->confirm_timeout_ms,
            plan->deliver_timeout_ms, plan->breaker_pairs, plan->recipient_queue_max);
    write_tenants(relay, file);
    fputs("partners:\n", file);
    for (unsigned i = 0; i < plan->partner_count; i++)
        write_partner(file, &plan->partners[i]);
    if (fclose(file) != 0)
        abort();
}
