/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A first-in first-out ring of entries in chunks, and two arrays of chains into it. All entries
 * live equally long, so the oldest entry is the first to end and the last of its chains.
 *
 * The table is larger than the caches, and nearly every question is about a name that is not in
 * it. So a link says a little of the entry it leads to, and whether another comes behind: most
 * questions end at the head of a chain and touch no entry.
 */
#include "core/sip_answered.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "proto/writer.h"

#define CHUNK_COUNT     1024u    /* entries of one chunk */
#define HEADS_PER_ENTRY 2u       /* two of three chains are empty in a full table */
#define FETCH_AHEAD     4u       /* entries that are to be forgotten soon */
#define DETAIL_SIZE_MAX 4194304u /* reasons and header lines of all answers together */

/* A link: slot + 1 in the low bits (0: the chain ends), a tag of the entry's hash, and whether
   another entry may come behind it. */
#define LINK_TAG_BITS  6u
#define LINK_TAG_SHIFT 25u
#define LINK_SLOT_MASK ((1u << LINK_TAG_SHIFT) - 1)
#define LINK_MORE      (1u << 31)
_Static_assert(LINK_TAG_SHIFT + LINK_TAG_BITS == 31, "slot, tag and LINK_MORE fill the link");

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
    uint32_t next[CHAIN_COUNT]; /* links */
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
    assert(capacity + 2 * CHUNK_COUNT < LINK_SLOT_MASK);
    struct sip_answered *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    /* One chunk more than the entries need, so that the oldest and the newest never share. */
    made->capacity = capacity;
    made->chunk_count = (capacity + CHUNK_COUNT - 1) / CHUNK_COUNT + 1;
    made->chunks = calloc(made->chunk_count, sizeof(*made->chunks));
    made->head_count = CHUNK_COUNT;
    while (made->head_count < HEADS_PER_ENTRY * capacity)
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

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - LINK_TAG_BITS)) << LINK_TAG_SHIFT;
}

static struct entry *follow(const struct sip_answered *table, uint32_t link)
{
    return entry_at(table, (link & LINK_SLOT_MASK) - 1);
}

/* The oldest is the last of its chains: whoever points to it ends there. */
static void unchain(struct sip_answered *table, const struct entry *entry, uint32_t slot,
                    enum chain chain)
{
    uint32_t *place = head_of(table, chain, hash_of(entry, chain));
    while ((*place & LINK_SLOT_MASK) != slot + 1) {
        assert(*place != 0);
        place = &follow(table, *place)->next[chain];
    }
    assert(entry->next[chain] == 0);
    *place = 0;
}

size_t sip_answered_count(const struct sip_answered *table)
{
    return (size_t)(table->end - table->first);
}

/* What will be needed to forget the entry that has its turn after a few more. */
static void fetch_ahead(const struct sip_answered *table)
{
    if (sip_answered_count(table) <= FETCH_AHEAD)
        return;
    const struct entry *entry = entry_at(table, slot_of(table, table->first + FETCH_AHEAD));
    for (unsigned chain = 0; chain < CHAIN_COUNT; chain++)
        __builtin_prefetch(
            head_of(table, (enum chain)chain, hash_of(entry, (enum chain)chain)));
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
    fetch_ahead(table);
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
        uint64_t hash = hash_of(entry, (enum chain)chain);
        uint32_t *head = head_of(table, (enum chain)chain, hash);
        entry->next[chain] = *head;
        *head = (slot + 1) | tag_of(hash) | (*head != 0 ? LINK_MORE : 0);
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

/* The first entry from `link` on that may have this hash; NULL when there is none. */
static const struct entry *candidate(const struct sip_answered *table, enum chain chain,
                                     uint64_t hash, uint32_t link)
{
    const uint32_t tag_mask = ((1u << LINK_TAG_BITS) - 1) << LINK_TAG_SHIFT;
    while (link != 0) {
        if ((link & tag_mask) == tag_of(hash))
            return follow(table, link);
        if ((link & LINK_MORE) == 0)
            return NULL;
        link = follow(table, link)->next[chain];
    }
    return NULL;
}

static const struct entry *first_candidate(const struct sip_answered *table, enum chain chain,
                                           uint64_t hash)
{
    if (sip_answered_count(table) == 0)
        return NULL;
    return candidate(table, chain, hash, *head_of(table, chain, hash));
}

static void read_answer(const struct entry *entry, struct sip_answer *answer)
{
    *answer = (struct sip_answer){.status = entry->status};
    if (entry->detail == NULL)
        return;
    const char *text = entry->detail->text;
    answer->reason = span_make(text, entry->detail->reason_size);
    answer->extra = span_make(text + entry->detail->reason_size, entry->detail->extra_size);
}

bool sip_answered_find(const struct sip_answered *table, struct keyed_hash_name transaction,
                       struct sip_answer *answer)
{
    uint64_t hash = transaction.word[0];
    const struct entry *entry = first_candidate(table, CHAIN_TRANSACTION, hash);
    while (entry != NULL && (entry->transaction.word[0] != hash ||
                             entry->transaction.word[1] != transaction.word[1]))
        entry = candidate(table, CHAIN_TRANSACTION, hash, entry->next[CHAIN_TRANSACTION]);
    if (entry != NULL)
        read_answer(entry, answer);
    return entry != NULL;
}

bool sip_answered_is_merged(const struct sip_answered *table, uint64_t merged)
{
    const struct entry *entry = first_candidate(table, CHAIN_MERGED, merged);
    while (entry != NULL && entry->merged != merged)
        entry = candidate(table, CHAIN_MERGED, merged, entry->next[CHAIN_MERGED]);
    return entry != NULL;
}
