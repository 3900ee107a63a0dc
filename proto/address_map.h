/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * JID ↔ SIP URI (RFC 7247 §6, all ten XEP-0106 escapes, RFC 5627 gr ↔ resource, RFC 3966 tel:).
 * Pure.
 */
#ifndef PASSERELLE_PROTO_ADDRESS_MAP_H
#define PASSERELLE_PROTO_ADDRESS_MAP_H

#include "proto/jid.h"
#include "proto/sip_message.h"

enum address_result {
    ADDRESS_OK,
    ADDRESS_MALFORMED,         /* 400 */
    ADDRESS_UNREPRESENTABLE,   /* 404: legal SIP, impossible as a JID */
    ADDRESS_UNSUPPORTED_SCHEME /* 416; sips: has its own answer, the caller looks at the
                                  scheme */
};

/* Writes sip:user@domain[;gr=resource] for a prepared JID (RFC 7247 §6.5). `with_resource`
   false leaves the resource out. */
enum address_result address_to_sip(struct writer *writer, const struct jid *jid,
                                   bool with_resource) MUST_USE;
/* The JID of a sip:, sips:, im:, pres: or tel: URI (RFC 7247 §6.4); parts in `memory`. A tel:
   URI takes `default_domain` (A-label). A valueless gr gives no resource. */
enum address_result address_to_jid(const struct sip_uri *uri, struct span default_domain,
                                   struct writer *memory, struct jid *jid) MUST_USE;

#endif
