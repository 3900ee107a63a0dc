/* SPDX-License-Identifier: GPL-3.0-or-later */
/* net/port.h on the simulated host, which has one address. */
#include "net/port.h"

#include <errno.h>

#include "tests/sim/network.h"

int net_port_claim(const union net_address *address, bool is_stream)
{
    (void)address;
    (void)is_stream;
    return -ENOSYS; /* only main asks */
}

int net_port_source(const union net_address *target, union net_address *source)
{
    (void)target;
    *source = network.host;
    return 0;
}
