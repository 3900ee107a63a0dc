/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the process remembers of partners, opened together with the store that keeps it: how
 * well their servers have proved themselves, and whom users have written to. Control; the
 * threads use what is in here by their own rules.
 */
#ifndef PASSERELLE_CORE_MEMORIES_H
#define PASSERELLE_CORE_MEMORIES_H

#include "core/consent.h"

struct memories {
    struct store *store; /* NULL: none is configured, nothing survives the process */
    struct trust_memory *trust;
    struct consent **consents; /* by SIP thread */
    unsigned consent_count;
};

/* Opens config->store_path, when there is one, and reads it; its thread counts in `stats`.
   Negative errno; `error` says what is wrong with the file, and stays as it is without memory.
   To be closed in either case. */
int memories_open(struct memories *memories, const struct config *config, struct stats *stats,
                  char *error, size_t error_size) MUST_USE;
/* After the threads; what is not written yet is written now. */
void memories_close(struct memories *memories);
/* Of the thread with this mesh index; NULL for a worker. */
struct consent *memories_consent(const struct memories *memories, const struct config *config,
                                 unsigned self);

#endif
