/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The table of trunks follows the configuration: at the start and at each other one. */
#include "core/trunk_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static struct trunk *trunk_make(struct trunk_table *table, const struct config_trunk *config)
{
    struct trunk *made = aligned_alloc(CONFIG_LINE_SIZE, sizeof(*made));
    if (made == NULL)
        return NULL;
    *made = (struct trunk){.config = config,
                           .serial = config->serial,
                           .table = table,
                           .changed_ms = table->thread->now_ms,
                           .timer = {.kind = EGRESS_TIMER_TRUNK, .owner = made}};
    if (trunk_start(made) < 0) {
        free(made);
        return NULL;
    }
    return made;
}

void trunk_retire(struct trunk *trunk)
{
    struct trunk_table *table = trunk->table;
    timer_disarm(&table->thread->timers, &trunk->timer);
    if (table->port != NULL)
        resolver_forget(table->port, trunk);
    trunk->config = NULL;
    trunk->next = table->retired;
    table->retired = trunk;
}

static void rearm(struct trunk *trunk)
{
    timer_disarm(&trunk->table->thread->timers, &trunk->timer);
    trunk_arm_next(trunk);
}

/* Those that stay take their places in the new table, the others retire. */
static void move_all(struct trunk_table *table, struct trunk **old, size_t count)
{
    const struct config *config = table->thread->config;
    for (size_t i = 0; i < count; i++) {
        const struct config_trunk *again = config_trunk_at(config, (uint32_t)i);
        if (old[i] == NULL)
            continue;
        if (again == NULL || again->serial != old[i]->serial) {
            trunk_retire(old[i]);
            continue;
        }
        bool changed = again->options_interval_s != old[i]->config->options_interval_s;
        table->trunks[i] = old[i];
        old[i]->config = again;
        if (changed)
            rearm(old[i]);
    }
}

int trunk_take_config(struct trunk_table *table)
{
    const struct config *config = table->thread->config;
    struct trunk **old = table->trunks;
    size_t old_count = table->count;
    struct trunk **new = calloc(config->trunk_slots + 1, sizeof(struct trunk *));
    assert(config->trunk_slots >= old_count);
    if (new == NULL)
        return -ENOMEM;
    table->trunks = new;
    table->count = config->trunk_slots;
    move_all(table, old, old_count);
    free(old);
    for (size_t i = 0; i < table->count; i++) {
        const struct config_trunk *wanted = config_trunk_at(config, (uint32_t)i);
        if (wanted == NULL || table->trunks[i] != NULL)
            continue;
        table->trunks[i] = trunk_make(table, wanted);
        if (table->trunks[i] == NULL)
            return -ENOMEM;
    }
    return 0;
}

void trunk_reload(struct trunk_table *table)
{
    if (trunk_take_config(table) != 0)
        abort(); /* half a configuration is none */
}

void trunk_free_retired(struct trunk_table *table, bool all)
{
    struct trunk **place = &table->retired;
    while (*place != NULL) {
        struct trunk *trunk = *place;
        if (trunk->in_flight > 0 && !all) {
            place = &trunk->next;
            continue;
        }
        *place = trunk->next;
        trunk_targets_free(trunk);
        free(trunk);
    }
}
