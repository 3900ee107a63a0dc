/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IQs that a gateway domain answers itself (spec: RFC 6120 §8.2.3, XEP-0199, 0030, 0092,
 * 0202, 0157); any other gets service-unavailable. Pure.
 */
#ifndef PASSERELLE_PROTO_SERVICE_IQ_H
#define PASSERELLE_PROTO_SERVICE_IQ_H

#include "proto/jid.h"
#include "proto/stanza_error.h"

#define NS_PING "urn:xmpp:ping"

struct service_identity {
    struct span name;    /* of the software */
    struct span version; /* empty: withheld */
    /* XEP-0157 addresses: URIs separated by one space; empty for none. */
    struct span abuse, admin, support, security;
};

/* Answers one <iq/> to a domain or user of ours: writes the whole result or error stanza.
   Writes nothing for type result or error. `utc` is the time as CCYY-MM-DDThh:mm:ssZ. */
void service_iq_answer(struct writer *writer, const struct xml_node *iq, const struct jid *from,
                       const struct jid *to, const struct service_identity *identity,
                       struct span utc);

#endif
