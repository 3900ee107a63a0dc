/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every measure of a kept report, with the noise that the report itself knows: how far its
 * rounds, or the fifths of its series, were apart. Pure but for its memory.
 */
#ifndef PASSERELLE_BENCH_MEASURE_H
#define PASSERELLE_BENCH_MEASURE_H

#include "bench/document.h"

enum measure_sense {
    MEASURE_LESS_IS_BETTER,
    MEASURE_MORE_IS_BETTER,
    MEASURE_COUNT, /* exact: less is better, and there is no noise */
    MEASURE_FACT   /* neither is better */
};

struct measure {
    char group[64]; /* phase or table; may be empty */
    char name[96];
    char unit[16];
    enum measure_sense sense;
    double value;
    double low, high; /* of the rounds or fifths, the value among them; no numbers: unknown */
};

struct measure_list {
    struct measure *measures;
    size_t count, room;
};

/* All of a document, in the order of its tables. */
void measure_read(struct measure_list *list, const struct document *document);
/* All of one phase of a load: the report itself or what is in "at_fraction". */
void measure_read_phase(struct measure_list *list, const json_t *phase, const char *group);
/* The one of that group and name; NULL when it is not there. */
const struct measure *measure_find(const struct measure_list *list, const char *group,
                                   const char *name);
void measure_fini(struct measure_list *list);

#endif
