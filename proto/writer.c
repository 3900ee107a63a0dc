/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/writer.h"

void writer_put_uint(struct writer *writer, uint64_t value)
{
    char digits[20];
    size_t start = sizeof digits;
    do {
        digits[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    writer_put(writer, span_make(digits + start, sizeof digits - start));
}

void writer_put_hex(struct writer *writer, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < size; i++) {
        char pair[2] = {digits[byte[i] >> 4], digits[byte[i] & 15]};
        writer_put(writer, span_make(pair, sizeof pair));
    }
}

static struct span escape(char c)
{
    switch (c) {
    case '&': return SPAN("&amp;");
    case '<': return SPAN("&lt;");
    case '>': return SPAN("&gt;");
    case '"': return SPAN("&quot;");
    case '\'': return SPAN("&apos;");
    case '\t': return SPAN("&#9;");
    case '\n': return SPAN("&#10;");
    case '\r': return SPAN("&#13;");
    default: return SPAN_NONE;
    }
}

/* Which of the two contexts escape a byte. */
enum escape_where { IN_TEXT = 1, IN_ATTRIBUTE = 2 };

static const unsigned char escaped_where[256] = {
    ['&'] = IN_TEXT | IN_ATTRIBUTE,  ['<'] = IN_TEXT | IN_ATTRIBUTE,
    ['>'] = IN_TEXT | IN_ATTRIBUTE,  ['\r'] = IN_TEXT | IN_ATTRIBUTE,
    ['"'] = IN_ATTRIBUTE,            ['\''] = IN_ATTRIBUTE,
    ['\t'] = IN_ATTRIBUTE,           ['\n'] = IN_ATTRIBUTE,
};

/* Copies the runs between two characters that need escaping in one go. */
static void put_escaped(struct writer *writer, struct span text, enum escape_where where)
{
    size_t start = 0;
    for (size_t i = 0; i < text.size; i++) {
        if ((escaped_where[(unsigned char)text.data[i]] & where) == 0)
            continue;
        writer_put(writer, span_make(text.data + start, i - start));
        writer_put(writer, escape(text.data[i]));
        start = i + 1;
    }
    writer_put(writer, span_from(text, start));
}

void writer_put_xml_text(struct writer *writer, struct span text)
{
    put_escaped(writer, text, IN_TEXT);
}

void writer_put_xml_attribute(struct writer *writer, struct span text)
{
    put_escaped(writer, text, IN_ATTRIBUTE);
}

void writer_put_attribute(struct writer *writer, struct span name, struct span value)
{
    if (value.data == NULL)
        return;
    writer_put_char(writer, ' ');
    writer_put(writer, name);
    writer_put_literal(writer, "='");
    writer_put_xml_attribute(writer, value);
    writer_put_char(writer, '\'');
}
