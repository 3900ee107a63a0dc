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
    REPORT_INFO,    /* JSON: one object */
    REPORT_STAT,    /* JSON: one object */
    REPORT_TENANTS, /* these: an array of objects */
    REPORT_ERRORS,
    REPORT_POLICY,   /* its rows come by report_policy */
    REPORT_CERTIFICATES, /* its rows come by report_certificates */
    REPORT_SESSIONS, /* its rows come by inquiry */
    REPORT_LINKS,    /* its rows come by inquiry */
    REPORT_TRUNKS,   /* its rows come by inquiry */
    REPORT_CONSENTS, /* its rows come by inquiry */
    REPORT_EXPLAIN,  /* its rows come one by one (core/probe.h), also those of a ping */
    REPORT_METRICS   /* made of the rows of REPORT_TRUNKS and the counters */
};

#define REPORT_COLUMN_MAX 23 /* with a NULL at the end */

struct report_source {
    const struct control_options *options;
    uint64_t start_ns; /* of the relay, monotonic */
};

/* Writes the rows that the control thread knows by itself; none for those by inquiry. */
void report_rows(const struct report_source *source, enum report_kind kind, FILE *out);
/* core/report_policy.c: what is in force between a tenant, by its name, and a domain, and where
   it is given. False: no such tenant, or no domain, as `error` tells. */
bool report_policy(const struct config *config, struct span tenant, struct span domain,
                   FILE *out, const char **error) MUST_USE;
/* core/report_certificates.c: the certificates of the relay, the OCSP responses that it staples
   and its CRLs; or the certificate of a tenant, by its name. False: no such tenant. */
bool report_certificates(const struct config *config, struct span tenant, FILE *out,
                         const char **error) MUST_USE;
/* Shows rows: a header line and the rows, or one line of JSON. */
void report_show(enum report_kind kind, struct span rows, bool as_json, FILE *out);
/* The header line, and one row as JSON, for who shows rows one by one. */
void report_header(enum report_kind kind, FILE *out);
void report_object(enum report_kind kind, struct span row, FILE *out);
/* core/report_metrics.c: Prometheus text format 0.0.4. `trunks`: the rows of REPORT_TRUNKS. */
void report_metrics(const struct report_source *source, struct span trunks, FILE *out);
/* The counts of a tenant over all threads. */
struct report_tenant {
    uint64_t to_sip, to_sip_failed, to_xmpp, to_xmpp_failed, over_quota;
};
struct report_tenant report_tenant(const struct report_source *source, uint32_t tenant);
/* XMPP connections that are open now. */
uint64_t report_sessions(const struct report_source *source);
/* Takes the text up to `end` off the front. */
struct span report_take(struct span *text, char end);

#endif
