/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * RFC 7247 §7, both tables complete, with the corrections of docs/architecture.md ("Answers"):
 * no 408, 401, 407 or 503 to a MESSAGE. Pure.
 */
#ifndef PASSERELLE_PROTO_ERROR_MAP_H
#define PASSERELLE_PROTO_ERROR_MAP_H

#include "proto/stanza_error.h"

/* SIP final status (300..699; 408 for Timer F, 503 for a transport failure) → what the XMPP
   sender is told. `reason` is the Reason-Phrase (may be empty: the standard one is used);
   `contact_jid_uri` is an xmpp: URI for 301/302, empty when unusable. The text says in English
   what happened and names the code; it is written into `memory`. */
struct stanza_fault error_map_to_xmpp(int status, struct span reason,
                                      struct span contact_jid_uri, struct writer *memory);

struct sip_fault {
    int status;
    struct span reason; /* the fault's text made safe for the wire, else the condition's name;
                           in memory; empty when it does not fit */
    struct span extra;  /* header lines the status needs (Contact, Allow, Retry-After) */
};
/* Stanza error → SIP response to a MESSAGE. `to_full`: the error is about a full JID.
   `contact_uri` is the mapped SIP URI for gone/redirect, empty for none. */
struct sip_fault error_map_to_sip(const struct stanza_fault *fault, bool to_full,
                                  struct span contact_uri, struct writer *memory);

#endif
