/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a stream of a simulated XMPP server (xmpp_stream.h) says before stanzas, and what it
 * makes of the relay's elements: features, STARTTLS, SASL EXTERNAL, Server Dialback. Stanzas go
 * on to its server.
 */
#ifndef PASSERELLE_TESTS_SIM_XMPP_NEGOTIATION_H
#define PASSERELLE_TESTS_SIM_XMPP_NEGOTIATION_H

#include "tests/sim/xmpp_stream.h"

/* Our header. */
void xmpp_negotiation_greet(struct xmpp_stream *stream);
/* TLS begins with what is read next. */
void xmpp_negotiation_secure(struct xmpp_stream *stream);
/* The relay's header. */
void xmpp_negotiation_open(struct xmpp_stream *stream, const struct xml_node *header);
void xmpp_negotiation_element(struct xmpp_stream *stream, const struct xml_node *node);
/* The server's verdict on a db:result the relay sent on this accepted stream. */
void xmpp_negotiation_verdict(struct xmpp_stream *stream, bool valid);

#endif
