/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Looking for a few bytes in a text, sixteen at a time. Pure, any thread. */
#ifndef PASSERELLE_PROTO_SCAN_H
#define PASSERELLE_PROTO_SCAN_H

#include "proto/span.h"

/* Offset of the first byte from `from` on that is one of the NUL-terminated `set`, or
   text.size. Meant to be inlined with a short literal for a set. */
static inline __attribute__((always_inline)) size_t scan_any(struct span text, size_t from,
                                                             const char *set)
{
    typedef unsigned char block __attribute__((vector_size(16)));
    size_t i = from;
    for (; i + sizeof(block) <= text.size; i += sizeof(block)) {
        block bytes, hits = {0};
        uint64_t halves[2];
        memcpy(&bytes, text.data + i, sizeof(bytes));
        for (size_t k = 0; set[k] != '\0'; k++)
            hits |= (block)(bytes == (block){0} + (unsigned char)set[k]);
        memcpy(halves, &hits, sizeof(halves));
        if ((halves[0] | halves[1]) != 0)
            break;
    }
    for (; i < text.size; i++)
        for (size_t k = 0; set[k] != '\0'; k++)
            if (text.data[i] == set[k])
                return i;
    return text.size;
}

#endif
