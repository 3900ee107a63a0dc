/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the stats socket tells. Every report is rows of TAB-separated fields first; one function
 * shows them as text or JSON. Control thread.
 */
#ifndef PASSERELLE_CORE_REPORT_H
#define PASSERELLE_CORE_REPORT_H

#include <stdio.h>

#include "core/control.h"

enum report_kind {
    REPORT_INFO,     /* JSON: one object */
    REPORT_STAT,     /* JSON: one object */
    REPORT_TENANTS,  /* these: an array of objects */
    REPORT_ERRORS,
    REPORT_SESSIONS, /* its rows come by inquiry */
    REPORT_TRUNKS    /* its rows come by inquiry */
};

struct report_source {
    const struct control_options *options;
    uint64_t start_ns; /* of the relay, monotonic */
};

/* Writes the rows that the control thread knows by itself; none for those by inquiry. */
void report_rows(const struct report_source *source, enum report_kind kind, FILE *out);
/* Shows rows: a header line and the rows, or one line of JSON. */
void report_show(enum report_kind kind, struct span rows, bool as_json, FILE *out);
/* Prometheus text format 0.0.4. */
void report_metrics(const struct report_source *source, FILE *out);

#endif
