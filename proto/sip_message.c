/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests, and responses whole, from the text. The judge of our reading is sofia-sip, in the
 * tests. */
#include "proto/sip_message.h"

#include <assert.h>

#include "proto/sip_line.h"

#define NOTE_SIZE 1024 /* of option tags; of a media type with blanks in it */

struct sip_parser {
    const struct memory *memory;
    /* What does not stand in one piece in the message. */
    char type[NOTE_SIZE], require[NOTE_SIZE];
};

struct verdict {
    int status;
    struct span reason;
};

struct sip_parser *sip_parser_open(const struct memory *memory)
{
    struct sip_parser *parser = memory->alloc(memory->context, sizeof(*parser));
    if (parser != NULL)
        *parser = (struct sip_parser){.memory = memory};
    return parser;
}

void sip_parser_close(struct sip_parser **parser)
{
    struct sip_parser *self = *parser;
    if (self == NULL)
        return;
    *parser = NULL;
    self->memory->release(self->memory->context, self);
}

static void refuse(struct verdict *verdict, int status, struct span reason)
{
    if (verdict->status != 0)
        return;
    verdict->status = status;
    verdict->reason = reason;
}

static bool read_vias(struct span value, struct sip_message *message)
{
    struct span rest = value;
    while (rest.data != NULL) {
        struct sip_via via;
        if (!sip_line_via(rest, &via, &rest) || !sip_line_is_generic(via.parameters))
            return false;
        if (message->via_count++ == 0)
            message->via = via;
    }
    return true;
}

static bool read_party(struct span value, struct span *text, struct sip_uri *uri,
                       struct span *tag)
{
    struct span uri_text, parameters;
    *text = value;
    if (!sip_line_address(value, &uri_text, &parameters))
        return false;
    (void)sip_line_find(parameters, SPAN("tag"), tag);
    return sip_line_is_generic(parameters) && sip_uri_parse(uri_text, uri);
}

static bool read_contacts(struct span value, struct sip_message *message)
{
    /* `*` is for REGISTER only, which is not served. */
    if (span_equal(value, SPAN("*")))
        return true;
    while (true) {
        struct span uri, parameters;
        size_t comma = sip_line_until(value, SPAN(","));
        if (comma == SIZE_MAX || !sip_line_address(span_to(value, comma), &uri, &parameters))
            return false;
        if (message->contact.size == 0)
            message->contact = uri;
        if (comma == value.size)
            return true;
        value = span_from(value, comma + 1);
    }
}

static struct span unquote(struct span text)
{
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
        return span_from(span_to(text, text.size - 1), 1);
    return text;
}

/* media-type (RFC 3261 §25.1). The charset may be quoted. */
static bool read_content_type(struct sip_parser *parser, struct span value,
                              struct sip_message *message)
{
    size_t end = sip_line_until(value, SPAN(";"));
    if (end == SIZE_MAX)
        return false;
    struct span media = span_trim(span_to(value, end)), parameters = span_from(value, end);
    size_t slash = span_find(media, '/');
    struct span type = span_trim(span_to(media, slash));
    struct span subtype = span_trim(span_from(media, slash + 1));
    if (!sip_line_is_token(type) || !sip_line_is_token(subtype))
        return false;
    if (type.size + 1 + subtype.size < media.size) {
        struct writer writer = writer_make(parser->type, sizeof(parser->type));
        writer_put(&writer, type);
        writer_put_literal(&writer, "/");
        writer_put(&writer, subtype);
        media = writer_span(&writer);
        if (writer.overflow)
            return false;
    }
    message->content_type = media;
    if (!sip_line_is_generic(parameters))
        return false;
    struct span name, item, charset = SPAN_NONE;
    while (sip_line_parameter(&parameters, &name, &item))
        if (charset.data == NULL && span_equal_nocase(name, SPAN("charset")))
            charset = item;
    message->charset = unquote(charset);
    return true;
}

/* Takes one item off a list of tokens with commas between them; empty items are passed over
   (§7.3.1 and RFC 2616 §2.1). False at the end, and with *list not empty when it is malformed.
 */
