/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line of passerelle-bench. */
#ifndef PASSERELLE_BENCH_OPTIONS_H
#define PASSERELLE_BENCH_OPTIONS_H

#include "bench/load.h"
#include "bench/process.h"

enum bench_command {
    BENCH_LOAD,
    BENCH_CHURN,
    BENCH_IDLE,
    BENCH_FLOOR,
    BENCH_SOAK,
    BENCH_CONFIG,
    BENCH_DEMO,
    BENCH_HELP
};

struct bench_options {
    enum bench_command command;
    struct load_options load;
    struct load_phase phase;
    bool handshake;    /* only the streams themselves: messages is 0 */
    unsigned messages; /* of each stream that comes and goes; 0: handshakes only */
    double ramp_ms;    /* search the highest rate with p99 within that; 0: not asked */
    double step_s;     /* of each rate that is tried */
    double rate_max;   /* of those rates */
    unsigned rounds;   /* greedy: alone and beside it, so many times */
    uint32_t warmup;   /* messages of each direction before what is measured */
    double fraction;   /* of the peak: a second phase with an open loop; 0: none */
    double settle_s;   /* idle: how long to wait before the memory is read */
    double minutes;    /* soak: how long; 0: by --seconds */
    double every_s;    /* soak: from fault to fault, the mean */
    const char *stats; /* the relay's stats socket; NULL: not asked */
    struct process_list processes;
    bool json, progress;
    /* for --print-config */
    unsigned workers, egress;
    const char *relay_certificate, *relay_key;
};

/* False, and a sentence on stderr, when the command line is wrong. The texts are those of argv.
 */
bool bench_options_read(struct bench_options *options, int argc, char **argv);
void bench_options_help(void);

#endif
