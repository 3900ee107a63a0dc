/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_stream.h"

#include <assert.h>

#include "proto/limits.h"
#include "proto/xml_stream_priv.h"

#define ROOM_SIZE_MAX 16384

/* The names in one block, their text behind them; NULL when memory is refused. */
static struct xml_header_names *copy_names(const struct memory *memory,
                                           const struct xml_names *names)
{
    size_t size = sizeof(struct xml_header_names) + names->count * sizeof *names->bindings;
    for (size_t i = 0; i < names->count; i++)
        size += names->bindings[i].prefix.size + names->bindings[i].uri.size;
    struct xml_header_names *header = memory->alloc(memory->context, size);
    if (header == NULL)
        return NULL;
    *header = (struct xml_header_names){.count = names->count, .size = size};
    char *text = (char *)&header->bindings[names->count];
    for (size_t i = 0; i < names->count; i++) {
        struct xml_binding *binding = &header->bindings[i];
        const struct xml_binding *source = &names->bindings[i];
        *binding = (struct xml_binding){{text, source->prefix.size},
                                        {text + source->prefix.size, source->uri.size},
                                        source->depth};
        memcpy(text, source->prefix.data, source->prefix.size);
        memcpy(text + source->prefix.size, source->uri.data, source->uri.size);
        text += source->prefix.size + source->uri.size;
    }
    return header;
}

static void use_header(struct xml_stream *stream)
{
    struct xml_names *names = &stream->reader->names;
    assert(stream->header->count <= XML_NAMESPACES_MAX);
    memcpy(names->bindings, stream->header->bindings,
           stream->header->count * sizeof *names->bindings);
    names->count = stream->header->count;
}

/* The header's declarations outlive the reader. */
static void keep_header(struct xml_stream *stream)
{
    stream->header = copy_names(stream->memory, &stream->reader->names);
    if (stream->header != NULL)
        use_header(stream);
    else
        xml_handlers_fail(stream, STREAM_ERROR_RESOURCE_CONSTRAINT, "out of memory");
}

static void drop_reader(struct xml_stream *stream)
{
    if (stream->reader == NULL)
        return;
    if (stream->in_stream && stream->usual_root && stream->error == STREAM_ERROR_NONE &&
        xml_reader_rests(stream->reader))
        xml_reader_give(stream->pool, &stream->reader);
    else
        xml_reader_close(&stream->reader);
}

static void drop_header(struct xml_stream *stream)
{
    stream->memory->release(stream->memory->context, stream->header);
    stream->header = NULL;
}

struct xml_stream *xml_stream_open(const struct memory *memory, struct xml_pool *pool)
{
    assert(memory != NULL);
    struct xml_stream *stream = memory->alloc(memory->context, sizeof *stream);
    if (stream != NULL)
        *stream = (struct xml_stream){
            .memory = memory, .pool = pool, .stanza_size_max = PREAUTH_STANZA_SIZE_MAX};
    return stream;
}

void xml_stream_close(struct xml_stream **stream)
{
    struct xml_stream *old = *stream;
    *stream = NULL;
    if (old == NULL)
        return;
    drop_reader(old);
    drop_header(old);
    old->memory->release(old->memory->context, old);
}

void xml_stream_join(struct xml_stream *stream, struct xml_pool *pool)
{
    assert(stream->pool != NULL);
    assert(pool != NULL);
    stream->pool = pool;
}

void xml_stream_set_stanza_size_max(struct xml_stream *stream, size_t size)
{
    assert(size > 0);
    stream->stanza_size_max = size;
}

void xml_stream_restart(struct xml_stream *stream)
{
    drop_reader(stream);
    drop_header(stream);
    *stream = (struct xml_stream){.memory = stream->memory,
                                  .pool = stream->pool,
                                  .stanza_size_max = stream->stanza_size_max};
}

/* Without a reader: it rests, its next bytes begin a stanza or, before the header, the stream.
 */
static bool take_reader(struct xml_stream *stream)
{
    assert(!stream->dead);
    stream->reader = stream->in_stream ? xml_reader_take(stream->pool, stream->memory)
                                       : xml_reader_open(stream->memory);
    if (stream->reader == NULL)
        return false;
    stream->reader->stream = stream;
    if (stream->in_stream)
        use_header(stream);
    return true;
}

static void forget_tree(struct xml_stream *stream)
{
    if (!stream->tree_given)
        return;
    stream->tree_given = false;
    xml_tree_reset(&stream->reader->tree, true);
}

bool xml_stream_idle(const struct xml_stream *stream)
{
    const struct xml_reader *reader = stream->reader;
    if (reader == NULL)
        return true;
    return !reader->suspended && reader->input_start == reader->input_size &&
           stream->error == STREAM_ERROR_NONE;
}

void *xml_stream_room(struct xml_stream *stream, size_t size)
{
    assert(size > 0);
    assert(size <= ROOM_SIZE_MAX);
    if (stream->dead || !xml_stream_idle(stream))
        return NULL;
    if (stream->reader == NULL && !take_reader(stream))
        return NULL;
    forget_tree(stream);
    return xml_reader_room(stream->reader, size);
}

