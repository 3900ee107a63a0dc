/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/writer.h"

#include "proto/scan.h"

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
    if (writer->overflow || size > (writer->size - writer->used) / 2) {
        writer->overflow = true;
        return;
    }
    char *out = writer->data + writer->used;
    for (size_t i = 0; i < size; i++) {
        *out++ = digits[byte[i] >> 4];
        *out++ = digits[byte[i] & 15];
    }
    writer->used += 2 * size;
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

/* Copies the runs between two characters that need escaping in one go. */
static inline __attribute__((always_inline)) void
put_escaped(struct writer *writer, struct span text, const char *special)
{
    size_t start = 0;
    for (;;) {
        size_t end = scan_any(text, start, special);
        writer_put(writer, span_make(text.data + start, end - start));
        if (end == text.size)
            return;
        writer_put(writer, escape(text.data[end]));
        start = end + 1;
    }
}

void writer_put_xml_text(struct writer *writer, struct span text)
{
    put_escaped(writer, text, "&<>\r");
}

void writer_put_xml_attribute(struct writer *writer, struct span text)
{
    put_escaped(writer, text, "&<>\r\"'\t\n");
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
