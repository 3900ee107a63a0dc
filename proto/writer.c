/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/writer.h"

#include <assert.h>

void writer_put(struct writer *writer, struct span text)
{
    assert(writer->used <= writer->size);
    if (writer->overflow || text.size > writer->size - writer->used) {
        writer->overflow = true;
        return;
    }
    if (text.size > 0)
        memcpy(writer->data + writer->used, text.data, text.size);
    writer->used += text.size;
}

void writer_put_char(struct writer *writer, char c)
{
    writer_put(writer, (struct span){&c, 1});
}

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

static struct span escape_text(char c)
{
    switch (c) {
    case '&': return SPAN("&amp;");
    case '<': return SPAN("&lt;");
    case '>': return SPAN("&gt;");
    case '\r': return SPAN("&#13;");
    default: return SPAN_NONE;
    }
}

static struct span escape_attribute(char c)
{
    switch (c) {
    case '"': return SPAN("&quot;");
    case '\'': return SPAN("&apos;");
    case '\t': return SPAN("&#9;");
    case '\n': return SPAN("&#10;");
    default: return escape_text(c);
    }
}

/* Copies the runs between two characters that need escaping in one go. */
static void put_escaped(struct writer *writer, struct span text, struct span (*escape)(char))
{
    size_t start = 0;
    for (size_t i = 0; i < text.size && !writer->overflow; i++) {
        struct span escaped = escape(text.data[i]);
        if (escaped.size == 0)
            continue;
        writer_put(writer, span_make(text.data + start, i - start));
        writer_put(writer, escaped);
        start = i + 1;
    }
    writer_put(writer, span_from(text, start));
}

void writer_put_xml_text(struct writer *writer, struct span text)
{
    put_escaped(writer, text, escape_text);
}

void writer_put_xml_attribute(struct writer *writer, struct span text)
{
    put_escaped(writer, text, escape_attribute);
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
