/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One io_uring for one thread, and the sockets on it. The owner thread calls everything but
 * ring_wake. Events are pulled: ring_wait submits, waits and copies the completions; ring_next
 * hands them out one by one, so nothing recurses. The simulation links another implementation
 * of this header (tests/sim). Errors are negative errno.
 *
 * Rules kept inside (DESIGN "io_uring rules"): SINGLE_ISSUER | DEFER_TASKRUN, user_data = slot
 * + generation, one send in flight per stream socket and short sends completed here, multishot
 * accept / recv / recvmsg with provided buffers, re-armed on ENOBUFS when buffers return,
 * teardown in the order shutdown, cancel, last completion, close. An accept that fails for want
 * of file descriptors pauses the listener and resumes by itself.
 */
#ifndef PASSERELLE_NET_RING_H
#define PASSERELLE_NET_RING_H

#include "net/address.h"

struct ring;

/* Names one socket of one ring; never reused while anything refers to it. 0 is no socket. */
typedef uint64_t ring_handle;

struct ring_options {
    unsigned socket_max;           /* sockets at a time */
    unsigned receive_buffer_count; /* power of two; 0: 256 */
    unsigned receive_buffer_size;  /* 0: 16384 for streams; datagrams have their own group */
    unsigned datagram_send_max;    /* datagrams in flight; 0: 1024 */
    bool datagram_batches;         /* equal datagrams to one target go out together */
    const char **error_text;       /* set on failure: static sentence naming cause and remedy */
};

enum ring_event_kind {
    RING_ACCEPTED,  /* on a listener: `accepted` is the new socket (its owner is NULL until
                       ring_set_owner), `peer` its address; reading starts at ring_set_owner */
    RING_CONNECTED, /* result 0 or -errno; after an error the socket still needs ring_drop */
    RING_RECEIVED,  /* stream: data, size ≥ 1; valid until the next ring_next or ring_wait */
    RING_END,       /* stream: the peer closed its direction (result 0) or an error (-errno) */
    RING_SENT,      /* the whole ring_send is with the kernel (result 0), or -errno */
    RING_DATAGRAM,  /* data, size, peer, local; valid as for RECEIVED */
    RING_SEND_FAILED, /* a datagram to `peer` failed: -errno */
    RING_DETACHED,    /* the last event of a detached socket: `result` is its descriptor */
    RING_GONE,        /* the last event of a dropped socket: its owner may be freed now */
    RING_WOKEN        /* ring_wake was called (calls are merged) */
};

struct ring_event {
    enum ring_event_kind kind;
    ring_handle handle;
    void *owner;
    int result;
    ring_handle accepted;
    const uint8_t *data;
    size_t size;
    union net_address peer;
};

/* Opens the ring for the calling thread. -ENOSYS, -EPERM, -ENOMEM … with *error_text saying
   which knob (kernel ≥ 6.1, kernel.io_uring_disabled, seccomp, memlock). */
int ring_open(struct ring **ring, const struct ring_options *options) NET_MUST_USE;
/* Closes every socket at once and frees the ring; *ring becomes NULL. */
void ring_close(struct ring **ring);

/* Listens with SO_REUSEPORT (every thread has its own socket), SO_REUSEADDR, IPV6_V6ONLY. */
int ring_listen_stream(struct ring *ring, const union net_address *address, void *owner,
                       ring_handle *handle) NET_MUST_USE;
/* A datagram socket bound with SO_REUSEPORT, receiving at once. */
int ring_listen_datagram(struct ring *ring, const union net_address *address, void *owner,
                         ring_handle *handle) NET_MUST_USE;
/* Starts a connection (TCP_NODELAY, keep-alive); RING_CONNECTED follows, then reading starts.
   `source` (may be NULL) is the local address to bind. */
int ring_connect(struct ring *ring, const union net_address *target,
                 const union net_address *source, void *owner,
                 ring_handle *handle) NET_MUST_USE;
void ring_set_owner(struct ring *ring, ring_handle handle, void *owner);

/* Starts sending `size` bytes that stay untouched until RING_SENT. -EBUSY while one is in
   flight, -EPIPE when the socket is not connected or being dropped. */
int ring_send(struct ring *ring, ring_handle handle, const void *data,
              size_t size) NET_MUST_USE;
/* Copies and sends a datagram from a bound datagram socket. -EAGAIN when datagram_send_max are
   in flight, -EMSGSIZE above 8192. Failures later come as RING_SEND_FAILED. With batches, those
   of one size to one target that are sent between two ring_wait leave as one packet that the
   kernel or the device cuts (UDP_SEGMENT, udp(7)); where that is refused, one by one. */
int ring_send_datagram(struct ring *ring, ring_handle handle, const union net_address *target,
                       const void *data, size_t size) NET_MUST_USE;
/* Stops / restarts reading a stream (back-pressure). Data already received by the kernel for a
   multishot may still come as up to a few RING_RECEIVED after a pause. */
void ring_pause(struct ring *ring, ring_handle handle);
void ring_resume(struct ring *ring, ring_handle handle);
/* Lets go of a connected stream, of which no send may be in flight: nothing more is read, what
   has been read is still told, then RING_DETACHED. Until then ring_drop ends it as ever. */
void ring_detach(struct ring *ring, ring_handle handle);
/* Takes over a descriptor that another ring has detached; reading starts at ring_resume.
   -EMFILE, and the descriptor is closed, when there is no room. */
int ring_adopt(struct ring *ring, int descriptor, void *owner,
               ring_handle *handle) NET_MUST_USE;
/* Ends the socket: no more events but RING_GONE. A send in flight is cancelled; datagrams
   handed over before still leave. */
void ring_drop(struct ring *ring, ring_handle handle);
int ring_local_address(const struct ring *ring, ring_handle handle, union net_address *address);

/* Submits what is queued and waits until an event is there or `timeout_ns` has passed (0: only
   polls). Returns how many completions were copied, or -errno. */
int ring_wait(struct ring *ring, uint64_t timeout_ns);
/* Takes the next event; false when there are none left. */
bool ring_next(struct ring *ring, struct ring_event *event);
/* Makes ring_wait of the owner thread return with RING_WOKEN. Any thread; cheap when a wake-up
   is already pending. */
void ring_wake(struct ring *ring);

struct ring_counters {
    uint64_t enters;      /* io_uring_enter calls */
    uint64_t submissions; /* operations handed to the kernel by them */
    uint64_t completions;
    uint64_t overflows;  /* completion queue overflows: must stay 0 */
    uint64_t no_buffers; /* receives that ended for want of a provided buffer */
    uint64_t accept_pauses;
    uint64_t datagrams;         /* sent, alone or in a batch */
    uint64_t batches;           /* sends of several datagrams at once */
    uint64_t batches_datagrams; /* that were in them */
    uint64_t batches_refused;   /* of the batches those that had to be sent one by one */
    uint64_t sockets;         /* now open */
};
void ring_counters(const struct ring *ring, struct ring_counters *counters);

#endif
