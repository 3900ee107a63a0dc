/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One XMPP stream's incoming XML: the gate before expat, expat, and the tree of the stanza in
 * progress. Pull style: the caller asks for room, fills it with plaintext, commits, and takes
 * events until there are none. One stanza is parsed at a time (expat is suspended between
 * them), so a caller that stops pulling stops the work, and nothing is lost. Owner thread: the
 * worker of the session. RFC 6120 §4 and §11; the caps are in limits.h.
 *
 * A stream restart (after TLS or SASL) is xml_stream_restart: a fresh document; bytes read
 * ahead are dropped.
 *
 * The streams of a thread may share a pool of readers (expat, buffers): a stream has one only
 * from the first byte of a stanza to xml_stream_rest behind its last.
 */
#ifndef PASSERELLE_PROTO_XML_STREAM_H
#define PASSERELLE_PROTO_XML_STREAM_H

#include "proto/memory.h"
#include "proto/stream_error.h"
#include "proto/xml_node.h"

#define NS_STREAMS       "http://etherx.jabber.org/streams"
#define NS_SERVER        "jabber:server"
#define NS_CLIENT        "jabber:client"
#define NS_DIALBACK      "jabber:server:dialback"
#define NS_TLS           "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_SASL          "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_STANZAS       "urn:ietf:params:xml:ns:xmpp-stanzas"
#define NS_STREAM_ERRORS "urn:ietf:params:xml:ns:xmpp-streams"
#define NS_XML           "http://www.w3.org/XML/1998/namespace"

enum xml_event_kind {
    XML_EVENT_NONE,   /* all that was fed is used up */
    XML_EVENT_OPEN,   /* the <stream:stream> start tag; node has its attributes, no children */
    XML_EVENT_STANZA, /* a complete first-level element */
    XML_EVENT_CLOSE,  /* </stream:stream> */
    XML_EVENT_ERROR   /* the stream is dead; answer with `error` and close */
};

struct xml_event {
    enum xml_event_kind kind;
    enum stream_error error;     /* for XML_EVENT_ERROR */
    struct span detail;          /* for XML_EVENT_ERROR: static English text for the log */
    bool stanza_too_big;         /* for XML_EVENT_ERROR by the size cap (XEP-0205) */
    bool content_is_server;      /* for XML_EVENT_OPEN: default namespace is jabber:server */
    bool dialback_declared;      /* for XML_EVENT_OPEN: some prefix is bound to NS_DIALBACK */
    const struct xml_node *node; /* for OPEN and STANZA; valid until the next xml_stream call */
};

struct xml_stream;
struct xml_pool;

/* NULL when memory is refused. Streams that share a pool have its `memory`. */
struct xml_pool *xml_pool_open(const struct memory *memory) MUST_USE;
/* After its streams were closed; *pool becomes NULL. */
void xml_pool_close(struct xml_pool **pool);

/* NULL when memory is refused. `memory` must outlive the stream; all the stream's memory comes
   from it and is bounded by XML_PARSER_MEMORY_MAX and the stanza size. `pool` may be NULL:
   it opens a reader whenever it needs one. Starts with the cap of PREAUTH_STANZA_SIZE_MAX. */
struct xml_stream *xml_stream_open(const struct memory *memory, struct xml_pool *pool) MUST_USE;
/* Frees it; *stream becomes NULL. */
void xml_stream_close(struct xml_stream **stream);
/* Another thread has it now, and this is its pool, over the same memory. */
void xml_stream_join(struct xml_stream *stream, struct xml_pool *pool);
/* Cap for the bytes between two events from now on (after authentication: the configured one).
 */
void xml_stream_set_stanza_size_max(struct xml_stream *stream, size_t size);
/* A new document begins. */
void xml_stream_restart(struct xml_stream *stream);
/* Room for up to `size` (1..16384) bytes of plaintext, to be filled and committed
   before any other xml_stream call. NULL when a
   stanza is still waiting to be pulled, the stream is dead, or memory is refused. */
void *xml_stream_room(struct xml_stream *stream, size_t size) MUST_USE;
/* `size` bytes were written to the room. Nothing is parsed yet. */
void xml_stream_commit(struct xml_stream *stream, size_t size);
/* Parses up to the next event and returns its kind. After ERROR or CLOSE always NONE. */
enum xml_event_kind xml_stream_next(struct xml_stream *stream, struct xml_event *event);
/* Nothing more is at hand for now: gives the reader back unless it is within a stanza. The last
   event's node is gone after it. Does nothing while something waits to be pulled. */
void xml_stream_rest(struct xml_stream *stream);
/* True when everything committed has been parsed: more may be fed. */
bool xml_stream_idle(const struct xml_stream *stream);
/* Bytes of memory held now (for `show sess` and tests). */
size_t xml_stream_memory(const struct xml_stream *stream);

#endif
