/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_names.h"

#include "proto/utf8.h"
#include "proto/xml_stream.h"

#define NS_XMLNS "http://www.w3.org/2000/xmlns/"

/* Expat has judged that all are name characters; which of them may start a name is the business
   of who takes names apart (XML 1.0 §2.3). */
static bool starts_name(struct span text)
{
    unsigned char c = text.size > 0 ? (unsigned char)text.data[0] : 0;
    uint32_t code = 0;
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return utf8_decode(text, &code) > 0 && code != 0xb7 && (code < 0x300 || code > 0x36f) &&
           code != 0x203f && code != 0x2040;
}

/* The prefix is empty when there is none. False when it is no qualified name. */
static bool split(const char *text, struct span *prefix, struct span *local)
{
    size_t size = 0, colon = SIZE_MAX;
    for (; text[size] != '\0'; size++) {
        if (text[size] != ':')
            continue;
        if (colon != SIZE_MAX)
            return false;
        colon = size;
    }
    *prefix = SPAN("");
    *local = span_make(text, size);
    if (colon == SIZE_MAX)
        return true; /* expat has seen that it is a name */
    *prefix = span_to(*local, colon);
    *local = span_from(*local, colon + 1);
    return colon > 0 && starts_name(*local);
}

static const struct xml_binding *find(const struct xml_names *names, struct span prefix)
{
    for (size_t i = names->count; i > 0; i--)
        if (span_equal(names->bindings[i - 1].prefix, prefix))
            return &names->bindings[i - 1];
    return NULL;
}

/* Namespaces in XML 1.0 §3 and §5. */
static bool may_bind(struct span prefix, struct span uri)
{
    bool is_xml = span_equal(uri, SPAN(NS_XML));
    if (span_equal(prefix, SPAN("xml")))
        return is_xml;
    /* A line feed is in no namespace name (RFC 3986); who writes one means to deceive. */
    return !is_xml && !span_equal(uri, SPAN(NS_XMLNS)) && !span_equal(prefix, SPAN("xmlns")) &&
           (prefix.size == 0 || uri.size > 0) && span_find(uri, '\n') == uri.size;
}

static enum xml_names_result declare(struct xml_names *names, struct arena *arena,
                                     const char **pair, size_t depth)
{
    struct span xmlns, prefix = SPAN(""), uri = span_of(pair[1]);
    if (pair[0][5] == ':' && !split(pair[0], &xmlns, &prefix))
        return XML_NAMES_MALFORMED;
    if (!may_bind(prefix, uri))
        return XML_NAMES_MALFORMED;
    if (names->count == XML_NAMESPACES_MAX)
        return XML_NAMES_TOO_MANY;
    struct xml_binding *binding = &names->bindings[names->count];
    *binding = (struct xml_binding){arena_copy(arena, prefix), arena_copy(arena, uri), depth};
    if (binding->prefix.data == NULL || binding->uri.data == NULL)
        return XML_NAMES_NO_MEMORY;
    names->count++;
    return XML_NAMES_OK;
}

enum xml_names_result xml_names_declare(struct xml_names *names, struct arena *arena,
                                        const char **pairs, size_t depth)
{
    enum xml_names_result result = XML_NAMES_OK;
    for (; pairs[0] != NULL && result == XML_NAMES_OK; pairs += 2)
        if (xml_names_declares(pairs[0]))
            result = declare(names, arena, pairs, depth);
    return result;
}

void xml_names_leave(struct xml_names *names, size_t depth)
{
    while (names->count > 0 && names->bindings[names->count - 1].depth > depth)
        names->count--;
}

static bool resolve(const struct xml_names *names, struct span prefix, struct span *space)
{
    const struct xml_binding *binding = find(names, prefix);
    if (binding != NULL)
        *space = binding->uri;
    else if (span_equal(prefix, SPAN("xml")))
        *space = SPAN(NS_XML);
    else
        return false;
    return true;
}

bool xml_names_element(const struct xml_names *names, const char *text, struct span *space,
                       struct span *local)
{
    struct span prefix;
    *space = SPAN("");
    return split(text, &prefix, local) && (resolve(names, prefix, space) || prefix.size == 0);
}

bool xml_names_attribute(const struct xml_names *names, const char *text, struct span *space,
                         struct span *local)
{
    struct span prefix;
    *space = SPAN("");
    return split(text, &prefix, local) && (prefix.size == 0 || resolve(names, prefix, space));
}

struct span xml_names_default(const struct xml_names *names)
{
    const struct xml_binding *binding = find(names, SPAN(""));
    return binding != NULL ? binding->uri : SPAN("");
}

bool xml_names_has(const struct xml_names *names, struct span uri)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->bindings[i].prefix.size > 0 && span_equal(names->bindings[i].uri, uri))
            return true;
    return false;
}