static bool next_token(struct span *list, struct span *token)
{
    while (list->size > 0) {
        size_t comma = span_find(*list, ',');
        struct span item = span_trim(span_to(*list, comma));
        if (item.size > 0 && !sip_line_is_token(item))
            return false;
        *list = span_from(*list, comma + 1);
        *token = item;
        if (item.size > 0)
            return true;
    }
    return false;
}

/* The first item of a list; false when any is malformed. */
static bool read_first(struct span list, struct span *first)
{
    struct span token;
    while (next_token(&list, &token))
        if (first->data == NULL)
            *first = token;
    return list.size == 0;
}

/* All option tags of all such lines, for the answer that names them. */
static bool read_require(struct sip_parser *parser, struct span list,
                         struct sip_message *message)
{
    struct span token;
    struct writer writer = writer_make(parser->require, sizeof(parser->require));
    writer.used = message->require.size;
    while (next_token(&list, &token)) {
        if (writer.used > 0)
            writer_put_literal(&writer, ", ");
        writer_put(&writer, token);
    }
    message->require = writer_span(&writer);
    return list.size == 0 && !writer.overflow;
}

/* What says who speaks to whom, and the frame of the transaction. */
static bool read_frame(const struct sip_line *line, struct sip_message *message,
                       struct verdict *verdict)
{
    switch ((unsigned)line->header) {
    case SIP_HEADER_VIA:
        if (!read_vias(line->value, message))
            refuse(verdict, 400, SPAN("Bad Via"));
        return true;
    case SIP_HEADER_FROM:
        if (!read_party(line->value, &message->from_text, &message->from, &message->from_tag))
            refuse(verdict, 400, SPAN("Bad From"));
        return true;
    case SIP_HEADER_TO:
        if (!read_party(line->value, &message->to_text, &message->to, &message->to_tag))
            refuse(verdict, 400, SPAN("Bad To"));
        return true;
    case SIP_HEADER_CSEQ:
        if (!sip_line_cseq(line->value, &message->cseq, &message->cseq_method))
            refuse(verdict, 400, SPAN("Bad CSeq"));
        return true;
    case SIP_HEADER_CALL_ID:
        message->call_id = line->value;
        /* Not word by word: Call-IDs with `=` are about. */
        if (line->value.size == 0 || span_find(line->value, ' ') < line->value.size)
            refuse(verdict, 400, SPAN("Bad Call-ID"));
        return true;
    case SIP_HEADER_CONTACT:
        if (!read_contacts(line->value, message))
            refuse(verdict, 400, SPAN("Bad Contact"));
        return true;
    case SIP_HEADER_MAX_FORWARDS: {
        uint64_t hops;
        if (!sip_line_uint(line->value, 255, &hops))
            refuse(verdict, 400, SPAN("Bad Max-Forwards"));
        else
            message->max_forwards = (int)hops;
        return true;
    }
    }
    return false;
}

/* What is about the content. One of the first three that cannot be read changes what the
   message means; any other is passed over, as a UA may (RFC 4475 §3.1.2.12 for Date). */
static void read_content(struct sip_parser *parser, const struct sip_line *line,
                         struct sip_message *message, struct verdict *verdict)
{
    bool good = true;
    switch ((unsigned)line->header) {
    case SIP_HEADER_CONTENT_TYPE: good = read_content_type(parser, line->value, message); break;
    case SIP_HEADER_CONTENT_ENCODING:
        good = read_first(line->value, &message->content_encoding);
        break;
    case SIP_HEADER_REQUIRE: good = read_require(parser, line->value, message); break;
    case SIP_HEADER_CONTENT_LANGUAGE:
        if (!read_first(line->value, &message->content_language))
            message->content_language = SPAN_NONE;
        break;
    case SIP_HEADER_CONTENT_DISPOSITION: {
        struct span type = span_trim(span_to(line->value, span_find(line->value, ';')));
        message->content_disposition = sip_line_is_token(type) ? type : SPAN_NONE;
        break;
    }
    case SIP_HEADER_RETRY_AFTER:
        message->retry_after = sip_line_retry_after(line->value);
        break;
    case SIP_HEADER_DATE: message->date = line->value; break;
    case SIP_HEADER_EXPIRES: message->expires = line->value; break;
    case SIP_HEADER_SUBJECT: message->subject = line->value; break;
    case SIP_HEADER_USER_AGENT: message->user_agent = line->value; break;
    }
    if (!good && line->value.size > 0)
        refuse(verdict, 400, SPAN("Bad Header"));
}

