/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The outbound link of one pair of domains (local, remote), on the worker that route_link names.
 * Finds the remote server, keeps a stream to it while there is something to say, and knows of
 * every parcel it took how it ended: confirmed by the answer to a XEP-0199 ping that was sent
 * behind it, acknowledged (XEP-0198), refused by an error stanza, handed over, or failed.
 */
#ifndef PASSERELLE_CORE_LINK_H
#define PASSERELLE_CORE_LINK_H

#include "core/session.h"

#define LINK_MAGIC 0x4c494e4bu

struct link;
struct probe;

/* Takes a STANZA_TO_XMPP or VERIFY parcel; it goes home with its outcome. */
void link_take(struct worker *worker, struct parcel **parcel);
/* What a CONFIRM parcel tells; the parcel stays the caller's. */
void link_confirm(struct worker *worker, const struct parcel *parcel);
void link_resolved(struct link *link, struct resolver_answer *answer);
/* The link may be gone afterwards. */
void link_timer(struct link *link);
/* A link of its own for a probe: nothing is ever sent over it. link_start begins. NULL: no memory,
   or no domain that DNS could know. The probe closes it. */
struct link *link_open_probe(struct worker *worker, const struct s2s_domain *local,
                             const struct s2s_domain *remote, struct probe *probe) MUST_USE;
/* The server of `remote` has opened a stream that goes both ways: a link that has none yet is not
   to wait any longer. */
void link_offered(struct worker *worker, struct span local, struct span remote);
/* Called by the link's session: */
/* How far it has come; told to the probe, if the link is of one. */
void link_connected(struct link *link, struct session *session);
void link_secured(const struct link *link, const struct session *session);
void link_saw(const struct link *link, const struct session *session,
              const struct s2s_action *action);
void link_prepare(const struct link *link, struct s2s_out *out);
const char *link_remote_ascii(const struct link *link);
/* What DNS says of the server that is tried. Until the stream is good for stanzas. */
const struct resolver_target *link_target(const struct link *link);
/* Writes what waits, and one ping behind it: once a turn, before the session's bytes are sent. */
void link_pump(struct link *link);
/* The stream answered about stream management (S2S_SM_…). */
void link_managed(struct link *link, const struct s2s_action *action);
/* Stanzas written to its stream that the other side has not acknowledged. */
uint32_t link_unacked(const struct link *link);
/* Is nothing of it unacknowledged, or waiting until what was written before is read? */
bool link_is_settled(const struct link *link);
/* A row for `show links` (core/inquiry.h), unless its stream is good for stanzas; one more where
   another link asks for it about dialback keys (link_adopt.c). */
void link_row(const struct link *link, FILE *out);
/* Appends to a row of `show sess` what waits for the stream, how fast that is read, and which of
   its pair's streams it is. */
void link_report(const struct link *link, FILE *out);
void link_verified(struct link *link, const struct s2s_action *action);
/* The remote server names another host of its own (RFC 6120 §4.9.3.19): the next stream is tried
   there, under the same domain and with the same proof, once in a try. */
void link_see_other(struct link *link, struct span host);
void link_lost(struct link *link, struct session *session);
/* The worker begins to drain: what waits for a stream that nobody seeks fails. */
void link_drain(struct link *link);
/* When it is unused, or at the end of the worker: everything that waits goes home as failed. */
void link_close(struct link *link);

#endif
