/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/utf8.h"

#include <assert.h>

#define CHARACTER_MAX 0x10FFFF

static bool is_surrogate(uint32_t character)
{
    return character >= 0xD800 && character <= 0xDFFF;
}

/* The length a lead byte announces and the least character of that length (RFC 3629 §3);
   0 for a byte that cannot lead. */
static size_t lead_length(unsigned char lead, uint32_t *least)
{
    *least = 0;
    if (lead < 0x80)
        return 1;
    *least = 0x80;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    *least = 0x800;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    *least = 0x10000;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

size_t utf8_decode(struct span text, uint32_t *character)
{
    if (text.size == 0)
        return 0;
    const unsigned char *byte = (const unsigned char *)text.data;
    uint32_t least;
    size_t size = lead_length(byte[0], &least);
    if (size == 0 || size > text.size)
        return 0;
    uint32_t value = size == 1 ? byte[0] : byte[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (byte[i] & 0x3F);
    }
    /* Overlong forms, surrogates and what lies past the last plane are no UTF-8. */
    if (value < least || value > CHARACTER_MAX || is_surrogate(value))
        return 0;
    *character = value;
    return size;
}

size_t utf8_encode(uint32_t character, char out[4])
{
    assert(character <= CHARACTER_MAX);
    assert(!is_surrogate(character));
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    size_t size = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (character & 0x3F));
        character >>= 6;
    }
    static const unsigned char marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(marks[size] | character);
    return size;
}

bool utf8_valid(struct span text)
{
    uint32_t character;
    while (text.size > 0) {
        size_t size = utf8_decode(text, &character);
        if (size == 0)
            return false;
        text = span_from(text, size);
    }
    return true;
}

/* True when all eight bytes are ASCII and no control characters. */
static bool is_plain(const char bytes[8])
{
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    /* A byte below 0x20 borrows into its high bit; exact as long as no byte has that bit. */
    return ((word | (word - 0x20 * ones)) & high) == 0;
}

bool utf8_xml_legal(struct span text)
{
    uint32_t character;
    while (text.size > 0) {
        while (text.size >= 8 && is_plain(text.data))
            text = span_from(text, 8);
        if (text.size == 0)
            break;
        size_t size = utf8_decode(text, &character);
        if (size == 0)
            return false;
        if (character < 0x20 && character != '\t' && character != '\n' && character != '\r')
            return false;
        if (character == 0xFFFE || character == 0xFFFF)
            return false;
        text = span_from(text, size);
    }
    return true;
}

struct span utf8_cut(struct span text, size_t size)
{
    if (text.size <= size)
        return text;
    /* text.data[size] is the first byte left out: it must not continue a character. */
    while (size > 0 && ((unsigned char)text.data[size] & 0xC0) == 0x80)
        size--;
    return span_to(text, size);
}
