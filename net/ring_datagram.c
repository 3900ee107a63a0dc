/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ring_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DATAGRAM_BUFFER_SIZE                                                                   \
    (sizeof(struct io_uring_recvmsg_out) + sizeof(union net_address) + RING_DATAGRAM_SIZE_MAX)

/* Opened with the first datagram socket: a thread that only serves streams pays nothing. */
int ring_datagram_slots_open(struct ring *ring)
{
    if (ring->send_slots != NULL)
        return 0;
    int rc = ring_group_open(ring, &ring->datagrams, 1, RING_DATAGRAM_BUFFERS,
                             (unsigned)DATAGRAM_BUFFER_SIZE);
    if (rc < 0)
        return rc;
    ring->receive_header.msg_namelen = sizeof(union net_address);
    /* Not cleared: most of it is message bodies that may never be used. */
    ring->send_slots = malloc(ring->datagram_send_max * sizeof(*ring->send_slots));
    if (ring->send_slots == NULL)
        return -ENOMEM;
    for (unsigned i = ring->datagram_send_max; i > 0; i--) {
        ring->send_slots[i - 1].next_free = ring->send_free;
        ring->send_free = &ring->send_slots[i - 1];
    }
    return 0;
}

int ring_send_datagram(struct ring *ring, ring_handle handle, const union net_address *target,
                       const void *data, size_t size)
{
    struct ring_socket *socket = ring_socket_find(ring, handle);
    struct ring_datagram *datagram = ring->send_free;
    if (size > RING_DATAGRAM_SIZE_MAX)
        return -EMSGSIZE;
    if (socket == NULL || socket->kind != RING_DATAGRAM_SOCKET || socket->state != RING_OPEN)
        return -EPIPE;
    if (datagram == NULL)
        return -EAGAIN;
    ring->send_free = datagram->next_free;
    if (size > 0)
        memcpy(datagram->data, data, size);
    datagram->target = *target;
    datagram->socket = ring_socket_slot(ring, socket);
    struct io_uring_sqe *entry = ring_socket_entry(ring, socket, RING_OP_DATAGRAM_SEND);
    /* Not sendmsg: its header and vector cost two more copies from user memory. */
    io_uring_prep_send(entry, socket->fd, datagram->data, size, MSG_NOSIGNAL);
    io_uring_prep_send_set_addr(entry, &datagram->target.any,
                                (uint16_t)net_address_size(target));
    entry->user_data = ring_user_data(RING_OP_DATAGRAM_SEND, socket->generation,
                                      (uint32_t)(datagram - ring->send_slots));
    return 0;
}

bool ring_datagram_on_send(struct ring *ring, struct ring_socket *socket, uint32_t slot,
                           int result, struct ring_event *event)
{
    struct ring_datagram *datagram = &ring->send_slots[slot];
    bool told = result < 0 && socket->state == RING_OPEN;
    if (told) {
        event->kind = RING_SEND_FAILED;
        event->result = result;
        event->peer = datagram->target;
    }
    datagram->next_free = ring->send_free;
    ring->send_free = datagram;
    ring_socket_landed(ring, socket);
    return told;
}

/* Fills `event` from the kernel's header, the peer's address and the payload in one buffer. */
static bool datagram_tell(struct ring *ring, int result, struct ring_event *event)
{
    void *buffer = ring_group_buffer(ring->held_group, ring->held_buffer);
    struct io_uring_recvmsg_out *out =
        io_uring_recvmsg_validate(buffer, result, &ring->receive_header);
    if (out == NULL || out->namelen > sizeof(event->peer))
        return false;
    event->kind = RING_DATAGRAM;
    memcpy(&event->peer, io_uring_recvmsg_name(out), out->namelen);
    event->data = io_uring_recvmsg_payload(out, &ring->receive_header);
    event->size = io_uring_recvmsg_payload_length(out, result, &ring->receive_header);
    /* Cut by us: what came is only the start of a datagram. */
    event->result = (out->flags & MSG_TRUNC) != 0 ? -EMSGSIZE : 0;
    return true;
}

static void receive_ended(struct ring *ring, struct ring_socket *socket, int result)
{
    socket->reading = false;
    socket->cancelling = false;
    if (socket->state != RING_OPEN)
        return;
    if (result == -ENOBUFS) {
        ring->counters.no_buffers++;
        ring_group_starve(&ring->datagrams, socket);
        return;
    }
    /* No peer can end a datagram socket: an error of the network is no reason to stop. */
    ring_socket_read(ring, socket);
}

bool ring_datagram_on_receive(struct ring *ring, struct ring_socket *socket,
                              const struct ring_completion *completion,
                              struct ring_event *event)
{
    bool told = false;
    if ((completion->flags & IORING_CQE_F_BUFFER) != 0) {
        assert(ring->held_group == NULL);
        ring->held_group = &ring->datagrams;
        ring->held_buffer = (uint16_t)(completion->flags >> IORING_CQE_BUFFER_SHIFT);
        if (completion->result > 0 && socket->state == RING_OPEN)
            told = datagram_tell(ring, completion->result, event);
    }
    if ((completion->flags & IORING_CQE_F_MORE) == 0) {
        receive_ended(ring, socket, completion->result);
        ring_socket_landed(ring, socket);
    }
    return told;
}
