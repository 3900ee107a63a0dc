/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sofia-sip parses every header here and is the judge of their grammar; what must be copied or
 * compared byte for byte is taken from the raw text with sip_line. Where the two could disagree
 * (tags, URIs, Via), the strict reader is sip_line and a difference is a rejection.
 */
#include "proto/sip_message.h"

#include <assert.h>
#include <sofia-sip/msg.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/msg_parser.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>

#include "proto/sip_line.h"

struct sip_parser {
    const struct memory *memory;
    msg_t *sofia; /* of the latest call; the views point into it */
};

struct verdict {
    int status;
    struct span reason;
};

struct sip_parser *sip_parser_open(const struct memory *memory)
{
    struct sip_parser *parser = memory->alloc(memory->context, sizeof(*parser));
    if (parser == NULL)
        return NULL;
    *parser = (struct sip_parser){.memory = memory};
    return parser;
}

void sip_parser_close(struct sip_parser **parser)
{
    struct sip_parser *self = *parser;
    if (self == NULL)
        return;
    *parser = NULL;
    msg_destroy(self->sofia);
    self->memory->release(self->memory->context, self);
}

static void refuse(struct verdict *verdict, int status, struct span reason)
{
    if (verdict->status != 0)
        return;
    verdict->status = status;
    verdict->reason = reason;
}

/* ---- from the raw text ---- */

