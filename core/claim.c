/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/port.h"

#define CLAIM_TRIES 10
#define CLAIM_MS    50

/* A predecessor that was killed may hold its sockets for the moment that the kernel needs to
   take down its io_uring. */
static int try_claim(const union net_address *address, bool is_stream)
{
    int fd = net_port_claim(address, is_stream);
    for (unsigned i = 0; i < CLAIM_TRIES && fd == -EADDRINUSE; i++) {
        (void)usleep(CLAIM_MS * 1000);
        fd = net_port_claim(address, is_stream);
    }
    return fd;
}

static int claim_one(const struct config_listeners *listeners, const union net_address *address,
                     char *error, size_t error_size)
{
    char text[NET_ADDRESS_TEXT_SIZE];
    int fd = try_claim(address, listeners->is_stream);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    net_address_format(address, text);
    (void)snprintf(error, error_size, "%s: %s (%s): %s%s", listeners->key, text,
                   listeners->is_stream ? "TCP" : "UDP", strerror(-fd),
                   fd == -EADDRINUSE ? "; another process, or another relay, has it" : "");
    return fd;
}

int claim_all(const struct config *config, char *error, size_t error_size)
{
    struct config_listeners all[CONFIG_LISTENERS_COUNT];
    int status = 0;
    config_listeners(config, all);
    for (size_t i = 0; i < CONFIG_LISTENERS_COUNT && status == 0; i++)
        for (size_t j = 0; j < all[i].count && status == 0; j++)
            status = claim_one(&all[i], &all[i].addresses[j], error, error_size);
    return status;
}
