/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/mime.h"

#include <assert.h>

bool mime_take_line(struct span *text, struct span *line)
{
    size_t end = span_find(*text, '\n');
    if (end == text->size || end == 0 || text->data[end - 1] != '\r')
        return false;
    *line = span_to(*text, end - 1);
    *text = span_from(*text, end + 1);
    return true;
}

/* Takes one header with its folded lines (RFC 5322 §2.2.3) off *text. */
static bool take_folded_line(struct span *text, struct span *line)
{
    if (!mime_take_line(text, line))
        return false;
    for (size_t i = 0; line->size > 0 && i < MIME_HEADER_COUNT_MAX; i++) {
        struct span more = SPAN_NONE;
        if (text->size == 0 || (text->data[0] != ' ' && text->data[0] != '\t'))
            return true;
        if (!mime_take_line(text, &more))
            return false;
        line->size = (size_t)(more.data + more.size - line->data);
    }
    return true;
}

/* Value of a parameter of a header (RFC 2045 §5.1), unquoted; empty when absent. */
static struct span find_parameter(struct span value, struct span name)
{
    while (value.size > 0) {
        value = span_from(value, span_find(value, ';') + 1);
        struct span parameter = span_to(value, span_find(value, ';'));
        size_t equals = span_find(parameter, '=');
        if (!span_equal_nocase(span_trim(span_to(parameter, equals)), name))
            continue;
        struct span found = span_trim(span_from(parameter, equals + 1));
        if (found.size >= 2 && found.data[0] == '"' && found.data[found.size - 1] == '"')
            found = span_make(found.data + 1, found.size - 2);
        return found;
    }
    return SPAN_NONE;
}

static bool read_header(struct span line, struct mime_part *part)
{
    size_t colon = span_find(line, ':');
    if (colon == line.size || colon == 0)
        return false;
    struct span name = span_trim(span_to(line, colon));
    struct span value = span_trim(span_from(line, colon + 1));
    if (span_equal_nocase(name, SPAN("Content-Type"))) {
        if (part->type.size > 0)
            return false;
        part->type = span_trim(span_to(value, span_find(value, ';')));
        part->charset = find_parameter(value, SPAN("charset"));
    } else if (span_equal_nocase(name, SPAN("Content-Encoding"))) {
        part->content_encoding = value;
    } else if (span_equal_nocase(name, SPAN("Content-Transfer-Encoding"))) {
        part->transfer_encoding = value;
    }
    return true;
}

bool mime_read_part(struct span text, struct mime_part *part)
{
    *part = (struct mime_part){.type = SPAN_NONE};
    for (size_t count = 0; count <= MIME_HEADER_COUNT_MAX; count++) {
        struct span line = SPAN_NONE;
        if (!take_folded_line(&text, &line))
            return false;
        part->body = text;
        if (line.size == 0)
            return true;
        if (!read_header(line, part))
            return false;
    }
    return false;
}

bool mime_multipart_open(struct mime_multipart *multipart, struct span body)
{
    *multipart = (struct mime_multipart){.rest = body};
    struct span line = SPAN_NONE;
    if (!mime_take_line(&multipart->rest, &line) || !span_starts(line, SPAN("--")))
        return false;
    line = span_trim(line); /* transport padding, RFC 2046 §5.1.1 */
    multipart->delimiter = line;
    /* RFC 2046 §5.1.1: 1 to 70 characters, so that looking for it costs little a line. */
    return line.size > 2 && line.size <= 72;
}

enum mime_next mime_multipart_next(struct mime_multipart *multipart, struct mime_part *part)
{
    assert(multipart->delimiter.size > 2);
    if (multipart->rest.data == NULL)
        return MIME_NEXT_END;
    if (multipart->count == MIME_PART_COUNT_MAX)
        return MIME_NEXT_MALFORMED;
    struct span rest = multipart->rest;
    const char *start = rest.data;
    while (!span_starts(rest, multipart->delimiter)) {
        struct span line = SPAN_NONE;
        if (!mime_take_line(&rest, &line))
            return MIME_NEXT_MALFORMED;
    }
    /* The CRLF before a delimiter belongs to it; a part without even that is malformed. */
    if (rest.data - start < 2)
        return MIME_NEXT_MALFORMED;
    struct span text = span_make(start, (size_t)(rest.data - start) - 2);
    rest = span_from(rest, multipart->delimiter.size);
    struct span line = SPAN_NONE;
    if (span_starts(rest, SPAN("--")))
        rest = SPAN_NONE;
    else if (!mime_take_line(&rest, &line) || span_trim(line).size > 0)
        return MIME_NEXT_MALFORMED;
    multipart->rest = rest;
    multipart->count++;
    return mime_read_part(text, part) ? MIME_NEXT_PART : MIME_NEXT_MALFORMED;
}
