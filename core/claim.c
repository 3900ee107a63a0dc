/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/port.h"

#define CLAIM_MAX   64
#define CLAIM_TRIES 10
#define CLAIM_MS    50

struct claim_listen {
    const char *key;
    const union net_address *addresses;
    size_t count;
    bool is_stream;
};

/* A predecessor that was killed may hold its sockets for the moment that the kernel needs to
   take down its io_uring. */
static int claim_one(const union net_address *address, bool is_stream)
{
    int fd = net_port_claim(address, is_stream);
    for (unsigned i = 0; i < CLAIM_TRIES && fd == -EADDRINUSE; i++) {
        (void)usleep(CLAIM_MS * 1000);
        fd = net_port_claim(address, is_stream);
    }
    return fd;
}

int claim_all(const struct config *config, char *error, size_t error_size)
{
    const struct claim_listen all[] = {
        {"xmpp.listen", config->starttls_listen, config->starttls_listen_count, true},
        {"xmpp.listen_direct_tls", config->direct_listen, config->direct_listen_count, true},
        {"sip.listen_udp", config->udp_listen, config->udp_listen_count, false},
        {"sip.listen_tcp", config->tcp_listen, config->tcp_listen_count, true},
        {"sip.listen_tls", config->tls_listen, config->tls_listen_count, true}};
    int claims[CLAIM_MAX];
    unsigned count = 0;
    int status = 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && status == 0; i++) {
        for (size_t j = 0; j < all[i].count && status == 0 && count < CLAIM_MAX; j++) {
            int fd = claim_one(&all[i].addresses[j], all[i].is_stream);
            if (fd >= 0) {
                claims[count++] = fd;
                continue;
            }
            char text[NET_ADDRESS_TEXT_SIZE];
            net_address_format(&all[i].addresses[j], text);
            status = fd;
            (void)snprintf(error, error_size, "%s: %s (%s): %s%s", all[i].key, text,
                           all[i].is_stream ? "TCP" : "UDP", strerror(-status),
                           status == -EADDRINUSE ? "; another process, or another relay, has it"
                                                 : "");
        }
    }
    while (count > 0)
        close(claims[--count]);
    return status;
}
