/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ring_priv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define SEND_CHUNK_MAX (1u << 20)

/* A stream socket, bound to `source` when there is one; -errno. */
static int stream_socket(const union net_address *target, const union net_address *source)
{
    const int one = 1;
    int fd = socket(target->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0)
        goto fail;
    if (source == NULL)
        return fd;
    /* The port is chosen at connect, when the target is known: no shortage of ports. */
    if (net_address_port(source) == 0)
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, &source->any, net_address_size(source)) == 0)
        return fd;
fail:;
    int rc = -errno;
    close(fd);
    return rc;
}

int ring_connect(struct ring *ring, const union net_address *target,
                 const union net_address *source, void *owner, ring_handle *handle)
{
    int fd = stream_socket(target, source);
    if (fd < 0)
        return fd;
    struct ring_socket *socket = ring_socket_take(ring, fd, RING_STREAM, owner);
    if (socket == NULL) {
        close(fd);
        return -EMFILE;
    }
    socket->state = RING_CONNECTING;
    socket->read_wanted = true;
    socket->target = *target;
    struct io_uring_sqe *entry = ring_socket_entry(ring, socket, RING_OP_CONNECT);
    uint64_t user_data = entry->user_data;
    io_uring_prep_connect(entry, fd, &socket->target.any, net_address_size(target));
    entry->user_data = user_data;
    *handle = ring_socket_handle(ring, socket);
    return 0;
}

bool ring_stream_on_connect(struct ring *ring, struct ring_socket *socket, int result,
                            struct ring_event *event)
{
    bool told = socket->state == RING_CONNECTING;
    if (told) {
        socket->state = result == 0 ? RING_OPEN : RING_FAILED;
        event->kind = RING_CONNECTED;
        event->result = result;
        ring_socket_read(ring, socket);
    }
    ring_socket_landed(ring, socket);
    return told;
}

/* The multishot ended: for a pause, for want of buffers, by the peer, or for the kernel's own
   reasons, after which it is simply started again. */
static bool receive_ended(struct ring *ring, struct ring_socket *socket, int result,
                          struct ring_event *event)
{
    socket->reading = false;
    socket->cancelling = false;
    if (socket->state != RING_OPEN)
        return false;
    if (result == -ENOBUFS) {
        ring->counters.no_buffers++;
        if (!socket->detaching)
            ring_group_starve(&ring->streams, socket);
        return false;
    }
    if (result > 0 || result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
        ring_socket_read(ring, socket);
        return false;
    }
    socket->ended = true;
    event->kind = RING_END;
    event->result = result;
    return true;
}

bool ring_stream_on_receive(struct ring *ring, struct ring_socket *socket,
                            const struct ring_completion *completion, struct ring_event *event)
{
    bool told = false;
    if ((completion->flags & IORING_CQE_F_BUFFER) != 0) {
        assert(ring->held_group == NULL);
        ring->held_group = &ring->streams;
        ring->held_buffer = (uint16_t)(completion->flags >> IORING_CQE_BUFFER_SHIFT);
    }
    if (completion->result > 0 && socket->state == RING_OPEN) {
        assert(ring->held_group != NULL);
        event->kind = RING_RECEIVED;
        event->data = ring_group_buffer(ring->held_group, ring->held_buffer);
        event->size = (size_t)completion->result;
        told = true;
    }
    if ((completion->flags & IORING_CQE_F_MORE) == 0) {
        if (receive_ended(ring, socket, completion->result, event))
            told = true;
        ring_socket_landed(ring, socket);
    }
    return told;
}

static void send_start(struct ring *ring, struct ring_socket *socket)
{
    size_t size = socket->send_left < SEND_CHUNK_MAX ? socket->send_left : SEND_CHUNK_MAX;
    assert(size > 0);
    struct io_uring_sqe *entry = ring_socket_entry(ring, socket, RING_OP_SEND);
    uint64_t user_data = entry->user_data;
    io_uring_prep_send(entry, socket->fd, socket->send_data, size, MSG_NOSIGNAL);
    entry->user_data = user_data;
}

int ring_send(struct ring *ring, ring_handle handle, const void *data, size_t size)
{
    struct ring_socket *socket = ring_socket_find(ring, handle);
    assert(size > 0 && data != NULL);
    if (socket == NULL || socket->kind != RING_STREAM || socket->state != RING_OPEN)
        return -EPIPE;
    if (socket->sending)
        return -EBUSY;
    socket->sending = true;
    socket->send_data = data;
    socket->send_left = size;
    send_start(ring, socket);
    return 0;
}

bool ring_stream_on_send(struct ring *ring, struct ring_socket *socket, int result,
                         struct ring_event *event)
{
    bool told = false;
    assert(socket->sending);
    if (result > 0) {
        assert((size_t)result <= socket->send_left);
        socket->send_data += result;
        socket->send_left -= (size_t)result;
    }
    bool retry = result > 0 || result == -EINTR || result == -EAGAIN;
    if (socket->state == RING_OPEN && socket->send_left > 0 && retry) {
        send_start(ring, socket);
    } else {
        socket->sending = false;
        told = socket->state == RING_OPEN;
        event->kind = RING_SENT;
        event->result = socket->send_left == 0 ? 0 : result < 0 ? result : -EPIPE;
    }
    ring_socket_landed(ring, socket);
    return told;
}

void ring_pause(struct ring *ring, ring_handle handle)
{
    struct ring_socket *socket = ring_socket_find(ring, handle);
    if (socket == NULL || socket->kind != RING_STREAM)
        return;
    socket->read_wanted = false;
    if (socket->state == RING_OPEN)
        ring_socket_cancel_read(ring, socket);
}

void ring_resume(struct ring *ring, ring_handle handle)
{
    struct ring_socket *socket = ring_socket_find(ring, handle);
    if (socket == NULL || socket->kind != RING_STREAM)
        return;
    socket->read_wanted = socket->state != RING_DROPPING && socket->state != RING_CLOSED;
    ring_socket_read(ring, socket);
}

void ring_detach(struct ring *ring, ring_handle handle)
{
    struct ring_socket *socket = ring_socket_find(ring, handle);
    if (socket == NULL || socket->kind != RING_STREAM || socket->state != RING_OPEN)
        return;
    assert(!socket->sending);
    socket->read_wanted = false;
    socket->detaching = true;
    ring_socket_unstarve(ring, socket);
    ring_socket_cancel_read(ring, socket);
    ring_socket_leave(ring, socket);
}

int ring_adopt(struct ring *ring, int descriptor, void *owner, ring_handle *handle)
{
    struct ring_socket *socket = ring_socket_take(ring, descriptor, RING_STREAM, owner);
    if (socket == NULL) {
        close(descriptor);
        return -EMFILE;
    }
    *handle = ring_socket_handle(ring, socket);
    return 0;
}
