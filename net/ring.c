/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ring_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SUBMISSION_MAX   2048
#define COMPLETION_MAX   65536 /* IORING_MAX_CQ_ENTRIES */
#define CLOSE_ROUNDS_MAX 200
#define CLOSE_ROUND_NS   10000000
#define NS_PER_S         1000000000u

struct io_uring_sqe *ring_entry(struct ring *ring, enum ring_op op, uint32_t generation,
                                uint32_t slot)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);
    /* A full submission queue is handed to the kernel early; a refusal for a full completion
       queue passes once the deferred work has run. */
    for (unsigned i = 0; entry == NULL && i < 1000; i++) {
        ring->counters.enters++;
        int submitted = io_uring_submit(&ring->uring);
        if (submitted < 0)
            io_uring_get_events(&ring->uring);
        else
            ring->counters.submissions += (unsigned)submitted;
        entry = io_uring_get_sqe(&ring->uring);
    }
    assert(entry != NULL);
    io_uring_prep_nop(entry);
    entry->user_data = ring_user_data(op, generation, slot);
    return entry;
}

static void set_user_data(struct io_uring_sqe *entry, enum ring_op op)
{
    entry->user_data = ring_user_data(op, 0, 0);
}

static void wake_arm(struct ring *ring)
{
    assert(!ring->wake_armed);
    struct io_uring_sqe *entry = ring_entry(ring, RING_OP_WAKE, 0, 0);
    io_uring_prep_read(entry, ring->wake_fd, &ring->wake_value, sizeof(ring->wake_value), 0);
    set_user_data(entry, RING_OP_WAKE);
    ring->wake_armed = true;
}

static const char *open_error_text(int rc)
{
    switch (rc) {
    case -ENOSYS: return "io_uring is not in this kernel or blocked by a seccomp filter";
    case -EPERM:
        return "io_uring is forbidden: look at sysctl kernel.io_uring_disabled, "
               "kernel.io_uring_group and the seccomp filter";
    case -EINVAL: return "io_uring lacks SINGLE_ISSUER and DEFER_TASKRUN: kernel 6.1 is needed";
    case -ENOMEM: return "no memory for io_uring: raise the memlock limit (LimitMEMLOCK=)";
    case -EMFILE: return "no file descriptor left for io_uring: raise LimitNOFILE=";
    default: return "io_uring could not be opened";
    }
}

static unsigned completion_queue_size(const struct ring *ring)
{
    /* The worst case: each socket ends a read, a send and the cancels of both at once, each
       buffer is filled and each datagram sent. */
    uint64_t need = 4ull * ring->socket_max + ring->streams.count + ring->datagram_send_max +
                    RING_DATAGRAM_BUFFERS + SUBMISSION_MAX;
    unsigned size = 4096;
    while (size < need && size < COMPLETION_MAX)
        size *= 2;
    return size;
}

static int uring_open(struct ring *ring)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = completion_queue_size(ring)};
    int rc = io_uring_queue_init_params(SUBMISSION_MAX, &ring->uring, &params);
    if (rc < 0)
        return rc;
    ring->uring_open = true;
    /* Saves the descriptor look-up of each enter; not having it is no fault. */
    (void)io_uring_register_ring_fd(&ring->uring);
    return 0;
}

static int sockets_open(struct ring *ring, const struct ring_options *options)
{
    TAILQ_INIT(&ring->free);
    TAILQ_INIT(&ring->gone);
    TAILQ_INIT(&ring->streams.starved);
    TAILQ_INIT(&ring->datagrams.starved);
    assert(options->socket_max > 0);
    ring->socket_max = options->socket_max;
    ring->datagram_send_max = options->datagram_send_max ? options->datagram_send_max : 1024;
    ring->datagram_batches = options->datagram_batches;
    ring->sockets = calloc(ring->socket_max, sizeof(*ring->sockets));
    if (ring->sockets == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < ring->socket_max; i++) {
        ring->sockets[i].fd = -1;
        ring->sockets[i].generation = 1;
        TAILQ_INSERT_TAIL(&ring->free, &ring->sockets[i], link);
    }
    return 0;
}

/* What was opened, in reverse; the ring first, so that no buffer is in the kernel's hands. */
static void ring_free(struct ring *ring)
{
    if (ring->uring_open)
        io_uring_queue_exit(&ring->uring);
    ring_group_close(ring, &ring->streams);
    ring_group_close(ring, &ring->datagrams);
    if (ring->wake_fd >= 0)
        close(ring->wake_fd);
    free(ring->send_slots);
    free(ring->batches);
    free(ring->sockets);
    free(ring);
}

