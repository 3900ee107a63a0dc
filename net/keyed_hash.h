/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012): names for a table that
 * strangers fill. Who does not know the key can neither find two inputs with one name nor crowd
 * a chain of the table. Not a digest: no secrecy of the input is promised. Any thread.
 */
#ifndef PASSERELLE_NET_KEYED_HASH_H
#define PASSERELLE_NET_KEYED_HASH_H

#include <stddef.h>
#include <stdint.h>

#define KEYED_HASH_KEY_SIZE 16

struct keyed_hash {
    uint64_t v[4];
    uint64_t block; /* bytes not yet mixed in, first byte lowest */
    uint64_t size;  /* of all that was added */
};

struct keyed_hash_name {
    uint64_t word[2];
};

void keyed_hash_start(struct keyed_hash *hash, const uint8_t key[KEYED_HASH_KEY_SIZE]);
void keyed_hash_add(struct keyed_hash *hash, const void *data, size_t size);
struct keyed_hash_name keyed_hash_end(struct keyed_hash *hash);

#endif
