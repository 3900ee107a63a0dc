/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What expat reports, and the rules of RFC 6120 §4.8 and §11 about it. */
#include <assert.h>

#include "proto/limits.h"
#include "proto/xml_stream_priv.h"

/* Debian ported this to its expat 2.5.0, whose version number does not tell; upstream has it
   from 2.6.0. Where it is missing the address is NULL. */
XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled)
    __attribute__((weak));

void xml_handlers_fail(struct xml_stream *stream, enum stream_error error, const char *detail)
{
    if (stream->error != STREAM_ERROR_NONE)
        return;
    stream->error = error;
    stream->detail = detail;
    if (stream->reader != NULL)
        XML_StopParser(stream->reader->expat, XML_FALSE);
}

void xml_handlers_fail_too_big(struct xml_stream *stream)
{
    if (stream->error != STREAM_ERROR_NONE)
        return;
    stream->too_big = true;
    xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "stanza too big");
}

void xml_handlers_fail_memory(struct xml_stream *stream)
{
    /* An allocation the account of the session refuses is our shortage, one that exceeds the
       stream's own budget is the peer's excess. */
    if (stream->reader->account.refused)
        xml_handlers_fail(stream, STREAM_ERROR_RESOURCE_CONSTRAINT, "out of memory");
    else
        xml_handlers_fail_too_big(stream);
}

/* Offset behind the token whose handler runs. */
static uint64_t token_end(const struct xml_reader *reader)
{
    XML_Index index = XML_GetCurrentByteIndex(reader->expat);
    assert(index >= 0);
    return (uint64_t)index + (uint64_t)XML_GetCurrentByteCount(reader->expat);
}

/* An event ends here: its bytes are measured and expat pauses, so that the caller sets the
   pace. */
static void end_event(struct xml_stream *stream)
{
    struct xml_reader *reader = stream->reader;
    uint64_t end = token_end(reader);
    assert(end >= reader->boundary);
    if (end - reader->boundary > stream->stanza_size_max) {
        xml_handlers_fail_too_big(stream);
        return;
    }
    reader->boundary = end;
    reader->rescanned = 0;
    XML_StopParser(reader->expat, XML_TRUE);
}

/* True when there was none. */
static bool note_tree_fault(struct xml_stream *stream, enum xml_tree_result result)
{
    switch (result) {
    case XML_TREE_OK: return true;
    case XML_TREE_MALFORMED:
        xml_handlers_fail(stream, STREAM_ERROR_NOT_WELL_FORMED,
                          "a prefix is not declared or an attribute is repeated");
        break;
    case XML_TREE_TOO_MANY:
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "too many attributes");
        break;
    case XML_TREE_NO_MEMORY: xml_handlers_fail_memory(stream); break;
    }
    return false;
}

/* True when there was none. */
static bool note_names_fault(struct xml_stream *stream, enum xml_names_result result)
{
    switch (result) {
    case XML_NAMES_OK: return true;
    case XML_NAMES_MALFORMED:
        xml_handlers_fail(stream, STREAM_ERROR_NOT_WELL_FORMED,
                          "a namespace declaration is not legal");
        break;
    case XML_NAMES_TOO_MANY:
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "too many namespaces");
        break;
    case XML_NAMES_NO_MEMORY: xml_handlers_fail_memory(stream); break;
    }
    return false;
}

/* NULL after a failure has been noted. `depth` counts from the root element, which has 0. */
static struct xml_node *make_node(struct xml_stream *stream, const char *name,
                                  const char **pairs, size_t depth)
{
    struct xml_reader *reader = stream->reader;
    struct xml_node *node;
    if (!note_names_fault(stream,
                          xml_names_declare(&reader->names, &reader->tree.arena, pairs, depth)))
        return NULL;
    if (!note_tree_fault(stream,
                         xml_tree_make(&reader->tree, &reader->names, name, pairs, &node)))
        return NULL;
    return node;
}

static enum default_space classify(struct span uri)
{
    if (uri.size == 0)
        return DEFAULT_ABSENT;
    if (span_equal(uri, SPAN(NS_SERVER)))
        return DEFAULT_SERVER;
    return span_equal(uri, SPAN(NS_STREAMS)) ? DEFAULT_STREAMS : DEFAULT_OTHER;
}

/* RFC 6120 §4.8: the stream namespace is fixed, the content namespace is jabber:server, as the
   default or (prefix-free) declared on every stanza. */
static void start_stream(struct xml_stream *stream, const char *name, const char **pairs)
{
    const struct xml_names *names = &stream->reader->names;
    struct xml_node *node = make_node(stream, name, pairs, 0);
    if (node == NULL)
        return;
    if (!span_equal(node->space, SPAN(NS_STREAMS))) {
        xml_handlers_fail(stream, STREAM_ERROR_INVALID_NAMESPACE, "not the streams namespace");
        return;
    }
    if (!span_equal(node->name, SPAN("stream"))) {
        xml_handlers_fail(stream, STREAM_ERROR_BAD_FORMAT, "the first element is not a stream");
        return;
    }
    stream->header_default = classify(xml_names_default(names));
    if (stream->header_default == DEFAULT_OTHER) {
        xml_handlers_fail(stream, STREAM_ERROR_INVALID_NAMESPACE,
                          "content namespace is not jabber:server");
        return;
    }
    stream->dialback_declared = xml_names_has(names, SPAN(NS_DIALBACK));
    stream->usual_root = strcmp(name, XML_READER_ROOT) == 0;
    stream->in_stream = true;
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
        xml_handlers_fail(stream, STREAM_ERROR_INVALID_NAMESPACE,
                          "stanza outside jabber:server");
        return false;
    }
    if (span_equal(node->space, SPAN(NS_SERVER)) &&
        !span_equal(xml_names_default(&stream->reader->names), SPAN(NS_SERVER))) {
        xml_handlers_fail(stream, STREAM_ERROR_BAD_NAMESPACE_PREFIX, "stanza with a prefix");
        return false;
    }
    return true;
}

