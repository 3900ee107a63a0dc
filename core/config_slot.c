/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The places of tenants and trunks. What a thread or a counter keeps for one it keeps by index,
 * so an index means the same before and after a reload: who stays keeps his, and a new one gets
 * one that nothing had in the snapshot before. An index that is given up is free again in the
 * snapshot after the next; by then every thread has left the one that knew its former owner.
 */
#include "core/config_schema.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* One kind of place: which the snapshot before used, and how far we have looked. */
struct slot_row {
    bool *used;
    size_t count; /* of `used` */
    uint32_t next;
    size_t end; /* above every index that was given */
};

struct config_slots {
    struct slot_row tenants, trunks;
    uint32_t serial; /* of trunks, the last one */
};

static int row_open(struct slot_row *row, size_t count)
{
    row->count = row->end = count;
    row->used = calloc(count + 1, sizeof(*row->used));
    return row->used != NULL ? 0 : -ENOMEM;
}

static uint32_t row_take(struct slot_row *row)
{
    while (row->next < row->count && row->used[row->next])
        row->next++;
    uint32_t taken = row->next++;
    if (row->end < row->next)
        row->end = row->next;
    return taken;
}

int config_slot_open(struct config_load *load)
{
    static const struct config none = {0};
    const struct config *before = load->previous != NULL ? load->previous : &none;
    struct config_slots *slots = calloc(1, sizeof(*slots));
    load->slots = slots;
    if (slots == NULL || row_open(&slots->tenants, before->tenant_slots) != 0 ||
        row_open(&slots->trunks, before->trunk_slots) != 0)
        return -ENOMEM;
    slots->serial = before->trunk_serial;
    load->config->snapshot = before->snapshot + 1;
    for (size_t i = 0; i < before->tenant_count; i++) {
        const struct config_tenant *tenant = &before->tenants[i];
        slots->tenants.used[tenant->index] = true;
        for (size_t j = 0; j < tenant->trunk_count; j++)
            slots->trunks.used[tenant->trunks[j].index] = true;
    }
    return 0;
}

void config_slot_close(struct config_load *load)
{
    struct config_slots *slots = load->slots;
    load->slots = NULL;
    if (slots == NULL)
        return;
    load->config->tenant_slots = slots->tenants.end;
    load->config->trunk_slots = slots->trunks.end;
    load->config->trunk_serial = slots->serial;
    free(slots->tenants.used);
    free(slots->trunks.used);
    free(slots);
}

const struct config_tenant *config_slot_tenant(struct config_load *load,
                                               struct config_tenant *tenant)
{
    const struct config_tenant *before =
        load->previous != NULL ? config_find_named(load->previous, config_tenant_name(tenant))
                               : NULL;
    tenant->index = before != NULL ? before->index : row_take(&load->slots->tenants);
    return before;
}

static bool is_same_trunk(const struct config_trunk *a, const struct config_trunk *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->identity, b->identity) == 0;
}

void config_slot_trunks(struct config_load *load, struct config_tenant *tenant)
{
    struct config_slots *slots = load->slots;
    const struct config_tenant *before =
        load->previous != NULL ? config_tenant_at(load->previous, tenant->index) : NULL;
    size_t count = before != NULL ? before->trunk_count : 0;
    uint64_t taken = 0; /* of the trunks before: one may stand there more than once */
    assert(count <= 64);
    for (size_t i = 0; i < tenant->trunk_count; i++) {
        struct config_trunk *trunk = &tenant->trunks[i];
        size_t at = 0;
        while (at < count &&
               ((taken >> at & 1) != 0 || !is_same_trunk(&before->trunks[at], trunk)))
            at++;
        if (at < count) {
            taken |= (uint64_t)1 << at;
            trunk->index = before->trunks[at].index;
            trunk->serial = before->trunks[at].serial;
        } else {
            trunk->index = row_take(&slots->trunks);
            trunk->serial = ++slots->serial;
        }
    }
}
