/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The server side of SIP of one egress thread: requests are checked (RFC 3261 §8.2), belong to
 * the thread that owns their conversation, and a MESSAGE becomes a STANZA_TO_XMPP parcel; the
 * outcome that comes home is the answer. INVITE has its place in `answer_method`.
 */
#ifndef PASSERELLE_CORE_SIP_UAS_H
#define PASSERELLE_CORE_SIP_UAS_H

#include "core/sip_transport.h"
#include "proto/map_message.h"
#include "proto/sip_transaction.h"

struct sip_uas;

int sip_uas_open(struct sip_uas **uas, struct thread *thread, struct sip_wire *wire) MUST_USE;
void sip_uas_close(struct sip_uas **uas);
/* thread->config has taken the place of `former`. */
void sip_uas_reload(struct sip_uas *uas, const struct config *former);
/* A guarded request. When it has a carrier, another thread checked its source and gave it to
   us. */
void sip_uas_request(struct sip_uas *uas, const struct sip_input *input);
/* A request that sip_guard refused; answered when its source is a trunk. */
void sip_uas_reject(struct sip_uas *uas, const struct sip_input *input);
/* A STANZA_TO_XMPP parcel that came home; it is given back and *parcel becomes NULL. */
void sip_uas_outcome(struct sip_uas *uas, struct parcel **parcel);
void sip_uas_tick(struct sip_uas *uas, struct timer *timer);
/* The timer EGRESS_TIMER_ANSWERED: forgets answers whose time is over. */
void sip_uas_expire(struct sip_uas *uas);
/* From now on requests get 503. */
void sip_uas_drain(struct sip_uas *uas);
/* Requests that still wait for their outcome. */
size_t sip_uas_pending(const struct sip_uas *uas);

#endif
