/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96 /* ::ffff:0:0/96, RFC 4291 §2.5.5.2 */

struct address_bits {
    uint8_t bytes[16];
};

struct special_network {
    const char *prefix;
    unsigned prefix_size;
};

/* IPv4 networks are given in their mapped form, so that one comparison serves both. */
static const struct special_network special_networks[] = {
    {"::ffff:0.0.0.0", MAPPED_BITS + 8},      /* RFC 1122 §3.2.1.3 */
    {"::ffff:10.0.0.0", MAPPED_BITS + 8},     /* RFC 1918 */
    {"::ffff:100.64.0.0", MAPPED_BITS + 10},  /* RFC 6598 */
    {"::ffff:127.0.0.0", MAPPED_BITS + 8},    /* RFC 1122 */
    {"::ffff:169.254.0.0", MAPPED_BITS + 16}, /* RFC 3927 */
    {"::ffff:172.16.0.0", MAPPED_BITS + 12},  /* RFC 1918 */
    {"::ffff:192.0.0.0", MAPPED_BITS + 24},   /* RFC 6890 */
    {"::ffff:192.168.0.0", MAPPED_BITS + 16}, /* RFC 1918 */
    {"::ffff:198.18.0.0", MAPPED_BITS + 15},  /* RFC 2544 */
    {"::ffff:224.0.0.0", MAPPED_BITS + 4},    /* RFC 5771 */
    {"::ffff:240.0.0.0", MAPPED_BITS + 4},    /* RFC 1112 §4, broadcast */
    {"::", 127},                              /* unspecified and loopback */
    {"fc00::", 7},                            /* RFC 4193 */
    {"fe80::", 10},                           /* RFC 4291 §2.5.6 */
    {"fec0::", 10},                           /* RFC 3879 */
    {"ff00::", 8},                            /* RFC 4291 §2.7 */
};

static bool address_is_v4(const union net_address *address)
{
    assert(address->any.sa_family == AF_INET || address->any.sa_family == AF_INET6);
    return address->any.sa_family == AF_INET;
}

static void bits_of_v4(struct address_bits *bits, const void *v4)
{
    memset(bits->bytes, 0, 10);
    bits->bytes[10] = 0xff;
    bits->bytes[11] = 0xff;
    memcpy(bits->bytes + 12, v4, 4);
}

static void address_bits(struct address_bits *bits, const union net_address *address)
{
    if (address_is_v4(address))
        bits_of_v4(bits, &address->v4.sin_addr);
    else
        memcpy(bits->bytes, &address->v6.sin6_addr, sizeof(bits->bytes));
}

