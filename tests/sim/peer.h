/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What owns a socket of the world's ring; the first member of each. */
#ifndef PASSERELLE_TESTS_SIM_PEER_H
#define PASSERELLE_TESTS_SIM_PEER_H

enum peer_kind { PEER_XMPP_SERVER, PEER_XMPP_STREAM, PEER_SIP_AGENT, PEER_SIP_FLOW };

#endif