static void on_start(void *data, const char *name, const char **pairs)
{
    struct xml_reader *reader = data;
    struct xml_stream *stream = reader->stream;
    if (stream == NULL || stream->error != STREAM_ERROR_NONE)
        return; /* NULL: the root element of a reader that waits for its stream */
    if (!stream->in_stream) {
        start_stream(stream, name, pairs);
        return;
    }
    if (reader->tree.depth == XML_DEPTH_MAX) {
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "nested too deep");
        return;
    }
    struct xml_node *node = make_node(stream, name, pairs, reader->tree.depth + 1);
    if (node == NULL)
        return;
    if (reader->tree.depth == 0) {
        if (!check_first_level(stream, node))
            return;
    } else if (span_equal(node->space, SPAN(NS_STREAMS))) {
        xml_handlers_fail(stream, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE,
                          "stream element inside a stanza");
        return;
    }
    xml_tree_push(&reader->tree, node);
}

static void on_end(void *data, const char *name)
{
    struct xml_reader *reader = data;
    struct xml_stream *stream = reader->stream;
    (void)name;
    assert(stream != NULL);
    if (stream->error != STREAM_ERROR_NONE)
        return;
    assert(stream->in_stream);
    if (reader->tree.depth == 0) {
        stream->in_stream = false;
        stream->closed = true;
        XML_StopParser(reader->expat, XML_TRUE);
        return;
    }
    struct xml_node *node = xml_tree_pop(&reader->tree);
    xml_names_leave(&reader->names, reader->tree.depth);
    if (reader->tree.depth > 0)
        return;
    stream->stanza = node;
    end_event(stream);
}

/* Only white space may stand between stanzas (a keepalive, RFC 6120 §4.6.1). It counts for no
   stanza, else a quiet stream would die of its keepalives. */
static void between_stanzas(struct xml_stream *stream, struct span text)
{
    if (span_trim(text).size > 0)
        xml_handlers_fail(stream, STREAM_ERROR_NOT_WELL_FORMED, "text between stanzas");
    else
        stream->reader->boundary = token_end(stream->reader);
}

static void on_text(void *data, const char *text, int size)
{
    struct xml_reader *reader = data;
    struct xml_stream *stream = reader->stream;
    assert(size >= 0);
    assert(stream != NULL);
    if (stream->error != STREAM_ERROR_NONE || size == 0)
        return;
    assert(stream->in_stream);
    struct span run = span_make(text, (size_t)size);
    if (reader->tree.depth == 0)
        between_stanzas(stream, run);
    else if (!xml_tree_add_text(&reader->tree, run, stream->stanza_size_max))
        xml_handlers_fail_memory(stream);
}

static void restricted(void *data, const char *detail)
{
    const struct xml_reader *reader = data;
    assert(reader->stream != NULL);
    xml_handlers_fail(reader->stream, STREAM_ERROR_RESTRICTED_XML, detail);
}

/* RFC 6120 §11.1: these features are restricted. */
static void on_doctype(void *data, const char *name, const char *system, const char *public,
                       int has_subset)
{
    (void)name, (void)system, (void)public, (void)has_subset;
    restricted(data, "document type declaration");
}

static void on_entity(void *data, const char *name, int is_parameter, const char *value,
                      int size, const char *base, const char *system, const char *public,
                      const char *notation)
{
    (void)name, (void)is_parameter, (void)value, (void)size, (void)base, (void)system;
    (void)public, (void)notation;
    restricted(data, "entity declaration");
}

static void on_comment(void *data, const char *text)
{
    (void)text;
    restricted(data, "comment");
}

static void on_instruction(void *data, const char *target, const char *text)
{
    (void)target, (void)text;
    restricted(data, "processing instruction");
}

/* Expat is told UTF-8 whatever the declaration says; another name is refused (RFC 6120 §11.6).
 */
static void on_declaration(void *data, const char *version, const char *encoding,
                           int standalone)
{
    const struct xml_reader *reader = data;
    (void)version, (void)standalone;
    assert(reader->stream != NULL);
    if (encoding != NULL && !span_equal_nocase(span_of(encoding), SPAN("UTF-8")))
        xml_handlers_fail(reader->stream, STREAM_ERROR_UNSUPPORTED_ENCODING,
                          "encoding is not UTF-8");
}

void xml_handlers_install(struct xml_reader *reader)
{
    XML_Parser parser = reader->expat;
    XML_SetUserData(parser, reader);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_text);
    XML_SetStartDoctypeDeclHandler(parser, on_doctype);
    XML_SetEntityDeclHandler(parser, on_entity);
    XML_SetCommentHandler(parser, on_comment);
    XML_SetProcessingInstructionHandler(parser, on_instruction);
    XML_SetXmlDeclHandler(parser, on_declaration);
    /* Deferral would hold a complete stanza back until more bytes come; the caps bound what
       reparsing can cost. */
    if (XML_SetReparseDeferralEnabled != NULL)
        XML_SetReparseDeferralEnabled(parser, XML_FALSE);
}
