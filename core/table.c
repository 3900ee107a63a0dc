/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define TABLE_FIRST_SIZE 64u

_Static_assert((TABLE_FIRST_SIZE & (TABLE_FIRST_SIZE - 1)) == 0,
               "the mask needs a power of two");

void table_init(struct table *table)
{
    assert(table != NULL);
    *table = (struct table){0};
}

void table_fini(struct table *table)
{
    assert(table != NULL);
    free(table->chains);
    *table = (struct table){0};
}

static int grow(struct table *table)
{
    size_t size = table->size == 0 ? TABLE_FIRST_SIZE : 2 * table->size;
    struct table_node **chains = calloc(size, sizeof(*chains));
    if (chains == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < table->size; i++) {
        while (table->chains[i] != NULL) {
            struct table_node *node = table->chains[i];
            table->chains[i] = node->next;
            node->next = chains[node->hash & (size - 1)];
            chains[node->hash & (size - 1)] = node;
        }
    }
    free(table->chains);
    table->chains = chains;
    table->size = size;
    return 0;
}

int table_reserve(struct table *table)
{
    return table->size > 0 ? 0 : grow(table);
}

void table_add(struct table *table, struct table_node *node, uint64_t hash, void *owner)
{
    assert(owner != NULL);
    assert(node->owner == NULL);
    if (table->count >= table->size && grow(table) < 0 && table->size == 0)
        abort();
    struct table_node **chain = &table->chains[hash & (table->size - 1)];
    *node = (struct table_node){*chain, hash, owner};
    *chain = node;
    table->count++;
}

void table_remove(struct table *table, struct table_node *node)
{
    if (node->owner == NULL)
        return;
    assert(table->count > 0);
    struct table_node **place = &table->chains[node->hash & (table->size - 1)];
    while (*place != node) {
        assert(*place != NULL);
        place = &(*place)->next;
    }
    *place = node->next;
    *node = (struct table_node){0};
    table->count--;
}

static struct table_node *first_of(struct table_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct table_node *table_find(const struct table *table, uint64_t hash)
{
    return table->size == 0 ? NULL : first_of(table->chains[hash & (table->size - 1)], hash);
}

struct table_node *table_next(const struct table_node *node)
{
    return first_of(node->next, node->hash);
}

struct table_node *table_any(const struct table *table)
{
    for (size_t i = 0; table->count > 0 && i < table->size; i++)
        if (table->chains[i] != NULL)
            return table->chains[i];
    return NULL;
}
