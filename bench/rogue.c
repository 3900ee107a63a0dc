/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/rogue_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define ROGUE_TURN_NS  5000000ull
#define ROGUE_PAUSE_NS 50000000ull /* between two of a place */

static const struct {
    const char *name, *sentence;
    enum rogue_family family;
    unsigned stay_ms;
} rogue_rows[] = {
#define ROGUE(constant, name, family, stay_ms, sentence) {name, sentence, family, stay_ms},
#include "bench/rogue.def"
#undef ROGUE
};

static const struct rogue_way rogue_ways[ROGUE_KINDS] = {
    [ROGUE_MUTE] = {ROGUE_START_XMPP, 1000, rogue_step_mute},
    [ROGUE_DRIP_HEADER] = {ROGUE_START_XMPP, 100, rogue_step_drip_header},
    [ROGUE_DRIP_TLS] = {ROGUE_START_TLS, 50, rogue_step_drip_tls},
    [ROGUE_DRIP_STANZA] = {ROGUE_START_STREAM, 100, rogue_step_drip_stanza},
    [ROGUE_DEAF] = {ROGUE_START_SIP, 50, rogue_step_deaf},
    [ROGUE_SIP_LATE] = {ROGUE_START_STREAM, 1000, rogue_step_late},
    [ROGUE_SIP_DRIP] = {ROGUE_START_SIP, 50, rogue_step_sip_drip},
    [ROGUE_SIP_DEAF] = {ROGUE_START_SIP, 20, rogue_step_sip_deaf},
    [ROGUE_JUNK] = {ROGUE_START_XMPP, 100, rogue_step_junk},
    [ROGUE_JUNK_TLS] = {ROGUE_START_TLS, 1000, rogue_step_junk_tls},
    [ROGUE_JUNK_STANZA] = {ROGUE_START_STREAM, 100, rogue_step_junk_stanza},
    [ROGUE_OVERSIZE] = {ROGUE_START_STREAM, 1000, rogue_step_oversize},
    [ROGUE_DEEP] = {ROGUE_START_STREAM, 1000, rogue_step_deep},
    [ROGUE_DOCTYPE] = {ROGUE_START_XMPP, 1000, rogue_step_doctype},
    [ROGUE_SPOOF] = {ROGUE_START_STREAM, 1000, rogue_step_spoof},
    [ROGUE_HANG_UP] = {ROGUE_START_XMPP, 0, rogue_step_hang_up},
    [ROGUE_SIP_JUNK] = {ROGUE_START_SIP, 0, rogue_step_sip_junk},
    [ROGUE_SIP_ENDLESS] = {ROGUE_START_SIP, 0, rogue_step_sip_endless},
    [ROGUE_SIP_TENANT] = {ROGUE_START_SIP, 1000, rogue_step_sip_tenant},
    [ROGUE_SIP_SOURCE] = {ROGUE_START_STRANGER, 1000, rogue_step_sip_source},
    [ROGUE_SIP_INVITE] = {ROGUE_START_SIP, 0, rogue_step_sip_invite},
    [ROGUE_SIP_REGISTER] = {ROGUE_START_SIP, 0, rogue_step_sip_register},
};

const char *rogue_name(enum rogue_kind kind)
{
    return rogue_rows[kind].name;
}

enum rogue_family rogue_family(enum rogue_kind kind)
{
    return rogue_rows[kind].family;
}

const char *rogue_sentence(enum rogue_kind kind)
{
    return rogue_rows[kind].sentence;
}

bool rogue_fits(enum rogue_kind kind, const struct load_options *options)
{
    const union net_address *sip = &options->relay_sip;
    enum rogue_start start = rogue_ways[kind].start;
    if (kind == ROGUE_SIP_DRIP || kind == ROGUE_SIP_DEAF)
        return options->transport == SIP_TRANSPORT_TCP;
    if (start == ROGUE_START_STRANGER &&
        (sip->any.sa_family != AF_INET || ntohl(sip->v4.sin_addr.s_addr) >> 24 != 127))
        return false;
    /* They speak no TLS to the SIP listener: there only what is no SIP makes sense. */
    bool is_sip = start == ROGUE_START_SIP || start == ROGUE_START_STRANGER;
    return !is_sip || options->transport != SIP_TRANSPORT_TLS || kind == ROGUE_SIP_JUNK ||
           kind == ROGUE_SIP_ENDLESS;
}

