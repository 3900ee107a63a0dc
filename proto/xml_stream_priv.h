/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What xml_stream.c (feeding and pulling), xml_reader.c (expat and its memory) and
 * xml_handlers.c (what expat reports) share. For these three only.
 */
#ifndef PASSERELLE_PROTO_XML_STREAM_PRIV_H
#define PASSERELLE_PROTO_XML_STREAM_PRIV_H

#include "proto/xml_reader.h"

/* What the default namespace is. */
enum default_space { DEFAULT_ABSENT, DEFAULT_SERVER, DEFAULT_STREAMS, DEFAULT_OTHER };

/* The namespaces that the stream's header declares: one block, the text behind the bindings. */
struct xml_header_names {
    size_t count, size;
    struct xml_binding bindings[];
};

struct xml_stream {
    const struct memory *memory;
    struct xml_pool *pool;     /* may be NULL */
    struct xml_reader *reader; /* NULL while it rests and once it is dead */
    bool dead;
    size_t gate_count; /* bytes that passed the gate; 0..2 */
    size_t skipped;    /* white space before the first tag */
    size_t stanza_size_max;

    bool in_stream;  /* between the stream start and end tags */
    bool usual_root; /* its name is XML_READER_ROOT */
    bool dialback_declared;
    enum default_space header_default;
    struct xml_header_names *header;

    struct xml_node *opened, *stanza; /* events not yet pulled */
    bool closed;
    enum stream_error error;
    const char *detail;
    bool too_big;
    bool tree_given; /* the tree in the arena may go at the next call */
};

/* Sets the handlers and options of a fresh parser. */
void xml_handlers_install(struct xml_reader *reader);
/* Notes why the stream dies (the first reason counts; `detail` is static) and stops expat. */
void xml_handlers_fail(struct xml_stream *stream, enum stream_error error, const char *detail);
/* The same for the size cap, and for an allocation that failed. */
void xml_handlers_fail_too_big(struct xml_stream *stream);
void xml_handlers_fail_memory(struct xml_stream *stream);

#endif
