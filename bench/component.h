/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An XMPP component (XEP-0114) that only takes messages: where a stream ends when it is an XMPP
 * server that is measured, not a relay. Reads with expat directly: the relay's XML stream
 * refuses any content that is not jabber:server. One thread; events are fed by the owner of the
 * ring.
 */
#ifndef PASSERELLE_BENCH_COMPONENT_H
#define PASSERELLE_BENCH_COMPONENT_H

#include <expat.h>

#include "bench/owner.h"
#include "proto/span.h"

/* The start of the body of a message that came: enough for a number. */
typedef void (*component_message_fn)(void *context, struct span text);

struct component_options {
    struct ring *ring;
    union net_address server;
    const char *domain, *secret;
    component_message_fn message;
    void *context;
};

struct component {
    enum bench_owner owner; /* first: what ring events name */
    struct component_options options;
    ring_handle handle;
    XML_Parser parser;
    unsigned depth;    /* of open elements */
    bool in_body;      /* inside the body of a message */
    char text[32];     /* the start of that body */
    size_t text_size;
    char output[1024]; /* what is being sent: header, then handshake */
    bool ready;
    const char *problem; /* why it ended; NULL while it lives */
};

/* Starts the connection. -errno. */
int component_open(struct component *component, const struct component_options *options);
void component_event(struct component *component, const struct ring_event *event);
/* After the ring was closed. */
void component_close(struct component *component);

#endif
