/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Socket addresses, IPv4 and IPv6. Pure, any thread. */
#ifndef PASSERELLE_NET_ADDRESS_H
#define PASSERELLE_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_MUST_USE __attribute__((warn_unused_result))

union net_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* "192.0.2.1:5060", "[2001:db8::1]:5060", "[::]:0". */
#define NET_ADDRESS_TEXT_SIZE 56

socklen_t net_address_size(const union net_address *address);
/* Parses an IP literal (v6 with or without brackets) without a port; -EINVAL when it is
   none. */
int net_address_parse_host(union net_address *address, const char *host, uint16_t port);
/* Parses "host:port" of literals; a missing port becomes `default_port`. -EINVAL. */
int net_address_parse(union net_address *address, const char *text, uint16_t default_port);
uint16_t net_address_port(const union net_address *address);
void net_address_set_port(union net_address *address, uint16_t port);
/* With port (NET_ADDRESS_TEXT_SIZE bytes) and without (no brackets). NUL-terminated. */
void net_address_format(const union net_address *address, char *text);
void net_address_format_host(const union net_address *address, char *text);
/* IPv4-mapped IPv6 equals its IPv4. */
bool net_address_equal(const union net_address *a, const union net_address *b);
bool net_address_equal_host(const union net_address *a, const union net_address *b);
/* True when `address` lies in `network`/`prefix_size` bits. */
bool net_address_in(const union net_address *address, const union net_address *network,
                    unsigned prefix_size);
/* Loopback, private (RFC 1918, RFC 4193), link-local, unspecified, multicast: what a DNS answer
   of the open internet must not name. */
bool net_address_is_special(const union net_address *address);
/* Whom a limit "per address" is about, with port 0: the address of IPv4, the network of 64 bits
   of IPv6, of which one host may have every address (RFC 4291 §2.5.4). */
void net_address_site(union net_address *site, const union net_address *address);
uint64_t net_address_hash(const union net_address *address);

#endif
