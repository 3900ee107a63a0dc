/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The commands that work on kept reports: report and compare. */
#ifndef PASSERELLE_BENCH_KEPT_H
#define PASSERELLE_BENCH_KEPT_H

#include <stdbool.h>

/* Does the command line ask for one of them? */
bool kept_wanted(int argc, char **argv);
/* Runs it; the exit status. */
int kept_run(int argc, char **argv);

#endif
