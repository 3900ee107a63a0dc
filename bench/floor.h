/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The floor: what one message from XMPP to SIP cannot do without, measured alone on one thread.
 * Decrypt one TLS record, read it with expat once (namespaces on), write a request, send it and
 * receive an answer over UDP in batches of 32. Everything a relay does above that is its own.
 */
#ifndef PASSERELLE_BENCH_FLOOR_H
#define PASSERELLE_BENCH_FLOOR_H

#include "bench/options.h"

/* What a load is compared with. */
struct floor_figure {
    bool measured;
    double us;           /* of CPU, one message */
    int core;            /* that it was measured on; -1: any */
    const char *skipped; /* why it was not measured, a part of a sentence; else NULL */
};

/* Measures and prints. -errno. */
int floor_run(const struct bench_options *options);
/* A short measurement (about 0.3 s) on one core, or on any when it is -1 or not allowed. */
void floor_measure(struct floor_figure *figure, const struct load_options *load, int core);

#endif
