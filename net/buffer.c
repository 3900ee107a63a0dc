/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE_MIN 1024

static void buffer_check(const struct net_buffer *buffer)
{
    assert(buffer->start <= buffer->end);
    assert(buffer->end <= buffer->size);
}

void net_buffer_init(struct net_buffer *buffer, size_t limit)
{
    assert(buffer != NULL);
    *buffer = (struct net_buffer){.limit = limit};
}

void net_buffer_fini(struct net_buffer *buffer)
{
    buffer_check(buffer);
    free(buffer->data);
    *buffer = (struct net_buffer){.limit = buffer->limit};
}

/* Moves what waits to the front, so that the room behind it is one piece. */
static void buffer_compact(struct net_buffer *buffer)
{
    size_t used = net_buffer_used(buffer);
    if (buffer->start == 0)
        return;
    memmove(buffer->data, buffer->data + buffer->start, used);
    buffer->start = 0;
    buffer->end = used;
}

/* Doubling keeps the cost of growing linear in the bytes that pass. */
static size_t buffer_grown_size(const struct net_buffer *buffer, size_t need)
{
    size_t size = buffer->size > BUFFER_SIZE_MIN ? buffer->size : BUFFER_SIZE_MIN;
    while (size < need)
        size *= 2;
    if (size > buffer->limit && need <= buffer->limit)
        size = buffer->limit;
    return size;
}

uint8_t *net_buffer_reserve(struct net_buffer *buffer, size_t size)
{
    buffer_check(buffer);
    size_t used = net_buffer_used(buffer);
    if (used > buffer->limit || size > buffer->limit - used)
        return NULL;
    if (buffer->data != NULL && buffer->size - buffer->end >= size)
        return buffer->data + buffer->end;
    /* Moving is worth it when more than half of the block is already consumed; otherwise each
       small addition could move a large queue. */
    if (buffer->data != NULL && buffer->size - used >= size && buffer->start >= used) {
        buffer_compact(buffer);
        return buffer->data + buffer->end;
    }
    size_t grown = buffer_grown_size(buffer, used + size);
    uint8_t *data = malloc(grown);
    if (data == NULL)
        return NULL;
    if (used > 0)
        memcpy(data, buffer->data + buffer->start, used);
    free(buffer->data);
    buffer->data = data;
    buffer->size = grown;
    buffer->start = 0;
    buffer->end = used;
    return data + used;
}

void net_buffer_commit(struct net_buffer *buffer, size_t size)
{
    buffer_check(buffer);
    assert(size <= buffer->size - buffer->end);
    buffer->end += size;
}

int net_buffer_add(struct net_buffer *buffer, const void *data, size_t size)
{
    if (size == 0)
        return 0;
    assert(data != NULL);
    uint8_t *place = net_buffer_reserve(buffer, size);
    if (place == NULL)
        return -ENOBUFS;
    memcpy(place, data, size);
    net_buffer_commit(buffer, size);
    return 0;
}

void net_buffer_consume(struct net_buffer *buffer, size_t size)
{
    buffer_check(buffer);
    assert(size <= net_buffer_used(buffer));
    buffer->start += size;
    if (buffer->start == buffer->end) {
        buffer->start = 0;
        buffer->end = 0;
    }
}

void net_buffer_trim(struct net_buffer *buffer, size_t keep)
{
    buffer_check(buffer);
    if (net_buffer_used(buffer) > 0 || buffer->size <= keep)
        return;
    free(buffer->data);
    buffer->data = NULL;
    buffer->start = 0;
    buffer->end = 0;
    buffer->size = 0;
}
