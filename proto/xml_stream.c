/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_stream.h"

#include <assert.h>

#include "proto/limits.h"
#include "proto/xml_stream_priv.h"

#define ROOM_SIZE_MAX 16384
/* Expat keeps a buffer of twice what it is fed at once, so it is fed small slices: an idle
   stream then holds a few KiB, not a copy of the largest read. */
#define SLICE_SIZE 2048

static bool make_parser(struct xml_stream *stream)
{
    static const char separator[] = {XML_TREE_SEPARATOR, '\0'};
    assert(stream->parser == NULL);
    xml_account_enter(&stream->account);
    stream->parser = XML_ParserCreate_MM("UTF-8", xml_account_suite(), separator);
    xml_account_leave();
    if (stream->parser == NULL)
        return false;
    xml_tree_init(&stream->tree, &stream->account.memory);
    xml_handlers_install(stream);
    return true;
}

static void drop_input(struct xml_stream *stream)
{
    xml_account_give(&stream->account, stream->input);
    stream->input = NULL;
    stream->input_capacity = stream->input_start = stream->input_size = 0;
}

static void drop_parser(struct xml_stream *stream)
{
    if (stream->parser != NULL) {
        XML_ParserFree(stream->parser);
        xml_tree_fini(&stream->tree);
    }
    stream->parser = NULL;
    stream->suspended = false;
    drop_input(stream);
}

struct xml_stream *xml_stream_open(const struct memory *memory)
{
    assert(memory != NULL);
    struct xml_stream *stream = memory->alloc(memory->context, sizeof *stream);
    if (stream == NULL)
        return NULL;
    *stream = (struct xml_stream){.stanza_size_max = PREAUTH_STANZA_SIZE_MAX};
    xml_account_init(&stream->account, memory, sizeof *stream);
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
    assert(old->account.held == sizeof *old);
    const struct memory *memory = old->account.outer;
    memory->release(memory->context, old);
}

void xml_stream_set_stanza_size_max(struct xml_stream *stream, size_t size)
{
    assert(size > 0);
    stream->stanza_size_max = size;
}

bool xml_stream_restart(struct xml_stream *stream)
{
    drop_parser(stream);
    assert(stream->account.held == sizeof *stream);
    *stream = (struct xml_stream){
        .account = stream->account,
        .stanza_size_max = stream->stanza_size_max,
    };
    return make_parser(stream);
}

static void forget_tree(struct xml_stream *stream, bool keep_chunk)
{
    if (!stream->tree_given)
        return;
    stream->tree_given = false;
    xml_tree_reset(&stream->tree, keep_chunk);
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
    forget_tree(stream, true);
    if (size > stream->input_capacity) {
        drop_input(stream);
        stream->input = xml_account_take(&stream->account, size);
        if (stream->input == NULL) {
            /* The caller may try again when there is memory: this is no fault of the peer. */
            stream->account.refused = false;
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
            xml_handlers_fail_too_big(stream);
            return;
        }
    }
    for (size_t i = stream->input_start; stream->gate_count < 2 && i < stream->input_size;
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

/* Behind the root's start tag a declaration is an error of syntax to expat: what stands where it
   stopped tells (RFC 6120 §11.1: restricted). Comments and CDATA sections are no errors. */
static bool stopped_at_declaration(const struct xml_stream *stream)
{
    int offset = 0, size = 0;
    const char *context = XML_GetInputContext(stream->parser, &offset, &size);
    return context != NULL && offset >= 2 && offset < size &&
           memcmp(context + offset - 2, "<!", 2) == 0 && context[offset] >= 'A' &&
           context[offset] <= 'Z';
}

static void note_expat_error(struct xml_stream *stream)
{
    enum XML_Error code = XML_GetErrorCode(stream->parser);
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
    if (stream->fed - stream->boundary > stream->stanza_size_max) {
        xml_handlers_fail_too_big(stream);
        return;
    }
    XML_Index token = XML_GetCurrentByteIndex(stream->parser);
    if (token < 0)
        return;
    assert((uint64_t)token <= stream->fed);
    stream->rescanned += stream->fed - (uint64_t)token;
    if (stream->rescanned > XML_RESCAN_MAX)
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "tag sent in tiny pieces");
}

/* Lets expat work until it pauses, has used up one slice, or fails. */
static void run_parser(struct xml_stream *stream)
{
    enum XML_Status status;
    xml_account_enter(&stream->account);
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
    xml_account_leave();
    stream->suspended = status == XML_STATUS_SUSPENDED;
    if (status == XML_STATUS_ERROR)
        note_expat_error(stream);
    else if (!stream->suspended)
        check_caps(stream);
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
    return XML_EVENT_NONE;
}

void xml_stream_rest(struct xml_stream *stream)
{
    if (stream->parser == NULL || !xml_stream_idle(stream))
        return;
    forget_tree(stream, false);
    drop_input(stream);
    if (stream->tree.depth == 0)
        xml_tree_reset(&stream->tree, false);
}

size_t xml_stream_memory(const struct xml_stream *stream)
{
    return stream->account.held;
}
