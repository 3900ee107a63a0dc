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

/* The separator cannot be in a name, so the last one counts. */
void xml_tree_split(const char *text, struct span *space, struct span *name)
{
    const char *separator = strrchr(text, XML_TREE_SEPARATOR);
    *space = SPAN("");
    *name = span_of(text);
    if (separator == NULL)
        return;
    *space = span_make(text, (size_t)(separator - text));
    *name = span_of(separator + 1);
}

static bool copy_name(struct xml_tree *tree, const char *text, struct span *space,
                      struct span *name)
{
    /* Most elements share the namespace of their parent, most attributes have none. */
    const struct xml_node *parent = tree->depth > 0 ? tree->stack[tree->depth - 1] : NULL;
    struct span source_space, source_name;
    xml_tree_split(text, &source_space, &source_name);
    if (source_space.size == 0)
        *space = SPAN("");
    else if (parent != NULL && span_equal(parent->space, source_space))
        *space = parent->space;
    else
        *space = arena_copy(&tree->arena, source_space);
    *name = arena_copy(&tree->arena, source_name);
    return space->data != NULL && name->data != NULL;
}

static struct xml_attribute *make_attribute(struct xml_tree *tree, const char *name,
                                            const char *value)
{
    struct xml_attribute *attribute = arena_alloc(&tree->arena, sizeof *attribute);
    if (attribute == NULL || !copy_name(tree, name, &attribute->space, &attribute->name))
        return NULL;
    attribute->next = NULL;
    attribute->value = arena_copy(&tree->arena, span_of(value));
    return attribute->value.data != NULL ? attribute : NULL;
}

struct xml_node *xml_tree_make(struct xml_tree *tree, const char *name, const char **pairs)
{
    struct xml_node *node = arena_alloc(&tree->arena, sizeof *node);
    if (node == NULL)
        return NULL;
    *node = (struct xml_node){.text = SPAN("")};
    if (!copy_name(tree, name, &node->space, &node->name))
        return NULL;
    struct xml_attribute **tail = &node->attributes;
    for (; pairs[0] != NULL; pairs += 2) {
        *tail = make_attribute(tree, pairs[0], pairs[1]);
        if (*tail == NULL)
            return NULL;
        tail = &(*tail)->next;
    }
    return node;
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
