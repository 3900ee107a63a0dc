/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_node.h"

#include <assert.h>

#include "proto/xml_stream.h"

static bool is_element(const struct xml_node *node)
{
    return node->name.data != NULL;
}

bool xml_node_is(const struct xml_node *node, struct span space, struct span name)
{
    return node != NULL && is_element(node) && span_equal(node->name, name) &&
           span_equal(node->space, space);
}

static struct span find_attribute(const struct xml_node *node, struct span space,
                                  struct span name)
{
    assert(node != NULL);
    const struct xml_attribute *attribute = node->attributes;
    for (; attribute != NULL; attribute = attribute->next)
        if (span_equal(attribute->name, name) && span_equal(attribute->space, space))
            return attribute->value;
    return SPAN_NONE;
}

struct span xml_node_attribute(const struct xml_node *node, struct span name)
{
    return find_attribute(node, SPAN(""), name);
}

struct span xml_node_lang(const struct xml_node *node)
{
    return find_attribute(node, SPAN(NS_XML), SPAN("lang"));
}

const struct xml_node *xml_node_child(const struct xml_node *node, struct span space,
                                      struct span name)
{
    assert(node != NULL);
    const struct xml_node *child = node->first_child;
    while (child != NULL && !xml_node_is(child, space, name))
        child = child->next;
    return child;
}

static const struct xml_node *skip_text(const struct xml_node *node)
{
    while (node != NULL && !is_element(node))
        node = node->next;
    return node;
}

const struct xml_node *xml_node_first_element(const struct xml_node *node)
{
    assert(node != NULL);
    return skip_text(node->first_child);
}

const struct xml_node *xml_node_next_element(const struct xml_node *node)
{
    assert(node != NULL);
    return skip_text(node->next);
}

struct span xml_node_text(const struct xml_node *node)
{
    assert(node != NULL);
    const struct xml_node *child = node->first_child;
    while (child != NULL && is_element(child))
        child = child->next;
    return child != NULL ? child->text : SPAN("");
}
