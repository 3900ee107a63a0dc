/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The settings of a tenant or partner as a JSON object, and as texts by path, as people write
 * them in commands and CSV: "trunks[0].uri" and "sip:192.0.2.10". What a path may be and what
 * its text becomes is told by the schema of the configuration (core/config_key.h); whether the
 * value is good is left to the configuration's own checks. `list` is "tenants" or "partners".
 */
#ifndef PASSERELLE_TOOLS_CTL_SETTINGS_H
#define PASSERELLE_TOOLS_CTL_SETTINGS_H

#include <jansson.h>

#include "proto/span.h"

#define SETTINGS_PROBLEM_SIZE 300

enum settings_change {
    SETTINGS_PUT,   /* an empty text takes the setting away */
    SETTINGS_ADD,   /* to a list, what is not in it yet */
    SETTINGS_REMOVE /* from a list */
};

/* A list is texts separated by blanks; a text that begins with [ or { is JSON where it may be.
   A place just behind the end of a list makes another entry. False: `problem` says why. */
bool settings_change(json_t *settings, const char *list, const char *path,
                     enum settings_change change, const char *text,
                     char problem[SETTINGS_PROBLEM_SIZE]) MUST_USE;
/* Brings an object from elsewhere into the form in which it is kept: numbers and bools instead
   of their texts, nothing that is null. False when it has a key that there is not. */
bool settings_tidy(json_t *settings, const char *list,
                   char problem[SETTINGS_PROBLEM_SIZE]) MUST_USE;
/* All settings, path to text (both strings), in their order; to give each to settings_change
   makes the same object again. A new reference; NULL when memory is short. */
json_t *settings_texts(const json_t *settings);

#endif
