/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who writes to whom in the tests of messages, and the memory that drafts lie in. */
#ifndef PASSERELLE_TESTS_MAP_SCENE_H
#define PASSERELLE_TESTS_MAP_SCENE_H

#include "proto/limits.h"
#include "proto/map_message.h"

static const struct jid romeo = {SPAN("romeo"), SPAN("example.net"), SPAN("orchard")};
static const struct jid juliet = {SPAN("juliet"), SPAN("example.com"), SPAN("")};

static char space[65536];

static inline void assert_span(struct span got, const char *wanted)
{
    if (!span_equal(got, span_of(wanted)))
        fail_msg("got \"%.*s\", wanted \"%s\"", (int)got.size, got.data, wanted);
}

#endif
