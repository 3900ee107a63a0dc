/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A question of the control thread to another thread: the parcel carries a pointer to this; the
   asked thread appends records to `out` and returns the parcel; then control owns it again. */
#ifndef PASSERELLE_CORE_INQUIRY_H
#define PASSERELLE_CORE_INQUIRY_H

#include <stdio.h>

enum inquiry_kind { INQUIRY_SESSIONS, INQUIRY_TRUNKS };

/* One row per line, fields separated by TAB, in the order the header row of core/report.c names:
   SESSIONS: worker, direction(in|out), peer address, local domain, remote domain, state, auth,
             tls version, age_s, idle_s, stanzas in, stanzas out, queued bytes
   TRUNKS:   egress, tenant, trunk, transport, target, state(up|down|unknown), in flight, queued,
             sent, failed, last status */
struct inquiry {
    enum inquiry_kind kind;
    FILE *out; /* open_memstream of control */
};

#endif
