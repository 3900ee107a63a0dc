/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What xml_stream.c (feeding and pulling) shares with xml_handlers.c (what expat reports). For
 * these two only.
 */
#ifndef PASSERELLE_PROTO_XML_STREAM_PRIV_H
#define PASSERELLE_PROTO_XML_STREAM_PRIV_H

#include <expat.h>

#include "proto/xml_account.h"
#include "proto/xml_stream.h"
#include "proto/xml_tree.h"

/* What the default namespace is. */
enum default_space { DEFAULT_ABSENT, DEFAULT_SERVER, DEFAULT_STREAMS, DEFAULT_OTHER };

struct xml_stream {
    struct xml_account account;
    XML_Parser parser; /* NULL once dead */
    bool suspended;    /* expat waits for XML_ResumeParser */
    size_t gate_count; /* bytes that passed the gate; 0..2 */
    size_t skipped;    /* white space before the first tag */
    size_t stanza_size_max;
    uint64_t fed;       /* bytes given to expat */
    uint64_t boundary;  /* offset behind the last event */
    uint64_t rescanned; /* bytes expat read more than once since then */

    char *input; /* read but not fed: input[input_start..input_size) */
    size_t input_capacity, input_start, input_size;

    struct xml_tree tree;
    bool in_stream;    /* between the stream start and end tags */
    size_t namespaces; /* declarations in force */
    enum default_space header_default, element_default;
    bool dialback_declared;

    struct xml_node *opened, *stanza; /* events not yet pulled */
    bool closed;
    enum stream_error error;
    const char *detail;
    bool too_big;
    bool tree_given; /* the tree in the arena may go at the next call */
};

/* Sets the handlers and options of a fresh parser. */
void xml_handlers_install(struct xml_stream *stream);
/* Notes why the stream dies (the first reason counts; `detail` is static) and stops expat. */
void xml_handlers_fail(struct xml_stream *stream, enum stream_error error, const char *detail);
/* The same for the size cap, and for an allocation that failed. */
void xml_handlers_fail_too_big(struct xml_stream *stream);
void xml_handlers_fail_memory(struct xml_stream *stream);

#endif