/* ---- one rogue ---- */

static bool rogue_has_socket(const struct rogue *rogue)
{
    return rogue->handle != 0 || rogue->speaks;
}

void rogue_end(struct rogue *rogue, enum rogue_end end)
{
    struct ring *ring = rogue->all->load->ring;
    assert(rogue->state == ROGUE_OPENING || rogue->state == ROGUE_OPEN);
    rogue->all->counts[rogue->kind].ends[end]++;
    rogue_answer_late(rogue);
    rogue->step_ns = rogue->all->load->now_ns + ROGUE_PAUSE_NS;
    rogue->state = rogue_has_socket(rogue) ? ROGUE_GOING : ROGUE_FREE;
    if (rogue->speaks)
        bench_stream_drop(&rogue->stream);
    else if (rogue->handle != 0)
        ring_drop(ring, rogue->handle);
}

bool rogue_send(struct rogue *rogue, struct span bytes)
{
    assert(bytes.size <= sizeof(rogue->output));
    if (rogue->sending || rogue->state != ROGUE_OPEN)
        return false;
    memcpy(rogue->output, bytes.data, bytes.size);
    rogue->sending =
        ring_send(rogue->all->load->ring, rogue->handle, rogue->output, bytes.size) == 0;
    return rogue->sending;
}

void rogue_random(struct rogue *rogue, char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)random_next(&rogue->all->chance);
}

void rogue_put_domain(struct writer *writer, const struct rogue *rogue, bool is_xmpp)
{
    const struct load_options *options = &rogue->all->load->options;
    writer_put_char(writer, is_xmpp ? 'x' : 's');
    writer_put_uint(writer, is_xmpp ? rogue->place % options->xmpp_domains : 0);
    writer_put_literal(writer, ".bench");
}

static int rogue_open_stream(struct rogue *rogue)
{
    const struct load_options *options = &rogue->all->load->options;
    char from[64];
    struct writer writer = writer_make(from, sizeof(from));
    rogue_put_domain(&writer, rogue, true);
    writer_put_char(&writer, '\0');
    int status = bench_stream_connect(&rogue->stream, rogue->all->load->ring,
                                      &options->relay_xmpp, from, "s0.bench");
    rogue->stream.owner = BENCH_OWNER_ROGUE;
    rogue->stream.paced = rogue_ways[rogue->kind].start == ROGUE_START_TLS;
    rogue->speaks = status == 0;
    if (status != 0)
        bench_stream_close(&rogue->stream);
    return status;
}

/* A connection to a listener of the relay, from an address that is not the load's if wanted. */
static int rogue_connect(struct rogue *rogue, const union net_address *target, bool is_stranger)
{
    struct load *load = rogue->all->load;
    union net_address source;
    if (is_stranger && net_address_parse_host(&source, "127.0.0.2", 0) != 0)
        return -EINVAL;
    if (target == &load->options.relay_sip && load->options.transport == SIP_TRANSPORT_UDP) {
        rogue->state = ROGUE_OPEN;
        return is_stranger ? ring_listen_datagram(load->ring, &source, rogue, &rogue->handle)
                           : 0;
    }
    return ring_connect(load->ring, target, is_stranger ? &source : NULL, rogue,
                        &rogue->handle);
}

static int rogue_start(struct rogue *rogue)
{
    const struct load_options *options = &rogue->all->load->options;
    switch (rogue_ways[rogue->kind].start) {
    case ROGUE_START_XMPP: return rogue_connect(rogue, &options->relay_xmpp, false);
    case ROGUE_START_STREAM:
    case ROGUE_START_TLS: return rogue_open_stream(rogue);
    case ROGUE_START_SIP: return rogue_connect(rogue, &options->relay_sip, false);
    case ROGUE_START_STRANGER: return rogue_connect(rogue, &options->relay_sip, true);
    }
    return -EINVAL;
}

