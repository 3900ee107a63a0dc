/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A heap that counts its blocks and can be told which allocation fails. */
#ifndef PASSERELLE_TESTS_UNIT_ACCOUNT_H
#define PASSERELLE_TESTS_UNIT_ACCOUNT_H

#include <stdlib.h>

#include "proto/memory.h"

struct account {
    int blocks;
    int left; /* allocations until one fails; negative: never */
};

static void *account_alloc(void *context, size_t size)
{
    struct account *account = context;
    if (account->left == 0)
        return NULL;
    account->left--;
    account->blocks++;
    return malloc(size);
}

static void *account_resize(void *context, void *block, size_t size)
{
    struct account *account = context;
    if (account->left == 0)
        return NULL;
    account->left--;
    account->blocks += block == NULL;
    return realloc(block, size);
}

static void account_release(void *context, void *block)
{
    struct account *account = context;
    account->blocks -= block != NULL;
    free(block);
}

static inline struct memory account_memory(struct account *account)
{
    return (struct memory){account_alloc, account_resize, account_release, account};
}

#endif
