/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * XMPP addresses (RFC 7622, with the preparation of RFC 8265 UsernameCaseMapped with
 * toLowerCase and OpaqueString; domains by IDNA2008 as U-labels). Pure ASCII addresses take a
 * fast path without a table. Pure functions.
 */
#ifndef PASSERELLE_PROTO_JID_H
#define PASSERELLE_PROTO_JID_H

#include "proto/limits.h"
#include "proto/span.h"
#include "proto/writer.h"

/* Prepared parts. local and resource are empty when absent. */
struct jid {
    struct span local;
    struct span domain; /* U-labels, lower case, no trailing dot */
    struct span resource;
};

enum jid_result { JID_OK, JID_MALFORMED };

/* Splits and prepares `text`. Parts that need no change point into `text`, others into memory
   taken from `memory` (at most JID_SIZE_MAX). */
enum jid_result jid_parse(struct span text, struct writer *memory, struct jid *jid) MUST_USE;
/* Prepares one part alone. domain: A-labels become U-labels; IP literals are refused. */
enum jid_result jid_prepare_local(struct span text, struct writer *memory,
                                  struct span *out) MUST_USE;
enum jid_result jid_prepare_domain(struct span text, struct writer *memory,
                                   struct span *out) MUST_USE;
enum jid_result jid_prepare_resource(struct span text, struct writer *memory,
                                     struct span *out) MUST_USE;
/* The A-label form of a prepared domain, for DNS, TLS SNI and SIP. */
enum jid_result jid_domain_to_ascii(struct span domain, struct writer *memory,
                                    struct span *out) MUST_USE;
/* Writes local@domain/resource, or without resource. */
void jid_write(struct writer *writer, const struct jid *jid);
void jid_write_bare(struct writer *writer, const struct jid *jid);

#endif
