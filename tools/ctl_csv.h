/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Comma-separated values by RFC 4180, read in place: what is read is cut out of the caller's
 * text. Lines end with LF or CRLF; blank lines and a byte order mark in front are passed over.
 * Fields may be separated by another character, as Excel and PowerShell do it in some
 * languages.
 */
#ifndef PASSERELLE_TOOLS_CTL_CSV_H
#define PASSERELLE_TOOLS_CTL_CSV_H

#include <stdio.h>

#include "proto/span.h"

enum csv_result {
    CSV_FIELD, /* and others follow in the row */
    CSV_LAST,  /* the last one of its row */
    CSV_END,
    CSV_BAD /* `problem` says what, `line` where */
};

struct csv {
    char *next, *end;
    bool in_row;      /* behind a comma: a field must come */
    unsigned line;    /* that `next` is in, counted from 1 */
    unsigned at_line; /* where the row began */
    const char *problem;
    char separator; /* ',' unless it is changed before the first field is read */
};

/* text[size] must be there and is written, too. */
void csv_init(struct csv *csv, char *text, size_t size);
/* Is there another field, or another row? `at_line` is that of the row then. */
bool csv_more(struct csv *csv);
/* One field, without its quotes, NUL-terminated: it has no NUL in it and is UTF-8. */
enum csv_result csv_next(struct csv *csv, char **field);
/* Writes a field, in quotes where it needs them; one that is absent is empty. */
void csv_put(FILE *out, struct span field);

#endif
