/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A span is a view of bytes that somebody else owns; it is not NUL-terminated. The empty span
 * has size 0 and any pointer; "absent" is data == NULL. Pure functions, any thread.
 */
#ifndef PASSERELLE_PROTO_SPAN_H
#define PASSERELLE_PROTO_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))

struct span {
    const char *data;
    size_t size;
};

#define SPAN_NONE ((struct span){NULL, 0})
/* A span over a string literal, usable in constant expressions. */
#define SPAN(literal) ((struct span){"" literal, sizeof(literal) - 1})

static inline struct span span_make(const void *data, size_t size)
{
    return (struct span){(const char *)data, size};
}

static inline struct span span_of(const char *text)
{
    return (struct span){text, text != NULL ? strlen(text) : 0};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ASCII case-insensitive. */
static inline bool span_equal_nocase(struct span a, struct span b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++) {
        unsigned char x = (unsigned char)a.data[i], y = (unsigned char)b.data[i];
        if (x >= 'A' && x <= 'Z')
            x = (unsigned char)(x + 32);
        if (y >= 'A' && y <= 'Z')
            y = (unsigned char)(y + 32);
        if (x != y)
            return false;
    }
    return true;
}

/* Offset of the first `byte` in `text`, or text.size when there is none. */
static inline size_t span_find(struct span text, char byte)
{
    const char *hit = text.size > 0 ? memchr(text.data, byte, text.size) : NULL;
    return hit != NULL ? (size_t)(hit - text.data) : text.size;
}

/* The part from `start` (clamped) to the end. */
static inline struct span span_from(struct span text, size_t start)
{
    if (start > text.size)
        start = text.size;
    return (struct span){text.data + start, text.size - start};
}

/* The first `size` (clamped) bytes. */
static inline struct span span_to(struct span text, size_t size)
{
    return (struct span){text.data, size < text.size ? size : text.size};
}

static inline bool span_starts(struct span text, struct span prefix)
{
    return text.size >= prefix.size &&
           (prefix.size == 0 || memcmp(text.data, prefix.data, prefix.size) == 0);
}

static inline bool span_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Strips spaces, tabs, CR and LF from both ends. */
static inline struct span span_trim(struct span text)
{
    while (text.size > 0 && span_is_blank(text.data[0]))
        text = span_from(text, 1);
    while (text.size > 0 && span_is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}

#endif
