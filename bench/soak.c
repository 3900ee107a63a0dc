/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/soak.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/load_priv.h"
#include "bench/rogue.h"
#include "net/clock.h"

#define SOAK_CHECK_NS   500000000ull
#define SOAK_SETTLE_NS  3000000000ull  /* what comes twice must be seen */
#define SOAK_GIVE_UP_NS 50000000000ull /* Timer F and some */
#define SOAK_REOPEN_NS  100000000ull
#define SOAK_LOSS       0.3

struct soak_place {
    bool ours;          /* we end the stream that is there, or have ended it */
    uint64_t reopen_ns; /* when it may come again; 0: it lives */
};

/* ---- whom a fault hits ---- */

/* One of our streams that nothing has happened to, from `choice` on; NULL: there is none. */
static struct bench_stream *soak_choose_stream(struct soak *soak, uint32_t choice)
{
    unsigned count = soak->load->options.streams;
    for (unsigned i = 0; i < count; i++) {
        struct bench_stream *stream = &soak->load->out[(choice + i) % count];
        if (stream->state == BENCH_STREAM_READY && !stream->ending && !stream->paced)
            return stream;
    }
    return NULL;
}

/* The same of the relay's streams to us; the one of the slow peers is theirs. */
static struct bench_stream *soak_choose_link(struct soak *soak, uint32_t choice)
{
    struct load *load = soak->load;
    for (unsigned i = 0; i < load->in_count; i++) {
        struct bench_stream *stream = load->in[(choice + i) % load->in_count];
        if (stream->state == BENCH_STREAM_READY && !stream->ending &&
            stream->handle != soak->hung_link && strcmp(stream->from, ROGUE_DEAF_DOMAIN) != 0)
            return stream;
    }
    return NULL;
}

static void soak_note_trouble(struct soak *soak, enum judge_cause cause, unsigned lane,
                              const struct fault *fault)
{
    struct judge_trouble trouble = {.cause = cause,
                                    .lane = lane,
                                    .since_ns = soak->load->now_ns,
                                    .until_ns =
                                        soak->load->now_ns + fault->end_ns - fault->at_ns};
    judge_note(&soak->judge, &trouble);
}

/* All lanes whose messages come by that stream of the relay. */
static void soak_note_link(struct soak *soak, const struct bench_stream *link,
                           const struct fault *fault)
{
    for (unsigned i = 0; i < soak->load->options.streams; i++) {
        const struct bench_stream *stream = &soak->load->out[i];
        if (strcmp(stream->from, link->from) == 0 && strcmp(stream->to, link->to) == 0)
            soak_note_trouble(soak, JUDGE_LINK, i, fault);
    }
}

/* ---- faults ---- */

static bool soak_break_stream(struct soak *soak, struct soak_note *note)
{
    struct bench_stream *stream = soak_choose_stream(soak, note->fault.choice);
    if (stream == NULL)
        return false;
    unsigned lane = (unsigned)(stream - soak->load->out);
    snprintf(note->target, sizeof(note->target), "%.70s to %.70s", stream->from, stream->to);
    soak->places[lane].ours = true;
    if (note->fault.kind == FAULT_STREAM_CLOSE) {
        bench_stream_end(stream);
        return true;
    }
    soak_note_trouble(soak, JUDGE_STREAM, lane, &note->fault);
    if (note->fault.kind == FAULT_STREAM_RESET) {
        bench_stream_drop(stream);
    } else {
        stream->paced = true;
        ring_pause(soak->load->ring, stream->handle);
        soak->hung = lane;
    }
    return true;
}

static bool soak_break_link(struct soak *soak, struct soak_note *note)
{
    struct bench_stream *link = soak_choose_link(soak, note->fault.choice);
    if (link == NULL)
        return false;
    snprintf(note->target, sizeof(note->target), "%.70s to %.70s", link->to, link->from);
    if (note->fault.kind == FAULT_LINK_CLOSE) {
        bench_stream_end(link);
        return true;
    }
    soak_note_link(soak, link, &note->fault);
    if (note->fault.kind == FAULT_LINK_RESET) {
        bench_stream_drop(link);
    } else {
        ring_pause(soak->load->ring, link->handle);
        soak->hung_link = link->handle;
    }
    return true;
}

static bool soak_reload(const struct soak *soak)
{
    bool told = false;
    for (size_t i = 0; i < soak->options.processes->count; i++)
        told |= kill((pid_t)soak->options.processes->pids[i], SIGHUP) == 0;
    return told;
}

