/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The namespaces in force in one XML stream (Namespaces in XML 1.0). Expat reads without them,
 * which is cheaper, and leaves the parser without a memory of the stream's header. Names come
 * as they are written, "prefix:local" or "local". Pure; owner thread of the stream.
 */
#ifndef PASSERELLE_PROTO_XML_NAMES_H
#define PASSERELLE_PROTO_XML_NAMES_H

#include "proto/arena.h"
#include "proto/limits.h"

struct xml_binding {
    struct span prefix; /* empty: the default namespace */
    struct span uri;    /* empty: the default namespace is taken back */
    size_t depth;       /* of the element that declares it */
};

struct xml_names {
    struct xml_binding bindings[XML_NAMESPACES_MAX]; /* the innermost last */
    size_t count;
};

enum xml_names_result {
    XML_NAMES_OK,
    XML_NAMES_MALFORMED, /* against the rules for reserved and empty names, or not a name */
    XML_NAMES_TOO_MANY,  /* more than XML_NAMESPACES_MAX in force */
    XML_NAMES_NO_MEMORY
};

/* True for the attributes that declare a namespace. */
static inline bool xml_names_declares(const char *attribute)
{
    return strncmp(attribute, "xmlns", 5) == 0 && (attribute[5] == '\0' || attribute[5] == ':');
}
/* Takes the declarations among the attributes of an element of `depth` (name, value, …, NULL);
   they are copied to `arena` and count until xml_names_leave of a smaller depth. */
enum xml_names_result xml_names_declare(struct xml_names *names, struct arena *arena,
                                        const char **pairs, size_t depth) MUST_USE;
/* Forgets what was declared deeper than `depth`. */
void xml_names_leave(struct xml_names *names, size_t depth);
/* Takes a name apart; *space is empty when it is in no namespace. The spans point into `text`
   and the declarations. False when it is no qualified name or its prefix is not declared. */
bool xml_names_element(const struct xml_names *names, const char *text, struct span *space,
                       struct span *local) MUST_USE;
/* The same for an attribute, to which the default namespace does not apply. */
bool xml_names_attribute(const struct xml_names *names, const char *text, struct span *space,
                         struct span *local) MUST_USE;
/* The default namespace; empty when there is none. */
struct span xml_names_default(const struct xml_names *names);
/* True when some prefix (not the default) is bound to `uri`. */
bool xml_names_has(const struct xml_names *names, struct span uri);

#endif
