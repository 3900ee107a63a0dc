/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LEDGER_ROOM_MIN 65536u

void ledger_start(struct ledger *ledger, uint32_t first, uint32_t count, unsigned users)
{
    assert(users > 0 && users <= LEDGER_USER_MAX);
    struct ledger_entry *entries = ledger->entries;
    uint32_t room = ledger->room;
    *ledger = (struct ledger){
        .entries = entries, .room = room, .first = first, .count = count, .users = users};
}

void ledger_fini(struct ledger *ledger)
{
    free(ledger->entries);
    ledger->entries = NULL;
    ledger->room = 0;
}

struct ledger_entry *ledger_next(struct ledger *ledger, uint64_t start_ns, unsigned user)
{
    assert(user < ledger->users);
    if (ledger->sent == ledger->room) {
        uint32_t room = ledger->room < LEDGER_ROOM_MIN ? LEDGER_ROOM_MIN : 2 * ledger->room;
        struct ledger_entry *entries =
            realloc(ledger->entries, (size_t)room * sizeof(*ledger->entries));
        if (entries == NULL)
            return NULL;
        ledger->entries = entries;
        ledger->room = room;
    }
    struct ledger_entry *entry = &ledger->entries[ledger->sent];
    *entry = (struct ledger_entry){.start_ns = start_ns, .user = (uint16_t)user};
    return entry;
}

void ledger_left(struct ledger *ledger, struct ledger_entry *entry, uint64_t now_ns)
{
    assert(entry == &ledger->entries[ledger->sent]);
    entry->sent_ms = (uint32_t)(now_ns / 1000000);
    ledger->sent++;
    ledger->of[entry->user]++;
    ledger->bytes_sent += entry->text_size;
}

struct ledger_entry *ledger_find(struct ledger *ledger, uint32_t number)
{
    uint32_t index = number - ledger->first;
    return index < ledger->sent ? &ledger->entries[index] : NULL;
}

void ledger_arrived(struct ledger *ledger, uint32_t number, uint32_t mark, uint64_t now_ns)
{
    struct ledger_entry *entry = ledger_find(ledger, number);
    mark &= LEDGER_MARK_MAX;
    if (entry == NULL)
        return;
    if (entry->arrived) {
        if (mark != 0 && entry->mark == mark) {
            ledger->repeated++;
            return;
        }
        ledger->duplicated++;
        entry->duplicated = true;
        return;
    }
    uint32_t *last = &ledger->last[entry->user];
    entry->reordered = number + 1 < *last;
    if (entry->reordered)
        ledger->reordered++;
    else
        *last = number + 1;
    entry->arrived = true;
    entry->mark = mark & LEDGER_MARK_MAX;
    entry->latency_ns = now_ns > entry->start_ns ? now_ns - entry->start_ns : 1;
    histogram_add(&ledger->recent, entry->latency_ns / 1000);
    ledger->arrived++;
    ledger->bytes_arrived += entry->text_size;
    ledger->end_ns = now_ns;
    if (entry->failed)
        ledger->contradicted++;
}

void ledger_damaged(struct ledger *ledger)
{
    ledger->damaged++;
}

void ledger_answered(struct ledger *ledger, uint32_t number, bool good)
{
    struct ledger_entry *entry = ledger_find(ledger, number);
    if (entry == NULL || entry->answered)
        return;
    entry->answered = true;
    ledger->answered++;
    if (good)
        return;
    entry->failed = true;
    ledger->failed++;
    if (entry->arrived)
        ledger->contradicted++;
}

void ledger_timed_out(struct ledger *ledger, uint32_t number)
{
    struct ledger_entry *entry = ledger_find(ledger, number);
    if (entry != NULL && !entry->answered)
        entry->timed_out = true;
    ledger_answered(ledger, number, false);
}

void ledger_handed_over(struct ledger *ledger, uint32_t number)
{
    struct ledger_entry *entry = ledger_find(ledger, number);
    if (entry != NULL)
        entry->handed_over = true;
}

bool ledger_overdue(struct ledger *ledger, uint32_t before_ms, uint32_t *from)
{
    while (ledger->oldest < ledger->sent && ledger->entries[ledger->oldest].answered)
        ledger->oldest++;
    uint32_t index = *from - ledger->first;
    for (index = index < ledger->oldest ? ledger->oldest : index; index < ledger->sent;
         index++) {
        const struct ledger_entry *entry = &ledger->entries[index];
        if (!entry->answered && (int32_t)(before_ms - entry->sent_ms) > 0) {
            *from = ledger->first + index;
            return true;
        }
    }
    return false;
}

uint32_t ledger_lost(const struct ledger *ledger)
{
    uint32_t ended = ledger->arrived + ledger->failed - ledger->contradicted;
    return ledger->sent - ended;
}

double ledger_rate(const struct ledger *ledger)
{
    if (ledger->arrived == 0 || ledger->end_ns <= ledger->first_ns)
        return 0;
    return ledger->arrived / ((double)(ledger->end_ns - ledger->first_ns) / 1e9);
}

static int ledger_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void ledger_percentiles(struct ledger *ledger, const double *shares, double *us, size_t count)
{
    /* The latencies are gathered at the front of the entries' own memory. */
    uint64_t *latencies = (uint64_t *)(void *)ledger->entries;
    size_t n = 0;
    for (uint32_t i = 0; i < ledger->sent; i++) {
        uint64_t latency_ns = ledger->entries[i].latency_ns;
        if (latency_ns != 0)
            latencies[n++] = latency_ns;
    }
    if (n > 0)
        qsort(latencies, n, sizeof(*latencies), ledger_compare);
    for (size_t i = 0; i < count; i++) {
        size_t index = (size_t)((double)n * shares[i]);
        us[i] = n == 0 ? 0 : (double)latencies[index < n ? index : n - 1] / 1000;
    }
}
