/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_stream.h"

#include <assert.h>

#include <expat.h>

#include "proto/arena.h"
#include "proto/limits.h"

#define ROOM_SIZE_MAX 16384
/* Expat keeps a buffer of twice what it is fed at once, so it is fed small slices: an idle
   stream then holds a few KiB, not a copy of the largest read. */
#define SLICE_SIZE      2048
#define TEXT_SIZE_FIRST 64
#define SEPARATOR       '\n'

/* Debian ported this to its expat 2.5.0, whose version number does not tell; upstream has it
   from 2.6.0. Where it is missing the address is NULL. */
XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled)
    __attribute__((weak));

enum default_space { DEFAULT_ABSENT, DEFAULT_SERVER, DEFAULT_STREAMS, DEFAULT_OTHER };

struct xml_stream {
    const struct memory *outer;
    struct memory counted; /* outer with the account `held` */
    size_t held;
    bool refused; /* outer said no: not the peer's fault */

    XML_Parser parser; /* NULL once dead */
    bool suspended;    /* expat waits for XML_ResumeParser */
    size_t gate_count; /* bytes that passed the gate; 0..2 */
    size_t skipped;    /* white space before the first tag */
    size_t stanza_size_max;
    uint64_t fed;      /* bytes given to expat */
    uint64_t boundary; /* offset behind the last event */

    char *input; /* read but not fed: input[input_start..input_size) */
    size_t input_capacity, input_start, input_size;

