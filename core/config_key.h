/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The keys of tenants and partners as the schema of the YAML has them, for those who handle
 * them without knowing them (tools/ctl_settings.c). Pure, any thread.
 */
#ifndef PASSERELLE_CORE_CONFIG_KEY_H
#define PASSERELLE_CORE_CONFIG_KEY_H

#include "proto/span.h"

enum config_kind {
    CONFIG_KIND_NONE, /* there is no such key */
    CONFIG_KIND_TEXT,
    CONFIG_KIND_NUMBER,
    CONFIG_KIND_BOOL,
    CONFIG_KIND_LIST,   /* of texts, numbers or bools */
    CONFIG_KIND_ITEMS,  /* a list whose entries have keys of their own */
    CONFIG_KIND_SECTION /* keys of its own */
};

/* What stands behind `path` in an entry of `list` ("tenants", "partners"): "trunks[0].uri" is a
   text, "trunks[0]" a section, "trunks" are items. Any place of a list is as good as another.
 */
enum config_kind config_key_kind(const char *list, struct span path);

/* One part of a path: a key, or a place of a list. */
struct config_key_part {
    bool is_place;
    struct span key;
    size_t place;
};
/* Takes "key" or "[7]", and a dot that follows, off the front of a path that is not empty.
   False: it is no path. */
bool config_key_next(struct span *path, struct config_key_part *part) MUST_USE;

#endif
