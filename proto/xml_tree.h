/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Builds the tree of one first-level element from expat's calls. Owner thread of the stream.
 */
#ifndef PASSERELLE_PROTO_XML_TREE_H
#define PASSERELLE_PROTO_XML_TREE_H

#include "proto/arena.h"
#include "proto/limits.h"
#include "proto/xml_names.h"
#include "proto/xml_node.h"

struct xml_tree {
    struct arena arena;
    struct xml_node *stack[XML_DEPTH_MAX]; /* open elements, the outermost first */
    size_t depth;
    struct xml_node *text; /* run that may still grow */
    size_t text_capacity;
};

void xml_tree_init(struct xml_tree *tree, const struct memory *memory);
void xml_tree_fini(struct xml_tree *tree);
/* Forgets all nodes; only when no element is open. */
void xml_tree_reset(struct xml_tree *tree, bool keep_chunk);
enum xml_tree_result {
    XML_TREE_OK,
    XML_TREE_MALFORMED, /* a prefix that is not declared, or one attribute twice */
    XML_TREE_TOO_MANY,  /* more than XML_ATTRIBUTES_MAX attributes */
    XML_TREE_NO_MEMORY
};

/* A node with its attributes, not yet in the tree. `name` and `pairs` (name, value, …, NULL)
   are as expat gives them, their namespaces are in `names`, whose text the node refers to. */
enum xml_tree_result xml_tree_make(struct xml_tree *tree, const struct xml_names *names,
                                   const char *name, const char **pairs,
                                   struct xml_node **made) MUST_USE;
/* Appends `node` to the innermost open element and opens it; depth < XML_DEPTH_MAX. */
void xml_tree_push(struct xml_tree *tree, struct xml_node *node);
/* Closes the innermost element and returns it. */
struct xml_node *xml_tree_pop(struct xml_tree *tree);
/* Adds character data to the innermost element. No run of it exceeds `size_max`. False when
   memory is exhausted. */
bool xml_tree_add_text(struct xml_tree *tree, struct span text, size_t size_max) MUST_USE;

#endif
