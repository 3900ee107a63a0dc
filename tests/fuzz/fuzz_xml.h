/* SPDX-License-Identifier: GPL-3.0-or-later */
/* XML for fuzz targets: feeding a stream whole or torn, and a tree as text again. */
#ifndef PASSERELLE_TESTS_FUZZ_XML_H
#define PASSERELLE_TESTS_FUZZ_XML_H

#include "fuzz.h"

#define FUZZ_HEADER                                                                            \
    "<stream:stream xmlns='jabber:server' "                                                    \
    "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "       \
    "from='xmpp.example' to='sip.example' id='i1' version='1.0'>"

static inline void fuzz_xml_check_legal(const struct xml_node *node)
{
    CHECK(utf8_xml_legal(node->space));
    CHECK(utf8_xml_legal(node->name));
    CHECK(utf8_xml_legal(node->text));
    for (const struct xml_attribute *a = node->attributes; a != NULL; a = a->next)
        CHECK(utf8_xml_legal(a->name) && utf8_xml_legal(a->space) && utf8_xml_legal(a->value));
}

static inline void fuzz_xml_write_start(struct writer *writer, const struct xml_node *node)
{
    unsigned prefix = 0;
    fuzz_xml_check_legal(node);
    writer_put_char(writer, '<');
    writer_put(writer, node->name);
    writer_put_attribute(writer, SPAN("xmlns"), node->space.size > 0 ? node->space : SPAN(""));
    for (const struct xml_attribute *a = node->attributes; a != NULL; a = a->next) {
        writer_put_char(writer, ' ');
        if (span_equal(a->space, SPAN(NS_XML))) {
            writer_put_literal(writer, "xml:");
        } else if (a->space.size > 0) {
            writer_put_literal(writer, "xmlns:p");
            writer_put_uint(writer, prefix);
            writer_put_literal(writer, "='");
            writer_put_xml_attribute(writer, a->space);
            writer_put_literal(writer, "' p");
            writer_put_uint(writer, prefix++);
            writer_put_char(writer, ':');
        }
        writer_put(writer, a->name);
        writer_put_literal(writer, "='");
        writer_put_xml_attribute(writer, a->value);
        writer_put_char(writer, '\'');
    }
    writer_put_char(writer, '>');
}

/* The tree as the XML it could have come from. Depth is bounded by XML_DEPTH_MAX. */
static inline void fuzz_xml_write(struct writer *writer, const struct xml_node *node)
{
    if (node->name.data == NULL) {
        fuzz_xml_check_legal(node);
        writer_put_xml_text(writer, node->text);
        return;
    }
    fuzz_xml_write_start(writer, node);
    for (const struct xml_node *child = node->first_child; child != NULL; child = child->next)
        fuzz_xml_write(writer, child);
    writer_put_literal(writer, "</");
    writer_put(writer, node->name);
    writer_put_char(writer, '>');
}

/* Feeds text that must be taken whole, and returns the first event in it. */
static inline enum xml_event_kind fuzz_xml_feed(struct xml_stream *xml, struct span text,
                                                struct xml_event *event)
{
    enum xml_event_kind kind = XML_EVENT_NONE;
    while (text.size > 0 && kind == XML_EVENT_NONE) {
        size_t part = text.size < 16384 ? text.size : 16384;
        void *room = xml_stream_room(xml, part);
        if (room == NULL)
            return XML_EVENT_NONE;
        memcpy(room, text.data, part);
        xml_stream_commit(xml, part);
        text = span_from(text, part);
        kind = xml_stream_next(xml, event);
    }
    return kind;
}

/* A stream that has seen FUZZ_HEADER and takes big stanzas. */
static inline struct xml_stream *fuzz_xml_open(const struct memory *memory)
{
    struct xml_event event;
    struct xml_stream *xml = xml_stream_open(memory, NULL);
    CHECK(xml != NULL);
    CHECK(fuzz_xml_feed(xml, SPAN(FUZZ_HEADER), &event) == XML_EVENT_OPEN);
    CHECK(xml_stream_next(xml, &event) == XML_EVENT_NONE);
    xml_stream_set_stanza_size_max(xml, STANZA_SIZE_MAX);
    return xml;
}

#endif
