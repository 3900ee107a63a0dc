/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/resolver_order.h"

#include <assert.h>
#include <string.h>

static bool order_label_usable(const uint8_t *label, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t c = label[i];
        bool usable = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!usable)
            return false;
    }
    return true;
}

bool resolver_order_parse(const uint8_t *data, size_t size, struct resolver_record *record)
{
    memset(record, 0, sizeof(*record));
    if (size < 7)
        return false;
    record->priority = (uint16_t)(data[0] << 8 | data[1]);
    record->weight = (uint16_t)(data[2] << 8 | data[3]);
    record->port = (uint16_t)(data[4] << 8 | data[5]);
    size_t used = 0, at = 6;
    /* RFC 2782: the target is never compressed; libunbound gives it in wire form. */
    while (at < size && data[at] != 0) {
        size_t label = data[at++];
        if (label > 63 || label >= size - at || used + label + 2 > sizeof(record->host) ||
            !order_label_usable(data + at, label))
            return false;
        if (used > 0)
            record->host[used++] = '.';
        memcpy(record->host + used, data + at, label);
        used += label;
        at += label;
    }
    record->is_dot = used == 0;
    return at + 1 == size && (record->is_dot || record->port != 0);
}

static void order_swap(struct resolver_record *a, struct resolver_record *b)
{
    struct resolver_record keep = *a;
    *a = *b;
    *b = keep;
}

/* Which of the records is next: a running sum of the weights passes a number drawn between 0 and
   their sum; those with weight 0 come first in the sum so that they keep a small chance. */
static size_t order_pick(const struct resolver_record *records, size_t count, uint32_t random)
{
    uint32_t sum = 0, running = 0;
    for (size_t i = 0; i < count; i++)
        sum += records[i].weight;
    uint32_t drawn = random % (sum + 1);
    size_t zeros = 0;
    for (size_t i = 0; i < count; i++)
        zeros += records[i].weight == 0;
    for (size_t i = 0; drawn == 0 && zeros > 0 && i < count; i++)
        if (records[i].weight == 0)
            return i;
    for (size_t i = 0; i < count; i++) {
        running += records[i].weight;
        if (running >= drawn && records[i].weight > 0)
            return i;
    }
    return 0; /* all weights are 0 and the draw was 0 of 0: unreachable, yet harmless */
}

void resolver_order_sort(struct resolver_record *records, size_t count, const uint32_t *random)
{
    assert(count <= RESOLVER_TARGET_MAX);
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && records[j].priority < records[j - 1].priority; j--)
            order_swap(&records[j], &records[j - 1]);
    for (size_t i = 0; i < count; i++) {
        size_t end = i;
        while (end < count && records[end].priority == records[i].priority)
            end++;
        order_swap(&records[i], &records[i + order_pick(records + i, end - i, random[i])]);
    }
}
