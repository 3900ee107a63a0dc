/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ring_priv.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

static void *map_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

int ring_group_open(struct ring *ring, struct ring_group *group, uint16_t id, unsigned count,
                    unsigned size)
{
    assert(count > 0 && (count & (count - 1)) == 0);
    assert(count <= 32768);
    TAILQ_INIT(&group->starved);
    group->id = id;
    group->size = size;
    /* A cache line more than a power of two, so that the buffers' first lines do not all fall on
       the same few of the caches. */
    group->stride = (((size_t)size + 63) & ~(size_t)63) + 64;
    group->entries = map_memory(count * sizeof(struct io_uring_buf));
    group->memory = map_memory(count * group->stride);
    group->count = count;
    if (group->entries == NULL || group->memory == NULL) {
        ring_group_close(ring, group);
        return -ENOMEM;
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)group->entries, .ring_entries = count, .bgid = id};
    int rc = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (rc < 0) {
        ring_group_close(ring, group);
        return rc;
    }
    io_uring_buf_ring_init(group->entries);
    for (unsigned i = 0; i < count; i++)
        ring_group_return(group, (uint16_t)i);
    return 0;
}

/* The registration goes away with the ring, which is closed before. */
void ring_group_close(struct ring *ring, struct ring_group *group)
{
    (void)ring;
    if (group->entries != NULL)
        munmap(group->entries, group->count * sizeof(struct io_uring_buf));
    if (group->memory != NULL)
        munmap(group->memory, group->count * group->stride);
    group->entries = NULL;
    group->memory = NULL;
    group->count = 0;
}

void ring_group_return(struct ring_group *group, uint16_t buffer)
{
    assert(buffer < group->count);
    io_uring_buf_ring_add(group->entries, ring_group_buffer(group, buffer), group->size, buffer,
                          io_uring_buf_ring_mask(group->count), 0);
    io_uring_buf_ring_advance(group->entries, 1);
}

void ring_group_starve(struct ring_group *group, struct ring_socket *socket)
{
    assert(!socket->starved);
    assert(!socket->reading);
    socket->starved = true;
    TAILQ_INSERT_TAIL(&group->starved, socket, link);
}
