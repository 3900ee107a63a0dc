/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load_churn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/load_priv.h"
#include "net/clock.h"

#define CHURN_LINGER_NS   200000000ull
#define CHURN_REFUSED_MAX 100 /* without one that is authenticated: the relay wants none */

enum churn_state { CHURN_FREE, CHURN_OPENING, CHURN_SENDING, CHURN_ENDING, CHURN_DROPPED };

struct churn_place {
    enum churn_state state;
    uint32_t number; /* of the stream that is there */
    unsigned sent;   /* messages of that stream */
    unsigned turn; /* messages of all streams that were here: they take turns over its users */
};

static struct bench_stream *churn_stream(const struct churn *churn, unsigned i)
{
    return &churn->load->out[i];
}

static uint64_t churn_due(const struct churn *churn)
{
    const struct ledger *streams = &churn->streams;
    if (streams->sent >= streams->count)
        return UINT64_MAX;
    if (churn->phase.rate > 0)
        return streams->first_ns + (uint64_t)(streams->sent * 1e9 / churn->phase.rate);
    return churn->load->now_ns;
}

static int churn_open(struct churn *churn, unsigned i)
{
    struct churn_place *place = &churn->places[i];
    struct ledger *streams = &churn->streams;
    uint64_t due_ns = churn_due(churn);
    if (due_ns > churn->load->now_ns)
        return 0;
    struct ledger_entry *entry = ledger_next(streams, due_ns, i);
    if (entry == NULL)
        return -ENOMEM;
    int status = load_open_stream(churn->load, i);
    if (status != 0) {
        snprintf(churn->load->problem, sizeof(churn->load->problem), "stream %u: %s",
                 streams->sent, strerror(-status));
        return status;
    }
    place->number = streams->first + streams->sent;
    ledger_left(streams, entry, churn->load->now_ns);
    place->state = CHURN_OPENING;
    place->sent = 0;
    return 0;
}

/* The users of a place are its number and that plus multiples of the number of places, as
   everywhere in the load: so a user's messages share one conversation and their order counts
   from stream to stream too. */
static bool churn_send_one(struct churn *churn, unsigned i)
{
    struct load *load = churn->load;
    struct ledger *ledger = &load->to_sip;
    struct churn_place *place = &churn->places[i];
    unsigned places = load->options.streams;
    unsigned user = i + places * (place->turn % (load->options.users / places));
    uint32_t number = ledger->first + ledger->sent;
    struct ledger_entry *entry = ledger_next(ledger, load->now_ns, user);
    if (entry == NULL || !load_send_xmpp(load, entry, number))
        return false;
    ledger_left(ledger, entry, load->now_ns);
    place->sent++;
    place->turn++;
    return true;
}

static void churn_send(struct churn *churn, unsigned i)
{
    struct churn_place *place = &churn->places[i];
    while (place->sent < churn->phase.messages &&
           ledger_lost(&churn->load->to_sip) < churn->phase.window) {
        if (!churn_send_one(churn, i))
            return;
    }
    if (place->sent < churn->phase.messages)
        return;
    bench_stream_end(churn_stream(churn, i));
    place->state = CHURN_ENDING;
}

/* The stream is dead: as it should be, or not. */
static void churn_ended(struct churn *churn, unsigned i)
{
    struct churn_place *place = &churn->places[i];
    const struct bench_stream *stream = churn_stream(churn, i);
    if (stream->problem == NULL)
        churn->closed++;
    else if (stream->authenticated)
        churn->broken++;
    else
        churn->refused++;
    if (stream->problem != NULL && churn->failure[0] == '\0')
        snprintf(churn->failure, sizeof(churn->failure), "%s", stream->problem);
    ledger_answered(&churn->streams, place->number, true);
    churn->load->progress_ns = churn->load->now_ns;
    ring_drop(churn->load->ring, stream->handle);
    place->state = CHURN_DROPPED;
}

