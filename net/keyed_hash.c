/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/keyed_hash.h"

#include <endian.h>
#include <string.h>

static uint64_t rotate(uint64_t word, unsigned by)
{
    return word << by | word >> (64 - by);
}

static void mix(uint64_t v[4], unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static uint64_t read_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return le64toh(word);
}

static void take_block(struct keyed_hash *hash, uint64_t block)
{
    hash->v[3] ^= block;
    mix(hash->v, 2);
    hash->v[0] ^= block;
}

void keyed_hash_start(struct keyed_hash *hash, const uint8_t key[KEYED_HASH_KEY_SIZE])
{
    uint64_t low = read_word(key), high = read_word(key + 8);
    *hash =
        (struct keyed_hash){.v = {low ^ 0x736f6d6570736575u, high ^ 0x646f72616e646f6du ^ 0xeeu,
                                  low ^ 0x6c7967656e657261u, high ^ 0x7465646279746573u}};
}

void keyed_hash_add(struct keyed_hash *hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    unsigned held = hash->size % 8;
    hash->size += size;
    for (; size > 0 && held > 0; size--, bytes++) {
        hash->block |= (uint64_t)*bytes << (8 * held);
        held = (held + 1) % 8;
        if (held == 0) {
            take_block(hash, hash->block);
            hash->block = 0;
        }
    }
    for (; size >= 8; size -= 8, bytes += 8)
        take_block(hash, read_word(bytes));
    for (unsigned i = 0; i < size; i++)
        hash->block |= (uint64_t)bytes[i] << (8 * i);
}

struct keyed_hash_name keyed_hash_end(struct keyed_hash *hash)
{
    struct keyed_hash_name name;
    uint64_t *v = hash->v;
    take_block(hash, hash->block | hash->size << 56);
    v[2] ^= 0xee;
    mix(v, 4);
    name.word[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    mix(v, 4);
    name.word[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
    return name;
}
