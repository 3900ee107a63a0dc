/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One direction's ledger: follows every message by its number from the time it should have left
 * until it arrived, was answered or came back as an error. Times are nanoseconds. Pure but for
 * its memory; one thread.
 */
#ifndef PASSERELLE_BENCH_LEDGER_H
#define PASSERELLE_BENCH_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/histogram.h"

#define LEDGER_USER_MAX 16384
#define LEDGER_MARK_MAX 0x1ffffffu

struct ledger_entry {
    uint64_t start_ns;   /* when it should have left: latency counts from here */
    uint64_t latency_ns; /* 0: not arrived */
    uint32_t sent_ms;    /* when it left last */
    uint16_t user;       /* who sends it, and to whom */
    uint16_t text_size;  /* bytes of its text */
    uint32_t mark : 25;  /* of the transaction it arrived in */
    uint32_t arrived : 1, answered : 1, failed : 1, duplicated : 1, reordered : 1;
    uint32_t handed_over : 1; /* answered 202: nobody knows whether it arrived */
    uint32_t timed_out : 1;   /* no answer came: it counts as failed */
};

struct ledger {
    struct ledger_entry *entries;
    uint32_t room, first; /* entries allocated; number of the first message */
    uint32_t count;       /* how many to send; 0: this direction is not driven */
    unsigned users;
    uint32_t sent, arrived, answered, failed;
    uint32_t duplicated;                /* arrived twice, in different transactions */
    uint32_t repeated;                  /* the relay's retransmissions: no fault */
    uint32_t resent;                    /* our own retransmissions */
    uint32_t reordered;                 /* overtaken by a later one of its sender */
    uint32_t contradicted;              /* arrived, and its sender was told that it failed */
    uint32_t damaged;                   /* arrived with another text */
    uint64_t bytes_sent, bytes_arrived; /* of texts, those that arrived again left out */
    uint32_t oldest;                    /* all before it are answered */
    uint64_t first_ns, end_ns;
    struct histogram recent;        /* latencies since whoever reads it cleared it */
    uint32_t last[LEDGER_USER_MAX]; /* highest number + 1 that arrived from each sender */
    uint32_t of[LEDGER_USER_MAX];   /* messages of each sender */
};

/* Starts a phase whose numbers begin at `first`. Memory of an earlier phase is used again. */
void ledger_start(struct ledger *ledger, uint32_t first, uint32_t count, unsigned users);
void ledger_fini(struct ledger *ledger);
/* The entry of the message to be sent next; NULL when memory is refused. */
struct ledger_entry *ledger_next(struct ledger *ledger, uint64_t start_ns, unsigned user);
/* That message has left, with its text_size. */
void ledger_left(struct ledger *ledger, struct ledger_entry *entry, uint64_t now_ns);
/* The entry of a number of this phase that was sent; NULL for any other. */
struct ledger_entry *ledger_find(struct ledger *ledger, uint32_t number);
/* Message `number` arrived in the transaction `mark`. */
void ledger_arrived(struct ledger *ledger, uint32_t number, uint32_t mark, uint64_t now_ns);
/* What arrived was not the text that was sent. */
void ledger_damaged(struct ledger *ledger);
/* Its sender was answered: delivered, or not. */
void ledger_answered(struct ledger *ledger, uint32_t number, bool good);
/* Its sender has given up waiting for an answer. */
void ledger_timed_out(struct ledger *ledger, uint32_t number);
/* It was answered with 202. */
void ledger_handed_over(struct ledger *ledger, uint32_t number);
/* The next number at or after `*from` that left before `before_ms` and has no answer; false
   when there is none. */
bool ledger_overdue(struct ledger *ledger, uint32_t before_ms, uint32_t *from);
uint32_t ledger_lost(const struct ledger *ledger);
/* Messages a second that arrived, from the start to the last. */
double ledger_rate(const struct ledger *ledger);
/* Percentiles of what arrived. Sorts: the entries are used up. */
void ledger_percentiles(struct ledger *ledger, const double *shares, double *us, size_t count);

#endif
