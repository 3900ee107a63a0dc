/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The configuration of a relay for this load, on stdout. */
#ifndef PASSERELLE_BENCH_CONFIG_H
#define PASSERELLE_BENCH_CONFIG_H

#include "bench/options.h"

void bench_config_print(const struct bench_options *options);

#endif
