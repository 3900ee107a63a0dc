/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/sip_guard.h"

#include <assert.h>

#include "proto/scan.h"
#include "proto/sip_line.h"

_Static_assert(SIP_HEADER_COUNT <= 32, "one bit for each header");

/* List separators in one header section: lists of sofia-sip are not linear, and no honest
   message comes near. */
#define SEPARATOR_COUNT_MAX 1024

/* Where a stream without an empty line is given up. */
#define LINE_WALK_MAX (4 * SIP_HEADER_COUNT_MAX)

struct scan {
    struct sip_guard *out;
    enum sip_method method;
    uint32_t seen; /* bits of enum sip_header */
    size_t line_count, via_count, separator_count;
    uint64_t content_length;
};

/* The first fault names the answer; a later one may still make it fatal. */
static void fault(struct scan *scan, int status, struct span reason)
{
    if (scan->out->status != 0)
        return;
    scan->out->status = status;
    scan->out->reason = reason;
}

static void fault_fatal(struct scan *scan, int status, struct span reason)
{
    fault(scan, status, reason);
    scan->out->fatal = true;
}

/* "SIP" "/" 1*DIGIT "." 1*DIGIT (§7.1); true also for versions that are not ours. */
static bool is_version(struct span text)
{
    if (text.size < 7 || !span_equal_nocase(span_to(text, 4), SPAN("SIP/")))
        return false;
    text = span_from(text, 4);
    size_t dot = span_find(text, '.');
    uint64_t number;
    return dot < text.size && sip_line_uint(span_to(text, dot), UINT32_MAX, &number) &&
           sip_line_uint(span_from(text, dot + 1), UINT32_MAX, &number);
}

static void scan_status_line(struct scan *scan, struct span line)
{
    struct span code = span_from(line, 8);
    size_t blank = span_find(code, ' ');
    uint64_t status;

    if (!span_equal_nocase(span_to(line, 8), SPAN("SIP/2.0 ")))
        fault(scan, 505, SPAN("Version Not Supported"));
    else if (blank != 3 || !sip_line_uint(span_to(code, 3), 699, &status) || status < 100)
        fault(scan, 400, SPAN("Bad Status Code"));
}

static void scan_request_line(struct scan *scan, struct span line)
{
    size_t first = span_find(line, ' ');
    struct span rest = span_from(line, first + 1);
    size_t second = span_find(rest, ' ');
    struct span uri = span_to(rest, second), version = span_from(rest, second + 1);

    scan->method = sip_method_find(span_to(line, first));
    if (!sip_line_is_token(span_to(line, first)) || first == line.size || uri.size == 0)
        fault(scan, 400, SPAN("Bad Request-Line"));
    else if (span_find(uri, '<') < uri.size || span_find(uri, '\t') < uri.size)
        fault(scan, 400, SPAN("Bad Request-URI"));
    else if (uri.size > SIP_URI_SIZE_MAX)
        fault(scan, 414, SPAN("Request-URI Too Long"));
    else if (!is_version(version))
        fault(scan, 400, SPAN("Bad Request-Line"));
    else if (!span_equal_nocase(version, SPAN("SIP/2.0")))
        fault(scan, 505, SPAN("Version Not Supported"));
}

static void scan_length(struct scan *scan, struct span value)
{
    if (!sip_line_uint(value, UINT32_MAX, &scan->content_length))
        fault_fatal(scan, 400, SPAN("Bad Content-Length"));
    else if (scan->content_length > SIP_MESSAGE_SIZE_MAX)
        fault_fatal(scan, 413, SPAN("Request Entity Too Large"));
}

static bool has(const struct scan *scan, enum sip_header header)
{
    return (scan->seen >> header & 1) != 0;
}

static void scan_line(struct scan *scan, const struct sip_line *line)
{
    if (!sip_line_is_token(line->name)) {
        fault(scan, 400, SPAN("Bad Header"));
        return;
    }
    if (line->header == SIP_HEADER_VIA) {
        /* Commas inside quotes count too: the limit may be met a little early. */
        for (size_t at = 0; (at = scan_any(line->value, at, ",")) < line->value.size; at++)
            scan->via_count++;
        scan->via_count++;
    }
    if (has(scan, line->header) && line->header == SIP_HEADER_CONTENT_LENGTH)
        fault_fatal(scan, 400, SPAN("Repeated Content-Length"));
    else if (has(scan, line->header) && sip_header_is_single(line->header))
        fault(scan, 400, SPAN("Repeated Header"));
    else if (line->header == SIP_HEADER_CONTENT_LENGTH)
        scan_length(scan, line->value);
    scan->seen |= 1u << line->header;
}

