/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A bump allocator over a chain of chunks taken from a struct memory, for things that die
 * together (one stanza, one SIP message). One owner thread. Chunks double from ARENA_CHUNK_SIZE
 * up to the limit; a failed allocation returns NULL and sets `exhausted`.
 */
#ifndef PASSERELLE_PROTO_ARENA_H
#define PASSERELLE_PROTO_ARENA_H

#include "proto/memory.h"
#include "proto/span.h"

#define ARENA_CHUNK_SIZE 4096

struct arena_chunk;

struct arena {
    const struct memory *memory;
    struct arena_chunk *newest;
    size_t limit;    /* most bytes all chunks may hold together */
    size_t reserved; /* bytes all chunks hold */
    bool exhausted;
};

/* `memory` must outlive the arena. Allocates nothing yet. */
void arena_init(struct arena *arena, const struct memory *memory, size_t limit);
/* Frees every chunk. */
void arena_fini(struct arena *arena);
/* Forgets everything; keeps at most the first chunk when `keep_chunk`, else frees all. */
void arena_reset(struct arena *arena, bool keep_chunk);
/* 8-byte aligned, not cleared; NULL when the limit or the memory is exhausted. */
void *arena_alloc(struct arena *arena, size_t size) MUST_USE;
/* A copy of `text` in the arena followed by a NUL (not counted); SPAN_NONE on failure. */
struct span arena_copy(struct arena *arena, struct span text) MUST_USE;

#endif
