/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asks a running relay through its stats socket and prints the answer, tables aligned. */
#ifndef PASSERELLE_TOOLS_CTL_ANSWER_H
#define PASSERELLE_TOOLS_CTL_ANSWER_H

#include <stdbool.h>
#include <stdio.h>

/* `command` ends with a line feed. The exit status: 0, or 1 when the relay refused or gave no
   answer, which is said; a negative errno when there is nobody, which is not. */
int ctl_ask(const char *path, const char *command);
/* The same for an answer that comes step by step: each line is printed as it comes. 1 also when
   the last row, which is the verdict, says "failed". */
int ctl_follow(const char *path, const char *command, bool as_json);
/* Prints fields that TAB and LF separate, in columns. */
void ctl_table(const char *text, FILE *out);

#endif