    struct arena arena;
    struct xml_node *stack[XML_DEPTH_MAX]; /* open elements below the stream element */
    size_t depth;                          /* open elements, the stream element included */
    struct xml_node *text;                 /* run that may still grow */
    size_t text_capacity;
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

/* Expat's memory suite has no context: the stream whose expat call runs on this thread. Blocks
   remember their owner, so only new ones need it. */
static _Thread_local struct xml_stream *active;

struct block {
    struct xml_stream *owner;
    size_t size;
};
_Static_assert(sizeof(struct block) % 16 == 0, "what follows is aligned for anything");

static bool fits_budget(const struct xml_stream *stream, size_t more)
{
    return more <= XML_PARSER_MEMORY_MAX && stream->held <= XML_PARSER_MEMORY_MAX - more;
}

static void *counted_resize(void *context, void *payload, size_t size)
{
    struct xml_stream *stream = context;
    struct block *block = payload != NULL ? (struct block *)payload - 1 : NULL;
    size_t old = block != NULL ? block->size : 0;
    if (size > SIZE_MAX - sizeof *block)
        return NULL;
    size += sizeof *block;
    if (size > old && !fits_budget(stream, size - old))
        return NULL;
    assert(stream->outer != NULL);
    void *context_of_outer = stream->outer->context;
    block = block != NULL ? stream->outer->resize(context_of_outer, block, size)
                          : stream->outer->alloc(context_of_outer, size);
    if (block == NULL) {
        stream->refused = true;
        return NULL;
    }
    assert(stream->held >= old);
    stream->held += size - old;
    *block = (struct block){stream, size};
    return block + 1;
}

static void *counted_alloc(void *context, size_t size)
{
    return counted_resize(context, NULL, size);
}

static void counted_release(void *context, void *payload)
{
    struct xml_stream *stream = context;
    if (payload == NULL)
        return;
    struct block *block = (struct block *)payload - 1;
    assert(block->owner == stream);
    assert(stream->held >= block->size);
    stream->held -= block->size;
    stream->outer->release(stream->outer->context, block);
}

static void *expat_alloc(size_t size)
{
    assert(active != NULL);
    return counted_alloc(active, size);
}

static void *expat_resize(void *payload, size_t size)
{
    return payload != NULL ? counted_resize(((struct block *)payload - 1)->owner, payload, size)
                           : expat_alloc(size);
}

static void expat_release(void *payload)
{
    if (payload != NULL)
        counted_release(((struct block *)payload - 1)->owner, payload);
}

/* The first fault counts; expat is stopped for good. */
static void fail(struct xml_stream *stream, enum stream_error error, const char *detail)
{
    if (stream->error != STREAM_ERROR_NONE)
        return;
    stream->error = error;
    stream->detail = detail;
    if (stream->parser != NULL)
        XML_StopParser(stream->parser, XML_FALSE);
}

static void fail_too_big(struct xml_stream *stream)
{
    if (stream->error != STREAM_ERROR_NONE)
        return;
    stream->too_big = true;
    fail(stream, STREAM_ERROR_POLICY_VIOLATION, "stanza too big");
}

static void fail_memory(struct xml_stream *stream)
{
    /* An allocation the account of the session refuses is our shortage, one that exceeds the
       stream's own budget is the peer's excess. */
    if (stream->refused)
        fail(stream, STREAM_ERROR_RESOURCE_CONSTRAINT, "out of memory");
    else
        fail_too_big(stream);
}

/* Offset behind the token whose handler runs. */
static uint64_t token_end(const struct xml_stream *stream)
{
    XML_Index index = XML_GetCurrentByteIndex(stream->parser);
    assert(index >= 0);
    return (uint64_t)index + (uint64_t)XML_GetCurrentByteCount(stream->parser);
}

/* An event ends here: its bytes are measured and expat pauses, so that the caller sets the
   pace. */
static void end_event(struct xml_stream *stream)
{
    uint64_t end = token_end(stream);
    assert(end >= stream->boundary);
    if (end - stream->boundary > stream->stanza_size_max) {
        fail_too_big(stream);
        return;
    }
    stream->boundary = end;
    XML_StopParser(stream->parser, XML_TRUE);
}

/* Splits expat's "namespace SEPARATOR name". The separator cannot be in a name, so the last one
   counts. */
static void split_name(const char *text, struct span *space, struct span *name)
{
    const char *separator = strrchr(text, SEPARATOR);
    *space = SPAN("");
    *name = span_of(text);
    if (separator == NULL)
        return;
    *space = span_make(text, (size_t)(separator - text));
    *name = span_of(separator + 1);
}

static bool copy_name(struct xml_stream *stream, const char *text, struct span *space,
                      struct span *name)
{
    /* Most elements share the namespace of their parent, most attributes have none. */
    const struct xml_node *parent =
        stream->depth >= 2 ? stream->stack[stream->depth - 2] : NULL;
    struct span source_space, source_name;
    split_name(text, &source_space, &source_name);
    if (source_space.size == 0)
        *space = SPAN("");
    else if (parent != NULL && span_equal(parent->space, source_space))
        *space = parent->space;
    else
        *space = arena_copy(&stream->arena, source_space);
    *name = arena_copy(&stream->arena, source_name);
    return space->data != NULL && name->data != NULL;
}

static bool copy_attributes(struct xml_stream *stream, struct xml_node *node,
                            const char **pairs)
{
    struct xml_attribute **tail = &node->attributes;
    size_t count = 0;
    for (; pairs[0] != NULL; pairs += 2) {
        if (++count > XML_ATTRIBUTES_MAX) {
            fail(stream, STREAM_ERROR_POLICY_VIOLATION, "too many attributes");
            return false;
        }
        struct xml_attribute *attribute = arena_alloc(&stream->arena, sizeof *attribute);
        if (attribute == NULL)
            return false;
        attribute->next = NULL;
        if (!copy_name(stream, pairs[0], &attribute->space, &attribute->name))
            return false;
        attribute->value = arena_copy(&stream->arena, span_of(pairs[1]));
        if (attribute->value.data == NULL)
            return false;
        *tail = attribute;
        tail = &attribute->next;
    }
    return true;
}

/* NULL after a failure has been noted. */
static struct xml_node *make_node(struct xml_stream *stream, const char *name,
                                  const char **pairs)
{
    struct xml_node *node = arena_alloc(&stream->arena, sizeof *node);
    if (node != NULL) {
        *node = (struct xml_node){.text = SPAN("")};
        if (copy_name(stream, name, &node->space, &node->name) &&
            copy_attributes(stream, node, pairs))
            return node;
    }
    fail_memory(stream);
    return NULL;
}

static void append_child(struct xml_node *parent, struct xml_node *child)
{
    assert(child->next == NULL);
    if (parent->last_child != NULL)
        parent->last_child->next = child;
    else
        parent->first_child = child;
    parent->last_child = child;
}

/* RFC 6120 §4.8: the stream namespace is fixed, the content namespace is jabber:server, as the
   default or (prefix-free) declared on every stanza. */
static void start_stream(struct xml_stream *stream, const char *name, const char **pairs)
{
    struct span space, local;
    split_name(name, &space, &local);
    if (!span_equal(space, SPAN(NS_STREAMS))) {
        fail(stream, STREAM_ERROR_INVALID_NAMESPACE, "not the streams namespace");
        return;
    }
    if (!span_equal(local, SPAN("stream"))) {
        fail(stream, STREAM_ERROR_BAD_FORMAT, "the first element is not a stream");
        return;
    }
    stream->header_default = stream->element_default;
    if (stream->header_default == DEFAULT_OTHER) {
        fail(stream, STREAM_ERROR_INVALID_NAMESPACE, "content namespace is not jabber:server");
        return;
    }
    struct xml_node *node = make_node(stream, name, pairs);
    if (node == NULL)
        return;
    stream->depth = 1;
    end_event(stream);
    stream->opened = node;
}

static bool is_stanza_name(struct span name)
{
    return span_equal(name, SPAN("message")) || span_equal(name, SPAN("presence")) ||
           span_equal(name, SPAN("iq"));
}

/* RFC 6120 §4.8.3 and §4.8.5. Elements of other namespaces are for the session to judge. */
static bool check_first_level(struct xml_stream *stream, const struct xml_node *node)
{
    if (!is_stanza_name(node->name))
        return true;
    if (node->space.size == 0 || span_equal(node->space, SPAN(NS_CLIENT)) ||
        span_equal(node->space, SPAN(NS_STREAMS))) {
        fail(stream, STREAM_ERROR_INVALID_NAMESPACE, "stanza outside jabber:server");
        return false;
    }
    if (span_equal(node->space, SPAN(NS_SERVER)) && stream->element_default != DEFAULT_SERVER) {
        fail(stream, STREAM_ERROR_BAD_NAMESPACE_PREFIX, "stanza with a prefix");
        return false;
    }
    return true;
}

static void on_start(void *data, const char *name, const char **pairs)
{
    struct xml_stream *stream = data;
    if (stream->error != STREAM_ERROR_NONE)
        return;
    stream->text = NULL;
    if (stream->depth == 0) {
        start_stream(stream, name, pairs);
        return;
    }
    if (stream->depth > XML_DEPTH_MAX) {
        fail(stream, STREAM_ERROR_POLICY_VIOLATION, "nested too deep");
        return;
    }
    struct xml_node *node = make_node(stream, name, pairs);
    if (node == NULL)
        return;
    if (stream->depth == 1) {
        if (!check_first_level(stream, node))
            return;
    } else if (span_equal(node->space, SPAN(NS_STREAMS))) {
        fail(stream, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE, "stream element inside a stanza");
        return;
    } else {
        append_child(stream->stack[stream->depth - 2], node);
    }
    stream->stack[stream->depth - 1] = node;
    stream->depth++;
}

static void on_end(void *data, const char *name)
{
    struct xml_stream *stream = data;
    (void)name;
    if (stream->error != STREAM_ERROR_NONE)
        return;
    assert(stream->depth > 0);
    stream->text = NULL;
    stream->depth--;
    if (stream->depth == 1) {
        stream->stanza = stream->stack[0];
        stream->element_default = stream->header_default;
        end_event(stream);
    } else if (stream->depth == 0) {
        stream->closed = true;
        XML_StopParser(stream->parser, XML_TRUE);
    }
}

/* Only white space may stand between stanzas (a keepalive, RFC 6120 §4.6.1). It counts for no
   stanza, else a quiet stream would die of its keepalives. */
static void between_stanzas(struct xml_stream *stream, struct span text)
{
    if (span_trim(text).size > 0)
        fail(stream, STREAM_ERROR_NOT_WELL_FORMED, "text between stanzas");
    else
        stream->boundary = token_end(stream);
}

/* Makes room for `more` bytes at the end of the run; doubling keeps the copying linear. */
static bool grow_text(struct xml_stream *stream, size_t more)
{
    size_t need = stream->text->text.size + more;
    if (need <= stream->text_capacity)
        return true;
    size_t capacity = stream->text_capacity > 0 ? 2 * stream->text_capacity : TEXT_SIZE_FIRST;
    /* No run is longer than its stanza. */
    if (capacity > stream->stanza_size_max)
        capacity = stream->stanza_size_max;
    if (capacity < need)
        capacity = need;
    char *data = arena_alloc(&stream->arena, capacity);
    if (data == NULL)
        return false;
    if (stream->text->text.size > 0)
        memcpy(data, stream->text->text.data, stream->text->text.size);
    stream->text->text.data = data;
    stream->text_capacity = capacity;
    return true;
}

static bool append_text(struct xml_stream *stream, struct span text)
{
    if (stream->text == NULL) {
        struct xml_node *node = arena_alloc(&stream->arena, sizeof *node);
        if (node == NULL)
            return false;
        *node = (struct xml_node){.text = SPAN("")};
        append_child(stream->stack[stream->depth - 2], node);
        stream->text = node;
        stream->text_capacity = 0;
    }
    if (!grow_text(stream, text.size))
        return false;
    struct span *run = &stream->text->text;
    memcpy((char *)run->data + run->size, text.data, text.size);
    run->size += text.size;
    return true;
}

static void on_text(void *data, const char *text, int size)
{
    struct xml_stream *stream = data;
    assert(size >= 0);
    if (stream->error != STREAM_ERROR_NONE || size == 0)
        return;
    assert(stream->depth > 0);
    if (stream->depth == 1)
        between_stanzas(stream, span_make(text, (size_t)size));
    else if (!append_text(stream, span_make(text, (size_t)size)))
        fail_memory(stream);
}

static enum default_space classify(const char *uri)
{
    if (uri == NULL)
        return DEFAULT_ABSENT;
    if (strcmp(uri, NS_SERVER) == 0)
        return DEFAULT_SERVER;
    return strcmp(uri, NS_STREAMS) == 0 ? DEFAULT_STREAMS : DEFAULT_OTHER;
}

static void on_namespace_start(void *data, const char *prefix, const char *uri)
{
    struct xml_stream *stream = data;
    if (++stream->namespaces > XML_NAMESPACES_MAX)
        fail(stream, STREAM_ERROR_POLICY_VIOLATION, "too many namespaces");
    /* Newer expat refuses this itself; an older one would let a namespace forge names. */
    if (uri != NULL && strchr(uri, SEPARATOR) != NULL)
        fail(stream, STREAM_ERROR_NOT_WELL_FORMED, "line feed in a namespace name");
    if (prefix == NULL && stream->depth <= 1)
        stream->element_default = classify(uri);
    if (prefix != NULL && uri != NULL && stream->depth == 0)
        stream->dialback_declared |= strcmp(uri, NS_DIALBACK) == 0;
}

static void on_namespace_end(void *data, const char *prefix)
{
    struct xml_stream *stream = data;
    (void)prefix;
    assert(stream->namespaces > 0);
    stream->namespaces--;
}

/* RFC 6120 §11.1: these features are restricted. */
static void on_doctype(void *data, const char *name, const char *system, const char *public,
                       int has_subset)
{
    (void)name, (void)system, (void)public, (void)has_subset;
    fail(data, STREAM_ERROR_RESTRICTED_XML, "document type declaration");
}

static void on_entity(void *data, const char *name, int is_parameter, const char *value,
                      int size, const char *base, const char *system, const char *public,
                      const char *notation)
{
    (void)name, (void)is_parameter, (void)value, (void)size, (void)base, (void)system;
    (void)public, (void)notation;
    fail(data, STREAM_ERROR_RESTRICTED_XML, "entity declaration");
}

static void on_comment(void *data, const char *text)
{
    (void)text;
    fail(data, STREAM_ERROR_RESTRICTED_XML, "comment");
}

static void on_instruction(void *data, const char *target, const char *text)
{
    (void)target, (void)text;
    fail(data, STREAM_ERROR_RESTRICTED_XML, "processing instruction");
}

/* Expat is told UTF-8 whatever the declaration says; another name is refused (RFC 6120 §11.6).
 */
static void on_declaration(void *data, const char *version, const char *encoding,
                           int standalone)
{
    (void)version, (void)standalone;
    if (encoding != NULL && !span_equal_nocase(span_of(encoding), SPAN("UTF-8")))
        fail(data, STREAM_ERROR_UNSUPPORTED_ENCODING, "encoding is not UTF-8");
}

static void set_handlers(struct xml_stream *stream)
{
    XML_Parser parser = stream->parser;
    XML_SetUserData(parser, stream);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_text);
    XML_SetNamespaceDeclHandler(parser, on_namespace_start, on_namespace_end);
    XML_SetStartDoctypeDeclHandler(parser, on_doctype);
    XML_SetEntityDeclHandler(parser, on_entity);
    XML_SetCommentHandler(parser, on_comment);
    XML_SetProcessingInstructionHandler(parser, on_instruction);
    XML_SetXmlDeclHandler(parser, on_declaration);
    XML_SetReturnNSTriplet(parser, XML_FALSE);
    /* Deferral would hold a complete stanza back until more bytes come; the caps bound what
       reparsing can cost. */
    if (XML_SetReparseDeferralEnabled != NULL)
        XML_SetReparseDeferralEnabled(parser, XML_FALSE);
}