/* False when there was nothing to do it to. */
static bool soak_begin(struct soak *soak, struct soak_note *note)
{
    struct load *load = soak->load;
    switch (note->fault.kind) {
    case FAULT_STREAM_RESET:
    case FAULT_STREAM_CLOSE:
    case FAULT_STREAM_HANG: return soak_break_stream(soak, note);
    case FAULT_LINK_RESET:
    case FAULT_LINK_CLOSE:
    case FAULT_LINK_HANG: return soak_break_link(soak, note);
    case FAULT_SIP_SILENT: load->manners.silent = true; break;
    case FAULT_SIP_BUSY: load->manners.busy = true; break;
    case FAULT_SIP_RESET:
        if (sip_side_reset(&load->sip) != 0)
            return false;
        break;
    case FAULT_LOSS: load->manners.loss = SOAK_LOSS; return true;
    case FAULT_RELOAD: return soak_reload(soak);
    case FAULT_SLOW: rogues_set(load->rogues, ROGUE_SLOW, true); return true;
    case FAULT_HOSTILE: rogues_set(load->rogues, ROGUE_HOSTILE, true); return true;
    case FAULT_KINDS: return false;
    }
    soak_note_trouble(soak, JUDGE_SIP, 0, &note->fault);
    return true;
}

static void soak_end(struct soak *soak, enum fault_kind kind)
{
    struct load *load = soak->load;
    soak->until_ns[kind] = 0;
    /* The stream that hung may have ended, and another be in its place. */
    if (kind == FAULT_STREAM_HANG && load->out[soak->hung].paced)
        bench_stream_drop(&load->out[soak->hung]);
    else if (kind == FAULT_LINK_HANG)
        ring_drop(load->ring, soak->hung_link);
    else if (kind == FAULT_SIP_SILENT)
        load->manners.silent = false;
    else if (kind == FAULT_SIP_BUSY)
        load->manners.busy = false;
    else if (kind == FAULT_LOSS)
        load->manners.loss = 0;
    else if (kind == FAULT_SLOW || kind == FAULT_HOSTILE)
        rogues_set(load->rogues, kind == FAULT_SLOW ? ROGUE_SLOW : ROGUE_HOSTILE, false);
}

/* One that is still there, or has nothing to happen to, is left out. */
static void soak_happen(struct soak *soak)
{
    struct soak_note note = {.fault = soak->next};
    enum fault_kind kind = note.fault.kind;
    fault_plan_next(&soak->plan, &soak->next);
    if (soak->until_ns[kind] != 0 || !soak_begin(soak, &note))
        return;
    if (fault_lasts(kind))
        soak->until_ns[kind] = soak->load->now_ns + note.fault.end_ns - note.fault.at_ns;
    soak->counts[kind]++;
    if (soak->log_count < SOAK_LOG_MAX)
        soak->log[soak->log_count++] = note;
    if (soak->options.tell != NULL)
        soak->options.tell(soak->options.context, &note);
}

static void soak_faults(struct soak *soak, bool sending)
{
    uint64_t now_ns = soak->load->now_ns;
    for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
        if (soak->until_ns[kind] != 0 && (!sending || now_ns >= soak->until_ns[kind]))
            soak_end(soak, (enum fault_kind)kind);
    }
    while (sending && now_ns - soak->start_ns >= soak->next.at_ns)
        soak_happen(soak);
}

/* ---- connections of ours that have ended come again ---- */

static void soak_note_ending(struct soak *soak, const char *problem)
{
    if (soak->ended_by_relay++ == 0)
        snprintf(soak->ending, sizeof(soak->ending), "%s", problem != NULL ? problem : "");
}

static int soak_reopen_one(struct soak *soak, unsigned i)
{
    struct soak_place *place = &soak->places[i];
    struct bench_stream *stream = &soak->load->out[i];
    if (stream->state != BENCH_STREAM_DEAD)
        return 0;
    if (place->reopen_ns == 0) {
        place->reopen_ns = soak->load->now_ns + SOAK_REOPEN_NS;
        if (!place->ours)
            soak_note_ending(soak, stream->problem);
        ring_drop(soak->load->ring, stream->handle);
    }
    if (!stream->gone || soak->load->now_ns < place->reopen_ns)
        return 0;
    *place = (struct soak_place){0};
    soak->reopened++;
    bench_stream_close(stream);
    return load_open_stream(soak->load, i);
}

static int soak_reopen(struct soak *soak)
{
    struct load *load = soak->load;
    int status = 0;
    for (unsigned i = 0; i < load->options.streams && status == 0; i++)
        status = soak_reopen_one(soak, i);
    if (status == 0 && load->sip.problem != NULL) {
        soak_note_ending(soak, load->sip.problem);
        load->sip.problem = NULL;
        status = sip_side_reset(&load->sip);
    }
    if (status != 0)
        snprintf(load->problem, sizeof(load->problem), "cannot connect again: %s",
                 strerror(-status));
    return status;
}

/* ---- the relay ---- */

static int soak_ask(struct soak *soak, struct relay_stats *stats)
{
    int status = soak->options.stats != NULL ? relay_stats_read(stats, soak->options.stats) : 0;
    if (status != 0)
        snprintf(soak->load->problem, sizeof(soak->load->problem), "the stats socket %s: %s",
                 soak->options.stats, strerror(-status));
    return status;
}

