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

static uint16_t order_number(const uint8_t *data)
{
    return (uint16_t)(data[0] << 8 | data[1]);
}

/* The name that fills `data` to its end, into `host` of RESOLVER_NAME_SIZE bytes; "" for the root.
   False when it does not or has odd bytes. */
static bool order_name(const uint8_t *data, size_t size, char *host)
{
    size_t used = 0, at = 0;
    /* RFC 2782, RFC 3403 §4.1: never compressed; libunbound gives it in wire form. */
    while (at < size && data[at] != 0) {
        size_t label = data[at++];
        if (label > 63 || label >= size - at || used + label + 2 > RESOLVER_NAME_SIZE ||
            !order_label_usable(data + at, label))
            return false;
        if (used > 0)
            host[used++] = '.';
        memcpy(host + used, data + at, label);
        used += label;
        at += label;
    }
    host[used] = '\0';
    return at + 1 == size;
}

bool resolver_order_parse(const uint8_t *data, size_t size, struct resolver_record *record)
{
    memset(record, 0, sizeof(*record));
    if (size < 7)
        return false;
    record->priority = order_number(data);
    record->weight = order_number(data + 2);
    record->port = order_number(data + 4);
    bool is_whole = order_name(data + 6, size - 6, record->host);
    record->is_dot = record->host[0] == '\0';
    return is_whole && (record->is_dot || record->port != 0);
}

/* Takes a character-string (RFC 1035 §3.3) at *at; false when it passes the end. */
static bool order_string(const uint8_t *data, size_t size, size_t *at, const char **text,
                         size_t *text_size)
{
    if (*at >= size || data[*at] >= size - *at)
        return false;
    *text = (const char *)data + *at + 1;
    *text_size = data[*at];
    *at += 1 + *text_size;
    return true;
}

bool resolver_order_pointer(const uint8_t *data, size_t size, struct resolver_pointer *pointer)
{
    const char *flags, *service, *expression;
    size_t flags_size, service_size, expression_size, at = 4;
    memset(pointer, 0, sizeof(*pointer));
    if (size < 8 || !order_string(data, size, &at, &flags, &flags_size) ||
        !order_string(data, size, &at, &service, &service_size) ||
        !order_string(data, size, &at, &expression, &expression_size) || at >= size)
        return false;
    if (flags_size != 1 || (flags[0] | 0x20) != 's' || expression_size != 0 ||
        service_size >= sizeof(pointer->service))
        return false;
    pointer->order = order_number(data);
    pointer->preference = order_number(data + 2);
    memcpy(pointer->service, service, service_size);
    return order_name(data + at, size - at, pointer->host) && pointer->host[0] != '\0';
}

bool resolver_order_before(const struct resolver_pointer *a, const struct resolver_pointer *b)
{
    return a->order != b->order ? a->order < b->order : a->preference < b->preference;
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
