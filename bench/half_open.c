/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/half_open.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"

#define HALF_OPEN_BEGIN                                                                        \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' "                               \
    "xmlns:stream='http://etherx.jabber.org/streams' from='x0.bench' to='s0.bench' "           \
    "version='1.0'>"
#define HALF_OPEN_OPENING_MAX 64    /* that are not where they stop, at a time */
#define HALF_OPEN_PER_SOURCE  10000 /* connections from one address */
#define HALF_OPEN_TIMEOUT_MS  9000  /* and as long again as opening them takes */

enum half_open_state {
    HALF_OPEN_CONNECTING,
    HALF_OPEN_FEATURES, /* the relay's are due */
    HALF_OPEN_PROCEED,
    HALF_OPEN_ANSWER, /* the server's part of the handshake is */
    HALF_OPEN_STOPPED,
    HALF_OPEN_GONE
};

struct half_open_one {
    enum bench_owner owner; /* first: what ring events name */
    enum half_open_kind kind;
    enum half_open_state state;
    ring_handle handle;
    uint64_t connected_ns;
};

struct half_open {
    struct load *load;
    struct net_buffer hello; /* of one client, sent by all */
    enum half_open_kind kind;
    unsigned wanted; /* to be opened … */
    uint64_t due_ns; /* … and when the next one is */
    struct half_open_count count;
    char problem[120];
    struct half_open_one ones[];
};

static const char *const half_open_names[] = {
#define HALF_OPEN(constant, name, where) name,
#include "bench/half_open.def"
#undef HALF_OPEN
};

static const char *const half_open_wheres[] = {
#define HALF_OPEN(constant, name, where) where,
#include "bench/half_open.def"
#undef HALF_OPEN
};

const char *half_open_name(enum half_open_kind kind)
{
    return half_open_names[kind];
}

const char *half_open_where(enum half_open_kind kind)
{
    return half_open_wheres[kind];
}

unsigned half_open_timeout_ms(const struct load_options *options)
{
    return HALF_OPEN_TIMEOUT_MS + options->half_open * 1000 / options->half_open_rate;
}

/* A ClientHello, as TLS makes it. */
static int half_open_make_hello(struct half_open *all)
{
    struct tls_session *tls;
    int status = tls_connect(&tls, all->load->tls, "s0.bench", TLS_ALPN_NONE);
    if (status != 0)
        return status;
    enum tls_result result = tls_handshake(tls, &all->hello);
    tls_close(&tls);
    return result == TLS_MORE && net_buffer_used(&all->hello) > 0 ? 0 : -EPROTO;
}

int half_open_open(struct load *load)
{
    unsigned count = load->options.half_open;
    struct half_open *all = calloc(1, sizeof(*all) + count * sizeof(all->ones[0]));
    if (all == NULL)
        return -ENOMEM;
    load->half_open = all;
    all->load = load;
    net_buffer_init(&all->hello, 16384);
    return half_open_make_hello(all);
}

void half_open_start(struct half_open *all, enum half_open_kind kind)
{
    unsigned count = all->load->options.half_open;
    all->kind = kind;
    all->due_ns = clock_now_ns();
    all->wanted = (unsigned)((uint64_t)count * (kind + 1) / HALF_OPEN_KINDS);
}

bool half_open_settled(const struct half_open *all)
{
    return all->count.opened == all->wanted && all->count.stopped == all->wanted;
}

struct half_open_count half_open_count(const struct half_open *all)
{
    return all->count;
}

const char *half_open_problem(const struct half_open *all)
{
    return all->problem[0] != '\0' ? all->problem : NULL;
}

static void half_open_fail(struct half_open *all, const char *what, int status)
{
    if (all->problem[0] == '\0')
        snprintf(all->problem, sizeof(all->problem), "%s: %s", what, strerror(-status));
}

/* The source of one of them, where the relay is on loopback; elsewhere the kernel chooses. */
static const union net_address *half_open_source(const struct half_open *all, unsigned i,
                                                 union net_address *source)
{
    char host[NET_ADDRESS_TEXT_SIZE];
    net_address_format_host(&all->load->options.relay_xmpp, host);
    if (strncmp(host, "127.", 4) != 0)
        return NULL;
    snprintf(host, sizeof(host), "127.1.0.%u", 1 + i / HALF_OPEN_PER_SOURCE);
    return net_address_parse_host(source, host, 0) == 0 ? source : NULL;
}