void xml_stream_commit(struct xml_stream *stream, size_t size)
{
    struct xml_reader *reader = stream->reader;
    assert(reader != NULL && reader->input != NULL);
    assert(reader->input_size == 0);
    assert(size <= reader->input_capacity);
    reader->input_size = size;
}

/* The gate before expat, for the first two bytes of a stream: expat would take a BOM or a NUL
   for UTF-16 whatever it was told. White space before the header is skipped; some peers leave a
   line end behind <proceed/> or <success/>. */
static void pass_gate(struct xml_stream *stream)
{
    struct xml_reader *reader = stream->reader;
    const char *input = reader->input;
    while (stream->gate_count == 0 && reader->input_start < reader->input_size &&
           span_is_blank(input[reader->input_start])) {
        reader->input_start++;
        if (++stream->skipped > stream->stanza_size_max) {
            xml_handlers_fail_too_big(stream);
            return;
        }
    }
    for (size_t i = reader->input_start; stream->gate_count < 2 && i < reader->input_size;
         i++) {
        unsigned char byte = (unsigned char)input[i];
        if (byte == 0x00 || byte == 0xFE || byte == 0xFF) {
            xml_handlers_fail(stream, STREAM_ERROR_UNSUPPORTED_ENCODING, "not UTF-8");
            return;
        }
        if (stream->gate_count == 0 && byte != '<') {
            xml_handlers_fail(stream, STREAM_ERROR_NOT_WELL_FORMED,
                              "does not start with a tag");
            return;
        }
        stream->gate_count++;
    }
}

/* Behind the root's start tag a declaration is an error of syntax to expat: what stands where
   it stopped tells (RFC 6120 §11.1: restricted). Comments and CDATA sections are no errors. */
static bool stopped_at_declaration(const struct xml_stream *stream)
{
    int offset = 0, size = 0;
    const char *context = XML_GetInputContext(stream->reader->expat, &offset, &size);
    return context != NULL && offset >= 2 && offset < size &&
           memcmp(context + offset - 2, "<!", 2) == 0 && context[offset] >= 'A' &&
           context[offset] <= 'Z';
}

static void note_expat_error(struct xml_stream *stream)
{
    enum XML_Error code = XML_GetErrorCode(stream->reader->expat);
    if (code == XML_ERROR_INVALID_TOKEN && stopped_at_declaration(stream)) {
        xml_handlers_fail(stream, STREAM_ERROR_RESTRICTED_XML, "declaration inside the stream");
        return;
    }
    if (code == XML_ERROR_NO_MEMORY)
        xml_handlers_fail_memory(stream);
    else if (code == XML_ERROR_UNKNOWN_ENCODING || code == XML_ERROR_INCORRECT_ENCODING)
        xml_handlers_fail(stream, STREAM_ERROR_UNSUPPORTED_ENCODING, "encoding is not UTF-8");
    else
        xml_handlers_fail(stream, STREAM_ERROR_NOT_WELL_FORMED, XML_ErrorString(code));
}

/* What is measured when expat has used up a slice without coming to an event. */
static void check_caps(struct xml_stream *stream)
{
    struct xml_reader *reader = stream->reader;
    if (reader->fed - reader->boundary > stream->stanza_size_max) {
        xml_handlers_fail_too_big(stream);
        return;
    }
    XML_Index token = XML_GetCurrentByteIndex(reader->expat);
    if (token < 0)
        return;
    assert((uint64_t)token <= reader->fed);
    reader->rescanned += reader->fed - (uint64_t)token;
    if (reader->rescanned > XML_RESCAN_MAX)
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "tag sent in tiny pieces");
}

static void run_parser(struct xml_stream *stream)
{
    switch (xml_reader_run(stream->reader)) {
    case XML_STATUS_ERROR: note_expat_error(stream); break;
    case XML_STATUS_OK: check_caps(stream); break;
    case XML_STATUS_SUSPENDED: break;
    }
    if (stream->opened != NULL && stream->header == NULL && stream->error == STREAM_ERROR_NONE)
        keep_header(stream);
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
    stream->dead = true;
    stream->in_stream = false;
    drop_reader(stream);
    drop_header(stream);
    return event->kind;
}

enum xml_event_kind xml_stream_next(struct xml_stream *stream, struct xml_event *event)
{
    *event = (struct xml_event){.kind = XML_EVENT_NONE};
    if (stream->reader == NULL)
        return XML_EVENT_NONE;
    forget_tree(stream);
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
    return XML_EVENT_NONE;
}

void xml_stream_rest(struct xml_stream *stream)
{
    if (stream->reader == NULL || !xml_stream_idle(stream))
        return;
    forget_tree(stream);
    if (stream->in_stream && stream->usual_root && xml_reader_rests(stream->reader))
        xml_reader_give(stream->pool, &stream->reader);
    else
        xml_reader_trim(stream->reader);
}

size_t xml_stream_memory(const struct xml_stream *stream)
{
    return sizeof *stream + (stream->header != NULL ? stream->header->size : 0) +
           (stream->reader != NULL ? stream->reader->account.held : 0);
}
