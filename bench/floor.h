/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The floor: what one message from XMPP to SIP cannot do without, measured alone on one thread.
 * Decrypt one TLS record, read it with expat once (namespaces on), write a request, send it and
 * receive an answer over UDP in batches of 32. Everything a relay does above that is its own.
 */
#ifndef PASSERELLE_BENCH_FLOOR_H
#define PASSERELLE_BENCH_FLOOR_H

#include "bench/options.h"

/* Measures and prints. -errno. */
int floor_run(const struct bench_options *options);

#endif
