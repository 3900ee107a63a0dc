/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The names of the simulated world: an implementation of net/resolver.h over a small table,
   with answers that come late, fail, or never come. */
#ifndef PASSERELLE_TESTS_SIM_DNS_H
#define PASSERELLE_TESTS_SIM_DNS_H

#include "net/resolver.h"

#define DNS_NAME_MAX 64u

struct dns_name {
    char domain[RESOLVER_NAME_SIZE];
    const char *prefix;        /* the service; NULL: an address record */
    union net_address address; /* with the port of the service */
};

struct dns {
    struct dns_name names[DNS_NAME_MAX];
    unsigned count;
    unsigned fail;       /* questions that fail, per mille */
    uint64_t latency_ns; /* at most */
};

extern struct dns dns;

void dns_open(unsigned fail, uint64_t latency_ns);
/* Names are asked in the order they were added; one domain and service is one host. */
void dns_add(const char *domain, const char *prefix, const union net_address *address);

#endif
