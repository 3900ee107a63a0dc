/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the ring share: ring.c (life, waiting, dispatch), ring_group.c (provided
 * buffers), ring_socket.c (slots, teardown, listeners), ring_stream.c (connect, receive, send)
 * and ring_datagram.c. Owner thread only, but for the wake flag.
 */
#ifndef PASSERELLE_NET_RING_PRIV_H
#define PASSERELLE_NET_RING_PRIV_H

#include "net/ring.h"

#include <liburing.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define RING_BATCH_MAX         1024 /* completions copied by one ring_wait */
#define RING_DATAGRAM_SIZE_MAX 8192
#define RING_DATAGRAM_BUFFERS  256 /* power of two */
#define RING_ACCEPT_PAUSE_NS   100000000
/* What the kernel takes as one: UDP_MAX_SEGMENTS was 64 at first, and the whole is a datagram
   of IPv4. Larger datagrams than a batch takes may need fragments, which batches do not have.
 */
#define RING_SEGMENT_MAX      64
#define RING_SEGMENT_SIZE_MAX 1400
#define RING_BATCH_SIZE_MAX   60000
#define RING_BATCHES          64 /* open or in flight; without a free one they go one by one */
#define RING_BATCHES_OPEN     32
#define RING_GENERATION_MASK  0xffffffu

enum ring_op {
    RING_OP_NONE, /* its completion says nothing: cancels */
    RING_OP_WAKE,
    RING_OP_ACCEPT,
    RING_OP_ACCEPT_RESUME,
    RING_OP_CONNECT,
    RING_OP_RECEIVE,
    RING_OP_SEND,
    RING_OP_DATAGRAM_RECEIVE,
    RING_OP_DATAGRAM_SEND, /* its slot is one of the datagram slots */
    RING_OP_BATCH_SEND     /* its slot is one of the batches */
};

enum ring_socket_kind { RING_FREE, RING_LISTENER, RING_STREAM, RING_DATAGRAM_SOCKET };

enum ring_socket_state {
    RING_CONNECTING,
    RING_OPEN,     /* also a listener and a datagram socket */
    RING_FAILED,   /* the connection was refused; waits for ring_drop */
    RING_DROPPING, /* waits for its last completion */
    RING_CLOSED    /* in the gone list; a detached one has its descriptor yet */
};

struct ring_socket {
    int fd;
    enum ring_socket_kind kind;
    enum ring_socket_state state;
    uint32_t generation; /* 24 bits, never 0 */
    unsigned in_flight;  /* operations whose last completion was not seen */
    bool reading;        /* an accept or receive is in flight */
    bool read_wanted;    /* the user has not paused it and the peer has not ended */
    bool cancelling;     /* a cancel of the read is on its way */
    bool starved;        /* in the starved list of its group */
    bool detaching;      /* its descriptor goes to another ring */
    bool sending;
    bool ended;
    void *owner;
    const uint8_t *send_data;
    size_t send_left;
    union net_address target;
    struct __kernel_timespec resume_after;
    TAILQ_ENTRY(ring_socket) link; /* free, starved or gone list */
};

TAILQ_HEAD(ring_socket_list, ring_socket);

/* A ring of provided buffers, IORING_REGISTER_PBUF_RING. */
struct ring_group {
    struct io_uring_buf_ring *entries;
    uint8_t *memory;
    size_t stride;
    unsigned size;  /* of one buffer */
    unsigned count; /* power of two; 0: not open */
    uint16_t id;
    struct ring_socket_list starved;
};

struct ring_datagram {
    union net_address target;
    uint32_t socket; /* slot of the sending socket */
    uint32_t size;
    struct ring_datagram *next; /* free, or of one batch */
    uint8_t data[RING_DATAGRAM_SIZE_MAX];
};

/* Datagrams of one size from one socket to one target. */
struct ring_batch {
    struct ring_datagram *first, *last;
    unsigned count;
    struct ring_batch *next_free;
    struct msghdr header;
    struct iovec vector[RING_SEGMENT_MAX];
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))];
};

struct ring_completion {
    uint64_t user_data;
    int result;
    unsigned flags;
};

