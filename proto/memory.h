/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where proto gets its memory: a table the caller fills (core uses jemalloc with an account per
 * session, tests use a failing allocator). proto never calls malloc itself.
 */
#ifndef PASSERELLE_PROTO_MEMORY_H
#define PASSERELLE_PROTO_MEMORY_H

#include <stddef.h>

struct memory {
    /* As malloc, realloc and free; alloc and resize return NULL when refused. */
    void *(*alloc)(void *context, size_t size);
    void *(*resize)(void *context, void *block, size_t size);
    void (*release)(void *context, void *block);
    void *context;
};

#endif
