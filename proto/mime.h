/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * MIME parts (RFC 2045, RFC 2046 §5.1) as far as a text message needs them. Strict and linear:
 * CRLF only, bounded counts, nothing is repaired or decoded. Pure; all spans point into the
 * text.
 */
#ifndef PASSERELLE_PROTO_MIME_H
#define PASSERELLE_PROTO_MIME_H

#include "proto/limits.h"
#include "proto/span.h"

struct mime_part {
    struct span type;    /* media type without parameters; empty when absent */
    struct span charset; /* unquoted; empty when absent */
    struct span content_encoding;
    struct span transfer_encoding;
    struct span body;
};

/* Takes one line without its CRLF off the front of *text; false when there is no CRLF left. */
bool mime_take_line(struct span *text, struct span *line) MUST_USE;
/* Reads the headers of a part and its body. False when malformed. */
bool mime_read_part(struct span text, struct mime_part *part) MUST_USE;

struct mime_multipart {
    struct span rest;
    struct span delimiter; /* "--" and the boundary */
    size_t count;
};
/* `body` is a multipart body without a preamble: its first line is the delimiter. False when
   it is not. */
bool mime_multipart_open(struct mime_multipart *multipart, struct span body) MUST_USE;
enum mime_next { MIME_NEXT_PART, MIME_NEXT_END, MIME_NEXT_MALFORMED };
/* The next part; MALFORMED also beyond MIME_PART_COUNT_MAX parts. */
enum mime_next mime_multipart_next(struct mime_multipart *multipart,
                                   struct mime_part *part) MUST_USE;

#endif
