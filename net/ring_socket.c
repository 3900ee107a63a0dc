/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ring_priv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

uint32_t ring_socket_slot(const struct ring *ring, const struct ring_socket *socket)
{
    assert(socket >= ring->sockets && socket < ring->sockets + ring->socket_max);
    return (uint32_t)(socket - ring->sockets);
}

ring_handle ring_socket_handle(const struct ring *ring, const struct ring_socket *socket)
{
    return (uint64_t)socket->generation << 32 | ring_socket_slot(ring, socket);
}

struct ring_socket *ring_socket_find(const struct ring *ring, ring_handle handle)
{
    uint32_t slot = (uint32_t)handle;
    if (slot >= ring->socket_max)
        return NULL;
    struct ring_socket *socket = &ring->sockets[slot];
    if (socket->kind == RING_FREE || socket->generation != (uint32_t)(handle >> 32))
        return NULL;
    return socket;
}

struct ring_socket *ring_socket_take(struct ring *ring, int fd, enum ring_socket_kind kind,
                                     void *owner)
{
    struct ring_socket *socket = TAILQ_FIRST(&ring->free);
    assert(kind != RING_FREE);
    if (socket == NULL)
        return NULL;
    TAILQ_REMOVE(&ring->free, socket, link);
    *socket = (struct ring_socket){.fd = fd,
                                   .kind = kind,
                                   .state = RING_OPEN,
                                   .generation = socket->generation,
                                   .owner = owner};
    ring->counters.sockets++;
    return socket;
}

void ring_socket_give(struct ring *ring, struct ring_socket *socket)
{
    assert(socket->state == RING_CLOSED);
    assert(socket->in_flight == 0);
    TAILQ_REMOVE(&ring->gone, socket, link);
    socket->kind = RING_FREE;
    socket->owner = NULL;
    socket->generation = (socket->generation + 1) & RING_GENERATION_MASK;
    if (socket->generation == 0)
        socket->generation = 1;
    /* At the tail: the longest possible time before the slot is used again. */
    TAILQ_INSERT_TAIL(&ring->free, socket, link);
    assert(ring->counters.sockets > 0);
    ring->counters.sockets--;
}

struct io_uring_sqe *ring_socket_entry(struct ring *ring, struct ring_socket *socket,
                                       enum ring_op op)
{
    socket->in_flight++;
    return ring_entry(ring, op, socket->generation, ring_socket_slot(ring, socket));
}

static void hang_up(struct ring_socket *socket)
{
    close(socket->fd);
    socket->fd = -1;
}

void ring_socket_leave(struct ring *ring, struct ring_socket *socket)
{
    if (socket->in_flight > 0 || (socket->state != RING_DROPPING && !socket->detaching))
        return;
    if (socket->state == RING_DROPPING)
        hang_up(socket);
    socket->state = RING_CLOSED;
    TAILQ_INSERT_TAIL(&ring->gone, socket, link);
}

void ring_socket_landed(struct ring *ring, struct ring_socket *socket)
{
    assert(socket->in_flight > 0);
    socket->in_flight--;
    ring_socket_leave(ring, socket);
}

void ring_socket_unstarve(struct ring *ring, struct ring_socket *socket)
{
    struct ring_group *group = socket->kind == RING_STREAM ? &ring->streams : &ring->datagrams;
    if (!socket->starved)
        return;
    TAILQ_REMOVE(&group->starved, socket, link);
    socket->starved = false;
}

