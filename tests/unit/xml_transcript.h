/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The events of an XML stream as text, for tests that compare them. */
#ifndef PASSERELLE_TESTS_UNIT_XML_TRANSCRIPT_H
#define PASSERELLE_TESTS_UNIT_XML_TRANSCRIPT_H

#include "proto/limits.h"
#include "proto/writer.h"
#include "proto/xml_stream.h"
#include "tests/unit/account.h"

#define HEADER                                                                                 \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' "                               \
    "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "       \
    "to='a.example' version='1.0' xml:lang='en'>"
#define OPENED "OPEN server dialback {S}stream to=a.example version=1.0 {X}lang=en\n"

static inline void put_space(struct writer *writer, struct span space)
{
    static const struct span known[][2] = {
        {SPAN(NS_STREAMS), SPAN("{S}")}, {SPAN(NS_SERVER), SPAN("")},
        {SPAN(NS_XML), SPAN("{X}")},     {SPAN(NS_DIALBACK), SPAN("{D}")},
        {SPAN(""), SPAN("{}")},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (span_equal(known[i][0], space)) {
            writer_put(writer, known[i][1]);
            return;
        }
    }
    writer_put_literal(writer, "{");
    writer_put(writer, space);
    writer_put_literal(writer, "}");
}

static inline void put_start(struct writer *writer, const struct xml_node *node)
{
    put_space(writer, node->space);
    writer_put(writer, node->name);
    for (const struct xml_attribute *a = node->attributes; a != NULL; a = a->next) {
        writer_put_char(writer, ' ');
        if (a->space.size > 0)
            put_space(writer, a->space);
        writer_put(writer, a->name);
        writer_put_char(writer, '=');
        writer_put(writer, a->value);
    }
}

static inline void put_tree(struct writer *writer, const struct xml_node *node)
{
    put_start(writer, node);
    for (const struct xml_node *child = node->first_child; child; child = child->next) {
        writer_put_char(writer, '[');
        if (child->name.data == NULL)
            writer_put(writer, child->text);
        else
            put_tree(writer, child);
        writer_put_char(writer, ']');
    }
}

static inline void put_event(struct writer *writer, const struct xml_event *event)
{
    switch (event->kind) {
    case XML_EVENT_NONE: break;
    case XML_EVENT_OPEN:
        writer_put_literal(writer, "OPEN ");
        if (event->content_is_server)
            writer_put_literal(writer, "server ");
        if (event->dialback_declared)
            writer_put_literal(writer, "dialback ");
        put_start(writer, event->node);
        writer_put_char(writer, '\n');
        break;
    case XML_EVENT_STANZA:
        put_tree(writer, event->node);
        writer_put_char(writer, '\n');
        break;
    case XML_EVENT_CLOSE: writer_put_literal(writer, "CLOSE\n"); break;
    case XML_EVENT_ERROR:
        assert_true(event->detail.size > 0);
        writer_put(writer, stream_error_name(event->error));
        if (event->stanza_too_big)
            writer_put_literal(writer, " too-big");
        writer_put_char(writer, '\n');
        break;
    }
}

/* Feeds one piece and writes what comes of it; false when the stream takes no more. */
static inline bool feed(struct xml_stream *stream, struct span piece, struct writer *writer)
{
    struct xml_event event;
    while (piece.size > 0) {
        size_t size = piece.size < 16384 ? piece.size : 16384;
        void *room = xml_stream_room(stream, size);
        if (room == NULL)
            return false;
        memcpy(room, piece.data, size);
        xml_stream_commit(stream, size);
        while (xml_stream_next(stream, &event) != XML_EVENT_NONE)
            put_event(writer, &event);
        assert_true(xml_stream_idle(stream));
        piece = span_from(piece, size);
    }
    return true;
}

static inline struct xml_stream *open_stream(struct account *account, struct memory *memory)
{
    *memory = account_memory(account);
    struct xml_stream *stream = xml_stream_open(memory, NULL);
    assert_non_null(stream);
    return stream;
}

static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline void transcribe(struct span input, size_t step, char *text, size_t size)
{
    struct writer writer = writer_make(text, size - 1);
    struct account account = {0, -1};
    struct memory memory;
    struct xml_stream *stream = open_stream(&account, &memory);
    for (size_t at = 0; at < input.size; at += step)
        if (!feed(stream, span_to(span_from(input, at), step), &writer))
            break;
    text[writer.used] = '\0';
    xml_stream_close(&stream);
    assert_int_equal(account.blocks, 0);
}

#endif