struct ring {
    struct io_uring uring;
    bool uring_open;
    struct ring_socket *sockets;
    unsigned socket_max;
    struct ring_socket_list free;
    struct ring_socket_list gone;
    struct ring_group streams;
    struct ring_group datagrams;
    struct ring_group *held_group; /* the buffer the last event points into */
    uint16_t held_buffer;
    struct msghdr receive_header; /* shared by all multishot recvmsg, only its sizes count */
    struct ring_datagram *send_slots;
    struct ring_datagram *send_free;
    unsigned datagram_send_max;
    bool datagram_batches;
    struct ring_batch *batches, *batch_free;
    struct ring_batch *batches_open[RING_BATCHES_OPEN]; /* the oldest first */
    unsigned batch_open_count;
    int wake_fd;
    bool wake_armed;
    uint64_t wake_value;
    atomic_bool wake_pending; /* set by ring_wake (release), cleared by ring_next (acquire) */
    struct ring_counters counters;
    unsigned completion_count;
    unsigned completion_next;
    struct ring_completion completions[RING_BATCH_MAX];
};

/* ring.c: an empty submission entry marked for `op` on `slot`; never NULL. */
struct io_uring_sqe *ring_entry(struct ring *ring, enum ring_op op, uint32_t generation,
                                uint32_t slot);
static inline uint64_t ring_user_data(enum ring_op op, uint32_t generation, uint32_t slot)
{
    return (uint64_t)op << 56 | (uint64_t)generation << 32 | slot;
}

/* ring_group.c */
int ring_group_open(struct ring *ring, struct ring_group *group, uint16_t id, unsigned count,
                    unsigned size) NET_MUST_USE;
void ring_group_close(struct ring *ring, struct ring_group *group);
static inline uint8_t *ring_group_buffer(const struct ring_group *group, uint16_t buffer)
{
    return group->memory + group->stride * buffer;
}
void ring_group_return(struct ring_group *group, uint16_t buffer);
void ring_group_starve(struct ring_group *group, struct ring_socket *socket);

/* ring_socket.c */
struct ring_socket *ring_socket_find(const struct ring *ring, ring_handle handle);
struct ring_socket *ring_socket_take(struct ring *ring, int fd, enum ring_socket_kind kind,
                                     void *owner);
uint32_t ring_socket_slot(const struct ring *ring, const struct ring_socket *socket);
ring_handle ring_socket_handle(const struct ring *ring, const struct ring_socket *socket);
/* An entry for an operation on `socket`, counted as in flight. */
struct io_uring_sqe *ring_socket_entry(struct ring *ring, struct ring_socket *socket,
                                       enum ring_op op);
/* Puts a socket that is to go into the gone list when nothing of it is in flight. */
void ring_socket_leave(struct ring *ring, struct ring_socket *socket);
/* Takes it out of the starved list of its group, if it is there. */
void ring_socket_unstarve(struct ring *ring, struct ring_socket *socket);
/* The last completion of an operation was seen. */
void ring_socket_landed(struct ring *ring, struct ring_socket *socket);
/* Gives the slot back after RING_GONE was told. */
void ring_socket_give(struct ring *ring, struct ring_socket *socket);
/* Starts the accept, recv or recvmsg of the socket's kind, unless it is there already. */
void ring_socket_read(struct ring *ring, struct ring_socket *socket);
void ring_socket_cancel_read(struct ring *ring, struct ring_socket *socket);
bool ring_socket_on_accept(struct ring *ring, struct ring_socket *socket,
                           const struct ring_completion *completion, struct ring_event *event);

/* ring_stream.c, ring_datagram.c: true when `event` is to be told. */
bool ring_stream_on_connect(struct ring *ring, struct ring_socket *socket, int result,
                            struct ring_event *event);
bool ring_stream_on_receive(struct ring *ring, struct ring_socket *socket,
                            const struct ring_completion *completion, struct ring_event *event);
bool ring_stream_on_send(struct ring *ring, struct ring_socket *socket, int result,
                         struct ring_event *event);
bool ring_datagram_on_receive(struct ring *ring, struct ring_socket *socket,
                              const struct ring_completion *completion,
                              struct ring_event *event);
bool ring_datagram_on_send(struct ring *ring, struct ring_socket *socket, uint32_t slot,
                           int result, struct ring_event *event);
bool ring_datagram_on_batch(struct ring *ring, struct ring_socket *socket, uint32_t slot,
                            int result, struct ring_event *event);
int ring_datagram_slots_open(struct ring *ring) NET_MUST_USE;
/* Sends the open batches of `socket`, or of all when it is NULL. */
void ring_datagram_flush(struct ring *ring, const struct ring_socket *socket);

#endif
