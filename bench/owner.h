/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a ring event of the generator belongs to: first member of whatever owns a socket. */
#ifndef PASSERELLE_BENCH_OWNER_H
#define PASSERELLE_BENCH_OWNER_H

#include "net/ring.h"

enum bench_owner {
    BENCH_OWNER_XMPP_LISTENER,
    BENCH_OWNER_XMPP_STREAM,
    BENCH_OWNER_SIP_LISTENER, /* also the datagram socket */
    BENCH_OWNER_SIP_WIRE,
    BENCH_OWNER_COMPONENT,
    BENCH_OWNER_ROGUE,
    BENCH_OWNER_HALF_OPEN
};

static inline bool bench_is_of(const struct ring_event *event, enum bench_owner kind)
{
    return event->owner != NULL && *(const enum bench_owner *)event->owner == kind;
}

#endif