static bool make_parser(struct xml_stream *stream)
{
    static const XML_Memory_Handling_Suite suite = {expat_alloc, expat_resize, expat_release};
    static const char separator[] = {SEPARATOR, '\0'};
    assert(stream->parser == NULL);
    assert(active == NULL);
    active = stream;
    stream->parser = XML_ParserCreate_MM("UTF-8", &suite, separator);
    active = NULL;
    if (stream->parser == NULL)
        return false;
    set_handlers(stream);
    return true;
}

static void drop_input(struct xml_stream *stream)
{
    counted_release(stream, stream->input);
    stream->input = NULL;
    stream->input_capacity = stream->input_start = stream->input_size = 0;
}

static void drop_parser(struct xml_stream *stream)
{
    assert(active == NULL);
    if (stream->parser != NULL)
        XML_ParserFree(stream->parser);
    stream->parser = NULL;
    stream->suspended = false;
    drop_input(stream);
    arena_reset(&stream->arena, false);
}

struct xml_stream *xml_stream_open(const struct memory *memory)
{
    assert(memory != NULL);
    struct xml_stream *stream = memory->alloc(memory->context, sizeof *stream);
    if (stream == NULL)
        return NULL;
    *stream = (struct xml_stream){
        .outer = memory,
        .counted = {counted_alloc, counted_resize, counted_release, stream},
        .held = sizeof *stream,
        .stanza_size_max = PREAUTH_STANZA_SIZE_MAX,
    };
    arena_init(&stream->arena, &stream->counted, XML_PARSER_MEMORY_MAX);
    if (!make_parser(stream))
        xml_stream_close(&stream);
    return stream;
}