static void soak_look(struct soak *soak)
{
    struct relay_stats stats = {0};
    unsigned files = process_files(soak->options.processes);
    soak->files_end = files;
    soak->files_most = files > soak->files_most ? files : soak->files_most;
    soak->relay_died |= !process_list_lives(soak->options.processes);
    if (!soak->relay_died && soak->options.stats != NULL &&
        relay_stats_read(&stats, soak->options.stats) == 0 &&
        stats.sessions > soak->sessions_most)
        soak->sessions_most = stats.sessions;
}

static int soak_turn(struct soak *soak, bool sending)
{
    struct load *load = soak->load;
    soak_faults(soak, sending);
    int status = soak_reopen(soak);
    load_turn(load, load_send(load));
    if (load->now_ns < soak->check_ns)
        return status;
    soak->check_ns = load->now_ns + SOAK_CHECK_NS;
    soak_look(soak);
    if (soak->relay_died) {
        snprintf(load->problem, sizeof(load->problem), "the relay has died");
        return -ESRCH;
    }
    return status;
}

/* ---- the end ---- */

static void soak_judge(struct soak *soak)
{
    judge_ledger(&soak->judge, &soak->load->to_sip, true, &soak->to_sip);
    judge_ledger(&soak->judge, &soak->load->to_xmpp, false, &soak->to_xmpp);
}

/* Nothing more is owed. */
static bool soak_is_settled(struct soak *soak)
{
    soak_judge(soak);
    return judge_unexplained(&soak->to_sip) + judge_unexplained(&soak->to_xmpp) == 0;
}

/* The relay's own ledger: everything that it accepted since the start has ended. */
static int soak_balance(struct soak *soak)
{
    uint64_t end_ns = clock_now_ns() + SOAK_GIVE_UP_NS;
    int status = 0;
    while (soak->options.stats != NULL && status == 0 && !soak->is_balanced &&
           soak->load->now_ns < end_ns) {
        load_rest(soak->load, SOAK_CHECK_NS);
        status = soak_ask(soak, &soak->end);
        relay_stats_since(&soak->start, &soak->end);
        soak->is_balanced = relay_flow_in_flight(&soak->end.flows[RELAY_TO_SIP]) == 0 &&
                            relay_flow_in_flight(&soak->end.flows[RELAY_TO_XMPP]) == 0;
    }
    return status;
}

static int soak_settle(struct soak *soak)
{
    uint64_t start_ns = soak->load->now_ns, judge_ns = start_ns + SOAK_SETTLE_NS;
    bool settled = false;
    int status = 0;
    while (status == 0 && !settled && soak->load->now_ns < start_ns + SOAK_GIVE_UP_NS) {
        status = soak_turn(soak, false);
        if (soak->load->now_ns < judge_ns)
            continue;
        settled = soak_is_settled(soak);
        judge_ns = soak->load->now_ns + SOAK_CHECK_NS;
    }
    return status;
}

static int soak_open(struct soak *soak, struct load *load, const struct soak_options *options)
{
    bool is_udp = load->options.transport == SIP_TRANSPORT_UDP;
    unsigned has = is_udp ? FAULT_DATAGRAMS : FAULT_CONNECTIONS;
    if (options->processes->count > 0)
        has |= FAULT_PROCESS;
    *soak = (struct soak){.load = load, .options = *options};
    judge_open(&soak->judge, load->options.streams, is_udp);
    fault_plan_start(&soak->plan, load->options.choice.seed, options->every_s, has);
    fault_plan_next(&soak->plan, &soak->next);
    soak->places = calloc(load->options.streams, sizeof(*soak->places));
    soak->log = calloc(SOAK_LOG_MAX, sizeof(*soak->log));
    if (soak->places == NULL || soak->log == NULL)
        return -ENOMEM;
    soak->files_start = soak->files_most = process_files(options->processes);
    int status = rogues_open(load);
    return status == 0 ? soak_ask(soak, &soak->start) : status;
}

int soak_run(struct soak *soak, struct load *load, const struct load_phase *phase,
             const struct soak_options *options)
{
    int status = soak_open(soak, load, options);
    if (status != 0)
        return status;
    load_start(load, phase);
    soak->start_ns = load->now_ns;
    while (status == 0 && load->now_ns < load->send_end_ns)
        status = soak_turn(soak, true);
    load->to_sip.count = load->to_sip.sent;
    load->to_xmpp.count = load->to_xmpp.sent;
    if (status == 0)
        status = soak_settle(soak);
    if (status == 0)
        status = soak_balance(soak);
    soak_judge(soak);
    return status;
}

bool soak_is_clean(const struct soak *soak)
{
    const struct load *load = soak->load;
    return judge_unexplained(&soak->to_sip) + judge_unexplained(&soak->to_xmpp) == 0 &&
           load->to_sip.damaged + load->to_xmpp.damaged + soak->ended_by_relay == 0 &&
           !soak->relay_died && (soak->options.stats == NULL || soak->is_balanced);
}

void soak_fini(struct soak *soak)
{
    judge_close(&soak->judge);
    free(soak->places);
    free(soak->log);
    soak->places = NULL;
    soak->log = NULL;
}
