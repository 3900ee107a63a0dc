/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Connections to the S2S port beside a load that stop half-way and stay until the relay ends
 * them: as many of each kind of half_open.def. On the load's ring, from many source addresses
 * of 127.0.0.0/8, as one address has no more ports than some ten thousand. One thread.
 */
#ifndef PASSERELLE_BENCH_HALF_OPEN_H
#define PASSERELLE_BENCH_HALF_OPEN_H

#include "bench/load.h"

#define HALF_OPEN_MAX  200000
#define HALF_OPEN_RATE 2000 /* begun a second, where nothing else is asked for */

enum half_open_kind {
#define HALF_OPEN(constant, name, where) HALF_OPEN_##constant,
#include "bench/half_open.def"
#undef HALF_OPEN
    HALF_OPEN_KINDS
};

struct half_open_count {
    unsigned opened, stopped, gone; /* stopped: they are where they should be */
    unsigned early;                 /* of those gone: before half of the time was over */
    double first_s, last_s;         /* how long those lived that are gone */
};

/* What the relay is configured to wait for a stream to be authenticated, for so many. */
unsigned half_open_timeout_ms(const struct load_options *options);
/* The load owns it from now on. -errno. */
int half_open_open(struct load *load);
/* Opens all of a kind; load_turn does it. */
void half_open_start(struct half_open *all, enum half_open_kind kind);
/* Those that were started have stopped half-way, or are gone. */
bool half_open_settled(const struct half_open *all);
/* Opens what is due. */
void half_open_turn(struct half_open *all);
void half_open_event(struct half_open *all, const struct ring_event *event);
struct half_open_count half_open_count(const struct half_open *all);
/* Why connections failed; NULL: none did. */
const char *half_open_problem(const struct half_open *all);
const char *half_open_name(enum half_open_kind kind);
const char *half_open_where(enum half_open_kind kind);
/* After the ring was closed; NULL is fine. */
void half_open_close(struct half_open *all);

#endif
