/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/half_open.h"
#include "bench/rogue.h"
#include "net/clock.h"

#define LOAD_LINGER_NS       200000000ull
#define LOAD_BATCH           64   /* sends of one turn, so that receiving keeps pace */
#define LOAD_RESEND_MS       500u /* T1 of RFC 3261 */
#define LOAD_RESEND_EVERY_NS 100000000ull
#define LOAD_GIVE_UP_NS      (64ull * LOAD_RESEND_MS * 1000000ull) /* Timer F */

/* ---- events ---- */

static void load_on_accept(struct load *load, const struct ring_event *event)
{
    struct bench_stream *stream = calloc(1, sizeof(*stream));
    if (load->in_count == load->in_room) {
        load->in_room = load->in_room == 0 ? 64 : 2 * load->in_room;
        load->in = realloc(load->in, load->in_room * sizeof(struct bench_stream *));
    }
    if (stream == NULL || load->in == NULL)
        abort();
    bench_stream_accept(stream, load->ring, event->accepted);
    stream->context = load;
    stream->managed = load->options.managed;
    load->in[load->in_count++] = stream;
}

/* The relay ended one of its streams to us: the last event of its socket has come. */
static void load_forget(struct load *load, struct bench_stream *stream)
{
    for (unsigned i = 0; i < load->in_count; i++) {
        if (load->in[i] != stream)
            continue;
        load->in[i] = load->in[--load->in_count];
        bench_stream_close(stream);
        free(stream);
        return;
    }
}

static void load_note_ready(struct load *load, const struct bench_stream *stream)
{
    load->ready++;
    load->tls_version = tls_protocol_name(stream->tls);
    load->tls_cipher = tls_cipher_name(stream->tls);
}

static void load_on_stream(struct load *load, const struct ring_event *event)
{
    struct bench_stream *stream = event->owner;
    if (event->kind == RING_GONE && stream->inbound) {
        load_forget(load, stream);
        return;
    }
    bool was_dead = stream->state == BENCH_STREAM_DEAD;
    bool was_ready = stream->state == BENCH_STREAM_READY;
    bench_stream_event(stream, event, load->tls, load_on_stanza);
    bool is_new = !was_ready && stream->state == BENCH_STREAM_READY;
    if (is_new && !stream->inbound)
        load_note_ready(load, stream);
    if (is_new && stream->inbound && load->rogues != NULL)
        rogues_meet(load->rogues, stream);
    if (stream->inbound && !was_dead && stream->state == BENCH_STREAM_DEAD)
        ring_drop(load->ring, stream->handle);
}

static void load_flush(struct load *load)
{
    sip_side_flush(&load->sip);
    for (unsigned i = 0; i < load->dirty_count; i++) {
        load->dirty[i]->dirty = false;
        bench_stream_flush(load->dirty[i]);
    }
    load->dirty_count = 0;
}

void load_turn(struct load *load, uint64_t wait_ns)
{
    struct ring_event event;
    load_flush(load);
    (void)ring_wait(load->ring, wait_ns);
    while (ring_next(load->ring, &event)) {
        if (bench_is_of(&event, BENCH_OWNER_XMPP_STREAM))
            load_on_stream(load, &event);
        else if (bench_is_of(&event, BENCH_OWNER_COMPONENT))
            component_event(&load->component, &event);
        else if (bench_is_of(&event, BENCH_OWNER_ROGUE))
            rogues_event(load->rogues, &event);
        else if (bench_is_of(&event, BENCH_OWNER_HALF_OPEN))
            half_open_event(load->half_open, &event);
        else if (!sip_side_event(&load->sip, &event) && event.kind == RING_ACCEPTED)
            load_on_accept(load, &event);
    }
    load->now_ns = clock_now_ns();
    if (load->rogues != NULL)
        rogues_turn(load->rogues);
    if (load->half_open != NULL)
        half_open_turn(load->half_open);
    if (load->tick != NULL && load->now_ns >= load->tick_ns) {
        load->tick_ns = load->now_ns + LOAD_TICK_NS;
        load->tick(load->tick_context, load);
    }
}

/* ---- sending ---- */

/* When may the next message go? Open loop: at its time, from which its latency is counted
   however late it leaves (no coordinated omission); closed loop: now. UINT64_MAX: not until
   something comes back. */
static uint64_t load_due(const struct load *load, const struct ledger *ledger, uint32_t done)
{
    if (ledger->sent >= ledger->count || ledger->sent - done >= load->phase.window)
        return UINT64_MAX;
    if (load->phase.rate > 0)
        return ledger->first_ns + (uint64_t)(ledger->sent * 1e9 / load->phase.rate);
    return load->now_ns;
}

static uint64_t load_due_to_sip(const struct load *load)
{
    const struct ledger *ledger = &load->to_sip;
    return load_due(load, ledger, ledger->sent - ledger_lost(ledger));
}

static uint64_t load_due_to_xmpp(const struct load *load)
{
    return load_due(load, &load->to_xmpp, load->to_xmpp.answered);
}

static bool load_send_one(struct load *load, struct ledger *ledger, uint64_t due_ns)
{
    if (due_ns > load->now_ns)
        return false;
    uint32_t number = ledger->first + ledger->sent;
    struct ledger_entry *entry =
        ledger_next(ledger, due_ns, choice_user(&load->choice, number));
    if (entry == NULL || !(ledger == &load->to_sip ? load_send_xmpp(load, entry, number)
                                                   : load_send_sip(load, entry, number)))
        return false;
    ledger_left(ledger, entry, load->now_ns);
    return true;
}

/* A SIP client over UDP sends again what is not answered, and takes it for failed when Timer F
   fires (RFC 3261 §17.1.2.2). */
