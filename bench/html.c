/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/html.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char html_style[] =
    ":root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5c6670;--line:#d5dae0;"
    "--grid:#e8ebef;--card:#f7f8fa;--good:#14723f;--bad:#b3261e;"
    "--c0:#1f6fd6;--c1:#d1570a;--c2:#16875a;--c3:#9b3fb5;--c4:#a67c00;--c5:#c2185b;"
    "--c6:#00838f;--c7:#6d4c41}\n"
    "@media (prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e6e9ed;--soft:#9aa4af;"
    "--line:#3a424b;--grid:#272d34;--card:#1b2026;--good:#5fd394;--bad:#ff8a80;"
    "--c0:#6aa8ff;--c1:#ff9b55;--c2:#4fd39a;--c3:#d08bea;--c4:#e3c24a;--c5:#ff7aa8;"
    "--c6:#4dd0e1;--c7:#bcaaa4}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1220px;padding:28px 24px 48px;background:var(--page);"
    "color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu "
    "Sans',sans-serif}"
    "\nh1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:36px 0 8px;"
    "border-bottom:1px solid var(--line);padding-bottom:4px}h3{font-size:16px;margin:24px 0 "
    "8px}"
    "\np{margin:6px 0}.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}"
    "\n.good,.bad{font-weight:600}"
    "\n.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-"
    "nums;"
    "margin:8px 0}th,td{padding:4px 20px 4px 0;text-align:right;white-space:nowrap}"
    "th:last-child,td:last-child{padding-right:0}"
    "th:first-child,td:first-child,.left{text-align:left}"
    "thead th{border-bottom:1px solid var(--line);color:var(--soft);font-weight:600;"
    "font-size:13px;vertical-align:bottom}tbody tr:hover{background:var(--card)}"
    "tbody th{font-weight:400}tr.part th,tr.part td{border-top:1px solid var(--grid)}"
    "td.sub{padding-left:18px}"
    "\n.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(520px,100%),1fr));"
    "gap:20px;margin:16px 0}"
    "figure{margin:0;padding:12px 14px 8px;background:var(--card);border:1px solid var(--grid);"
    "border-radius:8px}figure.wide{margin:16px 0}figcaption{font-weight:600}"
    "figcaption small{font-weight:400;color:var(--soft);font-size:13px}"
    "\n.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:13px;color:var(--soft);"
    "min-height:20px}.legend:empty{display:none}.legend "
    "svg{width:22px;height:10px;vertical-align:middle;margin-right:6px}"
    "\nfigure.wide{overflow-x:auto}figure.wide>svg{min-width:760px}"
    "figure>svg{display:block;width:100%;height:auto;font-size:12px}svg "
    "text{fill:var(--soft)}"
    "svg text.ink{fill:var(--ink)}"
    "svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--line)}"
    "svg .mark{stroke:var(--ink);stroke-dasharray:3 3}"
    "svg .curve{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    "svg .fine{stroke-width:1.3;stroke-dasharray:4 3}\n"
    "@media print{body{max-width:none;padding:0}figure{break-inside:avoid}}\n";

void html_open(FILE *out, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          out);
    html_text(out, title);
    fprintf(out, "</title>\n<style>\n%s", html_style);
    for (unsigned i = 0; i < HTML_COLORS; i++)
        fprintf(out, "svg .curve.c%u{stroke:var(--c%u)}svg rect.c%u{fill:var(--c%u)}\n", i, i,
                i, i);
    fputs("svg rect.rest{fill:var(--soft)}\n</style>\n</head>\n<body>\n", out);
}

void html_close(FILE *out)
{
    fputs("</body>\n</html>\n", out);
}

void html_text_short(FILE *out, const char *text, size_t most)
{
    size_t left = most;
    for (const char *p = text; *p != '\0'; p++) {
        bool starts = (*p & 0xc0) != 0x80; /* a character, not a further byte of one */
        if (starts && left-- == 0) {
            fputs("…", out);
            return;
        }
        switch (*p) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        case '\'': fputs("&#39;", out); break;
        default: fputc(*p, out);
        }
    }
}

void html_text(FILE *out, const char *text)
{
    html_text_short(out, text, SIZE_MAX);
}

void html_element(FILE *out, const char *tag, const char *text)
{
    fprintf(out, "<%s>", tag);
    html_text(out, text);
    fprintf(out, "</%s>\n", tag);
}

/* Puts a comma before each group of three digits. */
static void html_group(char *text, size_t size, const char *digits)
{
    size_t count = strlen(digits), used = 0;
    for (size_t i = 0; i < count && used + 2 < size; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
}

char *html_number(char *text, size_t size, double value)
{
    char digits[64];
    double magnitude = fabs(value);
    const char *sign = value < 0 ? "−" : "";
    if (!isfinite(value) || magnitude > 1e15) {
        snprintf(text, size, "–");
    } else if (magnitude >= 99.95) {
        snprintf(digits, sizeof(digits), "%.0f", magnitude);
        int used = snprintf(text, size, "%s", sign);
        html_group(text + used, size - (size_t)used, digits);
    } else if (magnitude == floor(magnitude)) {
        snprintf(text, size, "%s%.0f", sign, magnitude);
    } else if (magnitude >= 9.995) {
        snprintf(text, size, "%s%.1f", sign, magnitude);
    } else {
        snprintf(text, size, magnitude >= 0.01 ? "%s%.2f" : "%s%.3f", sign, magnitude);
    }
    return text;
}
