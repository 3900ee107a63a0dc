/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two kept reports beside each other, measure by measure. */
#ifndef PASSERELLE_BENCH_CONTRAST_H
#define PASSERELLE_BENCH_CONTRAST_H

#include <stdio.h>

#include "bench/document.h"

/* The table. False, and a sentence on stderr, when they have no measure in common. */
bool contrast_write(const struct document *one, const struct document *two, FILE *out);

#endif
