/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file of its own, so that the simulation can link another one. */
#include "net/digest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* One getrandom call serves many small requests: a SIP branch is 16 bytes. */
#define RANDOM_POOL_SIZE 1024

struct random_pool {
    size_t left; /* bytes at the end of `bytes` that were not given out */
    uint8_t bytes[RANDOM_POOL_SIZE];
};

static _Thread_local struct random_pool random_pool;

static void random_fill(uint8_t *out, size_t size)
{
    while (size > 0) {
        ssize_t n = getrandom(out, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        /* Without random bytes no dialback key and no SIP tag is safe. */
        if (n <= 0)
            abort();
        out += n;
        size -= (size_t)n;
    }
}

void digest_random(void *out, size_t size)
{
    struct random_pool *pool = &random_pool;
    assert(pool->left <= sizeof(pool->bytes));
    if (size > sizeof(pool->bytes) / 4) {
        random_fill(out, size);
        return;
    }
    if (pool->left < size) {
        random_fill(pool->bytes, sizeof(pool->bytes));
        pool->left = sizeof(pool->bytes);
    }
    uint8_t *from = pool->bytes + sizeof(pool->bytes) - pool->left;
    memcpy(out, from, size);
    /* What was given out is not kept. */
    explicit_bzero(from, size);
    pool->left -= size;
}
