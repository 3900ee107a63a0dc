/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int load_index_open(struct load_index *index, unsigned count)
{
    uint32_t room = 4;
    while (room < 2 * count)
        room *= 2;
    index->slots = calloc(room, sizeof(struct bench_stream *));
    index->mask = room - 1;
    return index->slots != NULL ? 0 : -ENOMEM;
}

static uint32_t load_index_hash(uint32_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

/* Where the pair is, or the free slot where it belongs: half of the table is free. */
static struct bench_stream **load_index_slot(const struct load_index *index, const char *from,
                                             const char *to)
{
    uint32_t hash = load_index_hash(load_index_hash(2166136261u, from) + 1, to);
    for (uint32_t i = hash;; i++) {
        struct bench_stream **slot = &index->slots[i & index->mask];
        if (*slot == NULL || (strcmp((*slot)->from, from) == 0 && strcmp((*slot)->to, to) == 0))
            return slot;
    }
}

void load_index_add(struct load_index *index, struct bench_stream *stream)
{
    struct bench_stream **slot = load_index_slot(index, stream->from, stream->to);
    if (*slot == NULL)
        *slot = stream;
}

struct bench_stream *load_index_find(const struct load_index *index, const char *from,
                                     const char *to)
{
    return *load_index_slot(index, from, to);
}

void load_index_close(struct load_index *index)
{
    free(index->slots);
    index->slots = NULL;
}
