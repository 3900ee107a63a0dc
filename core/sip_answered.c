/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A first-in first-out ring of entries in chunks, and two arrays of chains into it. All entries
 * live equally long, so the oldest entry is the first to end and the last of its chains.
 */
#include "core/sip_answered.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "proto/writer.h"

#define CHUNK_COUNT     1024u    /* entries of one chunk */
#define DETAIL_SIZE_MAX 4194304u /* reasons and header lines of all answers together */

enum chain { CHAIN_TRANSACTION, CHAIN_MERGED, CHAIN_COUNT };

struct detail {
    uint16_t reason_size, extra_size;
    char text[];
};

struct entry {
    struct keyed_hash_name transaction;
    uint64_t merged;
    struct detail *detail;      /* NULL: the standard phrase and no further header lines */
    uint32_t due_ms;            /* the low half of the time */
    uint32_t next[CHAIN_COUNT]; /* slot + 1; 0 ends */
    uint16_t status;
};
_Static_assert(sizeof(struct entry) == 48, "the header promises 48 bytes");

struct sip_answered {
    struct entry **chunks; /* NULL: not in use */
    size_t chunk_count, capacity;
    uint64_t first, end;          /* first ≤ position < end are in use */
    uint32_t *heads[CHAIN_COUNT]; /* NULL while the table is empty */
    size_t head_count;            /* power of two */
    size_t detail_size;
};

static size_t size_of(const struct detail *detail)
{
    return sizeof(*detail) + detail->reason_size + detail->extra_size;
}

int sip_answered_open(struct sip_answered **table, size_t capacity)
{
    assert(capacity > 0);
    assert(capacity < UINT32_MAX);
    struct sip_answered *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    /* One chunk more than the entries need, so that the oldest and the newest never share. */
    made->capacity = capacity;
    made->chunk_count = (capacity + CHUNK_COUNT - 1) / CHUNK_COUNT + 1;
    made->chunks = calloc(made->chunk_count, sizeof(*made->chunks));
    made->head_count = CHUNK_COUNT;
    while (made->head_count < capacity)
        made->head_count *= 2;
    if (made->chunks == NULL) {
        free(made);
        return -ENOMEM;
    }
    *table = made;
    return 0;
}

static uint32_t slot_of(const struct sip_answered *table, uint64_t position)
{
    return (uint32_t)(position % (table->chunk_count * CHUNK_COUNT));
}

static struct entry *entry_at(const struct sip_answered *table, uint32_t slot)
{
    struct entry *chunk = table->chunks[slot / CHUNK_COUNT];
    assert(chunk != NULL);
    return &chunk[slot % CHUNK_COUNT];
}

static uint32_t *head_of(const struct sip_answered *table, enum chain chain, uint64_t hash)
{
    return &table->heads[chain][hash & (table->head_count - 1)];
}

static uint64_t hash_of(const struct entry *entry, enum chain chain)
{
    return chain == CHAIN_TRANSACTION ? entry->transaction.word[0] : entry->merged;
}

/* The oldest is the last of its chains: whoever points to it ends there. */
static void unchain(struct sip_answered *table, const struct entry *entry, uint32_t slot,
                    enum chain chain)
{
    uint32_t *place = head_of(table, chain, hash_of(entry, chain));
    while (*place != slot + 1) {
        assert(*place != 0);
        place = &entry_at(table, *place - 1)->next[chain];
    }
    assert(entry->next[chain] == 0);
    *place = 0;
}

static void release_chunk(struct sip_answered *table, uint32_t slot)
{
    free(table->chunks[slot / CHUNK_COUNT]);
    table->chunks[slot / CHUNK_COUNT] = NULL;
}

static void forget_first(struct sip_answered *table)
{
    uint32_t slot = slot_of(table, table->first);
    struct entry *entry = entry_at(table, slot);
    for (unsigned chain = 0; chain < CHAIN_COUNT; chain++)
        unchain(table, entry, slot, (enum chain)chain);
    if (entry->detail != NULL) {
        assert(table->detail_size >= size_of(entry->detail));
        table->detail_size -= size_of(entry->detail);
        free(entry->detail);
    }
    table->first++;
    bool is_empty = table->first == table->end;
    if (is_empty || slot % CHUNK_COUNT == CHUNK_COUNT - 1)
        release_chunk(table, slot);
    if (!is_empty)
        return;
    /* The next chunk begins with its first entry. */
    table->first = table->end = (table->end + CHUNK_COUNT - 1) / CHUNK_COUNT * CHUNK_COUNT;
    for (unsigned chain = 0; chain < CHAIN_COUNT; chain++) {
        free(table->heads[chain]);
        table->heads[chain] = NULL;
    }
}

size_t sip_answered_count(const struct sip_answered *table)
{
    return (size_t)(table->end - table->first);
}

