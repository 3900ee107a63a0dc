/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/judge.h"

#include <assert.h>
#include <stdlib.h>

/* How long after it was sent a message is on the wires: then a stream that breaks takes it
   along. */
#define JUDGE_WIRE_NS 3000000000ull
/* How long both ends take to notice that something is over. */
#define JUDGE_NOTICE_NS 2000000000ull
/* How long it may wait for its recipient behind others whose request is sent again: Timer E's
   longest interval (RFC 3261 §17.1.2.2) twice, and Retry-After. */
#define JUDGE_QUEUE_NS 12000000000ull
/* The longest that a sender waits for an error: Timer F and some. */
#define JUDGE_LIFE_NS 45000000000ull

static const char *const judge_faults[] = {"lost",         "unanswered", "false 200",
                                           "contradicted", "doubled",    "overtaken"};
static const char *const judge_causes[] = {"stream", "link", "sip"};
static const char *const judge_sentences[] = {
    "the sender's stream broke", "the relay's stream to the XMPP side broke",
    "the SIP side was silent, refused or lost its connections"};

const char *judge_fault_name(enum judge_fault fault)
{
    return judge_faults[fault];
}

const char *judge_cause_name(enum judge_cause cause)
{
    return judge_causes[cause];
}

const char *judge_cause_sentence(enum judge_cause cause)
{
    return judge_sentences[cause];
}

void judge_open(struct judge *judge, unsigned lanes, bool datagrams)
{
    assert(lanes > 0);
    *judge = (struct judge){.lanes = lanes, .datagrams = datagrams};
}

void judge_note(struct judge *judge, const struct judge_trouble *trouble)
{
    if (judge->count == judge->room) {
        judge->room = judge->room == 0 ? 64 : 2 * judge->room;
        judge->troubles = realloc(judge->troubles, judge->room * sizeof(*judge->troubles));
        if (judge->troubles == NULL)
            abort();
    }
    judge->troubles[judge->count++] = *trouble;
}

/* Did the message meet such a trouble? One that began before `after_ns` had passed since it was
   sent last, and that was not over for `before_ns` when it was sent first. */
static bool judge_met(const struct judge *judge, const struct ledger_entry *entry,
                      enum judge_cause cause, uint64_t before_ns, uint64_t after_ns)
{
    uint32_t first_ms = (uint32_t)(entry->start_ns / 1000000);
    uint64_t last_ns = entry->start_ns + (uint64_t)(entry->sent_ms - first_ms) * 1000000;
    for (size_t i = 0; i < judge->count; i++) {
        const struct judge_trouble *trouble = &judge->troubles[i];
        if (trouble->cause == cause &&
            (cause == JUDGE_SIP || trouble->lane == entry->user % judge->lanes) &&
            trouble->since_ns <= last_ns + after_ns &&
            entry->start_ns <= trouble->until_ns + before_ns)
            return true;
    }
    return false;
}

static bool judge_met_on_wire(const struct judge *judge, const struct ledger_entry *entry,
                              enum judge_cause cause)
{
    return judge_met(judge, entry, cause, JUDGE_NOTICE_NS, JUDGE_WIRE_NS);
}

static bool judge_met_sip(const struct judge *judge, const struct ledger_entry *entry)
{
    return judge_met(judge, entry, JUDGE_SIP, JUDGE_QUEUE_NS, JUDGE_QUEUE_NS);
}

