/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A store in the folder of tests/unit/config_folder.h, and what its thread has counted. */
#ifndef PASSERELLE_TESTS_UNIT_STORE_FOLDER_H
#define PASSERELLE_TESTS_UNIT_STORE_FOLDER_H

#include "core/store.h"

#define STORE_FILE       "store.db"
#define STORE_PATIENCE_S 60

static inline struct store *store_opened(void)
{
    struct store *store = NULL;
    char error[300] = "";
    if (store_open(&store, STORE_FILE, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    return store;
}

static inline uint64_t counted(struct stats *stats, enum stats_counter counter)
{
    struct stats *const all[] = {stats};
    return stats_sum(all, 1, counter);
}

/* The store's thread works beside the test: until its counter has come so far. */
static inline void await(struct stats *stats, enum stats_counter counter, uint64_t wanted)
{
    for (unsigned i = 0; i < STORE_PATIENCE_S * 1000; i++) {
        if (counted(stats, counter) >= wanted)
            return;
        (void)usleep(1000);
    }
    fail_msg("%s stays %u", stats_metric(counter), (unsigned)counted(stats, counter));
}

/* Rows of a kind that a new start would find. */
static inline size_t rows_of(enum store_kind kind)
{
    struct store *store = store_opened();
    struct store_row row;
    size_t count = 0;
    int rc;
    while ((rc = store_next(store, kind, &row)) > 0)
        count++;
    assert_int_equal(rc, 0);
    store_close(&store);
    return count;
}

#endif