void ring_socket_read(struct ring *ring, struct ring_socket *socket)
{
    if (socket->state != RING_OPEN || socket->reading || socket->starved ||
        !socket->read_wanted || socket->ended)
        return;
    socket->reading = true;
    socket->cancelling = false;
    struct io_uring_sqe *entry;
    uint64_t user_data;
    switch (socket->kind) {
    case RING_LISTENER:
        entry = ring_socket_entry(ring, socket, RING_OP_ACCEPT);
        user_data = entry->user_data;
        io_uring_prep_multishot_accept(entry, socket->fd, NULL, NULL, SOCK_CLOEXEC);
        entry->user_data = user_data;
        return;
    case RING_STREAM:
        entry = ring_socket_entry(ring, socket, RING_OP_RECEIVE);
        user_data = entry->user_data;
        io_uring_prep_recv_multishot(entry, socket->fd, NULL, 0, 0);
        entry->buf_group = ring->streams.id;
        break;
    case RING_DATAGRAM_SOCKET:
        entry = ring_socket_entry(ring, socket, RING_OP_DATAGRAM_RECEIVE);
        user_data = entry->user_data;
        io_uring_prep_recvmsg_multishot(entry, socket->fd, &ring->receive_header, 0);
        entry->buf_group = ring->datagrams.id;
        break;
    case RING_FREE:
    default: assert(false); return;
    }
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->user_data = user_data;
}

static void cancel(struct ring *ring, const struct ring_socket *socket, enum ring_op op)
{
    uint64_t target = ring_user_data(op, socket->generation, ring_socket_slot(ring, socket));
    struct io_uring_sqe *entry = ring_entry(ring, RING_OP_NONE, 0, 0);
    io_uring_prep_cancel64(entry, target, 0);
    entry->user_data = ring_user_data(RING_OP_NONE, 0, 0);
}

void ring_socket_cancel_read(struct ring *ring, struct ring_socket *socket)
{
    if (!socket->reading || socket->cancelling)
        return;
    cancel(ring, socket,
           socket->kind == RING_LISTENER ? RING_OP_ACCEPT
           : socket->kind == RING_STREAM ? RING_OP_RECEIVE
                                         : RING_OP_DATAGRAM_RECEIVE);
    socket->cancelling = true;
}

/* The kernel finds an operation by its name at once. By its descriptor it walks all that wait
   on the ring: for a thousand connections that end together, a thousand times. */
static void cancel_stream(struct ring *ring, struct ring_socket *socket, bool is_connecting)
{
    if (is_connecting)
        cancel(ring, socket, RING_OP_CONNECT);
    ring_socket_cancel_read(ring, socket);
    if (socket->sending)
        cancel(ring, socket, RING_OP_SEND);
}

void ring_drop(struct ring *ring, ring_handle handle)
{
    struct ring_socket *socket = ring_socket_find(ring, handle);
    if (socket == NULL || socket->state == RING_DROPPING)
        return;
    if (socket->state == RING_CLOSED) {
        if (socket->fd >= 0)
            hang_up(socket); /* detached, and nobody was told yet */
        return;
    }
    ring_socket_unstarve(ring, socket);
    if (socket->kind == RING_DATAGRAM_SOCKET) {
        /* What was handed over leaves before the socket is shut down. */
        ring_datagram_flush(ring, socket);
        (void)io_uring_submit(&ring->uring);
    }
    bool is_connecting = socket->state == RING_CONNECTING;
    socket->state = RING_DROPPING;
    socket->read_wanted = false;
    /* An operation that the cancel just misses ends by itself on a socket that is shut down.
       The answer says nothing: a socket never connected refuses, a peer's reset came before. */
    (void)shutdown(socket->fd, SHUT_RDWR);
    if (socket->kind == RING_STREAM) {
        cancel_stream(ring, socket, is_connecting);
    } else if (socket->in_flight > 0) {
        struct io_uring_sqe *entry = ring_entry(ring, RING_OP_NONE, 0, 0);
        io_uring_prep_cancel_fd(entry, socket->fd, IORING_ASYNC_CANCEL_ALL);
        entry->user_data = ring_user_data(RING_OP_NONE, 0, 0);
    }
    ring_socket_leave(ring, socket);
}

void ring_set_owner(struct ring *ring, ring_handle handle, void *owner)
{
    struct ring_socket *socket = ring_socket_find(ring, handle);
    if (socket == NULL)
        return;
    bool first = socket->owner == NULL && owner != NULL;
    socket->owner = owner;
    /* An accepted socket is silent until somebody is there to listen. */
    if (first && socket->kind == RING_STREAM && socket->state == RING_OPEN &&
        !socket->read_wanted && !socket->ended) {
        socket->read_wanted = true;
        ring_socket_read(ring, socket);
    }
}

