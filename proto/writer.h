/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A bounded writer over memory of the caller. Once something does not fit, `overflow` is set,
 * nothing more is written and the caller checks once at the end. The one place that escapes
 * XML: nothing is ever put into XML by another way. Pure, any thread.
 */
#ifndef PASSERELLE_PROTO_WRITER_H
#define PASSERELLE_PROTO_WRITER_H

#include "proto/span.h"

struct writer {
    char *data;
    size_t size; /* capacity */
    size_t used;
    bool overflow;
};

static inline struct writer writer_make(void *data, size_t size)
{
    return (struct writer){(char *)data, size, 0, false};
}

static inline struct span writer_span(const struct writer *writer)
{
    return (struct span){writer->data, writer->used};
}

/* What was written since `start` (an earlier `used`). */
static inline struct span writer_since(const struct writer *writer, size_t start)
{
    return (struct span){writer->data + start, writer->used - start};
}

static inline void writer_put(struct writer *writer, struct span text)
{
    if (writer->overflow || text.size > writer->size - writer->used) {
        writer->overflow = true;
        return;
    }
    if (text.size > 0)
        memcpy(writer->data + writer->used, text.data, text.size);
    writer->used += text.size;
}

static inline void writer_put_char(struct writer *writer, char c)
{
    writer_put(writer, (struct span){&c, 1});
}

void writer_put_uint(struct writer *writer, uint64_t value);
/* Lower-case hex, two digits a byte. */
void writer_put_hex(struct writer *writer, const void *bytes, size_t size);
/* Text content: & < > escaped; CR as &#13; (else XML normalises it away). */
void writer_put_xml_text(struct writer *writer, struct span text);
/* Attribute value (without its quotes): & < > " ' escaped, TAB LF CR as character
   references. */
void writer_put_xml_attribute(struct writer *writer, struct span text);
/* ` name='value'`; nothing when value.data is NULL. */
void writer_put_attribute(struct writer *writer, struct span name, struct span value);
#define writer_put_literal(writer, literal) writer_put((writer), SPAN(literal))

#endif
