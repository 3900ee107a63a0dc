/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A probe explains whether a partner can be reached, and if not, why. It is a link
 * (core/link.h) that carries nothing and that no stanza finds: the same names, addresses,
 * handshakes and proofs as traffic would meet, because it is the same code. The link tells it
 * of each step. After a stream is authenticated it closes it politely and has the next address
 * tried: of every address is told.
 *
 * Control asks for one by a PROBE parcel, which goes to and fro: the worker gives it back with
 * each new row, control posts it again when it has passed that on. Who has the parcel owns the
 * talk. So a client that does not read slows its probe down and nothing else. Rows are made as
 * for any report: STEP, RESULT, MS (or -), TARGET (or -), TEXT, separated by TAB.
 */
#ifndef PASSERELLE_CORE_PROBE_H
#define PASSERELLE_CORE_PROBE_H

#include <stdio.h>

#include "core/worker_priv.h"

#define PROBE_DEADLINE_MS 60000 /* of the whole; each step has its own as in traffic */
#define PROBE_TEXT_SIZE   1700  /* two domains, what is wrong and what to do about it */

enum probe_result {
    PROBE_OK,
    PROBE_NOTE,   /* worth knowing, no fault */
    PROBE_PARTLY, /* verdict: only some addresses work */
    PROBE_FAILED
};

struct probe_row {
    const char *step;
    enum probe_result result;
    int64_t ms;         /* the step took; -1: not timed */
    const char *target; /* an address; "" for none */
    const char *text;   /* what peers said in it is escaped when it is written */
};
/* Writes a row and its end of line: at most `size` bytes; returns how many. */
size_t probe_row_write(const struct probe_row *row, char *out, size_t size);

struct probe;
struct link;

struct probe_talk {
    struct s2s_domain local, remote; /* prepared; control */
    FILE *out;                       /* control's; the worker appends rows */
    bool is_cancelled;               /* control: nobody listens any more */
    struct probe *probe;        /* the worker's; NULL before the first and after the last */
    bool is_over;               /* worker: this was the last */
    enum probe_result verdict;  /* then: OK, PARTLY or FAILED … */
    char text[PROBE_TEXT_SIZE]; /* … in a sentence, with what to do about it */
};

/* Takes a PROBE parcel: begins a probe, goes on with it, or ends it. */
void probe_take(struct worker *worker, struct parcel **parcel);
void probe_timer(struct probe *probe);
/* At the end of the worker, while its sessions are there. */
void probe_close_all(struct worker *worker);

/* ---- what its link tells ---- */

/* What DNS or the configuration says of where the server is. */
void probe_located(struct probe *probe, const struct resolver_answer *answer);
/* The next address is tried, with direct TLS or STARTTLS. */
void probe_target(struct probe *probe, const struct resolver_target *target, bool direct);
void probe_connected(struct probe *probe);
/* The TLS handshake is over; the certificate was not judged yet. */
void probe_secured(struct probe *probe, const struct session *session);
/* The stream's machine has seen an event (session->event) and wants `action`. */
void probe_saw(struct probe *probe, const struct session *session,
               const struct s2s_action *action);
/* This address is done with; `reason` is the last word when it had not worked. */
void probe_lost(struct probe *probe, struct span reason);
/* It is tried once more, by dialback on another stream. */
void probe_turns(struct probe *probe);
/* Nothing is left to try; `reason` counts when nothing was tried. */
void probe_over(struct probe *probe, struct span reason);

#endif
