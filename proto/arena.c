/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/arena.h"

#include <assert.h>

#define ARENA_ALIGNMENT 8

struct arena_chunk {
    struct arena_chunk *older;
    size_t size; /* of the whole block, this header included */
    size_t used; /* this header included */
};

_Static_assert(sizeof(struct arena_chunk) % ARENA_ALIGNMENT == 0, "payload stays aligned");
_Static_assert(sizeof(struct arena_chunk) < ARENA_CHUNK_SIZE, "a chunk has a payload");

void arena_init(struct arena *arena, const struct memory *memory, size_t limit)
{
    assert(memory != NULL);
    *arena = (struct arena){memory, NULL, limit, 0, false};
}

void arena_fini(struct arena *arena)
{
    arena_reset(arena, false);
    arena->memory = NULL;
}

void arena_reset(struct arena *arena, bool keep_chunk)
{
    assert(arena->memory != NULL);
    struct arena_chunk *chunk = arena->newest;
    arena->newest = NULL;
    arena->exhausted = false;
    while (chunk != NULL) {
        struct arena_chunk *older = chunk->older;
        /* Only a first chunk of the plain size is worth keeping between two stanzas. */
        if (keep_chunk && older == NULL && chunk->size == ARENA_CHUNK_SIZE) {
            chunk->used = sizeof *chunk;
            arena->newest = chunk;
        } else {
            arena->reserved -= chunk->size;
            arena->memory->release(arena->memory->context, chunk);
        }
        chunk = older;
    }
    assert(arena->reserved == (arena->newest != NULL ? arena->newest->size : 0));
}

/* The size of a new chunk for `need` bytes (its header included), 0 when the limit forbids it.
 */
static size_t next_chunk_size(const struct arena *arena, size_t need)
{
    size_t room = arena->limit > arena->reserved ? arena->limit - arena->reserved : 0;
    if (need > room)
        return 0;
    size_t size = arena->newest != NULL ? 2 * arena->newest->size : ARENA_CHUNK_SIZE;
    if (size < need)
        size = need;
    return size < room ? size : room;
}

static bool add_chunk(struct arena *arena, size_t payload)
{
    size_t size = next_chunk_size(arena, sizeof(struct arena_chunk) + payload);
    if (size == 0)
        return false;
    struct arena_chunk *chunk = arena->memory->alloc(arena->memory->context, size);
    if (chunk == NULL)
        return false;
    *chunk = (struct arena_chunk){arena->newest, size, sizeof *chunk};
    arena->newest = chunk;
    arena->reserved += size;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    assert(arena->memory != NULL);
    /* Checked before rounding up, so that nothing wraps. */
    if (size > arena->limit) {
        arena->exhausted = true;
        return NULL;
    }
    size = (size + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    struct arena_chunk *chunk = arena->newest;
    if (chunk == NULL || chunk->used > chunk->size || chunk->size - chunk->used < size) {
        if (!add_chunk(arena, size)) {
            arena->exhausted = true;
            return NULL;
        }
        chunk = arena->newest;
    }
    assert(chunk->size - chunk->used >= size);
    void *block = (char *)chunk + chunk->used;
    chunk->used += size;
    return block;
}

struct span arena_copy(struct arena *arena, struct span text)
{
    char *copy = text.size < SIZE_MAX ? arena_alloc(arena, text.size + 1) : NULL;
    if (copy == NULL)
        return SPAN_NONE;
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return span_make(copy, text.size);
}
