/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Objects that PowerShell has exported: by Export-Clixml (MS-PSRP §2.2.5), ConvertTo-Json or
 * Export-Csv; which of them is seen by the first character. What they were stored as is the
 * same: UTF-8, with or without a byte order mark, or UTF-16 with one, as Windows PowerShell
 * writes it.
 */
#ifndef PASSERELLE_TOOLS_CTL_POWERSHELL_H
#define PASSERELLE_TOOLS_CTL_POWERSHELL_H

#include "tools/ctl_settings.h"

/* The objects, in their order: property → value. A value is null, a bool, a number, a text, a
   list of values, or an object, which has under "" what it calls itself, when it says so. CSV
   knows texts only. A new reference; NULL with the problem said. */
json_t *powershell_read(const char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE]);

/* The value as one text: NULL for null, a list of several, or an object that has no text. What
   a number or bool becomes is written into `memory`. */
const char *powershell_text(const json_t *value, char memory[32]);
/* The value as a list of texts. A text is taken apart at blanks, commas and semicolons, which
   is how a list becomes a text. A new reference; NULL when it is none, or the name of a type,
   which is what is left of a list in CSV, or in JSON that was cut at its depth. */
json_t *powershell_list(const json_t *value);

/* tools/ctl_clixml.c: the same of CLIXML in UTF-8. */
json_t *clixml_read(const char *text, size_t size, char problem[SETTINGS_PROBLEM_SIZE]);

#endif
