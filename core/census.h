/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Counts the XMPP connections of the whole process, in all, by remote address and by the domain
 * that is proved on them, and refuses what is above the limits (XEP-0205 §3.1). Any thread: a
 * lock guards it, which a connection takes four times in its life, beside a TLS handshake.
 */
#ifndef PASSERELLE_CORE_CENSUS_H
#define PASSERELLE_CORE_CENSUS_H

#include "net/address.h"
#include "proto/span.h"

struct census;
struct census_partner;

/* Limits of 0 are none. -ENOMEM. */
int census_open(struct census **census, unsigned total_max, unsigned per_address_max) MUST_USE;
void census_close(struct census **census);
/* Counts a connection that came from `site` (net_address_site); false, and nothing is counted,
   above a limit or without memory. */
bool census_enter(struct census *census, const union net_address *site) MUST_USE;
void census_leave(struct census *census, const union net_address *site);
/* Counts a stream that `domain` has proved itself on; NULL, and nothing is counted, when it has
   `max` already or without memory. */
struct census_partner *census_enter_partner(struct census *census, struct span domain,
                                            unsigned max) MUST_USE;
void census_leave_partner(struct census *census, struct census_partner *partner);
/* Counts a stream of our own to `domain`. NULL, and nothing is counted, when there are `max`
   already (0: no limit), when `max` is given and all connections together are as many as
   may be, or without memory. Its connection is counted by census_enter_own. */
struct census_partner *census_enter_link(struct census *census, struct span domain,
                                         unsigned max) MUST_USE;
void census_leave_link(struct census *census, struct census_partner *partner);
/* A connection of our own making takes part in the total only, and is not refused. */
void census_enter_own(struct census *census);
void census_leave_own(struct census *census);

#endif
