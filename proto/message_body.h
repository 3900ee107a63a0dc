/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The text in the body of a SIP MESSAGE (RFC 7572 §7): text/plain as it is, text/html stripped
 * to its text, message/cpim unwrapped once, the texts of multipart/mixed, and the plainest part
 * of multipart/alternative. Pure; the text is written into the caller's memory.
 */
#ifndef PASSERELLE_PROTO_MESSAGE_BODY_H
#define PASSERELLE_PROTO_MESSAGE_BODY_H

#include "proto/span.h"
#include "proto/writer.h"

enum body_result {
    BODY_TEXT,
    BODY_NONE,                 /* accepted, carries no text: isComposing, IMDN, empty */
    BODY_MALFORMED,            /* 400: not the encoding it claims, or illegal in XML */
    BODY_TOO_LARGE,            /* 413: text over TEXT_SIZE_MAX, or memory is too small */
    BODY_UNSUPPORTED_TYPE,     /* 415 with MESSAGE_BODY_ACCEPT */
    BODY_UNSUPPORTED_ENCODING  /* 415 with Accept-Encoding: identity */
};

#define MESSAGE_BODY_ACCEPT                                                                    \
    "text/plain, text/html, message/cpim, multipart/mixed, multipart/alternative, "            \
    "application/im-iscomposing+xml, message/imdn+xml"

struct body_part {
    struct span type;     /* without parameters; empty counts as text/plain */
    struct span charset;  /* empty: UTF-8 (RFC 3261 §7.4.1) */
    struct span encoding; /* Content-Encoding; empty for none */
    struct span bytes;
};

struct message_body {
    struct span text;    /* for BODY_TEXT: UTF-8, legal in XML, LF line ends, not empty */
    struct span subject; /* of message/cpim; empty for none */
};

enum body_result message_body_read(const struct body_part *part, struct writer *memory,
                                   struct message_body *body) MUST_USE;

#endif