static bool read_vias(struct span value, struct sip_message *message)
{
    struct span rest = value;
    while (rest.data != NULL) {
        struct sip_via via;
        if (!sip_line_via(rest, &via, &rest))
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
    return sip_uri_parse(uri_text, uri);
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

static void read_line(const struct sip_line *line, struct sip_message *message,
                      struct verdict *verdict)
{
    if (sip_line_is(line, SPAN("Via"), 'v')) {
        if (!read_vias(line->value, message))
            refuse(verdict, 400, SPAN("Bad Via"));
    } else if (sip_line_is(line, SPAN("From"), 'f')) {
        if (!read_party(line->value, &message->from_text, &message->from, &message->from_tag))
            refuse(verdict, 400, SPAN("Bad From"));
    } else if (sip_line_is(line, SPAN("To"), 't')) {
        if (!read_party(line->value, &message->to_text, &message->to, &message->to_tag))
            refuse(verdict, 400, SPAN("Bad To"));
    } else if (sip_line_is(line, SPAN("CSeq"), '\0')) {
        if (!sip_line_cseq(line->value, &message->cseq, &message->cseq_method))
            refuse(verdict, 400, SPAN("Bad CSeq"));
    } else if (sip_line_is(line, SPAN("Contact"), 'm')) {
        if (!read_contacts(line->value, message))
            refuse(verdict, 400, SPAN("Bad Contact"));
    } else if (sip_line_is(line, SPAN("Max-Forwards"), '\0')) {
        uint64_t hops;
        if (!sip_line_uint(line->value, 255, &hops))
            refuse(verdict, 400, SPAN("Bad Max-Forwards"));
        else
            message->max_forwards = (int)hops;
    } else if (sip_line_is(line, SPAN("Call-ID"), 'i')) {
        message->call_id = line->value;
        if (line->value.size == 0 || span_find(line->value, ' ') < line->value.size)
            refuse(verdict, 400, SPAN("Bad Call-ID"));
    } else if (sip_line_is(line, SPAN("Date"), '\0')) {
        message->date = line->value;
    } else if (sip_line_is(line, SPAN("Expires"), '\0')) {
        message->expires = line->value;
    } else if (sip_line_is(line, SPAN("Subject"), 's')) {
        message->subject = line->value;
    } else if (sip_line_is(line, SPAN("User-Agent"), '\0')) {
        message->user_agent = line->value;
    }
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

static void read_raw(struct span raw, struct sip_message *message, struct verdict *verdict)
{
    size_t end = span_find(raw, '\n');
    struct span start = span_trim(span_to(raw, end)), rest = span_from(raw, end + 1);
    struct sip_line line;

    if (span_equal_nocase(span_to(start, 4), SPAN("SIP/")))
        read_status_line(start, message, verdict);
    else
        read_request_line(start, message, verdict);
    while (sip_line_next(&rest, &line))
        read_line(&line, message, verdict);
    /* What is left is the empty line and the body. */
    message->body = span_from(rest, 2);
}

/* ---- from sofia-sip ---- */

static struct span first_of(const msg_param_t *items)
{
    return items != NULL && items[0] != NULL ? span_of(items[0]) : SPAN_NONE;
}

static struct span unquote(struct span text)
{
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
        return span_from(span_to(text, text.size - 1), 1);
    return text;
}

static struct span join(su_home_t *home, const msg_param_t *items)
{
    size_t size = 0;
    for (size_t i = 0; items != NULL && items[i] != NULL; i++)
        size += strlen(items[i]) + 2;
    char *block = size > 0 ? su_alloc(home, (isize_t)size) : NULL;
    if (block == NULL)
        return SPAN_NONE;
    struct writer writer = writer_make(block, size);
    for (size_t i = 0; items[i] != NULL; i++) {
        if (i > 0)
            writer_put_literal(&writer, ", ");
        writer_put(&writer, span_of(items[i]));
    }
    assert(!writer.overflow);
    return writer_span(&writer);
}

static void read_entity(const sip_t *sip, struct sip_message *message)
{
    const sip_content_type_t *type = sip->sip_content_type;
    if (type != NULL) {
        message->content_type = span_of(type->c_type);
        message->charset = unquote(span_of(msg_header_find_param(type->c_common, "charset")));
    }
    if (sip->sip_content_language != NULL)
        message->content_language = first_of(sip->sip_content_language->k_items);
    if (sip->sip_content_encoding != NULL)
        message->content_encoding = first_of(sip->sip_content_encoding->k_items);
    if (sip->sip_content_disposition != NULL)
        message->content_disposition = span_of(sip->sip_content_disposition->cd_type);
    if (sip->sip_retry_after != NULL)
        message->retry_after = (long)sip->sip_retry_after->af_delta;
}

static void check_sofia(const sip_t *sip, struct sip_message *message, struct verdict *verdict)
{
    if (sip->sip_via == NULL || sip->sip_from == NULL || sip->sip_to == NULL ||
        sip->sip_call_id == NULL || sip->sip_cseq == NULL) {
        refuse(verdict, 400, SPAN("Missing or Bad Header"));
        return;
    }
    bool same = sip->sip_cseq->cs_seq == message->cseq &&
                span_equal(span_of(sip->sip_from->a_tag), message->from_tag) &&
                span_equal(span_of(sip->sip_to->a_tag), message->to_tag);
    if (!same)
        refuse(verdict, 400, SPAN("Ambiguous Header"));
}

/* One of these that sofia-sip could not read changes what the message means; any other broken
   header is ignored, as a UA may (RFC 4475 §3.1.2.12 for Date). */
static void check_errors(const sip_t *sip, const struct sip_message *message,
                         struct verdict *verdict)
{
    struct span rest = span_from(message->raw, span_find(message->raw, '\n') + 1);
    struct sip_line line;
    while (sip_line_next(&rest, &line)) {
        bool lost =
            (sip_line_is(&line, SPAN("Content-Type"), 'c') && sip->sip_content_type == NULL) ||
            (sip_line_is(&line, SPAN("Require"), '\0') && sip->sip_require == NULL) ||
            (sip_line_is(&line, SPAN("Content-Encoding"), 'e') &&
             sip->sip_content_encoding == NULL);
        if (lost && line.value.size > 0)
            refuse(verdict, 400, SPAN("Bad Header"));
    }
}

static void read_sofia(struct sip_parser *parser, struct sip_message *message,
                       struct verdict *verdict)
{
    struct span raw = message->raw;
    parser->sofia = msg_make(sip_default_mclass(), 0, raw.data, (ssize_t)raw.size);
    sip_t *sip = parser->sofia != NULL ? sip_object(parser->sofia) : NULL;
    if (sip == NULL) {
        refuse(verdict, 500, SPAN("Out of Memory"));
        return;
    }
    if ((sip->sip_request == NULL) == (sip->sip_status == NULL)) {
        refuse(verdict, 400, SPAN("Bad Message"));
        return;
    }
    read_entity(sip, message);
    if (sip->sip_require != NULL)
        message->require = join(msg_home(parser->sofia), sip->sip_require->k_items);
    check_sofia(sip, message, verdict);
    check_errors(sip, message, verdict);
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
    msg_destroy(parser->sofia);
    parser->sofia = NULL;
    read_raw(raw, message, &verdict);
    /* What is refused already or will not be served does not reach sofia-sip, which also calls
       unknown methods that begin with P no message at all. */
    bool unknown = message->is_request && message->method == SIP_METHOD_UNKNOWN;
    if (verdict.status == 0 && !unknown)
        read_sofia(parser, message, &verdict);
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
