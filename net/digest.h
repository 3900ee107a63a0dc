/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SHA-256, SHA-512, HMAC-SHA-256 (wolfCrypt), random bytes (getrandom). Any thread. */
#ifndef PASSERELLE_NET_DIGEST_H
#define PASSERELLE_NET_DIGEST_H

#include "net/address.h"

#define DIGEST_SIZE        32
#define DIGEST_SIZE_SHA512 64

struct digest_part {
    const void *data;
    size_t size;
};

void digest_sha256(const void *data, size_t size, uint8_t out[DIGEST_SIZE]);
void digest_sha512(const void *data, size_t size, uint8_t out[DIGEST_SIZE_SHA512]);
/* HMAC over the concatenation of `count` parts. */
void digest_hmac_sha256(const void *key, size_t key_size, const struct digest_part *parts,
                        size_t count, uint8_t out[DIGEST_SIZE]);
/* Constant time. */
bool digest_equal(const void *a, const void *b, size_t size);
/* Unpredictable bytes; buffered per thread; never fails (aborts when the kernel refuses). The
   simulation links a seeded one. */
void digest_random(void *out, size_t size);

#endif
