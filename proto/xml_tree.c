/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_tree.h"

#include <assert.h>

#define TEXT_SIZE_FIRST 64

void xml_tree_init(struct xml_tree *tree, const struct memory *memory)
{
    *tree = (struct xml_tree){.depth = 0};
    arena_init(&tree->arena, memory, XML_PARSER_MEMORY_MAX);
}

void xml_tree_fini(struct xml_tree *tree)
{
    arena_fini(&tree->arena);
    tree->depth = 0;
    tree->text = NULL;
}

void xml_tree_reset(struct xml_tree *tree, bool keep_chunk)
{
    assert(tree->depth == 0);
    tree->text = NULL;
    arena_reset(&tree->arena, keep_chunk);
}

/* Names that differ in their prefixes only are the same to who reads them (Namespaces in XML
   1.0 §6.3); expat has found those that are the same to the letter. */
static bool is_repeated(const struct xml_node *node, const struct xml_attribute *attribute)
{
    if (attribute->space.size == 0)
        return false;
    const struct xml_attribute *other = node->attributes;
    for (; other != NULL && other != attribute; other = other->next)
        if (span_equal(other->name, attribute->name) &&
            span_equal(other->space, attribute->space))
            return true;
    return false;
}

static enum xml_tree_result make_attribute(struct xml_tree *tree, const struct xml_names *names,
                                           const char **pair, struct xml_attribute **made)
{
    struct xml_attribute *attribute = arena_alloc(&tree->arena, sizeof *attribute);
    *made = attribute;
    if (attribute == NULL)
        return XML_TREE_NO_MEMORY;
    attribute->next = NULL;
    if (!xml_names_attribute(names, pair[0], &attribute->space, &attribute->name))
        return XML_TREE_MALFORMED;
    attribute->name = arena_copy(&tree->arena, attribute->name);
    attribute->value = arena_copy(&tree->arena, span_of(pair[1]));
    return attribute->name.data != NULL && attribute->value.data != NULL ? XML_TREE_OK
                                                                         : XML_TREE_NO_MEMORY;
}

static enum xml_tree_result add_attributes(struct xml_tree *tree, const struct xml_names *names,
                                           struct xml_node *node, const char **pairs)
{
    struct xml_attribute **tail = &node->attributes;
    size_t count = 0;
    for (; pairs[0] != NULL; pairs += 2) {
        if (xml_names_declares(pairs[0]))
            continue;
        if (++count > XML_ATTRIBUTES_MAX)
            return XML_TREE_TOO_MANY;
        struct xml_attribute *attribute;
        enum xml_tree_result result = make_attribute(tree, names, pairs, &attribute);
        if (result != XML_TREE_OK)
            return result;
        *tail = attribute;
        tail = &attribute->next;
        if (is_repeated(node, attribute))
            return XML_TREE_MALFORMED;
    }
    return XML_TREE_OK;
}

enum xml_tree_result xml_tree_make(struct xml_tree *tree, const struct xml_names *names,
                                   const char *name, const char **pairs, struct xml_node **made)
{
    struct xml_node *node = arena_alloc(&tree->arena, sizeof *node);
    *made = node;
    if (node == NULL)
        return XML_TREE_NO_MEMORY;
    *node = (struct xml_node){.text = SPAN("")};
    if (!xml_names_element(names, name, &node->space, &node->name))
        return XML_TREE_MALFORMED;
    node->name = arena_copy(&tree->arena, node->name);
    if (node->name.data == NULL)
        return XML_TREE_NO_MEMORY;
    return add_attributes(tree, names, node, pairs);
}

static void append_child(struct xml_node *parent, struct xml_node *child)
{
    assert(child->next == NULL);
    if (parent->last_child != NULL)
        parent->last_child->next = child;
    else
        parent->first_child = child;
    parent->last_child = child;
}

void xml_tree_push(struct xml_tree *tree, struct xml_node *node)
{
    assert(tree->depth < XML_DEPTH_MAX);
    tree->text = NULL;
    if (tree->depth > 0)
        append_child(tree->stack[tree->depth - 1], node);
    tree->stack[tree->depth++] = node;
}

struct xml_node *xml_tree_pop(struct xml_tree *tree)
{
    assert(tree->depth > 0);
    tree->text = NULL;
    return tree->stack[--tree->depth];
}

/* Makes room for `more` bytes at the end of the run; doubling keeps the copying linear. */
static bool grow_text(struct xml_tree *tree, size_t more, size_t size_max)
{
    size_t need = tree->text->text.size + more;
    if (need <= tree->text_capacity)
        return true;
    size_t capacity = tree->text_capacity > 0 ? 2 * tree->text_capacity : TEXT_SIZE_FIRST;
    if (capacity > size_max)
        capacity = size_max;
    if (capacity < need)
        capacity = need;
    char *data = arena_alloc(&tree->arena, capacity);
    if (data == NULL)
        return false;
    if (tree->text->text.size > 0)
        memcpy(data, tree->text->text.data, tree->text->text.size);
    tree->text->text.data = data;
    tree->text_capacity = capacity;
    return true;
}

bool xml_tree_add_text(struct xml_tree *tree, struct span text, size_t size_max)
{
    assert(tree->depth > 0);
    if (tree->text == NULL) {
        struct xml_node *node = arena_alloc(&tree->arena, sizeof *node);
        if (node == NULL)
            return false;
        *node = (struct xml_node){.text = SPAN("")};
        append_child(tree->stack[tree->depth - 1], node);
        tree->text = node;
        tree->text_capacity = 0;
    }
    if (!grow_text(tree, text.size, size_max))
        return false;
    struct span *run = &tree->text->text;
    memcpy((char *)run->data + run->size, text.data, text.size);
    run->size += text.size;
    return true;
}