void xml_stream_close(struct xml_stream **stream)
{
    struct xml_stream *old = *stream;
    *stream = NULL;
    if (old == NULL)
        return;
    drop_parser(old);
    arena_fini(&old->arena);
    assert(old->held == sizeof *old);
    old->outer->release(old->outer->context, old);
}

void xml_stream_set_stanza_size_max(struct xml_stream *stream, size_t size)
{
    assert(size > 0);
    stream->stanza_size_max = size;
}

bool xml_stream_restart(struct xml_stream *stream)
{
    drop_parser(stream);
    struct xml_stream fresh = {
        .outer = stream->outer,
        .counted = stream->counted,
        .held = stream->held,
        .stanza_size_max = stream->stanza_size_max,
        .arena = stream->arena,
    };
    assert(fresh.held == sizeof *stream);
    *stream = fresh;
    return make_parser(stream);
}

static void forget_tree(struct xml_stream *stream, bool keep_chunk)
{
    if (!stream->tree_given)
        return;
    stream->tree_given = false;
    arena_reset(&stream->arena, keep_chunk);
}

bool xml_stream_idle(const struct xml_stream *stream)
{
    if (stream->parser == NULL)
        return true;
    return !stream->suspended && stream->input_start == stream->input_size &&
           stream->error == STREAM_ERROR_NONE;
}

