/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who of a public_unverified partner may write: those to whom a user of the tenant has written
 * first. A consent is of one user for one partner's user, by their bare addresses. Nothing but
 * a message of the tenant's user makes one, so that no stranger can fill this memory. Each SIP
 * thread has the consents of the conversations that it owns (route_egress): it sees the message
 * that makes one before that leaves, and judges every answer, so nothing is shared, nothing is
 * locked, and no answer is too fast. The store (core/store.h) remembers them over a restart.
 * Bounded: store.consents_max of all threads; no domain of a tenant holds more than are left
 * free, and where it would, its oldest goes.
 */
#ifndef PASSERELLE_CORE_CONSENT_H
#define PASSERELLE_CORE_CONSENT_H

#include "core/store.h"
#include "core/thread.h"

#define CONSENT_ROWS_MAX 1000 /* of one answer to an operator */

/* What the sender is told who may not write. */
extern const struct stanza_fault consent_fault;

/* Room for `max`; `store` NULL: nothing survives the process. -ENOMEM. */
int consent_open(struct consent **consent, unsigned max, struct store *store) MUST_USE;
void consent_close(struct consent **consent);
/* Reads what the store has into the memory of the SIP thread that owns each; what the rules of
   `config` call expired goes. Control, before the threads run. Negative errno. */
int consent_load(struct consent *const *by_egress, const struct config *config,
                 struct store *store) MUST_USE;

/* May nobody of this domain (prepared) write to a user of the tenant (NULL: not known) who has
   not written first? config->has_unverified says that some partner is such a one. */
bool consent_is_needed(const struct config *config, const struct config_tenant *tenant,
                       struct span domain);
/* Has the user, of this tenant, written to the peer, not too long ago? Always true where no
   consent is needed; else a refusal is counted. On the thread that owns their conversation. */
bool consent_allows(struct thread *thread, const struct config_tenant *tenant,
                    const struct jid *user, const struct jid *peer);
/* The user, of this tenant, writes to the peer. On the thread that owns their conversation,
   before the message leaves it. */
void consent_note(struct thread *thread, const struct config_tenant *tenant,
                  const struct jid *user, const struct jid *peer);

/* What an operator asks each SIP thread (core/inquiry.h), one after the other. */
struct consent_query {
    char tenant[256];                 /* its name */
    char user[JID_PART_SIZE_MAX + 1]; /* a local part or a bare address; "": all users */
    char peer[JID_PART_SIZE_MAX + 1]; /* a bare address; "": all */
    bool removes;                     /* takes away what it finds */
    unsigned row_count;               /* written so far, CONSENT_ROWS_MAX at most … */
    unsigned left_out;                /* … and found beside them */
};
/* Writes a row for each consent that was found: user, peer, when the user wrote last. */
void consent_answer(struct thread *thread, struct consent_query *query, FILE *out);

#endif
