/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The simulated network and the rings on it: an implementation of net/ring.h whose sockets are
 * joined in memory. Streams keep their order, have a window, are torn into pieces, stall and
 * are reset; datagrams are lost, doubled and overtake each other; wake-ups and completions come
 * late. ring.c has the rings and what both kinds of socket share, stream.c the streams,
 * datagram.c the datagrams.
 */
#ifndef PASSERELLE_TESTS_SIM_NETWORK_H
#define PASSERELLE_TESTS_SIM_NETWORK_H

#include "net/ring.h"
#include "tests/sim/sim.h"

#define NETWORK_SOCKET_MAX  65536u
#define NETWORK_RING_MAX    32u
#define NETWORK_TROUBLE_MAX 4096u
#define NETWORK_ALIAS_MAX   8u

/* How bad the network is in this run. Shares are per mille. */
struct network_faults {
    uint64_t latency_min_ns, latency_max_ns; /* each path draws its own between them */
    uint64_t jitter_ns;
    unsigned tear;       /* a write arrives in several pieces, down to single bytes */
    unsigned short_send; /* the kernel takes only a part at a time */
    unsigned reset;      /* of stream connections, at some time of their life */
    unsigned stall;      /* of stream connections: silence for a while */
    unsigned refuse;     /* of connection attempts, beside those nobody listens for */
    unsigned no_socket;  /* of the relay's connections: it has no descriptor left */
    unsigned black_hole; /* of connection attempts: no answer ever */
    unsigned lose, duplicate, delay; /* of datagrams */
    unsigned send_refused;           /* of datagrams: ring_send_datagram says -EAGAIN */
    size_t window;                   /* bytes of a stream on their way or unread */
    bool takes_all;                  /* a wait takes all that is there, not a drawn part */
};

enum network_kind { NETWORK_LISTENER, NETWORK_STREAM, NETWORK_DATAGRAM };

enum network_state {
    NETWORK_CONNECTING,
    NETWORK_OPEN,
    NETWORK_FAILED,
    NETWORK_DROPPING, /* RING_GONE is to come */
    NETWORK_GONE
};

/* What waits to be told by ring_next. */
struct network_word {
    struct network_word *next;
    struct network_socket *socket;
    enum ring_event_kind kind;
    int result;
    ring_handle accepted;
    union net_address peer;
    size_t size;
    uint8_t data[];
};

struct network_words {
    struct network_word *first, **last;
};

struct network_socket {
    ring_handle handle;
    struct ring *ring; /* NULL once the ring is closed, and between two rings */
    enum network_kind kind;
    enum network_state state;
    void *owner;
    union net_address local, peer;
    /* streams */
    struct network_socket *other;
    bool is_reading; /* what arrives is told; else it waits in `held` */
    bool is_dark;    /* it connects where nobody ever answers */
    bool is_detaching;
    bool has_ended;  /* its end was queued: nothing more arrives */
    bool is_sending, is_blocked;
    struct network_words held;
    const uint8_t *send_data;
    size_t send_left;
    size_t unread;       /* sent to it and not yet taken by ring_next */
    uint64_t latency_ns; /* of the path to it */
    uint64_t arrival_ns; /* of the last piece on its way to it */
    uint64_t stalls_from_ns, stalls_until_ns;
};

struct ring {
    unsigned number; /* in the order of opening, for the trace */
    struct ring_options options;
    struct network_words words, batch;
    struct network_word *current; /* whose data the last event points to */
    bool wake_pending;
    uint64_t wakes_at_ns; /* when its thread runs without an event: the end of its last wait */
    struct ring_counters counters;
};

/* Something that may cost messages or answers happened on the way to or from a host. */
struct network_trouble {
    union net_address host;
    uint64_t at_ns;
};

/* One more address of a host. */
struct network_alias {
    union net_address alias, host;
    bool is_dark; /* what is sent there is lost */
};

struct network {
    struct network_faults faults;
    struct network_alias aliases[NETWORK_ALIAS_MAX];
    unsigned alias_count;
    struct network_socket *sockets[NETWORK_SOCKET_MAX]; /* by handle; freed at the end */
    unsigned socket_count;
    unsigned ring_count;
    uint16_t port_next;
    union net_address host; /* where connections without a source come from */
    struct network_trouble troubles[NETWORK_TROUBLE_MAX];
    unsigned trouble_count;
    /* Called while a ring waits outside of the schedule, instead of letting time pass. */
    void (*meanwhile)(void *context, const struct ring *ring, uint64_t end_ns);
    void *meanwhile_context;
};

extern struct network network;

void network_open(const struct network_faults *faults, const char *host);
void network_close(void);
/* From now on nothing new goes wrong; what is broken stays so. */
void network_calm(void);
/* `alias` leads to `host`, or nowhere (NULL), which is no trouble with any host. */
void network_add_alias(const union net_address *alias, const union net_address *host);
/* Notes trouble with a host that is not the relay. */
void network_note_trouble(const union net_address *host);
/* Was there any with this host since then? */
bool network_had_trouble(const union net_address *host, uint64_t since_ns);
/* … at any time but between these two? */
bool network_had_other_trouble(const union net_address *host, uint64_t from_ns, uint64_t to_ns);
/* Has the thread of this ring something to do now? */
bool network_is_ready(const struct ring *ring);

/* ring.c, for the other files */
void network_socket_trouble(const struct network_socket *socket);
struct network_socket *network_socket_make(struct ring *ring, enum network_kind kind,
                                           void *owner);
struct network_socket *network_socket_find(const struct ring *ring, ring_handle handle);
struct network_word *network_word_make(struct network_socket *socket, enum ring_event_kind kind,
                                       const void *data, size_t size);
void network_word_tell(struct network_word *word);
/* The GONE of a dropped socket, a little later. */
void network_socket_leave(struct network_socket *socket);

/* stream.c */
void network_stream_taken(struct network_socket *socket, size_t size);
void network_stream_drop(struct network_socket *socket);
void network_stream_read(struct network_socket *socket);

#endif