/* What excuses a fault of a message to SIP; JUDGE_CAUSES: nothing. */
static enum judge_cause judge_excuse_to_sip(const struct judge *judge,
                                            const struct ledger_entry *entry,
                                            enum judge_fault fault)
{
    bool sip = judge_met_sip(judge, entry);
    bool stream = judge_met_on_wire(judge, entry, JUDGE_STREAM);
    switch (fault) {
    case JUDGE_LOST:
        if (stream)
            return JUDGE_STREAM;
        /* Its error may have been lost with the stream that carried it. */
        return sip && judge_met(judge, entry, JUDGE_LINK, JUDGE_NOTICE_NS, JUDGE_LIFE_NS)
                   ? JUDGE_LINK
                   : JUDGE_CAUSES;
    case JUDGE_OVERTAKEN:
        if (stream)
            return JUDGE_STREAM;
        return sip ? JUDGE_SIP : JUDGE_CAUSES;
    case JUDGE_CONTRADICTED:
    case JUDGE_DOUBLED:
        /* The answer was lost with its connection; over UDP the request is sent again. */
        return sip && !judge->datagrams ? JUDGE_SIP : JUDGE_CAUSES;
    case JUDGE_UNANSWERED:
    case JUDGE_FALSE:
    case JUDGE_FAULTS: break;
    }
    return JUDGE_CAUSES;
}

static enum judge_cause judge_excuse_to_xmpp(const struct judge *judge,
                                             const struct ledger_entry *entry,
                                             enum judge_fault fault)
{
    bool link = judge_met_on_wire(judge, entry, JUDGE_LINK);
    bool connection = !judge->datagrams && judge_met_on_wire(judge, entry, JUDGE_SIP);
    switch (fault) {
    case JUDGE_LOST:
    case JUDGE_CONTRADICTED:
    case JUDGE_OVERTAKEN:
        if (link)
            return JUDGE_LINK;
        return connection ? JUDGE_SIP : JUDGE_CAUSES;
    case JUDGE_UNANSWERED: return connection ? JUDGE_SIP : JUDGE_CAUSES;
    case JUDGE_FALSE:
    case JUDGE_DOUBLED:
    case JUDGE_FAULTS: break;
    }
    return JUDGE_CAUSES;
}

static void judge_add(const struct judge *judge, const struct ledger *ledger,
                      const struct ledger_entry *entry, bool to_sip, enum judge_fault fault,
                      struct judge_verdict *verdict)
{
    enum judge_cause cause = to_sip ? judge_excuse_to_sip(judge, entry, fault)
                                    : judge_excuse_to_xmpp(judge, entry, fault);
    if (cause != JUDGE_CAUSES)
        verdict->excused[fault][cause]++;
    else if (verdict->unexplained[fault]++ == 0)
        verdict->first[fault] = ledger->first + (uint32_t)(entry - ledger->entries);
}

void judge_ledger(const struct judge *judge, const struct ledger *ledger, bool to_sip,
                  struct judge_verdict *verdict)
{
    *verdict = (struct judge_verdict){0};
    for (uint32_t i = 0; i < ledger->sent; i++) {
        const struct ledger_entry *entry = &ledger->entries[i];
        bool open = !to_sip && (!entry->answered || entry->timed_out);
        bool ended = entry->arrived || entry->failed;
        bool faults[JUDGE_FAULTS] = {
            [JUDGE_UNANSWERED] = open,
            [JUDGE_LOST] = !open && !ended && (to_sip || entry->handed_over),
            [JUDGE_FALSE] = !open && !ended && !to_sip && !entry->handed_over,
            [JUDGE_CONTRADICTED] = !open && entry->arrived && entry->failed,
            [JUDGE_DOUBLED] = entry->duplicated,
            [JUDGE_OVERTAKEN] = entry->reordered};
        bool good = true;
        for (int fault = 0; fault < JUDGE_FAULTS; fault++) {
            if (!faults[fault])
                continue;
            good = false;
            judge_add(judge, ledger, entry, to_sip, (enum judge_fault)fault, verdict);
        }
        verdict->delivered += good && entry->arrived;
        verdict->refused += good && entry->failed;
    }
}

uint32_t judge_unexplained(const struct judge_verdict *verdict)
{
    uint32_t sum = 0;
    for (int fault = 0; fault < JUDGE_FAULTS; fault++)
        sum += verdict->unexplained[fault];
    return sum;
}

void judge_close(struct judge *judge)
{
    free(judge->troubles);
    judge->troubles = NULL;
    judge->count = judge->room = 0;
}
