/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The reports of passerelle-bench as JSON, made with jansson: what report.c shows as a table,
 * and what only machines read: the series, the parameters, the machine. One thread.
 */
#ifndef PASSERELLE_BENCH_REPORT_JSON_H
#define PASSERELLE_BENCH_REPORT_JSON_H

#include <jansson.h>

#include "bench/report.h"

/* Percentiles of one direction, in the order of report_shares. */
#define REPORT_SHARES 11
struct report_flow {
    const char *name; /* of the direction */
    const struct ledger *ledger;
    double rate;
    double us[REPORT_SHARES];
};
extern const double report_shares[REPORT_SHARES];

/* Each is a new reference; jansson's allocation failures abort. */
json_t *report_json_machine(void);
json_t *report_json_parameters(const struct load *load, const struct bench_options *options);
json_t *report_json_flow(const struct report_flow *flow);
json_t *report_json_usage(const struct usage *usage, double messages);
json_t *report_json_generator(const struct load *load, const struct usage *usage,
                              double messages);
json_t *report_json_floor(const struct usage *usage, double messages);
json_t *report_json_series(const struct series *series, const struct load *load);

/* Prints another member of the outermost object, or (NULL) that object, which is left open:
   report_end closes it. Takes the reference. */
void report_member(const char *key, json_t *json);

/* "xmpp-sip" …, "udp" …: as the command line has them. */
const char *report_drive_name(enum load_drive drive);
const char *report_transport_name(enum sip_transport transport);

#endif
