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
    if (stream->parser != NULL)
        XML_StopParser(stream->parser, XML_FALSE);
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
    if (stream->account.refused)
        xml_handlers_fail(stream, STREAM_ERROR_RESOURCE_CONSTRAINT, "out of memory");
    else
        xml_handlers_fail_too_big(stream);
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
        xml_handlers_fail_too_big(stream);
        return;
    }
    stream->boundary = end;
    stream->rescanned = 0;
    XML_StopParser(stream->parser, XML_TRUE);
}

/* NULL after a failure has been noted. */
static struct xml_node *make_node(struct xml_stream *stream, const char *name,
                                  const char **pairs)
{
    size_t count = 0;
    while (pairs[2 * count] != NULL && count <= XML_ATTRIBUTES_MAX)
        count++;
    if (count > XML_ATTRIBUTES_MAX) {
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "too many attributes");
        return NULL;
    }
    struct xml_node *node = xml_tree_make(&stream->tree, name, pairs);
    if (node == NULL)
        xml_handlers_fail_memory(stream);
    return node;
}

/* RFC 6120 §4.8: the stream namespace is fixed, the content namespace is jabber:server, as the
   default or (prefix-free) declared on every stanza. */
static void start_stream(struct xml_stream *stream, const char *name, const char **pairs)
{
    struct span space, local;
    xml_tree_split(name, &space, &local);
    if (!span_equal(space, SPAN(NS_STREAMS))) {
        xml_handlers_fail(stream, STREAM_ERROR_INVALID_NAMESPACE, "not the streams namespace");
        return;
    }
    if (!span_equal(local, SPAN("stream"))) {
        xml_handlers_fail(stream, STREAM_ERROR_BAD_FORMAT, "the first element is not a stream");
        return;
    }
    stream->header_default = stream->element_default;
    if (stream->header_default == DEFAULT_OTHER) {
        xml_handlers_fail(stream, STREAM_ERROR_INVALID_NAMESPACE,
                          "content namespace is not jabber:server");
        return;
    }
    struct xml_node *node = make_node(stream, name, pairs);
    if (node == NULL)
        return;
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
    if (span_equal(node->space, SPAN(NS_SERVER)) && stream->element_default != DEFAULT_SERVER) {
        xml_handlers_fail(stream, STREAM_ERROR_BAD_NAMESPACE_PREFIX, "stanza with a prefix");
        return false;
    }
    return true;
}

static void on_start(void *data, const char *name, const char **pairs)
{
    struct xml_stream *stream = data;
    if (stream->error != STREAM_ERROR_NONE)
        return;
    if (!stream->in_stream) {
        start_stream(stream, name, pairs);
        return;
    }
    if (stream->tree.depth == XML_DEPTH_MAX) {
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "nested too deep");
        return;
    }
    struct xml_node *node = make_node(stream, name, pairs);
    if (node == NULL)
        return;
    if (stream->tree.depth == 0) {
        if (!check_first_level(stream, node))
            return;
    } else if (span_equal(node->space, SPAN(NS_STREAMS))) {
        xml_handlers_fail(stream, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE,
                          "stream element inside a stanza");
        return;
    }
    xml_tree_push(&stream->tree, node);
}

static void on_end(void *data, const char *name)
{
    struct xml_stream *stream = data;
    (void)name;
    if (stream->error != STREAM_ERROR_NONE)
        return;
    assert(stream->in_stream);
    if (stream->tree.depth == 0) {
        stream->in_stream = false;
        stream->closed = true;
        XML_StopParser(stream->parser, XML_TRUE);
        return;
    }
    struct xml_node *node = xml_tree_pop(&stream->tree);
    if (stream->tree.depth > 0)
        return;
    stream->stanza = node;
    stream->element_default = stream->header_default;
    end_event(stream);
}

/* Only white space may stand between stanzas (a keepalive, RFC 6120 §4.6.1). It counts for no
   stanza, else a quiet stream would die of its keepalives. */
static void between_stanzas(struct xml_stream *stream, struct span text)
{
    if (span_trim(text).size > 0)
        xml_handlers_fail(stream, STREAM_ERROR_NOT_WELL_FORMED, "text between stanzas");
    else
        stream->boundary = token_end(stream);
}

static void on_text(void *data, const char *text, int size)
{
    struct xml_stream *stream = data;
    assert(size >= 0);
    if (stream->error != STREAM_ERROR_NONE || size == 0)
        return;
    assert(stream->in_stream);
    struct span run = span_make(text, (size_t)size);
    if (stream->tree.depth == 0)
        between_stanzas(stream, run);
    else if (!xml_tree_add_text(&stream->tree, run, stream->stanza_size_max))
        xml_handlers_fail_memory(stream);
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
        xml_handlers_fail(stream, STREAM_ERROR_POLICY_VIOLATION, "too many namespaces");
    /* Newer expat refuses this itself; an older one would let a namespace forge names. */
    if (uri != NULL && strchr(uri, XML_TREE_SEPARATOR) != NULL)
        xml_handlers_fail(stream, STREAM_ERROR_NOT_WELL_FORMED,
                          "line feed in a namespace name");
    if (prefix == NULL && stream->tree.depth == 0)
        stream->element_default = classify(uri);
    if (prefix != NULL && uri != NULL && !stream->in_stream)
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
    xml_handlers_fail(data, STREAM_ERROR_RESTRICTED_XML, "document type declaration");
}

static void on_entity(void *data, const char *name, int is_parameter, const char *value,
                      int size, const char *base, const char *system, const char *public,
                      const char *notation)
{
    (void)name, (void)is_parameter, (void)value, (void)size, (void)base, (void)system;
    (void)public, (void)notation;
    xml_handlers_fail(data, STREAM_ERROR_RESTRICTED_XML, "entity declaration");
}

static void on_comment(void *data, const char *text)
{
    (void)text;
    xml_handlers_fail(data, STREAM_ERROR_RESTRICTED_XML, "comment");
}

static void on_instruction(void *data, const char *target, const char *text)
{
    (void)target, (void)text;
    xml_handlers_fail(data, STREAM_ERROR_RESTRICTED_XML, "processing instruction");
}

/* Expat is told UTF-8 whatever the declaration says; another name is refused (RFC 6120 §11.6).
 */
static void on_declaration(void *data, const char *version, const char *encoding,
                           int standalone)
{
    (void)version, (void)standalone;
    if (encoding != NULL && !span_equal_nocase(span_of(encoding), SPAN("UTF-8")))
        xml_handlers_fail(data, STREAM_ERROR_UNSUPPORTED_ENCODING, "encoding is not UTF-8");
}

void xml_handlers_install(struct xml_stream *stream)
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
