/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading message/cpim (RFC 3862): the message headers, the MIME headers of the content and the
 * content. Strict and linear: CRLF only, bounded line counts, nothing is repaired. Pure.
 */
#ifndef PASSERELLE_PROTO_CPIM_H
#define PASSERELLE_PROTO_CPIM_H

#include "proto/limits.h"
#include "proto/mime.h"
#include "proto/span.h"
#include "proto/writer.h"

enum cpim_result {
    CPIM_OK,
    CPIM_MALFORMED,  /* 400 */
    CPIM_UNSUPPORTED /* a header named by Require is not understood (RFC 3862 §4.5): 415 */
};

struct cpim_message {
    struct span subject;          /* the first one, unescaped into memory; empty for none */
    struct span date_time;        /* RFC 3339, raw; empty for none */
    struct mime_part content;     /* points into the text */
};

enum cpim_result cpim_read(struct span text, struct writer *memory,
                           struct cpim_message *message) MUST_USE;

#endif
