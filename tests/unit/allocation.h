/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An allocator that refuses once. The linker puts it in the place of libc's for all that is
 * linked statically, wolfSSL included (CMakeLists.txt).
 */
#ifndef PASSERELLE_TESTS_UNIT_ALLOCATION_H
#define PASSERELLE_TESTS_UNIT_ALLOCATION_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define STEPS_MAX 20000

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static _Atomic long refuse_in; /* allocations until the one that is refused; 0: none is */
static _Atomic bool refused;

static inline bool is_refused(void)
{
    if (refuse_in == 0 || --refuse_in > 0)
        return false;
    refused = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count_, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count_, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return is_refused() ? NULL : __real_realloc(block, size);
}

static inline void refuse(long n)
{
    refused = false;
    refuse_in = n;
}

/* True when the allocation was reached and refused: there may be a further one. */
static inline bool refuse_end(void)
{
    refuse_in = 0;
    return refused;
}

#endif