static bool bits_in(const struct address_bits *bits, const struct address_bits *network,
                    unsigned prefix_size)
{
    assert(prefix_size <= 128);
    unsigned whole = prefix_size / 8;
    unsigned rest = prefix_size % 8;
    if (memcmp(bits->bytes, network->bytes, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    return ((bits->bytes[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0;
}

socklen_t net_address_size(const union net_address *address)
{
    return address_is_v4(address) ? sizeof(address->v4) : sizeof(address->v6);
}

int net_address_parse_host(union net_address *address, const char *host, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    size_t size = strlen(host);
    assert(address != NULL);
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        return 0;
    }
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    }
    if (size >= sizeof(text))
        return -EINVAL;
    memcpy(text, host, size);
    text[size] = '\0';
    if (inet_pton(AF_INET6, text, &address->v6.sin6_addr) != 1)
        return -EINVAL;
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = htons(port);
    return 0;
}

/* -EINVAL when `text` is not one to five digits with a value that fits. */
static int port_parse(const char *text, uint16_t *port)
{
    unsigned value = 0;
    size_t size = strlen(text);
    if (size < 1 || size > 5)
        return -EINVAL;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > UINT16_MAX)
        return -EINVAL;
    *port = (uint16_t)value;
    return 0;
}

int net_address_parse(union net_address *address, const char *text, uint16_t default_port)
{
    char host[NET_ADDRESS_TEXT_SIZE];
    uint16_t port = default_port;
    const char *bracket = text[0] == '[' ? strchr(text, ']') : NULL;
    const char *colon = strrchr(text, ':');
    if (text[0] == '[') {
        if (bracket == NULL || (bracket[1] != '\0' && bracket[1] != ':'))
            return -EINVAL;
        colon = bracket[1] == ':' ? bracket + 1 : NULL;
    } else if (colon != NULL && strchr(text, ':') != colon) {
        colon = NULL; /* Several colons without brackets: an IPv6 literal without a port. */
    }
    if (colon != NULL && port_parse(colon + 1, &port) < 0)
        return -EINVAL;
    size_t size = colon != NULL ? (size_t)(colon - text) : strlen(text);
    if (size >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, size);
    host[size] = '\0';
    return net_address_parse_host(address, host, port);
}

uint16_t net_address_port(const union net_address *address)
{
    return ntohs(address_is_v4(address) ? address->v4.sin_port : address->v6.sin6_port);
}

void net_address_set_port(union net_address *address, uint16_t port)
{
    if (address_is_v4(address))
        address->v4.sin_port = htons(port);
    else
        address->v6.sin6_port = htons(port);
}

static char *put_number(char *text, unsigned number)
{
    char digits[10];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0)
        *text++ = digits[--count];
    return text;
}

/* Each SIP request wants one: inet_ntop goes through printf for it. */
static void format_v4(const struct in_addr *host, char *text)
{
    uint8_t bytes[4];
    memcpy(bytes, host, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        text = put_number(text, bytes[i]);
        *text++ = i < 3 ? '.' : '\0';
    }
}

void net_address_format_host(const union net_address *address, char *text)
{
    if (address_is_v4(address)) {
        format_v4(&address->v4.sin_addr, text);
        return;
    }
    const char *done = inet_ntop(AF_INET6, &address->v6.sin6_addr, text, NET_ADDRESS_TEXT_SIZE);
    assert(done != NULL);
    (void)done;
}

void net_address_format(const union net_address *address, char *text)
{
    char host[NET_ADDRESS_TEXT_SIZE];
    net_address_format_host(address, host);
    const char *form = address_is_v4(address) ? "%.45s:%u" : "[%.45s]:%u";
    int n = snprintf(text, NET_ADDRESS_TEXT_SIZE, form, host, net_address_port(address));
    assert(n > 0 && n < NET_ADDRESS_TEXT_SIZE);
    (void)n;
}

bool net_address_equal_host(const union net_address *a, const union net_address *b)
{
    struct address_bits x, y;
    address_bits(&x, a);
    address_bits(&y, b);
    return memcmp(&x, &y, sizeof(x)) == 0;
}

bool net_address_equal(const union net_address *a, const union net_address *b)
{
    return net_address_port(a) == net_address_port(b) && net_address_equal_host(a, b);
}

void net_address_site(union net_address *site, const union net_address *address)
{
    *site = *address;
    net_address_set_port(site, 0);
    if (!address_is_v4(address) && !IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
        memset(&site->v6.sin6_addr.s6_addr[8], 0, 8);
}

bool net_address_in(const union net_address *address, const union net_address *network,
                    unsigned prefix_size)
{
    struct address_bits x, y;
    address_bits(&x, address);
    address_bits(&y, network);
    return bits_in(&x, &y, prefix_size + (address_is_v4(network) ? MAPPED_BITS : 0));
}

static bool bits_are_special(const struct address_bits *bits)
{
    size_t count = sizeof(special_networks) / sizeof(special_networks[0]);
    for (size_t i = 0; i < count; i++) {
        struct address_bits network;
        int rc = inet_pton(AF_INET6, special_networks[i].prefix, network.bytes);
        assert(rc == 1);
        (void)rc;
        if (bits_in(bits, &network, special_networks[i].prefix_size))
            return true;
    }
    return false;
}

bool net_address_is_special(const union net_address *address)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b}; /* RFC 6052 §2.1 */
    static const uint8_t compatible[12] = {0};                 /* RFC 4291 §2.5.5.1 */
    struct address_bits bits, inner;
    address_bits(&bits, address);
    if (bits_are_special(&bits))
        return true;
    /* An IPv4 address inside an IPv6 one must not slip a private target through. */
    if (memcmp(bits.bytes, nat64, sizeof(nat64)) == 0 ||
        memcmp(bits.bytes, compatible, sizeof(compatible)) == 0)
        bits_of_v4(&inner, bits.bytes + 12);
    else if (bits.bytes[0] == 0x20 && bits.bytes[1] == 0x02) /* 6to4, RFC 3056 §2 */
        bits_of_v4(&inner, bits.bytes + 2);
    else
        return false;
    return bits_are_special(&inner);
}

uint64_t net_address_hash(const union net_address *address)
{
    struct address_bits bits;
    uint64_t high, low;
    address_bits(&bits, address);
    memcpy(&high, bits.bytes, sizeof(high));
    memcpy(&low, bits.bytes + 8, sizeof(low));
    /* The finaliser of MurmurHash3 over the halves and the port. */
    uint64_t hash = high * 0x9e3779b97f4a7c15u + low + net_address_port(address);
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
    return hash ^ (hash >> 33);
}
