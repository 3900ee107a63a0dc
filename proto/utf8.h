/* SPDX-License-Identifier: GPL-3.0-or-later */
/* UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). Pure. */
#ifndef PASSERELLE_PROTO_UTF8_H
#define PASSERELLE_PROTO_UTF8_H

#include "proto/span.h"

bool utf8_valid(struct span text);
/* Valid UTF-8 and every character allowed by XML 1.0 §2.2 Char (no NUL, no C0 but TAB LF CR,
   no U+FFFE or U+FFFF). */
bool utf8_xml_legal(struct span text);
/* Decodes the character at text.data[0]; returns its bytes (1..4), or 0 when malformed or
   text is empty. */
size_t utf8_decode(struct span text, uint32_t *character);
/* Encodes `character` (a valid scalar) to `out` (4 bytes); returns its bytes. */
size_t utf8_encode(uint32_t character, char out[4]);
/* The longest prefix of `text` of at most `size` bytes that ends on a character boundary. */
struct span utf8_cut(struct span text, size_t size);

#endif
