/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>

#include "proto/limits.h"
#include "proto/sip_line.h"
#include "proto/utf8.h"

struct span sip_reason_phrase(int status)
{
    static const struct {
        int status;
        struct span phrase;
    } table[] = {
        {100, SPAN("Trying")},
        {180, SPAN("Ringing")},
        {181, SPAN("Call Is Being Forwarded")},
        {182, SPAN("Queued")},
        {183, SPAN("Session Progress")},
        {200, SPAN("OK")},
        {202, SPAN("Accepted")},
        {204, SPAN("No Notification")},
        {300, SPAN("Multiple Choices")},
        {301, SPAN("Moved Permanently")},
        {302, SPAN("Moved Temporarily")},
        {305, SPAN("Use Proxy")},
        {380, SPAN("Alternative Service")},
        {400, SPAN("Bad Request")},
        {401, SPAN("Unauthorized")},
        {402, SPAN("Payment Required")},
        {403, SPAN("Forbidden")},
        {404, SPAN("Not Found")},
        {405, SPAN("Method Not Allowed")},
        {406, SPAN("Not Acceptable")},
        {407, SPAN("Proxy Authentication Required")},
        {408, SPAN("Request Timeout")},
        {410, SPAN("Gone")},
        {412, SPAN("Conditional Request Failed")},
        {413, SPAN("Request Entity Too Large")},
        {414, SPAN("Request-URI Too Long")},
        {415, SPAN("Unsupported Media Type")},
        {416, SPAN("Unsupported URI Scheme")},
        {420, SPAN("Bad Extension")},
        {421, SPAN("Extension Required")},
        {422, SPAN("Session Interval Too Small")},
        {423, SPAN("Interval Too Brief")},
        {428, SPAN("Use Identity Header")},
        {429, SPAN("Provide Referrer Identity")},
        {433, SPAN("Anonymity Disallowed")},
        {440, SPAN("Max-Breadth Exceeded")},
        {480, SPAN("Temporarily Unavailable")},
        {481, SPAN("Call/Transaction Does Not Exist")},
        {482, SPAN("Loop Detected")},
        {483, SPAN("Too Many Hops")},
        {484, SPAN("Address Incomplete")},
        {485, SPAN("Ambiguous")},
        {486, SPAN("Busy Here")},
        {487, SPAN("Request Terminated")},
        {488, SPAN("Not Acceptable Here")},
        {489, SPAN("Bad Event")},
        {491, SPAN("Request Pending")},
        {493, SPAN("Undecipherable")},
        {494, SPAN("Security Agreement Required")},
        {500, SPAN("Server Internal Error")},
        {501, SPAN("Not Implemented")},
        {502, SPAN("Bad Gateway")},
        {503, SPAN("Service Unavailable")},
        {504, SPAN("Server Time-out")},
        {505, SPAN("Version Not Supported")},
        {513, SPAN("Message Too Large")},
        {580, SPAN("Precondition Failure")},
        {600, SPAN("Busy Everywhere")},
        {603, SPAN("Decline")},
        {604, SPAN("Does Not Exist Anywhere")},
        {606, SPAN("Not Acceptable")},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].status == status)
            return table[i].phrase;
    return SPAN("Unknown");
}

/* `Name: value` CRLF; nothing for an empty value. */
static void put_header(struct writer *writer, struct span name, struct span value)
{
    if (value.size == 0)
        return;
    writer_put(writer, name);
    writer_put_literal(writer, ": ");
    writer_put(writer, value);
    writer_put_literal(writer, "\r\n");
}

static void put_body(struct writer *writer, struct span body)
{
    writer_put_literal(writer, "Content-Length: ");
    writer_put_uint(writer, body.size);
    writer_put_literal(writer, "\r\n\r\n");
    writer_put(writer, body);
}

/* A header that says who we are. Returns where its value begins; 0 when there is none. */
static size_t put_product(struct writer *writer, struct span name, struct span value)
{
    put_header(writer, name, value);
    return value.size > 0 ? writer->used - value.size - 2 : 0;
}

/* Brings the message that begins at `start` to a multiple of `step` by blanks at `gap`: nobody
   needs what is said there, so nobody can stumble over them. What would become too long for a
   request over UDP stays as it is. */
