/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What became of every message of a soak, and whether that may be. What the protocols do not
 * promise needs a trouble that was noted and that the message met: a stanza on the wire of a
 * broken stream that is not resumed is lost (RFC 6120 §4.4), and a request whose connection is
 * lost before the answer may come twice (RFC 3261 §18.4). Pure but for its memory; one
 * thread.
 */
#ifndef PASSERELLE_BENCH_JUDGE_H
#define PASSERELLE_BENCH_JUDGE_H

#include "bench/ledger.h"

/* Where the trouble was. */
enum judge_cause {
    JUDGE_STREAM, /* our stream to the relay broke */
    JUDGE_LINK,   /* the relay's stream to us broke */
    JUDGE_SIP,    /* the SIP side was silent, refused or lost its connections */
    JUDGE_CAUSES
};

enum judge_fault {
    JUDGE_LOST,         /* neither arrived nor answered with an error; 202 promises nothing */
    JUDGE_UNANSWERED,   /* SIP to XMPP: no final response in time */
    JUDGE_FALSE,        /* SIP to XMPP: answered 200, but not arrived */
    JUDGE_CONTRADICTED, /* arrived, and its sender was told that it failed */
    JUDGE_DOUBLED,
    JUDGE_OVERTAKEN,
    JUDGE_FAULTS
};

struct judge_trouble {
    enum judge_cause cause;
    unsigned lane; /* the stream; of JUDGE_SIP all are concerned */
    uint64_t since_ns, until_ns;
};

struct judge {
    struct judge_trouble *troubles;
    size_t count, room;
    unsigned lanes; /* the lane of a user is its number modulo that */
    bool datagrams; /* SIP goes over UDP: what is lost is sent again */
};

struct judge_verdict {
    uint32_t delivered; /* once, and nobody was told otherwise */
    uint32_t refused;   /* its sender got an error, and it did not arrive */
    uint32_t excused[JUDGE_FAULTS][JUDGE_CAUSES];
    uint32_t unexplained[JUDGE_FAULTS];
    uint32_t first[JUDGE_FAULTS]; /* number of the first unexplained one */
};

void judge_open(struct judge *judge, unsigned lanes, bool datagrams);
void judge_note(struct judge *judge, const struct judge_trouble *trouble);
/* Judges every message of a direction. The entries stay as they are. */
void judge_ledger(const struct judge *judge, const struct ledger *ledger, bool to_sip,
                  struct judge_verdict *verdict);
uint32_t judge_unexplained(const struct judge_verdict *verdict);
void judge_close(struct judge *judge);

const char *judge_fault_name(enum judge_fault fault);
const char *judge_cause_name(enum judge_cause cause);
const char *judge_cause_sentence(enum judge_cause cause);

#endif