void sip_answered_close(struct sip_answered **table)
{
    struct sip_answered *closed = *table;
    if (closed == NULL)
        return;
    while (sip_answered_count(closed) > 0)
        forget_first(closed);
    free(closed->chunks);
    free(closed);
    *table = NULL;
}

void sip_answered_expire(struct sip_answered *table, uint64_t now_ms)
{
    while (sip_answered_count(table) > 0) {
        const struct entry *entry = entry_at(table, slot_of(table, table->first));
        if ((int32_t)((uint32_t)now_ms - entry->due_ms) < 0)
            return;
        forget_first(table);
    }
}

static bool make_room(struct sip_answered *table, uint32_t slot)
{
    for (unsigned chain = 0; chain < CHAIN_COUNT; chain++)
        if (table->heads[chain] == NULL)
            table->heads[chain] = calloc(table->head_count, sizeof(uint32_t));
    struct entry **chunk = &table->chunks[slot / CHUNK_COUNT];
    if (*chunk == NULL)
        *chunk = malloc(CHUNK_COUNT * sizeof(**chunk));
    if (*chunk != NULL && table->heads[0] != NULL && table->heads[1] != NULL)
        return true;
    if (slot % CHUNK_COUNT == 0)
        release_chunk(table, slot);
    return false;
}

static bool add_detail(struct sip_answered *table, struct entry *entry,
                       const struct sip_answer *answer)
{
    size_t size = answer->reason.size + answer->extra.size;
    entry->detail = NULL;
    if (size == 0)
        return true;
    if (answer->reason.size > UINT16_MAX || answer->extra.size > UINT16_MAX)
        return false;
    entry->detail = malloc(sizeof(*entry->detail) + size);
    if (entry->detail == NULL)
        return false;
    entry->detail->reason_size = (uint16_t)answer->reason.size;
    entry->detail->extra_size = (uint16_t)answer->extra.size;
    struct writer writer = writer_make(entry->detail->text, size);
    writer_put(&writer, answer->reason);
    writer_put(&writer, answer->extra);
    table->detail_size += size_of(entry->detail);
    return true;
}

size_t sip_answered_add(struct sip_answered *table, const struct sip_names *names,
                        const struct sip_answer *answer, uint64_t due_ms)
{
    assert(answer->status >= 200 && answer->status <= 699);
    size_t forgotten = 0;
    while (sip_answered_count(table) >= table->capacity ||
           (table->detail_size > DETAIL_SIZE_MAX && sip_answered_count(table) > 0)) {
        forget_first(table);
        forgotten++;
    }
    uint32_t slot = slot_of(table, table->end);
    if (!make_room(table, slot))
        return forgotten;
    struct entry *entry = entry_at(table, slot);
    *entry = (struct entry){.transaction = names->transaction,
                            .merged = names->merged,
                            .due_ms = (uint32_t)due_ms,
                            .status = (uint16_t)answer->status};
    /* Half an answer is worse than none. */
    if (!add_detail(table, entry, answer))
        return forgotten;
    for (unsigned chain = 0; chain < CHAIN_COUNT; chain++) {
        uint32_t *head = head_of(table, (enum chain)chain, hash_of(entry, (enum chain)chain));
        entry->next[chain] = *head;
        *head = slot + 1;
    }
    table->end++;
    return forgotten;
}

void sip_answered_prefetch(const struct sip_answered *table, const struct sip_names *names)
{
    if (sip_answered_count(table) == 0)
        return;
    __builtin_prefetch(head_of(table, CHAIN_TRANSACTION, names->transaction.word[0]));
    __builtin_prefetch(head_of(table, CHAIN_MERGED, names->merged));
}

bool sip_answered_find(const struct sip_answered *table, struct keyed_hash_name transaction,
                       struct sip_answer *answer)
{
    if (sip_answered_count(table) == 0)
        return false;
    uint32_t next = *head_of(table, CHAIN_TRANSACTION, transaction.word[0]);
    while (next != 0) {
        const struct entry *entry = entry_at(table, next - 1);
        if (entry->transaction.word[0] == transaction.word[0] &&
            entry->transaction.word[1] == transaction.word[1]) {
            *answer = (struct sip_answer){.status = entry->status};
            if (entry->detail != NULL) {
                const char *text = entry->detail->text;
                answer->reason = span_make(text, entry->detail->reason_size);
                answer->extra =
                    span_make(text + entry->detail->reason_size, entry->detail->extra_size);
            }
            return true;
        }
        next = entry->next[CHAIN_TRANSACTION];
    }
    return false;
}

bool sip_answered_is_merged(const struct sip_answered *table, uint64_t merged)
{
    if (sip_answered_count(table) == 0)
        return false;
    uint32_t next = *head_of(table, CHAIN_MERGED, merged);
    while (next != 0) {
        const struct entry *entry = entry_at(table, next - 1);
        if (entry->merged == merged)
            return true;
        next = entry->next[CHAIN_MERGED];
    }
    return false;
}
