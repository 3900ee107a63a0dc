/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the connections share: sip_connection.c opens, finds and ends them,
 * sip_stream.c moves what goes through one: TLS, framing, output; sip_proxy.c reads what a
 * proxy puts before it.
 */
#ifndef PASSERELLE_CORE_SIP_CONNECTION_PRIV_H
#define PASSERELLE_CORE_SIP_CONNECTION_PRIV_H

#include <sys/queue.h>

#include "core/sip_connection.h"
#include "core/tls_store.h"

#define CONNECTION_MAGIC  0x53434f4eu
#define CONNECTION_MAX    4096u
#define INPUT_SIZE_MAX    (2u * SIP_MESSAGE_SIZE_MAX)
#define OUTPUT_SIZE_MAX   (32u * SIP_MESSAGE_SIZE_MAX)
#define REQUESTS_SIZE_MAX (OUTPUT_SIZE_MAX / 4) /* beyond it requests wait where they are */
#define READ_SIZE         16384u

_Static_assert(REQUESTS_SIZE_MAX < OUTPUT_SIZE_MAX / 2,
               "requests that waited for the connection fit when encrypted");
_Static_assert(INPUT_SIZE_MAX > SIP_MESSAGE_SIZE_MAX + READ_SIZE,
               "one partial message and one read fit");

enum connection_state {
    CONNECTION_CONNECTING,
    CONNECTION_PROXIED, /* the proxy's header has not come yet */
    CONNECTION_HANDSHAKE,
    CONNECTION_READY,
    CONNECTION_CLOSING,
    CONNECTION_LOST
};

struct connection {
    struct sip_socket socket; /* first: what ring events name */
    uint32_t magic;
    enum connection_state state;
    enum sip_transport transport;
    ring_handle handle;
    uint64_t ticket;
    struct table_node node;
    union net_address peer, site; /* site: whom the limit per address is about */
    TAILQ_ENTRY(connection) all;
    const struct config_trunk *trunk;    /* outbound; NULL for accepted ones */
    const struct config_trunk *alias_of; /* accepted, and the trunk wants our requests here */
    uint16_t alias_port;                 /* where the trunk would listen; 0: no alias */
    struct tls_session *tls;
    const char *proved;                /* the identity checked last, of the configuration */
    struct net_buffer cipher, input;   /* received: not decrypted, not framed */
    struct net_buffer pending;         /* plain text that waits for CONNECTION_READY */
    struct net_buffer output, sending; /* for the wire; `sending` belongs to the kernel */
    bool is_proxied;                   /* by a proxy: `peer` is the client that it names */
    bool in_flight;                    /* a send */
    bool has_deadline;
    uint64_t ends_ms; /* it led to a trunk that is no more: until then; 0: it is not so */
    bool ends; /* closes once the answer to what could not be framed is out */
    size_t scanned;
    struct timer timer;
    struct connection *next_lost;
    bool is_gone; /* RING_GONE came; freed once it was told as lost */
};

struct sip_streams {
    struct thread *thread;
    struct tls_store tls;
    struct table connections;     /* by ticket */
    TAILQ_HEAD(, connection) all; /* with those that are lost and not gone */
    struct connection **by_trunk; /* by index: the current outbound connection of each trunk */
    struct connection *lost, *reading;
    size_t consume; /* of reading->input, once the caller is done with it */
    size_t open_count;
    uint64_t ticket_next;
};

/* ---- sip_connection.c ---- */

/* Ends it: told as lost in this turn, freed when the ring lets go of it. */
void sip_connection_fail(struct sip_streams *streams, struct connection *connection,
                         const char *why);
void sip_connection_set_state(struct connection *connection, enum connection_state state);
/* Why nothing is accepted from `peer`; NULL when it may come in. Over TCP the address is all
   the proof there is, so a stranger has nothing to say. */
const char *sip_connection_refusal(const struct sip_streams *streams,
                                   enum sip_transport transport, const union net_address *peer);
/* Counts and logs it. */
void sip_connection_tell_refusal(const struct sip_streams *streams,
                                 const union net_address *address, enum stats_counter counter,
                                 const char *why);
/* The identity that the peer of an outbound connection must prove. */
const char *sip_connection_identity(const struct config_trunk *trunk);

/* ---- sip_stream.c ---- */

/* The transport connection stands: TLS begins, or it is ready. */
void sip_stream_start(struct sip_streams *streams, struct connection *connection);
void sip_stream_receive(struct sip_streams *streams, struct connection *connection,
                        const struct ring_event *event);
/* Bytes for the peer; they wait until the connection is ready. A connection whose peer does not
   read ends. */
void sip_stream_put(struct sip_streams *streams, struct connection *connection,
                    struct span bytes);
/* A send came to its end, or there is something to send. */
void sip_stream_flush(struct sip_streams *streams, struct connection *connection);
/* Frames one message of streams->reading. True: *input has it. */
bool sip_stream_next(struct sip_streams *streams, struct sip_input *input);
/* True when the peer's certificate says that it is `identity` (RFC 5922 §7.2). */
bool sip_stream_proves(struct connection *connection, const char *identity);

/* ---- sip_proxy.c ---- */

/* Why nothing is accepted from `peer` where a proxy is wanted; NULL when it is one. */
const char *sip_proxy_refusal(const struct sip_streams *streams, const union net_address *peer);
/* Reads the header at the front of connection->cipher. True: the connection is its client's now
   and has begun, and what came behind the header is where it belongs. */
bool sip_proxy_read(struct sip_streams *streams, struct connection *connection);

#endif