static void read_request_line(struct span start, struct sip_message *message,
                              struct verdict *verdict)
{
    size_t blank = span_find(start, ' ');
    struct span rest = span_from(start, blank + 1);

    message->is_request = true;
    message->method_name = span_to(start, blank);
    message->method = sip_method_find(message->method_name);
    if (!sip_uri_parse(span_to(rest, span_find(rest, ' ')), &message->request_uri))
        refuse(verdict, 400, SPAN("Bad Request-URI"));
    else if (message->request_uri.headers.size > 0)
        refuse(verdict, 400, SPAN("Headers in Request-URI")); /* §19.1.1 */
}

static void read_status_line(struct span start, struct sip_message *message,
                             struct verdict *verdict)
{
    uint64_t status = 0;
    if (!sip_line_uint(span_to(span_from(start, 8), 3), 699, &status) || status < 100)
        refuse(verdict, 400, SPAN("Bad Status Code"));
    message->status = (int)status;
    message->reason = span_trim(span_from(start, 11));
}

static void read_raw(struct sip_parser *parser, struct sip_message *message,
                     struct verdict *verdict)
{
    struct span raw = message->raw;
    size_t end = span_find(raw, '\n');
    struct span start = span_trim(span_to(raw, end)), rest = span_from(raw, end + 1);
    struct sip_line line;

    if (span_equal_nocase(span_to(start, 4), SPAN("SIP/")))
        read_status_line(start, message, verdict);
    else
        read_request_line(start, message, verdict);
    while (sip_line_next(&rest, &line))
        if (!read_frame(&line, message, verdict))
            read_content(parser, &line, message, verdict);
    /* What is left is the empty line and the body. */
    message->body = span_from(rest, 2);
}

static void check_request(const struct sip_message *message, struct verdict *verdict)
{
    bool known = message->method != SIP_METHOD_UNKNOWN;
    if (!span_equal(message->method_name, message->cseq_method))
        /* RFC 4475 §3.1.2.18: an unknown method is the greater fault. */
        refuse(verdict, known ? 400 : 501,
               known ? SPAN("CSeq Method Mismatch") : SPAN("Not Implemented"));
    else if (message->via.branch.size == 7 &&
             span_equal_nocase(message->via.branch, SPAN("z9hG4bK")))
        refuse(verdict, 400, SPAN("Empty Branch"));
    else if (known && message->request_uri.scheme == SIP_SCHEME_OTHER)
        refuse(verdict, 416, SPAN("Unsupported URI Scheme"));
}

enum sip_parse_result sip_message_parse(struct sip_parser *parser, struct span raw,
                                        struct sip_message *message, int *status,
                                        struct span *reason)
{
    struct verdict verdict = {0};

    *message = (struct sip_message){.raw = raw, .max_forwards = -1, .retry_after = -1};
    read_raw(parser, message, &verdict);
    /* sip_guard has seen that they are there. */
    assert(message->via_count > 0 || verdict.status != 0);
    if (message->is_request)
        check_request(message, &verdict);
    else if (message->via_count > 1)
        refuse(&verdict, 400, SPAN("More Than One Via")); /* §8.1.3.3 */
    if (!message->is_request) {
        message->method_name = message->cseq_method;
        message->method = sip_method_find(message->cseq_method);
    }
    *status = verdict.status;
    *reason = verdict.reason;
    if (verdict.status == 0)
        return SIP_PARSE_OK;
    return message->is_request ? SIP_PARSE_REJECT : SIP_PARSE_DROP;
}
