/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A hash table of intrusive nodes with chains, growing by doubling. The owner of a node
   compares keys; the table knows hashes only. One owner thread. */
#ifndef PASSERELLE_CORE_TABLE_H
#define PASSERELLE_CORE_TABLE_H

#include "proto/span.h"

struct table_node {
    struct table_node *next;
    uint64_t hash;
    void *owner; /* NULL: not in a table */
};

struct table {
    struct table_node **chains;
    size_t size, count;
};

void table_init(struct table *table);
/* Frees the chains; the nodes are their owners'. */
void table_fini(struct table *table);
/* Makes the first chains, so that table_add never aborts. -ENOMEM. */
int table_reserve(struct table *table) MUST_USE;
/* Aborts when memory for the first chains is refused; a refused growth only costs time. */
void table_add(struct table *table, struct table_node *node, uint64_t hash, void *owner);
/* Nothing happens when the node is in no table. */
void table_remove(struct table *table, struct table_node *node);
/* The first node with this hash, and the next one with the same hash; NULL ends. */
struct table_node *table_find(const struct table *table, uint64_t hash);
struct table_node *table_next(const struct table_node *node);
/* Any node, for emptying a table; NULL when it is empty. */
struct table_node *table_any(const struct table *table);

#endif
