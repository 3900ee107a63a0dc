/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A byte queue that grows up to a limit and gives its memory back when drained. One owner
 * thread. Used for ciphertext on its way out and for input that could not be used yet.
 */
#ifndef PASSERELLE_NET_BUFFER_H
#define PASSERELLE_NET_BUFFER_H

#include "net/address.h"

struct net_buffer {
    uint8_t *data;
    size_t start; /* first byte not yet consumed */
    size_t end;   /* behind the last byte */
    size_t size;  /* allocated */
    size_t limit; /* most bytes that may wait */
};

void net_buffer_init(struct net_buffer *buffer, size_t limit);
void net_buffer_fini(struct net_buffer *buffer);
static inline size_t net_buffer_used(const struct net_buffer *buffer)
{
    return buffer->end - buffer->start;
}
static inline const uint8_t *net_buffer_front(const struct net_buffer *buffer)
{
    return buffer->data + buffer->start;
}
/* A place for `size` more bytes, or NULL when the limit would be passed or memory is
   refused. */
uint8_t *net_buffer_reserve(struct net_buffer *buffer, size_t size) NET_MUST_USE;
void net_buffer_commit(struct net_buffer *buffer, size_t size);
/* -ENOBUFS when it does not fit; then nothing was added. */
int net_buffer_add(struct net_buffer *buffer, const void *data, size_t size) NET_MUST_USE;
void net_buffer_consume(struct net_buffer *buffer, size_t size);
/* Frees the block when the queue is empty and the block is larger than `keep`. */
void net_buffer_trim(struct net_buffer *buffer, size_t keep);

#endif
