/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ring_priv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#define DATAGRAM_BUFFER_SIZE                                                                   \
    (sizeof(struct io_uring_recvmsg_out) + sizeof(union net_address) + RING_DATAGRAM_SIZE_MAX)

static void slot_give(struct ring *ring, struct ring_datagram *datagram)
{
    datagram->next = ring->send_free;
    ring->send_free = datagram;
}

static void batch_give(struct ring *ring, struct ring_batch *batch)
{
    batch->first = batch->last = NULL;
    batch->count = 0;
    batch->next_free = ring->batch_free;
    ring->batch_free = batch;
}

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
    for (unsigned i = ring->datagram_send_max; i > 0; i--)
        slot_give(ring, &ring->send_slots[i - 1]);
    if (!ring->datagram_batches)
        return 0;
    ring->batches = calloc(RING_BATCHES, sizeof(*ring->batches));
    if (ring->batches == NULL)
        return -ENOMEM;
    for (unsigned i = RING_BATCHES; i > 0; i--)
        batch_give(ring, &ring->batches[i - 1]);
    return 0;
}

static void send_one(struct ring *ring, struct ring_socket *socket,
                     struct ring_datagram *datagram)
{
    struct io_uring_sqe *entry = ring_socket_entry(ring, socket, RING_OP_DATAGRAM_SEND);
    /* Not sendmsg: its header and vector cost two more copies from user memory. */
    io_uring_prep_send(entry, socket->fd, datagram->data, datagram->size, MSG_NOSIGNAL);
    io_uring_prep_send_set_addr(entry, &datagram->target.any,
                                (uint16_t)net_address_size(&datagram->target));
    entry->user_data = ring_user_data(RING_OP_DATAGRAM_SEND, socket->generation,
                                      (uint32_t)(datagram - ring->send_slots));
}

/* One message for the kernel, with the size to cut it at. */
static void batch_describe(struct ring_batch *batch)
{
    struct ring_datagram *datagram = batch->first;
    for (unsigned i = 0; i < batch->count; i++, datagram = datagram->next)
        batch->vector[i] = (struct iovec){datagram->data, datagram->size};
    batch->header = (struct msghdr){.msg_name = &batch->first->target,
                                    .msg_namelen = net_address_size(&batch->first->target),
                                    .msg_iov = batch->vector,
                                    .msg_iovlen = batch->count,
                                    .msg_control = batch->control,
                                    .msg_controllen = sizeof(batch->control)};
    struct cmsghdr *control = CMSG_FIRSTHDR(&batch->header);
    const uint16_t size = (uint16_t)batch->first->size;
    control->cmsg_level = SOL_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof(size));
    memcpy(CMSG_DATA(control), &size, sizeof(size));
}

static void batch_send(struct ring *ring, struct ring_batch *batch)
{
    struct ring_socket *socket = &ring->sockets[batch->first->socket];
    if (batch->count == 1) {
        send_one(ring, socket, batch->first);
        batch_give(ring, batch);
        return;
    }
    ring->counters.batches++;
    ring->counters.batches_datagrams += batch->count;
    batch_describe(batch);
    struct io_uring_sqe *entry = ring_socket_entry(ring, socket, RING_OP_BATCH_SEND);
    io_uring_prep_sendmsg(entry, socket->fd, &batch->header, MSG_NOSIGNAL);
    entry->user_data = ring_user_data(RING_OP_BATCH_SEND, socket->generation,
                                      (uint32_t)(batch - ring->batches));
}

/* Sends the open batch at `index`. */
static void batch_close(struct ring *ring, unsigned index)
{
    struct ring_batch *batch = ring->batches_open[index];
    assert(index < ring->batch_open_count);
    ring->batch_open_count--;
    for (unsigned i = index; i < ring->batch_open_count; i++)
        ring->batches_open[i] = ring->batches_open[i + 1];
    batch_send(ring, batch);
}

void ring_datagram_flush(struct ring *ring, const struct ring_socket *socket)
{
    for (unsigned i = 0; i < ring->batch_open_count;) {
        const struct ring_datagram *first = ring->batches_open[i]->first;
        if (socket == NULL || &ring->sockets[first->socket] == socket)
            batch_close(ring, i);
        else
            i++;
    }
}

static bool fits(const struct ring_batch *batch, const struct ring_datagram *datagram)
{
    return batch->first->size == datagram->size && batch->first->socket == datagram->socket &&
           net_address_equal(&batch->first->target, &datagram->target);
}

/* False when it has to go alone. */
static bool batch_add(struct ring *ring, struct ring_datagram *datagram)
{
    unsigned at = 0;
    if (!ring->datagram_batches || datagram->size == 0 ||
        datagram->size > RING_SEGMENT_SIZE_MAX)
        return false;
    while (at < ring->batch_open_count && !fits(ring->batches_open[at], datagram))
        at++;
    if (at == RING_BATCHES_OPEN) {
        batch_close(ring, 0);
        at--;
    }
    if (at == ring->batch_open_count) {
        struct ring_batch *made = ring->batch_free;
        if (made == NULL)
            return false;
        ring->batch_free = made->next_free;
        made->first = made->last = datagram;
        made->count = 1;
        ring->batches_open[ring->batch_open_count++] = made;
        return true;
    }
    struct ring_batch *batch = ring->batches_open[at];
    batch->last->next = datagram;
    batch->last = datagram;
    batch->count++;
    if (batch->count == RING_SEGMENT_MAX ||
        (batch->count + 1) * datagram->size > RING_BATCH_SIZE_MAX)
        batch_close(ring, at);
    return true;
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
    ring->send_free = datagram->next;
    ring->counters.datagrams++;
    if (size > 0)
        memcpy(datagram->data, data, size);
    datagram->target = *target;
    datagram->socket = ring_socket_slot(ring, socket);
    datagram->size = (uint32_t)size;
    datagram->next = NULL;
    if (!batch_add(ring, datagram))
        send_one(ring, socket, datagram);
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
    slot_give(ring, datagram);
    ring_socket_landed(ring, socket);
    return told;
}

/* The kernel or the device does not cut packets, or not these (a small MTU, IPsec). */
static bool is_refusal(int result)
{
    return result == -EIO || result == -EINVAL || result == -EMSGSIZE ||
           result == -EOPNOTSUPP || result == -ENOPROTOOPT;
}

bool ring_datagram_on_batch(struct ring *ring, struct ring_socket *socket, uint32_t slot,
                            int result, struct ring_event *event)
{
    struct ring_batch *batch = &ring->batches[slot];
    bool again = is_refusal(result) && socket->state == RING_OPEN;
    bool told = result < 0 && !again && socket->state == RING_OPEN;
    if (told) {
        event->kind = RING_SEND_FAILED;
        event->result = result;
        event->peer = batch->first->target;
    }
    ring->counters.batches_refused += again;
    /* What says nothing about the size of these is no use to try again. */
    if (again && result != -EMSGSIZE && result != -EINVAL)
        ring->datagram_batches = false;
    for (struct ring_datagram *datagram = batch->first, *next; datagram != NULL;
         datagram = next) {
        next = datagram->next;
        if (again)
            send_one(ring, socket, datagram);
        else
            slot_give(ring, datagram);
    }
    batch_give(ring, batch);
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