int ring_open(struct ring **out, const struct ring_options *options)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL)
        return -ENOMEM;
    ring->wake_fd = -1;
    atomic_init(&ring->wake_pending, false);
    unsigned count = options->receive_buffer_count ? options->receive_buffer_count : 256;
    unsigned size = options->receive_buffer_size ? options->receive_buffer_size : 16384;
    int rc = sockets_open(ring, options);
    if (rc < 0)
        goto fail;
    rc = uring_open(ring);
    if (rc < 0)
        goto fail;
    rc = ring_group_open(ring, &ring->streams, 0, count, size);
    if (rc < 0)
        goto fail;
    ring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ring->wake_fd < 0) {
        rc = -errno;
        goto fail;
    }
    wake_arm(ring);
    *out = ring;
    return 0;
fail:
    if (options->error_text != NULL)
        *options->error_text = open_error_text(rc);
    ring_free(ring);
    return rc;
}

static void drop_all(struct ring *ring)
{
    for (unsigned i = 0; i < ring->socket_max; i++) {
        if (ring->sockets[i].kind != RING_FREE)
            ring_drop(ring, ring_socket_handle(ring, &ring->sockets[i]));
    }
}

void ring_close(struct ring **out)
{
    struct ring *ring = *out;
    struct ring_event event;
    if (ring == NULL)
        return;
    drop_all(ring);
    while (ring_next(ring, &event))
        continue;
    /* Memory may only go away when the kernel holds nothing of it any more. */
    for (unsigned i = 0; i < CLOSE_ROUNDS_MAX && ring->counters.sockets > 0; i++) {
        if (ring_wait(ring, CLOSE_ROUND_NS) < 0)
            break;
        while (ring_next(ring, &event)) {
            if (event.kind == RING_ACCEPTED)
                ring_drop(ring, event.accepted);
        }
    }
    if (ring->wake_armed) {
        struct io_uring_sqe *entry = ring_entry(ring, RING_OP_NONE, 0, 0);
        io_uring_prep_cancel64(entry, ring_user_data(RING_OP_WAKE, 0, 0), 0);
        set_user_data(entry, RING_OP_NONE);
        (void)ring_wait(ring, CLOSE_ROUND_NS);
    }
    ring_free(ring);
    *out = NULL;
}

static void held_release(struct ring *ring)
{
    if (ring->held_group == NULL)
        return;
    ring_group_return(ring->held_group, ring->held_buffer);
    ring->held_group = NULL;
}

/* Sockets that ended on ENOBUFS read again, no more of them than there are buffers. Every
   copied completion was dispatched and its buffer returned by now; those still out belong to
   waiting completions, so a further ENOBUFS never comes without progress. */
static void starved_feed(struct ring *ring, struct ring_group *group)
{
    for (unsigned i = 0; i < group->count && !TAILQ_EMPTY(&group->starved); i++) {
        struct ring_socket *socket = TAILQ_FIRST(&group->starved);
        TAILQ_REMOVE(&group->starved, socket, link);
        socket->starved = false;
        ring_socket_read(ring, socket);
    }
}

static unsigned completions_copy(struct ring *ring)
{
    struct io_uring_cqe *entry;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&ring->uring, head, entry)
    {
        if (count == RING_BATCH_MAX)
            break;
        ring->completions[count++] = (struct ring_completion){
            .user_data = entry->user_data, .result = entry->res, .flags = entry->flags};
    }
    io_uring_cq_advance(&ring->uring, count);
    ring->completion_count = count;
    ring->completion_next = 0;
    ring->counters.completions += count;
    return count;
}

int ring_wait(struct ring *ring, uint64_t timeout_ns)
{
    held_release(ring);
    if (ring->completion_next < ring->completion_count)
        return (int)(ring->completion_count - ring->completion_next);
    starved_feed(ring, &ring->streams);
    starved_feed(ring, &ring->datagrams);
    ring_datagram_flush(ring, NULL);
    if (!TAILQ_EMPTY(&ring->gone))
        timeout_ns = 0;
    struct __kernel_timespec timeout = {.tv_sec = (int64_t)(timeout_ns / NS_PER_S),
                                        .tv_nsec = (int64_t)(timeout_ns % NS_PER_S)};
    struct io_uring_cqe *first;
    ring->counters.enters++;
    ring->counters.submissions += io_uring_sq_ready(&ring->uring);
    int rc = io_uring_submit_and_wait_timeout(&ring->uring, &first, 1, &timeout, NULL);
    if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN)
        return rc;
    if (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW)
        ring->counters.overflows++;
    return (int)completions_copy(ring);
}

