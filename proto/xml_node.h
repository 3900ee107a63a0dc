/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A stanza as a tree in an arena. Nodes are read-only once built and live until the arena is
 * reset. Pure; owner thread of the arena.
 */
#ifndef PASSERELLE_PROTO_XML_NODE_H
#define PASSERELLE_PROTO_XML_NODE_H

#include "proto/span.h"

struct xml_attribute {
    struct xml_attribute *next;
    struct span space; /* namespace name; empty for none */
    struct span name;
    struct span value; /* unescaped, valid UTF-8, XML-legal */
};

/* An element (name.data != NULL) or a run of text (name.data == NULL, `text` set). Adjacent
   character data is merged into one text node. */
struct xml_node {
    struct xml_node *next;        /* sibling */
    struct xml_node *first_child; /* elements and text in document order */
    struct xml_node *last_child;
    struct xml_attribute *attributes; /* xmlns declarations are not attributes */
    struct span space;                /* namespace name */
    struct span name;                 /* local name */
    struct span text;
};

bool xml_node_is(const struct xml_node *node, struct span space, struct span name);
/* Value of an attribute without namespace; SPAN_NONE when absent. */
struct span xml_node_attribute(const struct xml_node *node, struct span name);
/* xml:lang of this very element; SPAN_NONE when absent. */
struct span xml_node_lang(const struct xml_node *node);
/* First child element with this namespace and name; NULL when there is none. */
const struct xml_node *xml_node_child(const struct xml_node *node, struct span space,
                                      struct span name);
/* First / next sibling child element of any name; NULL at the end. */
const struct xml_node *xml_node_first_element(const struct xml_node *node);
const struct xml_node *xml_node_next_element(const struct xml_node *node);
/* Text of the element when it is a single run (the usual case: child elements are skipped and
   only the first text run is returned); empty when there is none. */
struct span xml_node_text(const struct xml_node *node);

#endif
