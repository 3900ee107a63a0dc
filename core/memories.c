/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/memories.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int open_consents(struct memories *memories, const struct config *config)
{
    unsigned count = config->egress_count;
    memories->consents = calloc(count, sizeof(*memories->consents));
    if (memories->consents == NULL)
        return -ENOMEM;
    memories->consent_count = count;
    int rc = 0;
    for (unsigned i = 0; i < count && rc == 0; i++)
        rc =
            consent_open(&memories->consents[i], config->consents_max / count, memories->store);
    return rc;
}

int memories_open(struct memories *memories, const struct config *config, struct stats *stats,
                  char *error, size_t error_size)
{
    int rc = 0;
    *memories = (struct memories){0};
    if (config->store_path != NULL)
        rc = store_open(&memories->store, config->store_path, error, error_size);
    if (rc != 0)
        return rc;
    rc = open_consents(memories, config);
    if (rc == 0)
        rc = trust_open(&memories->trust, memories->store);
    if (memories->store == NULL)
        return rc;
    if (rc == 0)
        rc = consent_load(memories->consents, config, memories->store);
    if (rc == 0)
        rc = store_start(memories->store, stats);
    if (rc != 0)
        (void)snprintf(error, error_size, "store: %s: %s", config->store_path, strerror(-rc));
    return rc;
}

void memories_close(struct memories *memories)
{
    for (unsigned i = 0; i < memories->consent_count; i++)
        consent_close(&memories->consents[i]);
    free(memories->consents);
    trust_close(&memories->trust);
    store_close(&memories->store);
    *memories = (struct memories){0};
}

struct consent *memories_consent(const struct memories *memories, const struct config *config,
                                 unsigned self)
{
    unsigned first = thread_egress(config, 0);
    return self >= first && self - first < memories->consent_count
               ? memories->consents[self - first]
               : NULL;
}