int ring_local_address(const struct ring *ring, ring_handle handle, union net_address *address)
{
    const struct ring_socket *socket = ring_socket_find(ring, handle);
    socklen_t size = sizeof(*address);
    if (socket == NULL || socket->fd < 0)
        return -EBADF;
    return getsockname(socket->fd, &address->any, &size) < 0 ? -errno : 0;
}

/* A socket bound to `address` with the options of a listener, or -errno. */
static int bound_socket(const union net_address *address, int type)
{
    const int one = 1;
    int fd = socket(address->any.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Accepted sockets inherit TCP_NODELAY and SO_KEEPALIVE from here. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
        (type == SOCK_STREAM &&
         (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
          setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0)) ||
        (address->any.sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
        bind(fd, &address->any, net_address_size(address)) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static int listen_start(struct ring *ring, int fd, enum ring_socket_kind kind, void *owner,
                        ring_handle *handle)
{
    struct ring_socket *socket = ring_socket_take(ring, fd, kind, owner);
    if (socket == NULL) {
        close(fd);
        return -EMFILE;
    }
    socket->read_wanted = true;
    ring_socket_read(ring, socket);
    *handle = ring_socket_handle(ring, socket);
    return 0;
}

int ring_listen_stream(struct ring *ring, const union net_address *address, void *owner,
                       ring_handle *handle)
{
    int fd = bound_socket(address, SOCK_STREAM);
    if (fd < 0)
        return fd;
    if (listen(fd, LISTEN_BACKLOG) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return listen_start(ring, fd, RING_LISTENER, owner, handle);
}

int ring_listen_datagram(struct ring *ring, const union net_address *address, void *owner,
                         ring_handle *handle)
{
    int rc = ring_datagram_slots_open(ring);
    if (rc < 0)
        return rc;
    int fd = bound_socket(address, SOCK_DGRAM);
    if (fd < 0)
        return fd;
    /* A burst must fit while one batch is worked on; less than asked for is no fault. */
    const int receive_size = 4 << 20;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_size, sizeof(receive_size));
    return listen_start(ring, fd, RING_DATAGRAM_SOCKET, owner, handle);
}

/* Accepting again after a while: descriptors or slots were used up. */
static void accept_resume_later(struct ring *ring, struct ring_socket *socket)
{
    ring->counters.accept_pauses++;
    socket->resume_after = (struct __kernel_timespec){.tv_nsec = RING_ACCEPT_PAUSE_NS};
    struct io_uring_sqe *entry = ring_socket_entry(ring, socket, RING_OP_ACCEPT_RESUME);
    uint64_t user_data = entry->user_data;
    io_uring_prep_timeout(entry, &socket->resume_after, 0, 0);
    entry->user_data = user_data;
}

static bool accept_tell(struct ring *ring, struct ring_socket *listener, int fd,
                        struct ring_event *event)
{
    socklen_t size = sizeof(event->peer);
    /* A peer that is gone already has no address: nothing to tell. */
    if (listener->state != RING_OPEN || getpeername(fd, &event->peer.any, &size) < 0) {
        close(fd);
        return false;
    }
    struct ring_socket *socket = ring_socket_take(ring, fd, RING_STREAM, NULL);
    if (socket == NULL) {
        close(fd);
        ring_socket_cancel_read(ring, listener);
        return false;
    }
    event->kind = RING_ACCEPTED;
    event->accepted = ring_socket_handle(ring, socket);
    return true;
}

bool ring_socket_on_accept(struct ring *ring, struct ring_socket *socket,
                           const struct ring_completion *completion, struct ring_event *event)
{
    bool told = false;
    if (completion->result >= 0)
        told = accept_tell(ring, socket, completion->result, event);
    if ((completion->flags & IORING_CQE_F_MORE) != 0)
        return told;
    bool pause =
        socket->cancelling || (completion->result < 0 && completion->result != -ECONNABORTED);
    socket->reading = false;
    socket->cancelling = false;
    if (socket->state == RING_OPEN && pause)
        accept_resume_later(ring, socket);
    else
        ring_socket_read(ring, socket);
    ring_socket_landed(ring, socket);
    return told;
}