static void widen(struct writer *writer, size_t start, size_t gap, size_t step)
{
    size_t size = writer->used - start;
    size_t more = step > 0 ? (step - size % step) % step : 0;
    if (writer->overflow || gap == 0 || more == 0 || more > writer->size - writer->used ||
        size + more > SIP_UDP_REQUEST_SIZE_MAX)
        return;
    memmove(writer->data + gap + more, writer->data + gap, writer->used - gap);
    memset(writer->data + gap, ' ', more);
    writer->used += more;
}

static void put_via(struct writer *writer, const struct sip_request_parts *parts)
{
    writer_put_literal(writer, "Via: SIP/2.0/");
    writer_put(writer, sip_transport_name(parts->transport));
    writer_put_literal(writer, " ");
    writer_put(writer, parts->sent_by);
    writer_put_literal(writer, ";branch=");
    writer_put(writer, parts->branch);
    if (parts->transport == SIP_TRANSPORT_UDP)
        writer_put_literal(writer, ";rport");
    if (parts->alias)
        writer_put_literal(writer, ";alias");
    writer_put_literal(writer, "\r\n");
}

void sip_write_request(struct writer *writer, const struct sip_request_parts *parts)
{
    struct span method = sip_method_text(parts->method);
    assert(parts->method != SIP_METHOD_UNKNOWN);
    assert(parts->body.size == 0 || parts->content_type.size > 0);
    assert(parts->max_forwards >= 0);
    size_t start = writer->used;

    writer_put(writer, method);
    writer_put_literal(writer, " ");
    writer_put(writer, parts->request_uri);
    writer_put_literal(writer, " SIP/2.0\r\n");
    put_via(writer, parts);
    writer_put_literal(writer, "Max-Forwards: ");
    writer_put_uint(writer, (uint64_t)parts->max_forwards);
    writer_put_literal(writer, "\r\n");
    put_header(writer, SPAN("Route"), parts->route);
    writer_put_literal(writer, "From: <");
    writer_put(writer, parts->from_uri);
    writer_put_literal(writer, ">;tag=");
    writer_put(writer, parts->from_tag);
    writer_put_literal(writer, "\r\nTo: <");
    writer_put(writer, parts->to_uri);
    writer_put_literal(writer, ">\r\n");
    put_header(writer, SPAN("Call-ID"), parts->call_id);
    writer_put_literal(writer, "CSeq: ");
    writer_put_uint(writer, parts->cseq);
    writer_put_literal(writer, " ");
    writer_put(writer, method);
    writer_put_literal(writer, "\r\n");
    put_header(writer, SPAN("Subject"), parts->subject);
    put_header(writer, SPAN("Date"), parts->date);
    size_t gap = put_product(writer, SPAN("User-Agent"), parts->user_agent);
    writer_put(writer, parts->extra);
    if (parts->body.size > 0) {
        put_header(writer, SPAN("Content-Type"), parts->content_type);
        put_header(writer, SPAN("Content-Language"), parts->content_language);
    }
    put_body(writer, parts->body);
    widen(writer, start, gap, parts->step);
}

/* The top Via with received and rport as RFC 3261 §18.2.1 and RFC 3581 §4 want them; every
   other byte stays. */
static void put_top_via(struct writer *writer, struct span text,
                        const struct sip_response_parts *parts)
{
    size_t comma = sip_line_until(text, SPAN(","));
    struct span value = span_to(text, comma), name, item;
    while (value.size > 0 && strchr(" \t\r\n", value.data[value.size - 1]) != NULL &&
           value.data[value.size - 1] != '\0')
        value.size--;
    struct span tail = span_from(text, value.size);
    struct span rest = span_from(value, span_find(value, ';'));

    writer_put(writer, span_to(value, value.size - rest.size));
    while (rest.size > 0) {
        struct span before = rest;
        if (!sip_line_parameter(&rest, &name, &item))
            break;
        if (parts->rport != 0 && span_equal_nocase(name, SPAN("rport"))) {
            writer_put_literal(writer, ";rport=");
            writer_put_uint(writer, parts->rport);
        } else if (parts->received.size == 0 || !span_equal_nocase(name, SPAN("received"))) {
            writer_put(writer, span_to(before, before.size - rest.size));
        }
    }
    writer_put(writer, rest);
    if (parts->received.size > 0) {
        writer_put_literal(writer, ";received=");
        writer_put(writer, parts->received);
    }
    writer_put(writer, tail);
}