static void rogue_begin(struct rogue *rogue, enum rogue_kind kind)
{
    struct rogues *rogues = rogue->all;
    *rogue = (struct rogue){.stream = {.owner = BENCH_OWNER_ROGUE},
                            .all = rogues,
                            .family = rogue->family,
                            .place = rogue->place,
                            .kind = kind,
                            .state = ROGUE_OPENING,
                            .attempt = ++rogues->attempts};
    rogue->end_ns = rogues->load->now_ns + rogue_rows[kind].stay_ms * 1000000ull;
    rogues->counts[kind].tried++;
    if (rogue_start(rogue) != 0)
        rogue_end(rogue, ROGUE_CLOSED);
}

/* Has what it starts with come far enough for its steps? */
static bool rogue_is_open(struct rogue *rogue)
{
    enum rogue_start start = rogue_ways[rogue->kind].start;
    if (start == ROGUE_START_TLS && rogue->stream.state < BENCH_STREAM_TLS)
        bench_stream_trickle(&rogue->stream, SIZE_MAX);
    if (start == ROGUE_START_TLS && rogue->stream.state >= BENCH_STREAM_TLS)
        rogue->state = ROGUE_OPEN;
    if (start == ROGUE_START_STREAM && rogue->stream.state == BENCH_STREAM_READY)
        rogue->state = ROGUE_OPEN;
    return rogue->state == ROGUE_OPEN;
}

/* The end that it has come to; ROGUE_ENDS: none yet. */
static enum rogue_end rogue_judge(const struct rogue *rogue)
{
    bool is_over = rogue->all->load->now_ns >= rogue->end_ns;
    bool is_dead = rogue->speaks && rogue->stream.state == BENCH_STREAM_DEAD;
    if (rogue->refused || (is_dead && rogue->stream.error[0] != '\0'))
        return ROGUE_REFUSED;
    if (rogue->answered || (is_over && rogue->request_size > 0))
        return ROGUE_ANSWERED;
    if (is_dead)
        return ROGUE_CLOSED;
    return is_over ? ROGUE_HELD : ROGUE_ENDS;
}

static void rogue_turn(struct rogue *rogue)
{
    uint64_t now_ns = rogue->all->load->now_ns;
    const struct rogue_way *way = &rogue_ways[rogue->kind];
    enum rogue_end end = rogue_judge(rogue);
    if (end != ROGUE_ENDS) {
        rogue_end(rogue, end);
        return;
    }
    if (!rogue_is_open(rogue) || now_ns < rogue->step_ns)
        return;
    rogue->step_ns = now_ns + way->pace_ms * 1000000ull;
    way->step(rogue);
    rogue->steps++;
}

/* ---- all of them ---- */

int rogues_open(struct load *load)
{
    struct rogues *rogues = calloc(1, sizeof(*rogues));
    unsigned count = load->options.slow + load->options.hostile;
    if (rogues == NULL)
        return -ENOMEM;
    load->rogues = rogues;
    rogues->load = load;
    rogues->chance = load->options.choice.seed;
    rogues->places = calloc(count > 0 ? count : 1, sizeof(*rogues->places));
    if (rogues->places == NULL)
        return -ENOMEM;
    rogues->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct rogue *rogue = &rogues->places[i];
        rogue->all = rogues;
        rogue->place = i;
        rogue->family = i < load->options.slow ? ROGUE_SLOW : ROGUE_HOSTILE;
    }
    return 0;
}

void rogues_set(struct rogues *rogues, enum rogue_family family, bool active)
{
    rogues->active[family] = active;
    for (unsigned i = 0; i < rogues->count && !active; i++) {
        struct rogue *rogue = &rogues->places[i];
        if (rogue->family == family &&
            (rogue->state == ROGUE_OPENING || rogue->state == ROGUE_OPEN))
            rogue_end(rogue, ROGUE_LEFT);
    }
    if (!active && family == ROGUE_SLOW)
        ring_drop(rogues->load->ring, rogues->deaf);
}