static void load_resend(struct load *load)
{
    uint32_t now_ms = (uint32_t)(load->now_ns / 1000000), number = load->to_xmpp.first;
    if (load->options.transport != SIP_TRANSPORT_UDP || load->now_ns < load->overdue_ns)
        return;
    load->overdue_ns = load->now_ns + LOAD_RESEND_EVERY_NS;
    for (; ledger_overdue(&load->to_xmpp, now_ms - LOAD_RESEND_MS, &number); number++) {
        struct ledger_entry *entry = ledger_find(&load->to_xmpp, number);
        if (load->now_ns > entry->start_ns + LOAD_GIVE_UP_NS) {
            ledger_timed_out(&load->to_xmpp, number);
            continue;
        }
        if (!load_send_sip(load, entry, number))
            break;
        entry->sent_ms = now_ms;
        load->to_xmpp.resent++;
    }
}

uint64_t load_send(struct load *load)
{
    bool sent = true;
    for (unsigned i = 0; i < LOAD_BATCH && sent; i++) {
        sent = load_send_one(load, &load->to_sip, load_due_to_sip(load));
        sent |= load_send_one(load, &load->to_xmpp, load_due_to_xmpp(load));
    }
    load_resend(load);
    if (load->phase.rate == 0)
        return sent ? 0 : LOAD_WAIT_NS;
    uint64_t sip_ns = load_due_to_sip(load), xmpp_ns = load_due_to_xmpp(load);
    uint64_t due_ns = sip_ns < xmpp_ns ? sip_ns : xmpp_ns;
    if (sent || due_ns <= load->now_ns)
        return 0;
    return due_ns - load->now_ns < LOAD_WAIT_NS ? due_ns - load->now_ns : LOAD_WAIT_NS;
}

/* ---- phases ---- */

static bool load_done(const struct load *load)
{
    const struct ledger *sip = &load->to_sip, *xmpp = &load->to_xmpp;
    return sip->sent >= sip->count && ledger_lost(sip) == 0 && xmpp->sent >= xmpp->count &&
           xmpp->answered >= xmpp->sent && ledger_lost(xmpp) == 0;
}

int load_check(struct load *load)
{
    for (unsigned i = 0; i < load->opened; i++) {
        const struct bench_stream *stream = &load->out[i];
        if (stream->state != BENCH_STREAM_DEAD)
            continue;
        snprintf(load->problem, sizeof(load->problem), "the stream from %s to %s died: %s",
                 stream->from, stream->to, stream->problem);
        return -EPIPE;
    }
    return load_check_far(load);
}

int load_check_far(struct load *load)
{
    const char *problem =
        load->sip.problem != NULL ? load->sip.problem : load->component.problem;
    if (problem != NULL) {
        snprintf(load->problem, sizeof(load->problem), "the far side died: %s", problem);
        return -EPIPE;
    }
    return 0;
}

int load_check_progress(struct load *load)
{
    uint64_t quiet_ns = load->now_ns > load->progress_ns ? load->now_ns - load->progress_ns : 0;
    if (quiet_ns <= load->options.timeout_s * 1000000000ull)
        return 0;
    snprintf(load->problem, sizeof(load->problem),
             "nothing came for %u s: what is missing counts as lost", load->options.timeout_s);
    return -ETIMEDOUT;
}

void load_start(struct load *load, const struct load_phase *phase)
{
    bool to_sip = load->options.drive != LOAD_SIP_TO_XMPP;
    bool to_xmpp = load->options.drive != LOAD_XMPP_TO_SIP;
    uint32_t sip_sent = load->to_sip.sent, xmpp_sent = load->to_xmpp.sent;
    load->phase = *phase;
    /* No number comes twice: the relay would take it for a retransmission. */
    load->number_next += sip_sent > xmpp_sent ? sip_sent : xmpp_sent;
    memset(load->failure, 0, sizeof(load->failure));
    load->answers_lost = 0;
    ledger_start(&load->to_sip, load->number_next, to_sip ? phase->count : 0,
                 load->options.users);
    ledger_start(&load->to_xmpp, load->number_next, to_xmpp ? phase->count : 0,
                 load->options.users);
    load->now_ns = load->progress_ns = clock_now_ns();
    load->to_sip.first_ns = load->to_xmpp.first_ns = load->now_ns;
    load->send_end_ns =
        phase->seconds > 0 ? load->now_ns + (uint64_t)(phase->seconds * 1e9) : UINT64_MAX;
}

int load_run(struct load *load, const struct load_phase *phase)
{
    uint64_t check_ns = 0;
    load_start(load, phase);
    while (!load_done(load)) {
        if (load->now_ns >= load->send_end_ns) {
            load->to_sip.count = load->to_sip.sent;
            load->to_xmpp.count = load->to_xmpp.sent;
        }
        load_turn(load, load_send(load));
        if (load->now_ns < check_ns)
            continue;
        check_ns = load->now_ns + LOAD_TICK_NS;
        int status = load_check(load);
        if (status == 0)
            status = load_check_progress(load);
        if (status != 0)
            return status;
    }
    /* The last answers must leave, and what comes twice must be seen. */
    load_rest(load, LOAD_LINGER_NS);
    return 0;
}

int load_stay(struct load *load, uint64_t ns)
{
    load_rest(load, ns);
    return load_check(load);
}

void load_rest(struct load *load, uint64_t ns)
{
    uint64_t end_ns = clock_now_ns() + ns;
    load->now_ns = clock_now_ns();
    while (load->now_ns < end_ns)
        load_turn(load,
                  end_ns - load->now_ns < LOAD_TICK_NS ? end_ns - load->now_ns : LOAD_TICK_NS);
}
