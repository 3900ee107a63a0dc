/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What tools/quickstart shows: a few messages each way, printed as a person wants to see
   them. */
#ifndef PASSERELLE_BENCH_DEMO_H
#define PASSERELLE_BENCH_DEMO_H

#include "bench/load.h"

/* Plays one XMPP domain and one SIP domain against the relay. 0 when every message arrived. */
int demo_run(const struct load_options *options, const char *xmpp_domain,
             const char *sip_domain);

#endif
