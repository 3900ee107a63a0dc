/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the relay calls itself in SIP: the sent-by of its requests (RFC 3261 §18.1.1), which is
 * sip.host, or the listener's address, or, when the listener has none of its own (0.0.0.0), the
 * local address toward the trunk. Owner: one egress thread.
 */
#ifndef PASSERELLE_CORE_SIP_OWN_H
#define PASSERELLE_CORE_SIP_OWN_H

#include "core/sip_transport.h"

struct sip_own;

int sip_own_open(struct sip_own **own, const struct config *config) MUST_USE;
/* Other trunks: what was chosen for the old ones is chosen again. */
void sip_own_reload(struct sip_own *own, const struct config *config);
void sip_own_close(struct sip_own **own);
/* A listener; the first of its transport and address family counts. */
void sip_own_add(struct sip_own *own, enum sip_transport transport,
                 const union net_address *address);
/* The sent-by for requests of this trunk to this target; empty when nothing leads there. Asks
   the kernel once a minute for each trunk, and when the target changes. */
struct span sip_own_sent_by(struct sip_own *own, const struct config_trunk *trunk,
                            const struct sip_target *target, uint64_t now_ms);
/* True when the sent-by of a Via is ours. */
bool sip_own_is(const struct sip_own *own, struct span sent_by);

#endif