/* What needs a second look. */
static const bool is_special[256] = {
    [0 ... 8] = true, ['\n'] = true, [0x0b ... 0x1f] = true,
    [0x7f] = true,    [','] = true,  [';'] = true,
};

typedef unsigned char block __attribute__((vector_size(16)));

static block load(const char *data)
{
    block bytes;
    memcpy(&bytes, data, sizeof(bytes));
    return bytes;
}

static bool is_any(block hits)
{
    uint64_t halves[2];
    memcpy(halves, &hits, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

static size_t sum(block counts)
{
    size_t all = 0;
    for (size_t i = 0; i < sizeof(counts); i++)
        all += counts[i];
    return all;
}

/* Where the empty line ends; 0 when there is none. */
static size_t find_empty_line(struct span text)
{
    size_t i = 0;
    for (; i + sizeof(block) + 3 <= text.size; i += sizeof(block)) {
        const char *at = text.data + i;
        block hits = (block)(load(at) == '\r') & (block)(load(at + 1) == '\n') &
                     (block)(load(at + 2) == '\r') & (block)(load(at + 3) == '\n');
        if (is_any(hits))
            break;
    }
    const char *end = memmem(text.data + i, text.size - i, "\r\n\r\n", 4);
    return end != NULL ? (size_t)(end - text.data) + 4 : 0;
}

/* The usual head: lines end in CRLF, and of control characters there is TAB. False for any
   other, which wants a closer look. The last bytes are left to it too, from *from on. */
static bool scan_blocks(struct scan *scan, struct span head, size_t *from)
{
    size_t i = 0;
    while (i + sizeof(block) < head.size) {
        block lines = {0}, separators = {0}, odd = {0};
        /* A byte of the counts holds 255. */
        for (size_t n = 0; n < 255 && i + sizeof(block) < head.size; n++, i += sizeof(block)) {
            block bytes = load(head.data + i), next = load(head.data + i + 1);
            block cr = (block)(bytes == '\r'), lf = (block)(bytes == '\n');
            odd |= cr ^ (block)(next == '\n');
            odd |= (block)(bytes < ' ') & ~cr & ~lf & ~(block)(bytes == '\t');
            odd |= (block)(bytes == 0x7f);
            lines -= cr;
            separators -= (block)(bytes == ',') | (block)(bytes == ';');
        }
        if (is_any(odd))
            return false;
        scan->line_count += sum(lines);
        scan->separator_count += sum(separators);
    }
    /* Not within a line end. */
    *from = i > 0 && head.data[i - 1] == '\r' ? i + 1 : i;
    return head.data[0] != '\n';
}

/* Line ends, separators and control characters of the whole head in one pass. Of controls only
   TAB has a place in it. An unknown method with some in a quoted string is legal all the same
   (RFC 4475 §3.1.1.2) and learns that the method is the first thing we do not understand (RFC
   3261 §8.2.1). */
static void scan_bytes(struct scan *scan, struct span head)
{
    size_t start = 0;
    if (!scan_blocks(scan, head, &start))
        scan->line_count = scan->separator_count = start = 0;
    for (size_t i = start; i < head.size; i++) {
        unsigned char c = (unsigned char)head.data[i];
        if (!is_special[c])
            continue;
        if (c == ',' || c == ';') {
            scan->separator_count++;
        } else if (c == '\r' && i + 1 < head.size && head.data[i + 1] == '\n') {
            scan->line_count++;
            i++;
        } else if (c == '\r' || c == '\n') {
            fault_fatal(scan, 400, SPAN("Bad Line End"));
            return;
        } else if (scan->out->is_request && scan->method == SIP_METHOD_UNKNOWN) {
            fault(scan, 501, SPAN("Not Implemented"));
        } else {
            fault(scan, 400, SPAN("Control Character"));
        }
    }
    assert(scan->line_count >= 2);
    scan->line_count -= 2; /* the start line and the empty one */
}

static void scan_limits(struct scan *scan)
{
    if (scan->line_count > SIP_HEADER_COUNT_MAX || scan->via_count > SIP_VIA_COUNT_MAX ||
        scan->separator_count > SEPARATOR_COUNT_MAX)
        fault(scan, 400, SPAN("Too Many Headers"));
    if (scan->via_count == 0 || !has(scan, SIP_HEADER_FROM) || !has(scan, SIP_HEADER_TO) ||
        !has(scan, SIP_HEADER_CALL_ID) || !has(scan, SIP_HEADER_CSEQ))
        fault(scan, 400, SPAN("Missing Header"));
}

/* `head` is start line to empty line. */
static void scan_head(struct scan *scan, struct span head)
{
    struct span rest = head;
    size_t end = span_find(head, '\n');
    struct span start = span_to(head, end);
    struct sip_line line;

    if (start.size > 0 && start.data[start.size - 1] == '\r')
        start.size--;
    scan->out->is_request = !span_equal_nocase(span_to(start, 4), SPAN("SIP/"));
    if (scan->out->is_request)
        scan_request_line(scan, start);
    else
        scan_status_line(scan, start);
    scan_bytes(scan, head);
    if (scan->out->fatal)
        return;

    rest = span_from(head, end + 1);
    if (rest.data[0] == ' ' || rest.data[0] == '\t')
        fault(scan, 400, SPAN("Bad Request-Line"));
    while (sip_line_next(&rest, &line)) {
        scan_line(scan, &line);
        /* What is over the limit is not looked at, but the length must be known. */
    }
    scan_limits(scan);
}

static enum sip_guard_result verdict(const struct sip_guard *out)
{
    if (out->status == 0)
        return SIP_GUARD_OK;
    return out->is_request ? SIP_GUARD_REJECT : SIP_GUARD_DROP;
}

static enum sip_guard_result refuse(struct sip_guard *out, struct span text, int status,
                                    struct span reason)
{
    out->is_request = !span_equal_nocase(span_to(text, 4), SPAN("SIP/"));
    out->size = text.size;
    out->fatal = true;
    out->status = status;
    out->reason = reason;
    return verdict(out);
}

enum sip_guard_result sip_guard_datagram(struct span datagram, struct sip_guard *out)
{
    *out = (struct sip_guard){.size = 0};
    while (datagram.size >= 2 && datagram.data[0] == '\r' && datagram.data[1] == '\n') {
        datagram = span_from(datagram, 2);
        out->skipped += 2;
    }
    if (datagram.size == 0) {
        out->reason = SPAN("Empty Datagram");
        return SIP_GUARD_DROP;
    }
    if (datagram.size > SIP_DATAGRAM_SIZE_MAX)
        return refuse(out, datagram, 513, SPAN("Message Too Large"));
    size_t head_size = find_empty_line(datagram);
    if (head_size == 0)
        return refuse(out, datagram, 400, SPAN("Header Section Has No End"));

    struct scan scan = {.out = out};
    out->header_size = head_size;
    scan_head(&scan, span_to(datagram, out->header_size));
    size_t body_size = datagram.size - out->header_size;
    if (has(&scan, SIP_HEADER_CONTENT_LENGTH) && out->status == 0) {
        if (scan.content_length > body_size)
            fault(&scan, 400, SPAN("Body Shorter Than Content-Length"));
        else
            body_size = (size_t)scan.content_length;
    }
    out->size = out->header_size + body_size;
    assert(out->size <= datagram.size);
    return verdict(out);
}

/* The start of the stream: keep-alives and stray line ends (RFC 3261 §7.5). True when a start
   line begins at out->skipped. */
static bool skip_line_ends(struct span buffer, struct sip_guard *out,
                           enum sip_guard_result *result)
{
    if (span_starts(buffer, SPAN("\r\n\r\n"))) {
        out->size = 4;
        *result = SIP_GUARD_PING;
        return false;
    }
    if (span_starts(buffer, SPAN("\r\n")))
        out->skipped = 2;
    *result = SIP_GUARD_MORE;
    return buffer.size > out->skipped &&
           !(buffer.data[out->skipped] == '\r' && buffer.size == out->skipped + 1);
}

/* Finds the end of the empty line; 0 when it is not there yet, SIZE_MAX at a line that ends in
   a bare LF or when there are far too many lines. Always from the start: where the empty line
   was found before, the body behind it may hold empty lines of its own. */
static size_t head_end(struct span text)
{
    size_t at = 0;
    for (size_t count = 0; count < LINE_WALK_MAX; count++) {
        size_t line = at + span_find(span_from(text, at), '\n');
        if (line >= text.size)
            return 0;
        if (line == 0 || text.data[line - 1] != '\r')
            return SIZE_MAX;
        if (line >= 3 && text.data[line - 2] == '\n')
            return line + 1;
        at = line + 1;
    }
    return SIZE_MAX;
}

enum sip_guard_result sip_guard_stream(struct span buffer, size_t from, struct sip_guard *out)
{
    enum sip_guard_result result;
    *out = (struct sip_guard){.size = 0};
    if (!skip_line_ends(buffer, out, &result))
        return result;

    struct span text = span_from(buffer, out->skipped);
    if (text.data[0] == '\r' || text.data[0] == '\n')
        return refuse(out, text, 400, SPAN("Bad Line End"));
    if (buffer.size < from) {
        out->size = from;
        return SIP_GUARD_MORE;
    }
    size_t end = head_end(text);
    if (end == SIZE_MAX)
        return refuse(out, text, 400, SPAN("Bad Line End or Too Many Lines"));
    if (end > SIP_MESSAGE_SIZE_MAX || (end == 0 && text.size > SIP_MESSAGE_SIZE_MAX))
        return refuse(out, text, 513, SPAN("Message Too Large"));
    if (end == 0)
        return SIP_GUARD_MORE;

    struct scan scan = {.out = out};
    out->header_size = end;
    scan_head(&scan, span_to(text, end));
    if (!out->fatal && !has(&scan, SIP_HEADER_CONTENT_LENGTH))
        fault_fatal(&scan, 400, SPAN("Missing Content-Length"));
    out->size = end;
    if (out->fatal)
        return verdict(out);
    out->size = end + (size_t)scan.content_length;
    if (out->size > SIP_MESSAGE_SIZE_MAX) {
        fault_fatal(&scan, 513, SPAN("Message Too Large"));
        return verdict(out);
    }
    return out->size > text.size ? SIP_GUARD_MORE : verdict(out);
}

/* sdp_parse never ends on a format list with a byte that is no token character; what it takes
   for the format list begins wherever the words before it stop to be what it expects. So all
   words are tokens, but for the slash in the second (port) and third (protocol). */
static bool media_line_legal(struct span line)
{
    size_t word = 0;
    char previous = ' ';
    for (size_t i = 2; i < line.size; i++) {
        char c = line.data[i];
        bool digit = c >= '0' && c <= '9';
        bool token = digit || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                     c == '.' || c == '_' || c == '+' || c == '*';
        bool inside = word == 1 ? digit : token;
        bool divider = c == ' ' || (c == '/' && (word == 1 || word == 2));
        /* No word and no part of one is empty. */
        if (!inside && (!divider || previous == ' ' || previous == '/'))
            return false;
        word += c == ' ';
        previous = c;
    }
    return word >= 3 && previous != ' ';
}

bool sip_guard_sdp(struct span body)
{
    for (size_t i = 0; i < body.size; i++) {
        unsigned char c = (unsigned char)body.data[i];
        if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
            return false;
    }
    /* CR is a line end to sofia-sip too. */
    while (body.size > 0) {
        size_t lf = span_find(body, '\n'), cr = span_find(body, '\r');
        size_t end = lf < cr ? lf : cr;
        struct span line = span_to(body, end);
        /* Nor may blanks hide a media line: RFC 8866 §5 has a letter and "=" first. */
        bool typed =
            line.size >= 2 && line.data[0] >= 'a' && line.data[0] <= 'z' && line.data[1] == '=';
        if (line.size > 0 && !typed)
            return false;
        if (typed && line.data[0] == 'm' && !media_line_legal(line))
            return false;
        body = span_from(body, end + 1);
    }
    return true;
}

struct span sip_guard_header(struct span message, enum sip_header header)
{
    struct span rest = span_from(message, span_find(message, '\n') + 1);
    struct sip_line line;
    while (sip_line_next(&rest, &line))
        if (line.header == header)
            return line.value;
    return SPAN_NONE;
}