/* A line as it is, with the tag added when there is one to add and the line has none. */
static void put_tagged(struct writer *writer, const struct sip_line *line, struct span tag)
{
    struct span uri, parameters, found;
    if (tag.size == 0 || line->text.size == 0 ||
        !sip_line_address(line->value, &uri, &parameters) ||
        sip_line_find(parameters, SPAN("tag"), &found)) {
        writer_put(writer, line->text);
        return;
    }
    size_t end = (size_t)(line->value.data + line->value.size - line->text.data);
    writer_put(writer, span_to(line->text, end));
    writer_put_literal(writer, ";tag=");
    writer_put(writer, tag);
    writer_put(writer, span_from(line->text, end));
}

/* The first of its name is the one that counts. */
static void keep_first(struct sip_line *kept, const struct sip_line *line)
{
    if (kept->text.size == 0)
        *kept = *line;
}

void sip_write_copied(struct writer *writer, struct span raw,
                      const struct sip_response_parts *parts)
{
    struct span rest = span_from(raw, span_find(raw, '\n') + 1);
    struct sip_line line, from = {0}, to = {0}, call_id = {0}, cseq = {0};
    bool top = true;

    while (sip_line_next(&rest, &line)) {
        switch ((unsigned)line.header) {
        case SIP_HEADER_VIA:
            if (top)
                put_top_via(writer, line.text, parts);
            else
                writer_put(writer, line.text);
            top = false;
            break;
        case SIP_HEADER_FROM: keep_first(&from, &line); break;
        case SIP_HEADER_TO: keep_first(&to, &line); break;
        case SIP_HEADER_CALL_ID: keep_first(&call_id, &line); break;
        case SIP_HEADER_CSEQ: keep_first(&cseq, &line); break;
        }
    }
    writer_put(writer, from.text);
    put_tagged(writer, &to, parts->to_tag);
    writer_put(writer, call_id.text);
    writer_put(writer, cseq.text);
}

static void put_status(struct writer *writer, const struct sip_response_parts *parts)
{
    assert(parts->status >= 100 && parts->status <= 699);
    writer_put_literal(writer, "SIP/2.0 ");
    writer_put_uint(writer, (uint64_t)parts->status);
    writer_put_literal(writer, " ");
    writer_put(writer,
               parts->reason.size > 0 ? parts->reason : sip_reason_phrase(parts->status));
    writer_put_literal(writer, "\r\n");
}

static void put_tail(struct writer *writer, const struct sip_response_parts *parts,
                     size_t start)
{
    size_t gap = put_product(writer, SPAN("Server"), parts->server);
    writer_put(writer, parts->extra);
    put_body(writer, SPAN_NONE);
    widen(writer, start, gap, parts->step);
}

void sip_write_answer(struct writer *writer, struct span copied,
                      const struct sip_response_parts *parts)
{
    size_t start = writer->used;
    put_status(writer, parts);
    writer_put(writer, copied);
    put_tail(writer, parts, start);
}

void sip_write_response(struct writer *writer, const struct sip_message *request,
                        const struct sip_response_parts *parts)
{
    struct sip_response_parts copied = *parts;
    if (parts->status == 100)
        copied.to_tag = SPAN_NONE;
    size_t start = writer->used;
    put_status(writer, parts);
    sip_write_copied(writer, request->raw, &copied);
    put_tail(writer, parts, start);
}

void sip_header_text(struct writer *writer, struct span text, size_t size)
{
    size_t used = 0;
    bool blank = true; /* drops leading blanks; several become one */

    while (text.size > 0) {
        uint32_t character = 0;
        size_t step = utf8_decode(text, &character);
        if (step == 0) {
            text = span_from(text, 1);
            continue;
        }
        /* Controls of both sets, and the line and paragraph separators. */
        bool space = character <= ' ' || (character >= 0x7f && character < 0xa0) ||
                     character == 0x2028 || character == 0x2029;
        size_t need = (space ? 0 : step) + (blank && !space && used > 0 ? 1u : 0u);
        if (used + need > size)
            return;
        if (!space) {
            if (blank && used > 0)
                writer_put_literal(writer, " ");
            writer_put(writer, span_to(text, step));
            used += need;
        }
        blank = space;
        text = span_from(text, step);
    }
}
