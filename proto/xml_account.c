/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_account.h"

#include <assert.h>
#include <stdint.h>

#include "proto/limits.h"

/* Blocks remember their account, so only new ones need it. */
static _Thread_local struct xml_account *active;

struct block {
    struct xml_account *owner;
    size_t size;
};
_Static_assert(sizeof(struct block) % 16 == 0, "what follows is aligned for anything");

static bool fits_budget(const struct xml_account *account, size_t more)
{
    return more <= XML_PARSER_MEMORY_MAX && account->held <= XML_PARSER_MEMORY_MAX - more;
}

static void *counted_resize(void *context, void *payload, size_t size)
{
    struct xml_account *account = context;
    struct block *block = payload != NULL ? (struct block *)payload - 1 : NULL;
    size_t old = block != NULL ? block->size : 0;
    if (size > SIZE_MAX - sizeof *block)
        return NULL;
    size += sizeof *block;
    if (size > old && !fits_budget(account, size - old))
        return NULL;
    assert(account->outer != NULL);
    void *outer_context = account->outer->context;
    block = block != NULL ? account->outer->resize(outer_context, block, size)
                          : account->outer->alloc(outer_context, size);
    if (block == NULL) {
        account->refused = true;
        return NULL;
    }
    assert(account->held >= old);
    account->held += size - old;
    *block = (struct block){account, size};
    return block + 1;
}

static void *counted_alloc(void *context, size_t size)
{
    return counted_resize(context, NULL, size);
}

static void counted_release(void *context, void *payload)
{
    struct xml_account *account = context;
    if (payload == NULL)
        return;
    struct block *block = (struct block *)payload - 1;
    assert(block->owner == account);
    assert(account->held >= block->size);
    account->held -= block->size;
    account->outer->release(account->outer->context, block);
}

static void *expat_alloc(size_t size)
{
    assert(active != NULL);
    return counted_alloc(active, size);
}

static void *expat_resize(void *payload, size_t size)
{
    return payload != NULL ? counted_resize(((struct block *)payload - 1)->owner, payload, size)
                           : expat_alloc(size);
}

static void expat_release(void *payload)
{
    if (payload != NULL)
        counted_release(((struct block *)payload - 1)->owner, payload);
}

void xml_account_init(struct xml_account *account, const struct memory *outer, size_t held)
{
    assert(outer != NULL);
    *account = (struct xml_account){
        .outer = outer,
        .memory = {counted_alloc, counted_resize, counted_release, account},
        .held = held,
    };
}

void *xml_account_take(struct xml_account *account, size_t size)
{
    return counted_alloc(account, size);
}

void xml_account_give(struct xml_account *account, void *block)
{
    counted_release(account, block);
}

const XML_Memory_Handling_Suite *xml_account_suite(void)
{
    static const XML_Memory_Handling_Suite suite = {expat_alloc, expat_resize, expat_release};
    return &suite;
}

void xml_account_enter(struct xml_account *account)
{
    assert(active == NULL);
    active = account;
}

void xml_account_leave(void)
{
    assert(active != NULL);
    active = NULL;
}
