/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside of the resolver: reading DNS records and putting SRV records in order. Pure but for
   the random numbers that the caller gives. */
#ifndef PASSERELLE_NET_RESOLVER_ORDER_H
#define PASSERELLE_NET_RESOLVER_ORDER_H

#include "net/resolver.h"

struct resolver_record {
    uint16_t priority, weight, port;
    unsigned service;
    bool secure;
    bool is_dot; /* target ".": decidedly no service (RFC 2782) */
    char host[RESOLVER_NAME_SIZE];
};

/* A NAPTR record that leads to SRV records (RFC 3403, RFC 3263 §4.1). */
struct resolver_pointer {
    uint16_t order, preference;
    char service[32];
    char host[RESOLVER_NAME_SIZE]; /* where the SRV records are */
};

/* Reads the data of a NAPTR record; false when it is malformed or does not lead to SRV records
   (another flag than "s", a regular expression). */
bool resolver_order_pointer(const uint8_t *data, size_t size, struct resolver_pointer *pointer);
/* True when `a` is to be tried before `b`. */
bool resolver_order_before(const struct resolver_pointer *a, const struct resolver_pointer *b);
/* Reads the data of an SRV record; false when it is malformed or its name holds odd bytes. */
bool resolver_order_parse(const uint8_t *data, size_t size, struct resolver_record *record);
/* RFC 2782: by priority, and by chance in proportion to the weights among equals. `random`
   holds one number for each record. */
void resolver_order_sort(struct resolver_record *records, size_t count, const uint32_t *random);

#endif
