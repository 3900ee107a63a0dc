/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Base64 (RFC 4648 §4). Pure. */
#ifndef PASSERELLE_PROTO_BASE64_H
#define PASSERELLE_PROTO_BASE64_H

#include "proto/writer.h"

void base64_write(struct writer *writer, struct span bytes);
/* Decodes into `out`, which has room for `room` bytes; the padding may be missing. False when a
   letter is no digit or the room does not suffice. */
bool base64_read(struct span text, char *out, size_t room, size_t *size) MUST_USE;

#endif
