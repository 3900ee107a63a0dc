/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a message is like: whose it is and how long. Drawn from a seed and the message's number
 * alone, so that a run can be repeated and a message that did not fit is the same when it is
 * tried again. Pure but for its memory.
 */
#ifndef PASSERELLE_BENCH_CHOICE_H
#define PASSERELLE_BENCH_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#define CHOICE_SIZE_MAX  8000 /* bytes of a stanza or of a SIP text */
#define CHOICE_PARTS_MAX 16   /* of a mix of sizes */

enum choice_spread {
    CHOICE_EVEN,    /* one user after the other */
    CHOICE_UNIFORM, /* by chance, all alike */
    CHOICE_ZIPF /* by chance, user k (from 1) in proportion to k to the power of -exponent */
};

struct choice_part {
    unsigned low, high; /* bytes, both ends included */
    unsigned weight;
};

struct choice_options {
    uint64_t seed;
    enum choice_spread spread;
    double exponent;
    struct choice_part parts[CHOICE_PARTS_MAX];
    unsigned part_count, weight_sum;
};

struct choice {
    struct choice_options options;
    unsigned users;
    double *sums; /* zipf: of the shares up to each user; the last is the whole */
};

/* "even", "uniform", "zipf" (exponent 1) or "zipf:S". */
bool choice_parse_spread(struct choice_options *options, const char *text);
/* LOW[-HIGH][*WEIGHT][,…] in bytes. */
bool choice_parse_sizes(struct choice_options *options, const char *text);
unsigned choice_mean_size(const struct choice_options *options);
unsigned choice_most_size(const struct choice_options *options);

/* -ENOMEM. */
int choice_open(struct choice *choice, const struct choice_options *options, unsigned users);
unsigned choice_user(const struct choice *choice, uint32_t number);
unsigned choice_size(const struct choice *choice, uint32_t number);
void choice_close(struct choice *choice);

#endif
