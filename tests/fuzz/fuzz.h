/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What every fuzz target has: one input is a few bytes that choose, and the text behind them. A
 * broken property ends the program, which libFuzzer and the replay (replay.c) both report.
 */
#ifndef PASSERELLE_TESTS_FUZZ_H
#define PASSERELLE_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "proto/limits.h"
#include "proto/utf8.h"
#include "proto/writer.h"
#include "proto/xml_stream.h"
#include "tests/unit/account.h"

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);            \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the byte that chooses off the front; 0 when there is none. */
static inline unsigned fuzz_choice(struct span *input)
{
    unsigned choice = input->size > 0 ? (unsigned char)input->data[0] : 0;
    *input = span_from(*input, 1);
    return choice;
}

/* Takes the text up to the next LF off the front. */
static inline struct span fuzz_line(struct span *input)
{
    size_t end = span_find(*input, '\n');
    struct span line = span_to(*input, end);
    *input = span_from(*input, end + 1);
    return line;
}

/* A heap block of exactly this size, so that the sanitizer sees the first byte too many. */
static inline struct span fuzz_copy(struct span text)
{
    char *copy = malloc(text.size > 0 ? text.size : 1);
    CHECK(copy != NULL);
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    return span_make(copy, text.size);
}

static inline void fuzz_free(struct span copy)
{
    free((void *)(uintptr_t)copy.data);
}

/* No part of a header field may hold what ends one. */
static inline bool fuzz_one_line(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '\r' || text.data[i] == '\n' || text.data[i] == '\0')
            return false;
    return true;
}

#endif
