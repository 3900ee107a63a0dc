/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is left of a server transaction over UDP once it is answered: enough to give the same
 * answer when the same request comes again (RFC 3261 §17.2.2, Timer J = 64*T1). Nothing of the
 * request is kept; the retransmission brings it along. An entry is 48 bytes, the table is
 * bounded and forgets the oldest answer first; its memory is taken as it fills and given back
 * as it empties. Owner: one egress thread. Times are monotonic milliseconds.
 */
#ifndef PASSERELLE_CORE_SIP_ANSWERED_H
#define PASSERELLE_CORE_SIP_ANSWERED_H

#include "net/keyed_hash.h"
#include "proto/span.h"

/* The names of a request under the secret of the thread. */
struct sip_names {
    struct keyed_hash_name transaction; /* branch, sent-by and method (RFC 3261 §17.2.3) */
    uint64_t merged;                    /* From tag, Call-ID and CSeq (§8.2.2.2) */
};

struct sip_answer {
    int status;
    struct span reason; /* empty: the standard phrase */
    struct span extra;  /* ready header lines with CRLF */
};

struct sip_answered;

/* Room for `capacity` answers, at least one. -ENOMEM. */
int sip_answered_open(struct sip_answered **table, size_t capacity) MUST_USE;
void sip_answered_close(struct sip_answered **table);
/* Remembers an answer until `due_ms`, which is never before that of an earlier call. Returns
   how many answers had to be forgotten before their time. Without memory nothing is remembered:
   then a retransmission counts as a new request. */
size_t sip_answered_add(struct sip_answered *table, const struct sip_names *names,
                        const struct sip_answer *answer, uint64_t due_ms);
/* Forgets what is due. */
void sip_answered_expire(struct sip_answered *table, uint64_t now_ms);
/* Fetches what a question about these names will need from memory. */
void sip_answered_prefetch(const struct sip_answered *table, const struct sip_names *names);
/* True when this request was answered; the views in *answer live until the next add, expire or
   close. */
bool sip_answered_find(const struct sip_answered *table, struct keyed_hash_name transaction,
                       struct sip_answer *answer);
/* True when a request with this From tag, Call-ID and CSeq was answered. */
bool sip_answered_is_merged(const struct sip_answered *table, uint64_t merged);
size_t sip_answered_count(const struct sip_answered *table);

#endif
