/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The process's heap as proto wants its memory (proto/memory.h). Any thread. */
#ifndef PASSERELLE_CORE_HEAP_H
#define PASSERELLE_CORE_HEAP_H

#include <stdlib.h>

#include "proto/memory.h"

static inline void *heap_alloc(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}

static inline void *heap_resize(void *context, void *block, size_t size)
{
    (void)context;
    return realloc(block, size);
}

static inline void heap_release(void *context, void *block)
{
    (void)context;
    free(block);
}

static const struct memory heap_memory = {heap_alloc, heap_resize, heap_release, NULL};

#endif
