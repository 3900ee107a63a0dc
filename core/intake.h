/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What came in over a managed stream (XEP-0198) and how far it is settled: the peer is told
 * that a stanza is handled when its outcome is known and those of all before it, so whatever
 * happens to the relay, the peer sends the rest again or tells its senders. Outcomes find their
 * intake by the receipt in the parcel. Lives on the worker of its session.
 *
 * When the stream breaks the intake stays for xmpp.resume_timeout_ms, and goes on counting. A
 * new stream that is authenticated for the same pair, and so comes to the same worker, takes it
 * over when it knows its id (XEP-0198 §5). What the peer then sends again and is here already
 * is known by its number. That of a stream that we opened and that goes both ways (XEP-0288) is
 * resumed by us: meanwhile its link keeps it.
 */
#ifndef PASSERELLE_CORE_INTAKE_H
#define PASSERELLE_CORE_INTAKE_H

#include "core/session.h"

struct intake;

/* The peer wants its stream managed: answers it. */
void intake_enable(struct session *session, const struct s2s_action *action);
/* The peer wants to go on where a former stream broke: so be it, or not. */
void intake_resume(struct session *session, const struct s2s_action *action);
/* The peer has enabled it on a stream of ours that goes both ways: for what it sends, too. */
void intake_begin(struct session *session);
/* That stream broke and is to be resumed by us: the caller keeps what there is of it, or NULL.
 */
struct intake *intake_detach(struct session *session);
/* What of it is handled: h. NULL: 0. */
uint32_t intake_handled(const struct intake *intake);
/* It goes on over this session, which has told the peer how much of it is handled
   (out.sm_handled); NULL: nothing. */
void intake_attach(struct intake **intake, struct session *session);
/* Its stream broke: it waits for another one when it may, or ends with its session. */
void intake_wait(struct session *session);
/* Can its stream be resumed? */
bool intake_is_resumable(const struct intake *intake);
/* Nobody resumed it in time, or a question has waited long enough. */
void intake_timer(struct intake *intake);
/* With its session. */
void intake_close(struct intake **intake);
/* At the end of the worker: those that wait. */
void intake_close_waiting(struct worker *worker);
/* The stanza that has just come was here before its stream was resumed. NULL: false. */
bool intake_has_seen(struct intake *intake);
/* False when so many outcomes are open that the session must wait. NULL: true. */
bool intake_has_room(const struct intake *intake);
/* Stanzas whose outcome is open. NULL: 0. */
uint32_t intake_open_count(const struct intake *intake);
/* The receipt of the stanza that has just come; there must be room. NULL: an empty one. */
struct receipt intake_take(struct intake *intake);
/* The outcome of a stanza is known. An empty receipt, or one of an intake that is gone:
 * nothing. */
void intake_settle(struct worker *worker, struct receipt receipt);
/* The peer asks: answered at the end of the turn in which what it asks about is known, or some
   milliseconds later, once however often it asks. */
void intake_ask(struct intake *intake);
/* Writes <a/> when it is due, or with `last` when there is anything new. */
void intake_tell(struct intake *intake, bool last);

#endif
