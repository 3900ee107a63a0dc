/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/ctl_csv.h"

#include <assert.h>

#include "proto/utf8.h"

void csv_init(struct csv *csv, char *text, size_t size)
{
    static const struct span mark = {"\xef\xbb\xbf", 3};
    *csv = (struct csv){.next = text, .end = text + size, .line = 1, .separator = ','};
    if (span_starts(span_make(text, size), mark))
        csv->next += mark.size;
}

static enum csv_result bad(struct csv *csv, const char *problem)
{
    csv->problem = problem;
    csv->next = csv->end;
    csv->in_row = false;
    return CSV_BAD;
}

/* How many bytes a line's end has here; 0: this is none. */
static size_t line_end_size(const struct csv *csv, const char *at)
{
    if (at < csv->end && *at == '\n')
        return 1;
    return at + 1 < csv->end && at[0] == '\r' && at[1] == '\n' ? 2 : 0;
}

/* The field ends at `to`, and `at` stands on what ends it. */
static enum csv_result field_end(struct csv *csv, const char *field, char *to, char *at)
{
    bool is_last = at >= csv->end || *at != csv->separator;
    size_t skip = is_last ? line_end_size(csv, at) : 1;
    if (is_last && skip == 0 && at < csv->end)
        return bad(csv, "a comma or the end of the line must follow the closing quote");
    csv->line += is_last && skip > 0;
    *to = '\0'; /* not before what stands there was looked at */
    csv->next = at + skip;
    csv->in_row = !is_last;
    struct span text = span_make(field, (size_t)(to - field));
    if (memchr(field, '\0', text.size) != NULL)
        return bad(csv, "there is a NUL in it");
    if (!utf8_valid(text))
        return bad(csv, "it is not UTF-8");
    return is_last ? CSV_LAST : CSV_FIELD;
}

/* Behind the opening quote. Two quotes are one of the field (RFC 4180 §2.7). */
static enum csv_result quoted_field(struct csv *csv, char **field)
{
    char *at = csv->next + 1, *to = at;
    *field = at;
    for (; at < csv->end; at++) {
        if (*at == '"' && (at + 1 >= csv->end || at[1] != '"'))
            return field_end(csv, *field, to, at + 1);
        if (*at == '"')
            at++;
        csv->line += *at == '\n';
        *to++ = *at;
    }
    return bad(csv, "a quote is not closed");
}

static enum csv_result plain_field(struct csv *csv, char **field)
{
    char *at = csv->next;
    *field = at;
    while (at < csv->end && *at != csv->separator && line_end_size(csv, at) == 0) {
        if (*at == '"')
            return bad(csv, "a quote within a field: the whole field must stand in quotes");
        if (*at == '\r')
            return bad(csv, "a CR without LF: the whole field must stand in quotes");
        at++;
    }
    return field_end(csv, *field, at, at);
}

bool csv_more(struct csv *csv)
{
    assert(csv->next <= csv->end);
    if (csv->in_row)
        return true;
    /* Blank lines: each turn passes one over. */
    for (size_t size; (size = line_end_size(csv, csv->next)) > 0; csv->next += size)
        csv->line++;
    csv->at_line = csv->line;
    return csv->next < csv->end;
}

enum csv_result csv_next(struct csv *csv, char **field)
{
    if (!csv_more(csv))
        return CSV_END;
    return csv->next < csv->end && *csv->next == '"' ? quoted_field(csv, field)
                                                     : plain_field(csv, field);
}

void csv_put(FILE *out, struct span field)
{
    bool is_plain = true;
    if (field.size == 0)
        return; /* its data may be NULL, which fwrite must not get */
    for (size_t i = 0; i < field.size && is_plain; i++)
        is_plain = strchr(",\"\r\n", field.data[i]) == NULL;
    if (is_plain) {
        (void)fwrite(field.data, 1, field.size, out);
        return;
    }
    (void)fputc('"', out);
    for (size_t i = 0; i < field.size; i++) {
        if (field.data[i] == '"')
            (void)fputc('"', out);
        (void)fputc(field.data[i], out);
    }
    (void)fputc('"', out);
}
