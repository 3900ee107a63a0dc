/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an XML stream needs only while it reads: expat, room for input, the tree of the stanza
 * in progress. A reader that stands between two stanzas has no memory of its stream (no DTD is
 * let in, and namespaces are resolved outside expat), so the streams of one thread share a few:
 * these stay warm in the caches, and a stream that rests holds next to nothing.
 *
 * For xml_stream.c and xml_handlers.c only. Owner thread of the pool.
 */
#ifndef PASSERELLE_PROTO_XML_READER_H
#define PASSERELLE_PROTO_XML_READER_H

#include <expat.h>

#include "proto/xml_account.h"
#include "proto/xml_stream.h"
#include "proto/xml_tree.h"

/* The root element, as nearly everybody writes it, of the streams that can share readers: its
   end tag must match. */
#define XML_READER_ROOT "stream:stream"

struct xml_reader {
    struct xml_account account;
    XML_Parser expat;
    struct xml_stream *stream; /* whom it reads for */
    bool suspended;            /* expat waits for XML_ResumeParser */
    uint64_t fed;              /* bytes given to expat */
    uint64_t boundary;         /* offset behind the last event */
    uint64_t rescanned;        /* bytes expat read more than once since then */

    char *input; /* read but not fed: input[input_start..input_size) */
    size_t input_capacity, input_start, input_size;

    struct xml_tree tree;
    struct xml_names names;
    struct xml_reader *next; /* spare */
};

/* A reader at the very start of a document; NULL when memory is refused. */
struct xml_reader *xml_reader_open(const struct memory *memory) MUST_USE;
void xml_reader_close(struct xml_reader **reader);
/* A reader that stands inside a root element, a spare one if there is one; its `stream` and
   `names` are the caller's to set. NULL when memory is refused. `pool` may be NULL. */
struct xml_reader *xml_reader_take(struct xml_pool *pool, const struct memory *memory) MUST_USE;
/* True when it stands between two stanzas and nothing is left to read. */
bool xml_reader_rests(const struct xml_reader *reader);
/* Takes back a reader that rests inside a root element; *reader becomes NULL. */
void xml_reader_give(struct xml_pool *pool, struct xml_reader **reader);
/* Nothing is at hand for now: gives back what is needed for reading only. */
void xml_reader_trim(struct xml_reader *reader);
/* Room for `size` bytes of input; NULL when memory is refused. */
char *xml_reader_room(struct xml_reader *reader, size_t size) MUST_USE;
/* Lets expat work until it pauses, has used up one slice, or fails. */
enum XML_Status xml_reader_run(struct xml_reader *reader);

#endif
