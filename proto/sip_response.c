/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fast path of sip_message.h: what a client transaction needs of a response. */
#include "proto/sip_line.h"

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

static bool read_to(struct span value, struct sip_message *message)
{
    struct span uri, parameters;
    if (!sip_line_address(value, &uri, &parameters))
        return false;
    (void)sip_line_find(parameters, SPAN("tag"), &message->to_tag);
    return true;
}

static void read_contact(struct span value, struct sip_message *message)
{
    struct span uri, parameters;
    size_t comma = sip_line_until(value, SPAN(","));
    if (comma != SIZE_MAX && message->contact.size == 0 &&
        sip_line_address(span_to(value, comma), &uri, &parameters))
        message->contact = uri;
}

static bool read_line(const struct sip_line *line, struct sip_message *message)
{
    switch ((unsigned)line->header) {
    case SIP_HEADER_VIA: return read_vias(line->value, message);
    case SIP_HEADER_TO: return read_to(line->value, message);
    case SIP_HEADER_CSEQ:
        return sip_line_cseq(line->value, &message->cseq, &message->cseq_method);
    case SIP_HEADER_CALL_ID: message->call_id = line->value; break;
    case SIP_HEADER_RETRY_AFTER:
        message->retry_after = sip_line_retry_after(line->value);
        break;
    case SIP_HEADER_CONTACT: read_contact(line->value, message); break;
    }
    return true;
}

enum sip_parse_result sip_message_parse_response(struct span raw, struct sip_message *message)
{
    *message = (struct sip_message){.raw = raw, .max_forwards = -1, .retry_after = -1};
    size_t end = span_find(raw, '\n');
    struct span start = span_trim(span_to(raw, end));
    struct span rest = span_from(raw, end + 1);
    struct sip_line line;
    uint64_t status;

    if (!span_equal_nocase(span_to(start, 8), SPAN("SIP/2.0 ")) ||
        !sip_line_uint(span_to(span_from(start, 8), 3), 699, &status) || status < 100)
        return SIP_PARSE_DROP;
    message->status = (int)status;
    message->reason = span_trim(span_from(start, 11));
    while (sip_line_next(&rest, &line))
        if (!read_line(&line, message))
            return SIP_PARSE_DROP;
    message->method_name = message->cseq_method;
    message->method = sip_method_find(message->cseq_method);
    bool complete =
        message->via_count == 1 && message->call_id.size > 0 && message->cseq_method.size > 0;
    return complete ? SIP_PARSE_OK : SIP_PARSE_DROP;
}
