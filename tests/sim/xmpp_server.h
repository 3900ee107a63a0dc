/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A simulated XMPP server with one domain: takes the relay's streams, has streams of its own to
 * the relay, is the authority of its dialback keys, answers pings and messages in the order
 * they came, after a while, or not at all.
 */
#ifndef PASSERELLE_TESTS_SIM_XMPP_SERVER_H
#define PASSERELLE_TESTS_SIM_XMPP_SERVER_H

#include "tests/sim/ledger.h"
#include "tests/sim/xmpp_managed.h"
#include "tests/sim/xmpp_stream.h"

#define XMPP_VERIFY_MAX 32u

/* A stanza that waits for a stream. */
struct xmpp_letter {
    struct xmpp_letter *next;
    struct xmpp_pair *pair;
    struct ledger_message *message; /* NULL: an answer */
    size_t size;
    char text[];
};

/* A key of the relay that the relay, as its authority, is asked about. */
struct xmpp_verify {
    uint64_t stream; /* number of the accepted stream it came on; 0: free */
    bool is_asked;
    char id[XMPP_ID_SIZE], key[128];
};

/* What goes from the server to one domain of the relay. */
struct xmpp_pair {
    struct xmpp_server *server;
    const char *remote;
    struct xmpp_stream *stream; /* its own one, or one of the relay's that goes both ways */
    struct xmpp_letter *first, **last;
    struct xmpp_managed managed;
    struct xmpp_verify verifies[XMPP_VERIFY_MAX];
    uint64_t retry_at_ns;
    uint64_t answer_at_ns; /* of the last answer: the next one does not overtake it */
};

struct xmpp_server {
    enum peer_kind kind; /* first */
    unsigned number;
    const struct plan *plan;
    const struct plan_partner *partner;
    struct ring *ring;
    struct tls_context *context;
    ring_handle listeners[2];
    bool is_listening, is_over;
    union net_address relay, relay_direct;
    char secret[32];
    struct xmpp_stream *streams;
    uint64_t stream_count;
    struct xmpp_pair pairs[PLAN_TENANT_MAX];
};

void xmpp_server_open(struct xmpp_server *server, const struct plan *plan, unsigned number,
                      struct ring *ring, const char *folder);
void xmpp_server_close(struct xmpp_server *server);
/* No new streams and no new messages from now on. */
void xmpp_server_retire(struct xmpp_server *server);
/* A ring event whose owner is the server or one of its streams. */
void xmpp_server_event(struct xmpp_server *server, const struct ring_event *event);
/* Sends a message of the ledger. */
/* Nothing waits for a stream. */
bool xmpp_server_is_settled(const struct xmpp_server *server);
void xmpp_server_send(struct xmpp_server *server, struct ledger_message *message);

/* For xmpp_stanza.c: a letter, and what sends it when its turn has come. */
struct xmpp_pair *xmpp_server_pair(struct xmpp_server *server, struct span remote);
struct xmpp_letter *xmpp_server_write(struct xmpp_pair *pair, struct ledger_message *message,
                                      struct span text);
void xmpp_server_post(struct xmpp_letter *letter);
/* Ends a stream as a server that goes down does. */
void xmpp_server_end(struct xmpp_stream *stream);

/* For the streams. */
void xmpp_server_writable(struct xmpp_stream *stream);
void xmpp_server_ready(struct xmpp_stream *stream);
void xmpp_server_died(struct xmpp_stream *stream);
void xmpp_server_stanza(struct xmpp_stream *stream, const struct xml_node *node);
/* The relay's key for an accepted stream; the relay's verdict on an earlier question; and what
   the relay asks us as the authority. */
void xmpp_server_verify(struct xmpp_stream *stream, struct span key);
void xmpp_server_verified(struct xmpp_stream *stream, const struct xml_node *node);
bool xmpp_server_knows_key(const struct xmpp_server *server, struct span remote, struct span id,
                           struct span key);
void xmpp_server_write_key(const struct xmpp_stream *stream, struct writer *writer);

#endif
