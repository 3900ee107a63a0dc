/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What every page has: one file, its style inside it, nothing loaded from elsewhere and no
 * script; light or dark as the reader's system is. And numbers as people read them.
 */
#ifndef PASSERELLE_BENCH_HTML_H
#define PASSERELLE_BENCH_HTML_H

#include <stddef.h>
#include <stdio.h>

#define HTML_COLORS 8 /* .c0 to .c7: of lines, bars and swatches */

void html_open(FILE *out, const char *title);
void html_close(FILE *out);
/* Text with what HTML gives a meaning escaped; also right inside quotation marks. */
void html_text(FILE *out, const char *text);
/* Like html_text, cut to so many characters (not bytes) with an ellipsis. */
void html_text_short(FILE *out, const char *text, size_t most);
/* <tag>text</tag> */
void html_element(FILE *out, const char *tag, const char *text);
/* "117,675", "28.9", "0.97", "–" for what is no number. Returns `text`. */
char *html_number(char *text, size_t size, double value);

#endif
