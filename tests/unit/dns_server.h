/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A small DNS server inside a test's program, on a thread and a port of its own. */
#ifndef PASSERELLE_TESTS_UNIT_DNS_SERVER_H
#define PASSERELLE_TESTS_UNIT_DNS_SERVER_H

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/address.h"

/* SRV: "priority weight port target", A, AAAA: an address, NAPTR: "order preference flags
   service replacement". One with value NULL is never answered, "!" fails. NXDOMAIN for every
   name without any. */
struct dns_record {
    const char *name;
    unsigned type;
    const char *value;
};

struct dns_server {
    const struct dns_record *zone;
    size_t zone_size;
    int fd;
    pthread_t thread;
    char address[32]; /* as the resolver wants it */
    _Atomic bool stop;
    _Atomic unsigned tlsa_asked;
};

static inline size_t dns_put_name(uint8_t *out, const char *name)
{
    size_t used = 0;
    while (*name != '\0' && strcmp(name, ".") != 0) {
        size_t size = strcspn(name, ".");
        out[used++] = (uint8_t)size;
        memcpy(out + used, name, size);
        used += size;
        name += size + (name[size] == '.');
    }
    out[used++] = 0;
    return used;
}

static inline size_t dns_put_text(uint8_t *out, const char *text)
{
    size_t size = strlen(text);
    out[0] = (uint8_t)size;
    memcpy(out + 1, text, size);
    return 1 + size;
}

static inline size_t dns_put_record(uint8_t *out, const struct dns_record *record)
{
    static const uint8_t head[12] = {0xc0, 12, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0};
    memcpy(out, head, sizeof(head));
    out[3] = (uint8_t)record->type;
    size_t size = 4;
    if (record->type == 1) {
        union net_address address;
        assert_int_equal(net_address_parse_host(&address, record->value, 0), 0);
        memcpy(out + 12, &address.v4.sin_addr, 4);
    } else if (record->type == 28) {
        union net_address address;
        assert_int_equal(net_address_parse_host(&address, record->value, 0), 0);
        memcpy(out + 12, &address.v6.sin6_addr, 16);
        size = 16;
    } else if (record->type == 35) {
        unsigned order, preference;
        char flags[20], service[40], target[100];
        assert_int_equal(sscanf(record->value, "%u %u %19s %39s %99s", &order, &preference,
                                flags, service, target),
                         5);
        const uint8_t numbers[4] = {0, (uint8_t)order, 0, (uint8_t)preference};
        memcpy(out + 12, numbers, sizeof(numbers));
        size += dns_put_text(out + 12 + size, flags);
        size += dns_put_text(out + 12 + size, service);
        size += dns_put_text(out + 12 + size, "");
        size += dns_put_name(out + 12 + size, target);
    } else {
        unsigned priority, weight, port;
        char target[100];
        assert_int_equal(
            sscanf(record->value, "%u %u %u %99s", &priority, &weight, &port, target), 4);
        const unsigned numbers[3] = {priority, weight, port};
        for (size_t i = 0; i < 3; i++) {
            out[12 + 2 * i] = (uint8_t)(numbers[i] >> 8);
            out[13 + 2 * i] = (uint8_t)numbers[i];
        }
        size = 6 + dns_put_name(out + 18, target);
    }
    out[11] = (uint8_t)size;
    return 12 + size;
}

/* Turns the question in `packet` into its answer; 0 when none is to be sent. */
static inline size_t dns_answer(struct dns_server *server, uint8_t *packet)
{
    char name[256] = "";
    size_t at = 12, used = 0, count = 0;
    while (packet[at] != 0) {
        used +=
            (size_t)snprintf(name + used, sizeof(name) - used, "%s%.*s", used > 0 ? "." : "",
                             packet[at], (const char *)packet + at + 1);
        at += packet[at] + 1u;
    }
    unsigned type = packet[at + 2];
    size_t size = at + 5;
    bool known = false, fails = false;
    server->tlsa_asked += type == 52;
    for (size_t i = 0; i < server->zone_size; i++) {
        const struct dns_record *record = &server->zone[i];
        if (strcasecmp(record->name, name) != 0)
            continue;
        known = true;
        bool is_asked = record->type == type;
        if (is_asked && record->value == NULL)
            return 0;
        fails = fails || (record->value != NULL && strcmp(record->value, "!") == 0);
        if (!is_asked || fails)
            continue;
        size += dns_put_record(packet + size, record);
        count++;
    }
    packet[2] = 0x81;
    packet[3] = (uint8_t)(0x80 | (fails ? 2 : known ? 0 : 3));
    packet[7] = (uint8_t)count;
    memset(packet + 8, 0, 4); /* no authority, no EDNS */
    return size;
}

static inline void *dns_server_run(void *context)
{
    struct dns_server *server = context;
    struct pollfd fd = {.fd = server->fd, .events = POLLIN};
    while (!server->stop) {
        uint8_t packet[2048];
        struct sockaddr_in peer;
        socklen_t peer_size = sizeof(peer);
        if (poll(&fd, 1, 20) <= 0 ||
            recvfrom(server->fd, packet, 512, 0, (void *)&peer, &peer_size) < 17)
            continue;
        size_t size = dns_answer(server, packet);
        if (size > 0)
            (void)sendto(server->fd, packet, size, 0, (void *)&peer, peer_size);
    }
    return NULL;
}

static inline void dns_server_open(struct dns_server *server, const struct dns_record *zone,
                                   size_t zone_size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t size = sizeof(address);
    server->zone = zone;
    server->zone_size = zone_size;
    server->fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(server->fd, (void *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(server->fd, (void *)&address, &size), 0);
    (void)snprintf(server->address, sizeof(server->address), "127.0.0.1@%u",
                   ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, dns_server_run, server), 0);
}

static inline void dns_server_close(struct dns_server *server)
{
    server->stop = true;
    pthread_join(server->thread, NULL);
    close(server->fd);
}

#endif
