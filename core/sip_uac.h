/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The client side of SIP of one egress thread: parcels become MESSAGE requests, one pending for
 * each recipient (RFC 3428 §8), sent over the first usable trunk of the tenant; the final
 * answer becomes the parcel's outcome and the parcel goes home. Also sends keep-alive OPTIONS.
 */
#ifndef PASSERELLE_CORE_SIP_UAC_H
#define PASSERELLE_CORE_SIP_UAC_H

#include "core/trunk.h"
#include "proto/sip_transaction.h"

struct sip_uac;

int sip_uac_open(struct sip_uac **uac, struct thread *thread, struct sip_wire *wire,
                 struct trunk_table *trunks) MUST_USE;
/* Parcels still held go home FAILED. */
void sip_uac_close(struct sip_uac **uac);
/* thread->config has taken the place of another, and the trunks know it. */
void sip_uac_reload(struct sip_uac *uac);
/* Takes over a MESSAGE_TO_SIP parcel; *parcel becomes NULL. */
void sip_uac_message(struct sip_uac *uac, struct parcel **parcel);
void sip_uac_options(struct sip_uac *uac, struct trunk *trunk);
/* A guarded response. From the wire: when its branch names another egress thread, that is
   returned and nothing is done; else self is. */
unsigned sip_uac_response(struct sip_uac *uac, const struct sip_input *input);
void sip_uac_lost(struct sip_uac *uac, uint64_t connection);
/* Starts the requests whose turn has come; once a loop. True below: there are more of them. */
void sip_uac_pump(struct sip_uac *uac);
bool sip_uac_is_ready(const struct sip_uac *uac);
void sip_uac_tick(struct sip_uac *uac, struct timer *timer);
/* Counts the messages that wait (for the one before them to the same recipient, or for an
   address) into `queued` of the trunk they wait for. Linear; for a report. */
void sip_uac_count_queued(const struct sip_uac *uac);
/* Parcels not yet on their way home. */
size_t sip_uac_pending(const struct sip_uac *uac);

#endif
