/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stanzas of an authorised inbound stream, and the outcomes that come back for them. */
#ifndef PASSERELLE_CORE_RELAY_IN_H
#define PASSERELLE_CORE_RELAY_IN_H

#include "core/session.h"

/* Handles one stanza: checks its addresses against the stream's pairs (RFC 6120 §8.1.2.2), then
   policy, then answers or relays it. False when no parcel is free: call again with the same
   stanza later. */
bool relay_in_stanza(struct session *session, const struct xml_node *stanza) MUST_USE;
/* A MESSAGE_TO_SIP parcel came home with its outcome: counts it, tells the sender of a
   failure. */
void relay_in_outcome(struct worker *worker, struct parcel **parcel);

#endif
