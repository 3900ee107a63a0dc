/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON as YAML. To read YAML: tools/ctl_import.h. */
#ifndef PASSERELLE_TOOLS_CTL_YAML_H
#define PASSERELLE_TOOLS_CTL_YAML_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "proto/span.h"

/* Objects and lists in blocks, lists of single values in one line. False when it cannot be
   written. */
bool yaml_write(const json_t *value, FILE *out) MUST_USE;

#endif
