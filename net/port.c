/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/port.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

int net_port_claim(const union net_address *address, bool is_stream)
{
    const int one = 1;
    int fd = socket(address->any.sa_family,
                    (is_stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = 0;
    /* Connections of an earlier process that only wait for their end are no obstacle. */
    if ((is_stream && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) ||
        (address->any.sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
        bind(fd, &address->any, net_address_size(address)) < 0)
        error = -errno;
    if (error == 0)
        return fd;
    close(fd);
    return error;
}

int net_port_source(const union net_address *target, union net_address *source)
{
    socklen_t size = sizeof(*source);
    assert(target->any.sa_family == AF_INET || target->any.sa_family == AF_INET6);
    int fd = socket(target->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Sends nothing: it only chooses the route. */
    int error = connect(fd, &target->any, net_address_size(target)) < 0 ||
                        getsockname(fd, &source->any, &size) < 0
                    ? -errno
                    : 0;
    close(fd);
    if (error == 0)
        net_address_set_port(source, 0);
    return error;
}