void *xml_stream_room(struct xml_stream *stream, size_t size)
{
    assert(size > 0);
    assert(size <= ROOM_SIZE_MAX);
    if (stream->parser == NULL || !xml_stream_idle(stream))
        return NULL;
    forget_tree(stream, false);
    if (size > stream->input_capacity) {
        drop_input(stream);
        stream->input = counted_alloc(stream, size);
        if (stream->input == NULL) {
            /* The caller may try again when there is memory: this is no fault of the peer. */
            stream->refused = false;
            return NULL;
        }
        stream->input_capacity = size;
    }
    stream->input_start = stream->input_size = 0;
    return stream->input;
}

void xml_stream_commit(struct xml_stream *stream, size_t size)
{
    assert(stream->input != NULL);
    assert(stream->input_size == 0);
    assert(size <= stream->input_capacity);
    stream->input_size = size;
}

/* The gate before expat, for the first two bytes of a stream: expat would take a BOM or a NUL
   for UTF-16 whatever it was told. White space before the header is skipped; some peers leave a
   line end behind <proceed/> or <success/>. */
static void pass_gate(struct xml_stream *stream)
{
    const char *input = stream->input;
    while (stream->gate_count == 0 && stream->input_start < stream->input_size &&
           strchr(" \t\r\n", input[stream->input_start]) != NULL &&
           input[stream->input_start] != '\0') {
        stream->input_start++;
        if (++stream->skipped > stream->stanza_size_max) {
            fail_too_big(stream);
            return;
        }
    }
    for (size_t i = stream->input_start; stream->gate_count < 2 && i < stream->input_size;
         i++) {
        unsigned char byte = (unsigned char)input[i];
        if (byte == 0x00 || byte == 0xFE || byte == 0xFF) {
            fail(stream, STREAM_ERROR_UNSUPPORTED_ENCODING, "not UTF-8");
            return;
        }
        if (stream->gate_count == 0 && byte != '<') {
            fail(stream, STREAM_ERROR_NOT_WELL_FORMED, "does not start with a tag");
            return;
        }
        stream->gate_count++;
    }
}