static bool wake_tell(struct ring *ring, struct ring_event *event)
{
    ring->wake_armed = false;
    wake_arm(ring);
    /* Acquire: what the waker wrote before its exchange in ring_wake is seen from here on. */
    (void)atomic_exchange_explicit(&ring->wake_pending, false, memory_order_acq_rel);
    event->kind = RING_WOKEN;
    return true;
}

static bool socket_dispatch(struct ring *ring, const struct ring_completion *completion,
                            enum ring_op op, struct ring_event *event)
{
    uint32_t slot = (uint32_t)completion->user_data;
    uint32_t datagram = slot;
    if (op == RING_OP_DATAGRAM_SEND) {
        assert(datagram < ring->datagram_send_max);
        slot = ring->send_slots[datagram].socket;
    } else if (op == RING_OP_BATCH_SEND) {
        assert(datagram < RING_BATCHES);
        slot = ring->batches[datagram].first->socket;
    }
    assert(slot < ring->socket_max);
    struct ring_socket *socket = &ring->sockets[slot];
    assert(socket->kind != RING_FREE && socket->in_flight > 0);
    assert(socket->generation ==
           ((uint32_t)(completion->user_data >> 32) & RING_GENERATION_MASK));
    event->handle = ring_socket_handle(ring, socket);
    event->owner = socket->owner;
    switch (op) {
    case RING_OP_ACCEPT: return ring_socket_on_accept(ring, socket, completion, event);
    case RING_OP_ACCEPT_RESUME:
        ring_socket_landed(ring, socket);
        ring_socket_read(ring, socket);
        return false;
    case RING_OP_CONNECT:
        return ring_stream_on_connect(ring, socket, completion->result, event);
    case RING_OP_RECEIVE: return ring_stream_on_receive(ring, socket, completion, event);
    case RING_OP_SEND: return ring_stream_on_send(ring, socket, completion->result, event);
    case RING_OP_DATAGRAM_RECEIVE:
        return ring_datagram_on_receive(ring, socket, completion, event);
    case RING_OP_DATAGRAM_SEND:
        return ring_datagram_on_send(ring, socket, datagram, completion->result, event);
    case RING_OP_BATCH_SEND:
        return ring_datagram_on_batch(ring, socket, datagram, completion->result, event);
    case RING_OP_NONE:
    case RING_OP_WAKE: break;
    }
    return false;
}

bool ring_next(struct ring *ring, struct ring_event *event)
{
    held_release(ring);
    *event = (struct ring_event){0};
    if (!TAILQ_EMPTY(&ring->gone)) {
        struct ring_socket *socket = TAILQ_FIRST(&ring->gone);
        event->kind = socket->fd < 0 ? RING_GONE : RING_DETACHED;
        event->result = socket->fd;
        event->handle = ring_socket_handle(ring, socket);
        event->owner = socket->owner;
        ring_socket_give(ring, socket);
        return true;
    }
    while (ring->completion_next < ring->completion_count) {
        const struct ring_completion *completion = &ring->completions[ring->completion_next++];
        enum ring_op op = (enum ring_op)(completion->user_data >> 56);
        bool told = false;
        if (op == RING_OP_WAKE && completion->result != -ECANCELED)
            told = wake_tell(ring, event);
        else if (op != RING_OP_NONE && op != RING_OP_WAKE)
            told = socket_dispatch(ring, completion, op, event);
        if (told)
            return true;
        held_release(ring);
        /* A socket that closed on this completion tells so first. */
        if (!TAILQ_EMPTY(&ring->gone))
            return ring_next(ring, event);
    }
    return false;
}

void ring_wake(struct ring *ring)
{
    const uint64_t one = 1;
    /* Release: pairs with the acquire in wake_tell. */
    if (atomic_exchange_explicit(&ring->wake_pending, true, memory_order_acq_rel))
        return;
    ssize_t n = write(ring->wake_fd, &one, sizeof(one));
    assert(n == (ssize_t)sizeof(one));
    (void)n;
}

void ring_counters(const struct ring *ring, struct ring_counters *counters)
{
    *counters = ring->counters;
}
