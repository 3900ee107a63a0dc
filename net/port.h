/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Questions to the kernel about local addresses. Any thread; each costs a socket. */
#ifndef PASSERELLE_NET_PORT_H
#define PASSERELLE_NET_PORT_H

#include "net/address.h"

/* Binds a socket to `address` without sharing it (no SO_REUSEPORT), so that it fails with
   -EADDRINUSE when any other socket listens there. The descriptor, or -errno. The caller closes
   it; nothing is received meanwhile. */
int net_port_claim(const union net_address *address, bool is_stream) NET_MUST_USE;
/* The local address, without a port, from which packets to `target` leave. -errno when there is
   no route. */
int net_port_source(const union net_address *target, union net_address *source) NET_MUST_USE;

#endif
