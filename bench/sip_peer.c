/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/sip_peer.h"

#include "proto/sip_guard.h"

/* Lines that a response repeats (RFC 3261 §8.2.6.2). */
static bool sip_peer_is_copied(struct span line)
{
    static const struct span names[] = {SPAN("Via:"), SPAN("From:"), SPAN("To:"),
                                        SPAN("Call-ID:"), SPAN("CSeq:")};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (span_equal_nocase(span_to(line, names[i].size), names[i]))
            return true;
    }
    return false;
}

bool sip_peer_digits(struct span text, uint32_t *number)
{
    size_t i = 0;
    uint64_t value = 0;
    for (; i < text.size && i < 10 && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    *number = (uint32_t)value;
    return i > 0 && value <= UINT32_MAX;
}

/* The relay writes its header fields in one way; other peers may have others. */
static bool sip_peer_length(struct span head, uint32_t *length)
{
    const char *hit = memmem(head.data, head.size, "\nContent-Length: ", 17);
    if (hit != NULL)
        return sip_peer_digits(span_from(head, (size_t)(hit - head.data) + 17), length);
    return sip_peer_digits(sip_guard_header(head, SIP_HEADER_CONTENT_LENGTH), length);
}

size_t sip_peer_frame(struct span buffer)
{
    size_t blank = 0;
    uint32_t length = 0;
    while (blank < buffer.size && (buffer.data[blank] == '\r' || buffer.data[blank] == '\n'))
        blank++;
    if (blank > 0)
        return blank;
    const char *end = memmem(buffer.data, buffer.size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - buffer.data) + 4;
    if (!sip_peer_length(span_to(buffer, head), &length))
        length = 0;
    return buffer.size - head >= length ? head + length : 0;
}

bool sip_peer_answer(struct span request, struct span status, struct writer *out)
{
    if (span_starts(request, SPAN("SIP/2.0")))
        return false;
    writer_put_literal(out, "SIP/2.0 ");
    writer_put(out, status);
    writer_put_literal(out, "\r\n");
    struct span rest = span_from(request, span_find(request, '\n') + 1);
    while (rest.size > 0) {
        struct span line = span_trim(span_to(rest, span_find(rest, '\n')));
        if (line.size == 0)
            break;
        if (sip_peer_is_copied(line)) {
            writer_put(out, line);
            if (span_equal_nocase(span_to(line, 3), SPAN("To:")))
                writer_put_literal(out, ";tag=bench");
            writer_put_literal(out, "\r\n");
        }
        rest = span_from(rest, span_find(rest, '\n') + 1);
    }
    writer_put_literal(out, "Content-Length: 0\r\n\r\n");
    return !out->overflow;
}

static void sip_peer_name(struct writer *out, const struct sip_peer_message *message)
{
    writer_put_uint(out, message->run);
    writer_put_char(out, '.');
    writer_put_uint(out, message->number);
}

void sip_peer_message(struct writer *out, const struct sip_peer_message *message)
{
    writer_put_literal(out, "MESSAGE sip:u");
    writer_put_uint(out, message->user);
    writer_put_char(out, '@');
    writer_put(out, message->to_domain);
    writer_put_literal(out, " SIP/2.0\r\nVia: SIP/2.0/");
    writer_put(out, message->transport);
    writer_put_char(out, ' ');
    writer_put(out, message->sent_by);
    writer_put_literal(out, ";rport;branch=z9hG4bKb");
    sip_peer_name(out, message);
    writer_put_literal(out, "\r\nMax-Forwards: 70\r\nFrom: <sip:u");
    writer_put_uint(out, message->user);
    writer_put_char(out, '@');
    writer_put(out, message->from_domain);
    writer_put_literal(out, ">;tag=t");
    sip_peer_name(out, message);
    writer_put_literal(out, "\r\nTo: <sip:u");
    writer_put_uint(out, message->user);
    writer_put_char(out, '@');
    writer_put(out, message->to_domain);
    writer_put_literal(out, ">\r\nCall-ID: c");
    sip_peer_name(out, message);
    writer_put_literal(out, "@bench\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n"
                            "Content-Length: ");
    writer_put_uint(out, message->body.size);
    writer_put_literal(out, "\r\n\r\n");
    writer_put(out, message->body);
}

int sip_peer_response(struct span message, uint32_t *number)
{
    if (!span_starts(message, SPAN("SIP/2.0 ")) || message.size < 12)
        return 0;
    uint32_t status;
    struct span via = sip_guard_header(message, SIP_HEADER_VIA);
    const char *mark = via.size > 0 ? memmem(via.data, via.size, "branch=z9hG4bKb", 15) : NULL;
    if (!sip_peer_digits(span_from(message, 8), &status) || mark == NULL)
        return 0;
    struct span name = span_from(via, (size_t)(mark - via.data) + 15);
    struct span digits = span_from(name, span_find(name, '.') + 1);
    return sip_peer_digits(digits, number) && status >= 200 ? (int)status : 0;
}

struct span sip_peer_body(struct span request)
{
    const char *end = memmem(request.data, request.size, "\r\n\r\n", 4);
    if (!span_starts(request, SPAN("MESSAGE ")) || end == NULL)
        return SPAN_NONE;
    return span_from(request, (size_t)(end - request.data) + 4);
}

uint32_t sip_peer_mark(struct span request)
{
    uint32_t hash = 2166136261u;
    const char *via = memmem(request.data, request.size, "\nVia:", 5);
    struct span line = span_from(request, via != NULL ? (size_t)(via - request.data) + 1 : 0);
    line = span_to(line, span_find(line, '\n'));
    for (size_t i = 0; i < line.size; i++)
        hash = (hash ^ (unsigned char)line.data[i]) * 16777619u;
    return hash != 0 ? hash : 1;
}

bool sip_peer_number(struct span text, uint32_t *number)
{
    return text.size > 1 && text.data[0] == '#' && sip_peer_digits(span_from(text, 1), number);
}
