/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A JSON report that was kept: of passerelle-bench, bench/figures or bench/compare. Read with
 * jansson; what is not as expected is told with the file's name. Who opened it closes it.
 */
#ifndef PASSERELLE_BENCH_DOCUMENT_H
#define PASSERELLE_BENCH_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>

#define DOCUMENT_MAX 8 /* of one page: as many as there are colours */

enum document_kind {
    DOCUMENT_LOAD,
    DOCUMENT_FIGURES,
    DOCUMENT_COMPARE,
    DOCUMENT_FLOOR,
    DOCUMENT_IDLE
};

struct document {
    const char *path; /* as it was given */
    char name[96];    /* for titles and legends: without folders and .json */
    json_t *root;
    enum document_kind kind;
};

/* False, and a sentence on stderr that names the file, when it is no report. */
bool document_open(struct document *document, const char *path);
/* The same of a list. Where names without folders would be equal they keep their folders. All
   are closed when one is wrong. */
bool document_open_all(struct document *documents, char **paths, size_t count);
void document_close(struct document *document);

/* What stands at "relay.cpu_us" inside an object; NULL when it is not there. */
const json_t *document_at(const json_t *json, const char *path);
/* Not a number when none is there. */
double document_number(const json_t *json, const char *path);
/* "" when none is there. */
const char *document_text(const json_t *json, const char *path);

#endif