static void note_expat_error(struct xml_stream *stream)
{
    enum XML_Error code = XML_GetErrorCode(stream->parser);
    if (code == XML_ERROR_NO_MEMORY)
        fail_memory(stream);
    else if (code == XML_ERROR_UNKNOWN_ENCODING || code == XML_ERROR_INCORRECT_ENCODING)
        fail(stream, STREAM_ERROR_UNSUPPORTED_ENCODING, "encoding is not UTF-8");
    else
        fail(stream, STREAM_ERROR_NOT_WELL_FORMED, XML_ErrorString(code));
}

/* Lets expat work until it pauses, has used up one slice, or fails. */
static void run_parser(struct xml_stream *stream)
{
    enum XML_Status status;
    assert(active == NULL);
    active = stream;
    if (stream->suspended) {
        status = XML_ResumeParser(stream->parser);
    } else {
        size_t size = stream->input_size - stream->input_start;
        if (size > SLICE_SIZE)
            size = SLICE_SIZE;
        const char *slice = stream->input + stream->input_start;
        stream->input_start += size;
        stream->fed += size;
        status = XML_Parse(stream->parser, slice, (int)size, XML_FALSE);
    }
    active = NULL;
    stream->suspended = status == XML_STATUS_SUSPENDED;
    if (status == XML_STATUS_ERROR)
        note_expat_error(stream);
    else if (!stream->suspended && stream->fed - stream->boundary > stream->stanza_size_max)
        fail_too_big(stream);
}

static bool has_event(const struct xml_stream *stream)
{
    return stream->error != STREAM_ERROR_NONE || stream->opened != NULL ||
           stream->stanza != NULL || stream->closed;
}

static enum xml_event_kind give_tree(struct xml_stream *stream, struct xml_event *event)
{
    stream->tree_given = true;
    event->node = stream->opened != NULL ? stream->opened : stream->stanza;
    if (stream->opened != NULL) {
        event->kind = XML_EVENT_OPEN;
        event->content_is_server = stream->header_default == DEFAULT_SERVER;
        event->dialback_declared = stream->dialback_declared;
    } else {
        event->kind = XML_EVENT_STANZA;
    }
    stream->opened = stream->stanza = NULL;
    return event->kind;
}

static enum xml_event_kind give_end(struct xml_stream *stream, struct xml_event *event)
{
    event->kind = XML_EVENT_CLOSE;
    if (stream->error != STREAM_ERROR_NONE) {
        event->kind = XML_EVENT_ERROR;
        event->error = stream->error;
        event->detail = span_of(stream->detail);
        event->stanza_too_big = stream->too_big;
    }
    /* A dead stream keeps nothing but its account. */
    drop_parser(stream);
    return event->kind;
}

enum xml_event_kind xml_stream_next(struct xml_stream *stream, struct xml_event *event)
{
    *event = (struct xml_event){.kind = XML_EVENT_NONE};
    if (stream->parser == NULL)
        return XML_EVENT_NONE;
    forget_tree(stream, true);
    while (!has_event(stream) && !xml_stream_idle(stream)) {
        if (stream->gate_count < 2)
            pass_gate(stream);
        if (stream->error == STREAM_ERROR_NONE && !xml_stream_idle(stream))
            run_parser(stream);
    }
    if (stream->error == STREAM_ERROR_NONE && (stream->opened || stream->stanza))
        return give_tree(stream, event);
    if (has_event(stream))
        return give_end(stream, event);
    drop_input(stream);
    if (stream->depth <= 1)
        arena_reset(&stream->arena, false);
    return XML_EVENT_NONE;
}

size_t xml_stream_memory(const struct xml_stream *stream)
{
    return stream->held;
}
