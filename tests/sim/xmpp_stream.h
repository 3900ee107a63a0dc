/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One stream of a simulated XMPP server: its connection, TLS and XML, in either role. How it is
 * negotiated stands in xmpp_negotiation.h. Written on its own, so that it does not share the
 * mistakes of the relay; only TLS and the XML parser are the relay's. What it cannot do alone
 * it asks its server (xmpp_server.h).
 */
#ifndef PASSERELLE_TESTS_SIM_XMPP_STREAM_H
#define PASSERELLE_TESTS_SIM_XMPP_STREAM_H

#include "net/ring.h"
#include "net/tls.h"
#include "proto/xml_stream.h"
#include "tests/sim/peer.h"

#define XMPP_NAME_SIZE 64
#define XMPP_ID_SIZE   64

struct xmpp_server;
struct xmpp_theirs;

enum xmpp_stream_state {
    XMPP_STREAM_CONNECTING,
    XMPP_STREAM_PLAIN,
    XMPP_STREAM_TLS,
    XMPP_STREAM_SECURE, /* under TLS, not yet trusted */
    XMPP_STREAM_READY,
    XMPP_STREAM_DEAD
};

struct xmpp_stream {
    enum peer_kind kind; /* first */
    struct xmpp_stream *next;
    struct xmpp_server *server;
    enum xmpp_stream_state state;
    uint64_t number; /* in the order of opening; names it to those who keep no pointer */
    uint64_t opened_ns;
    ring_handle handle;
    bool accepted, direct, authenticated;
    bool may_verify; /* our own: the relay's features under TLS have come */
    bool in_flight, is_closing, has_died;
    bool is_bidi;               /* it goes both ways (XEP-0288) */
    bool is_managed;            /* its stanzas are counted */
    struct xmpp_theirs *theirs; /* the relay's, and it is managed */
    bool is_clean;              /* one of the two has closed it, so it is not resumed */
    char local[XMPP_NAME_SIZE], remote[XMPP_NAME_SIZE]; /* the server's domain, the relay's */
    char id[XMPP_ID_SIZE];                              /* given by the receiving side */
    unsigned headers;
    struct tls_session *tls;
    struct xml_stream *xml;
    struct net_buffer input, output, sending;
};

/* To the relay at `target`, for this pair of domains. NULL: no socket is left. */
struct xmpp_stream *xmpp_stream_connect(struct xmpp_server *server, const char *remote,
                                        const union net_address *target);
struct xmpp_stream *xmpp_stream_accept(struct xmpp_server *server, ring_handle handle,
                                       bool direct);
/* It only ever goes on. */
void xmpp_stream_set_state(struct xmpp_stream *stream, enum xmpp_stream_state state);
void xmpp_stream_event(struct xmpp_stream *stream, const struct ring_event *event);
/* Written at once; `false` when the stream is not what it must be or its buffer is full. */
bool xmpp_stream_write(struct xmpp_stream *stream, struct span text);
/* The same; a stream that cannot take it is killed. */
void xmpp_stream_say(struct xmpp_stream *stream, struct span text);
void xmpp_stream_flush(struct xmpp_stream *stream);
/* It is resumed, or known not to be: stanzas may go. */
void xmpp_stream_ready(struct xmpp_stream *stream);
/* </stream:stream>, then the socket is dropped once that is out. */
void xmpp_stream_end(struct xmpp_stream *stream);
/* At once. */
void xmpp_stream_kill(struct xmpp_stream *stream, const char *why);
/* After its RING_GONE. */
void xmpp_stream_free(struct xmpp_stream *stream);

#endif
