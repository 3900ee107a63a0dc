/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A question of the control thread to another thread: the parcel carries a pointer to this; the
   asked thread appends records to `out` and returns the parcel; then control owns it again. */
#ifndef PASSERELLE_CORE_INQUIRY_H
#define PASSERELLE_CORE_INQUIRY_H

#include <stdio.h>

#include "proto/span.h"

enum inquiry_kind { INQUIRY_SESSIONS, INQUIRY_LINKS, INQUIRY_TRUNKS, INQUIRY_CONSENTS };

/* One row per line, fields separated by TAB, in the order of the header row in core/report.c:
   SESSIONS: worker, direction(in|out), peer address, local and remote domain of its header,
             pairs (FROM>TO, as the stanzas go; in brackets while not authorised), state, auth,
             TLS version, cipher suite, age_s, idle_s, heard_s, stanzas in, stanzas out, queued
             bytes, stream management (on|-), stanzas without an acknowledgement (in: of ours),
             out: stanzas that wait, bytes a second that a slow partner reads (-: it is not
             slow)
   LINKS:    worker, local and remote domain, state (resolving|connecting|negotiating|backoff|
             breaker|none), stanzas and db:verify that wait, tries that failed in a row, seconds
             until the next one may come (-: at once), why the last one failed
   TRUNKS:   egress, tenant, trunk, transport, target, state(up|down|unknown), seconds in it,
             last status (0: not reachable, 408: no answer), seconds since the last answer,
             in flight, queued (behind others to the same recipient), sent, failed
   CONSENTS: user, peer, when the user wrote to it last; also those taken away */
struct consent_query;

struct inquiry {
    enum inquiry_kind kind;
    FILE *out; /* open_memstream of control */
    struct span partner; /* SESSIONS: only streams from this domain; data NULL: all streams */
    struct consent_query *consents; /* CONSENTS: which */
};

#endif
