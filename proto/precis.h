/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * PRECIS (RFC 8264): the code point classes and the two profiles XMPP addresses need (RFC
 * 8265). Pure functions; the Unicode tables are libunistring's.
 */
#ifndef PASSERELLE_PROTO_PRECIS_H
#define PASSERELLE_PROTO_PRECIS_H

#include "proto/span.h"

#define PRECIS_SIZE_MAX 1023 /* bytes in and out; RFC 7622 §3 */

enum precis_profile {
    PRECIS_USERNAME, /* UsernameCaseMapped, RFC 8265 §3.3, lower case by simple mapping */
    PRECIS_OPAQUE    /* OpaqueString, RFC 8265 §4.2 */
};

/* Prepares `text` into `out` (PRECIS_SIZE_MAX bytes) and returns its size; 0 when the profile
   forbids it (the empty string is always forbidden). */
size_t precis_prepare(enum precis_profile profile, struct span text, char *out) MUST_USE;

#endif
