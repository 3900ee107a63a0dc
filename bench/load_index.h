/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which of the load's streams joins two domains: an answer to what came on a stream of the
 * relay leaves by ours. A hash table; the first stream of a pair counts. One thread.
 */
#ifndef PASSERELLE_BENCH_LOAD_INDEX_H
#define PASSERELLE_BENCH_LOAD_INDEX_H

#include <stdint.h>

#include "bench/stream.h"

struct load_index {
    struct bench_stream **slots; /* NULL: free */
    uint32_t mask;
};

/* For at most `count` streams. -ENOMEM. */
int load_index_open(struct load_index *index, unsigned count);
/* The stream stays where it is and keeps its names. A stream that is there already is fine. */
void load_index_add(struct load_index *index, struct bench_stream *stream);
/* NULL when no stream joins the two. */
struct bench_stream *load_index_find(const struct load_index *index, const char *from,
                                     const char *to);
void load_index_close(struct load_index *index);

#endif