static void half_open_connect(struct half_open *all)
{
    unsigned i = all->count.opened;
    struct half_open_one *one = &all->ones[i];
    union net_address source;
    one->owner = BENCH_OWNER_HALF_OPEN;
    one->kind = all->kind;
    one->connected_ns = clock_now_ns();
    int status = ring_connect(all->load->ring, &all->load->options.relay_xmpp,
                              half_open_source(all, i, &source), one, &one->handle);
    if (status != 0) {
        half_open_fail(all, "a connection cannot be begun", status);
        one->state = HALF_OPEN_GONE;
        all->count.stopped++;
        all->count.gone++;
        all->count.early++;
    }
    all->count.opened++;
}

void half_open_turn(struct half_open *all)
{
    while (all->count.opened < all->wanted && all->load->now_ns >= all->due_ns &&
           all->count.opened - all->count.stopped < HALF_OPEN_OPENING_MAX) {
        half_open_connect(all);
        all->due_ns += 1000000000ull / all->load->options.half_open_rate;
    }
}

static void half_open_send(struct half_open *all, struct half_open_one *one, struct span text)
{
    int status = ring_send(all->load->ring, one->handle, text.data, text.size);
    if (status != 0)
        half_open_fail(all, "nothing can be sent", status);
}

static void half_open_stop(struct half_open *all, struct half_open_one *one)
{
    one->state = HALF_OPEN_STOPPED;
    all->count.stopped++;
}

static void half_open_connected(struct half_open *all, struct half_open_one *one)
{
    struct span header = SPAN(HALF_OPEN_BEGIN);
    one->connected_ns = clock_now_ns();
    if (one->kind == HALF_OPEN_HEADER)
        half_open_send(all, one, span_to(header, header.size / 2));
    if (one->kind <= HALF_OPEN_HEADER) {
        half_open_stop(all, one);
        return;
    }
    half_open_send(all, one, header);
    one->state = HALF_OPEN_FEATURES;
}

/* Behind <proceed/>. */
static void half_open_hello(struct half_open *all, struct half_open_one *one)
{
    size_t size = net_buffer_used(&all->hello);
    struct span hello = span_make(net_buffer_front(&all->hello), size);
    if (one->kind == HALF_OPEN_HELLO)
        half_open_send(all, one, span_to(hello, size / 2));
    if (one->kind == HALF_OPEN_FLIGHT) {
        half_open_send(all, one, hello);
        one->state = HALF_OPEN_ANSWER;
        return;
    }
    half_open_stop(all, one);
}

/* What the relay writes in one go arrives in one go on loopback. */
static void half_open_received(struct half_open *all, struct half_open_one *one,
                               struct span bytes)
{
    switch (one->state) {
    case HALF_OPEN_FEATURES:
        if (memmem(bytes.data, bytes.size, "</stream:features>", 18) == NULL)
            return;
        half_open_send(all, one, SPAN("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"));
        one->state = HALF_OPEN_PROCEED;
        break;
    case HALF_OPEN_PROCEED:
        if (memmem(bytes.data, bytes.size, "<proceed", 8) != NULL)
            half_open_hello(all, one);
        break;
    case HALF_OPEN_ANSWER: half_open_stop(all, one); break;
    case HALF_OPEN_CONNECTING:
    case HALF_OPEN_STOPPED:
    case HALF_OPEN_GONE: break; /* the relay's good-bye */
    }
}

/* The relay ended it. */
static void half_open_ended(struct half_open *all, struct half_open_one *one)
{
    struct half_open_count *count = &all->count;
    double lived_s = (double)(clock_now_ns() - one->connected_ns) / 1e9;
    if (one->state == HALF_OPEN_GONE)
        return;
    if (one->state != HALF_OPEN_STOPPED)
        count->stopped++;
    one->state = HALF_OPEN_GONE;
    ring_drop(all->load->ring, one->handle);
    count->early += lived_s * 2000 < half_open_timeout_ms(&all->load->options);
    count->first_s = count->gone == 0 || lived_s < count->first_s ? lived_s : count->first_s;
    count->last_s = lived_s > count->last_s ? lived_s : count->last_s;
    count->gone++;
}

void half_open_event(struct half_open *all, const struct ring_event *event)
{
    struct half_open_one *one = event->owner;
    switch (event->kind) {
    case RING_CONNECTED:
        if (event->result == 0) {
            half_open_connected(all, one);
            break;
        }
        half_open_fail(all, "a connection failed", event->result);
        half_open_ended(all, one);
        break;
    case RING_RECEIVED:
        half_open_received(all, one, span_make(event->data, event->size));
        break;
    case RING_END: half_open_ended(all, one); break;
    case RING_SENT:
    case RING_ACCEPTED:
    case RING_DATAGRAM:
    case RING_SEND_FAILED:
    case RING_DETACHED:
    case RING_GONE:
    case RING_WOKEN: break;
    }
}

void half_open_close(struct half_open *all)
{
    if (all == NULL)
        return;
    net_buffer_fini(&all->hello);
    free(all);
}