/* The kinds of a family take turns, those that do not fit left out. */
static enum rogue_kind rogues_choose(struct rogues *rogues, enum rogue_family family)
{
    unsigned kind = rogues->next[family];
    while (rogue_rows[kind % ROGUE_KINDS].family != family ||
           !rogue_fits((enum rogue_kind)(kind % ROGUE_KINDS), &rogues->load->options))
        kind++;
    rogues->next[family] = kind % ROGUE_KINDS + 1;
    return (enum rogue_kind)(kind % ROGUE_KINDS);
}

void rogues_turn(struct rogues *rogues)
{
    uint64_t now_ns = rogues->load->now_ns;
    if (now_ns < rogues->turn_ns)
        return;
    rogues->turn_ns = now_ns + ROGUE_TURN_NS;
    for (unsigned i = 0; i < rogues->count; i++) {
        struct rogue *rogue = &rogues->places[i];
        switch (rogue->state) {
        case ROGUE_FREE:
            if (rogues->active[rogue->family] && now_ns >= rogue->step_ns)
                rogue_begin(rogue, rogues_choose(rogues, rogue->family));
            break;
        case ROGUE_OPENING:
        case ROGUE_OPEN: rogue_turn(rogue); break;
        case ROGUE_GOING: break;
        }
    }
}

static void rogue_gone(struct rogue *rogue)
{
    if (rogue->speaks)
        bench_stream_close(&rogue->stream);
    rogue->speaks = rogue->sending = false;
    rogue->handle = 0;
    if (rogue->state == ROGUE_GOING)
        rogue->state = ROGUE_FREE;
    else if (rogue_start(rogue) != 0) /* it hung up to come again */
        rogue_end(rogue, ROGUE_CLOSED);
}

/* What an authenticated rogue gets on its own stream is of no interest. */
static void rogue_on_stanza(struct bench_stream *stream, const struct xml_node *stanza)
{
    (void)stream;
    (void)stanza;
}

static void rogue_on_raw(struct rogue *rogue, const struct ring_event *event)
{
    bool failed =
        (event->kind == RING_CONNECTED || event->kind == RING_SENT) && event->result != 0;
    switch (event->kind) {
    case RING_CONNECTED: rogue->state = ROGUE_OPEN; break;
    case RING_SENT: rogue->sending = false; break;
    case RING_RECEIVED:
    case RING_DATAGRAM: rogue_heard(rogue, span_make(event->data, event->size)); break;
    case RING_END: failed = true; break;
    case RING_ACCEPTED:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_WOKEN:
    case RING_GONE: break;
    }
    if (failed)
        rogue_end(rogue, rogue->refused ? ROGUE_REFUSED : ROGUE_CLOSED);
}

void rogues_event(struct rogues *rogues, const struct ring_event *event)
{
    struct rogue *rogue = event->owner;
    if (event->kind == RING_GONE)
        rogue_gone(rogue);
    else if (rogue->speaks)
        bench_stream_event(&rogue->stream, event, rogues->load->tls, rogue_on_stanza);
    else
        rogue_on_raw(rogue, event);
}

void rogues_meet(struct rogues *rogues, struct bench_stream *stream)
{
    if (strcmp(stream->from, ROGUE_DEAF_DOMAIN) != 0)
        return;
    ring_drop(rogues->load->ring, rogues->deaf); /* one at a time */
    rogues->deaf = stream->handle;
    ring_pause(rogues->load->ring, stream->handle);
}

const struct rogue_count *rogues_count(const struct rogues *rogues, enum rogue_kind kind)
{
    return &rogues->counts[kind];
}

void rogues_close(struct rogues *rogues)
{
    if (rogues == NULL)
        return;
    for (unsigned i = 0; i < rogues->count; i++) {
        if (rogues->places[i].speaks)
            bench_stream_close(&rogues->places[i].stream);
    }
    free(rogues->places);
    free(rogues);
}