static int churn_step(struct churn *churn, unsigned i)
{
    struct churn_place *place = &churn->places[i];
    struct bench_stream *stream = churn_stream(churn, i);
    bool busy = place->state != CHURN_FREE && place->state != CHURN_DROPPED;
    if (busy && stream->state == BENCH_STREAM_DEAD) {
        churn_ended(churn, i);
        return 0;
    }
    switch (place->state) {
    case CHURN_FREE: return churn_open(churn, i);
    case CHURN_OPENING:
        if (stream->state != BENCH_STREAM_READY)
            break;
        ledger_arrived(&churn->streams, place->number, 0, churn->load->now_ns);
        churn->load->progress_ns = churn->load->now_ns;
        place->state = CHURN_SENDING;
        churn_send(churn, i);
        break;
    case CHURN_SENDING: churn_send(churn, i); break;
    case CHURN_ENDING: break;
    case CHURN_DROPPED:
        if (!stream->gone)
            break;
        bench_stream_close(stream);
        place->state = CHURN_FREE;
        return churn_open(churn, i);
    }
    return 0;
}

static bool churn_done(const struct churn *churn)
{
    const struct ledger *streams = &churn->streams;
    return streams->sent >= streams->count && streams->answered >= streams->sent &&
           ledger_lost(&churn->load->to_sip) == 0;
}

static int churn_check(struct churn *churn)
{
    struct load *load = churn->load;
    int status = load_check_far(load);
    if (status == 0 && churn->streams.arrived == 0 && churn->refused >= CHURN_REFUSED_MAX) {
        snprintf(load->problem, sizeof(load->problem), "no stream becomes ready: %s",
                 churn->failure);
        status = -EPIPE;
    }
    return status == 0 ? load_check_progress(load) : status;
}

static uint64_t churn_wait(const struct churn *churn)
{
    uint64_t due_ns = churn_due(churn), now_ns = churn->load->now_ns;
    if (churn->phase.rate == 0 || due_ns <= now_ns || due_ns - now_ns > LOAD_WAIT_NS)
        return LOAD_WAIT_NS;
    return due_ns - now_ns;
}

static int churn_start(struct churn *churn, struct load *load, const struct churn_phase *phase)
{
    unsigned places = load->options.streams;
    uint64_t messages = (uint64_t)phase->count * phase->messages;
    struct load_phase sending = {.count = messages < UINT32_MAX / 2 ? (uint32_t)messages
                                                                    : UINT32_MAX / 2,
                                 .window = phase->window};
    assert(load->options.users >= places);
    *churn = (struct churn){.load = load, .phase = *phase};
    churn->places = calloc(places, sizeof(*churn->places));
    if (churn->places == NULL)
        return -ENOMEM;
    load_start(load, &sending);
    /* Of all places the streams may be asked for: who answers for a domain pair. */
    load->opened = places;
    ledger_start(&churn->streams, 1, phase->count, places);
    churn->streams.first_ns = load->now_ns;
    churn->send_end_ns =
        phase->seconds > 0 ? load->now_ns + (uint64_t)(phase->seconds * 1e9) : UINT64_MAX;
    return 0;
}

int churn_run(struct churn *churn, struct load *load, const struct churn_phase *phase)
{
    uint64_t check_ns = 0;
    int status = churn_start(churn, load, phase);
    while (status == 0 && !churn_done(churn)) {
        if (load->now_ns >= churn->send_end_ns)
            churn->streams.count = churn->streams.sent;
        for (unsigned i = 0; i < load->options.streams && status == 0; i++)
            status = churn_step(churn, i);
        load_turn(load, churn_wait(churn));
        if (status == 0 && load->now_ns >= check_ns) {
            check_ns = load->now_ns + LOAD_TICK_NS;
            status = churn_check(churn);
        }
    }
    /* What comes twice must be seen. */
    if (status == 0)
        load_rest(load, CHURN_LINGER_NS);
    return status;
}

void churn_fini(struct churn *churn)
{
    ledger_fini(&churn->streams);
    free(churn->places);
    churn->places = NULL;
}
