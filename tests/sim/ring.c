/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The rings: what is told, when, and to whom. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/network.h"

#define BATCH_MAX     64
#define GONE_DELAY_NS (200 * SIM_US)
#define PORT_FIRST    20000u
/* So many per mille are long about leaving: the network or a stop may be faster. */
#define DETACH_SLOW    50
#define DETACH_SLOW_NS (2 * SIM_S)

struct network network;

void network_open(const struct network_faults *faults, const char *host)
{
    network.faults = *faults;
    network.alias_count = 0;
    network.socket_count = 0;
    network.ring_count = 0;
    network.trouble_count = 0;
    network.meanwhile = NULL;
    network.port_next = PORT_FIRST;
    int rc = net_address_parse_host(&network.host, host, 0);
    assert(rc == 0);
    (void)rc;
}

void network_calm(void)
{
    struct network_faults *faults = &network.faults;
    faults->reset = faults->stall = faults->refuse = faults->black_hole = 0;
    faults->lose = faults->duplicate = faults->delay = faults->send_refused = 0;
}

void network_add_alias(const union net_address *alias, const union net_address *host)
{
    assert(network.alias_count < NETWORK_ALIAS_MAX);
    struct network_alias *added = &network.aliases[network.alias_count++];
    added->alias = *alias;
    added->is_dark = host == NULL;
    added->host = host != NULL ? *host : *alias;
}

void network_note_trouble(const union net_address *host)
{
    if (network.trouble_count < NETWORK_TROUBLE_MAX)
        network.troubles[network.trouble_count++] =
            (struct network_trouble){.host = *host, .at_ns = sim.now_ns};
}

void network_socket_trouble(const struct network_socket *socket)
{
    bool is_relay = net_address_equal_host(&socket->local, &network.host);
    network_note_trouble(is_relay ? &socket->peer : &socket->local);
}

bool network_had_trouble(const union net_address *host, uint64_t since_ns)
{
    bool found = network.trouble_count == NETWORK_TROUBLE_MAX;
    for (unsigned i = network.trouble_count; i > 0 && !found; i--)
        found = network.troubles[i - 1].at_ns >= since_ns &&
                net_address_equal_host(&network.troubles[i - 1].host, host);
    return found;
}

bool network_had_other_trouble(const union net_address *host, uint64_t from_ns, uint64_t to_ns)
{
    bool found = network.trouble_count == NETWORK_TROUBLE_MAX;
    for (unsigned i = network.trouble_count; i > 0 && !found; i--) {
        uint64_t at_ns = network.troubles[i - 1].at_ns;
        found = (at_ns < from_ns || at_ns > to_ns) &&
                net_address_equal_host(&network.troubles[i - 1].host, host);
    }
    return found;
}

/* ---- words ---- */

static void words_init(struct network_words *words)
{
    words->first = NULL;
    words->last = &words->first;
}

static void words_add(struct network_words *words, struct network_word *word)
{
    word->next = NULL;
    *words->last = word;
    words->last = &word->next;
}

static struct network_word *words_take(struct network_words *words)
{
    struct network_word *word = words->first;
    if (word == NULL)
        return NULL;
    words->first = word->next;
    if (words->first == NULL)
        words->last = &words->first;
    return word;
}

static void words_free(struct network_words *words)
{
    struct network_word *word;
    while ((word = words_take(words)) != NULL)
        free(word);
}

struct network_word *network_word_make(struct network_socket *socket, enum ring_event_kind kind,
                                       const void *data, size_t size)
{
    struct network_word *word = calloc(1, sizeof(*word) + size);
    if (word == NULL)
        abort();
    word->socket = socket;
    word->kind = kind;
    word->size = size;
    if (size > 0)
        memcpy(word->data, data, size);
    return word;
}

/* Bytes and the end of a stream wait while nobody reads. */
void network_word_tell(struct network_word *word)
{
    struct network_socket *socket = word->socket;
    bool is_read = word->kind == RING_RECEIVED || word->kind == RING_END;
    if (socket->state == NETWORK_GONE)
        free(word);
    else if (is_read && !socket->is_reading)
        words_add(&socket->held, word);
    else
        words_add(&socket->ring->words, word);
}

void network_stream_read(struct network_socket *socket)
{
    struct network_word *word;
    while (socket->state != NETWORK_GONE && (word = words_take(&socket->held)) != NULL)
        words_add(&socket->ring->words, word);
}

/* ---- sockets ---- */

struct network_socket *network_socket_make(struct ring *ring, enum network_kind kind,
                                           void *owner)
{
    if (network.socket_count == NETWORK_SOCKET_MAX ||
        ring->counters.sockets >= ring->options.socket_max)
        return NULL;
    struct network_socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL)
        abort();
    network.sockets[network.socket_count++] = socket;
    socket->handle = network.socket_count;
    socket->ring = ring;
    socket->kind = kind;
    socket->state = NETWORK_OPEN;
    socket->owner = owner;
    words_init(&socket->held);
    ring->counters.sockets++;
    return socket;
}

struct network_socket *network_socket_find(const struct ring *ring, ring_handle handle)
{
    if (handle == 0 || handle > network.socket_count)
        return NULL;
    struct network_socket *socket = network.sockets[handle - 1];
    return socket->ring == ring && socket->state != NETWORK_GONE ? socket : NULL;
}

static void on_gone(void *context, uint64_t number)
{
    struct network_socket *socket = context;
    (void)number;
    network_word_tell(network_word_make(socket, RING_GONE, NULL, 0));
}

void network_socket_leave(struct network_socket *socket)
{
    assert(socket->state != NETWORK_DROPPING && socket->state != NETWORK_GONE);
    socket->state = NETWORK_DROPPING;
    sim_after(sim_below(GONE_DELAY_NS), on_gone, socket, 0);
}

void ring_drop(struct ring *ring, ring_handle handle)
{
    struct network_socket *socket = network_socket_find(ring, handle);
    if (socket == NULL || socket->state == NETWORK_DROPPING)
        return;
    sim_trace("ring %u: drop %llu", ring->number, (unsigned long long)handle);
    if (socket->kind == NETWORK_STREAM)
        network_stream_drop(socket);
    network_socket_leave(socket);
}

static void on_detached(void *context, uint64_t number)
{
    struct network_socket *socket = context;
    (void)number;
    if (socket->state != NETWORK_OPEN)
        return;
    struct network_word *word = network_word_make(socket, RING_DETACHED, NULL, 0);
    word->result = (int)socket->handle;
    network_word_tell(word);
}

void ring_detach(struct ring *ring, ring_handle handle)
{
    struct network_socket *socket = network_socket_find(ring, handle);
    if (socket == NULL || socket->kind != NETWORK_STREAM || socket->state != NETWORK_OPEN ||
        socket->is_detaching)
        return;
    assert(!socket->is_sending);
    socket->is_reading = false;
    socket->is_detaching = true;
    uint64_t most_ns = sim_chance(DETACH_SLOW) ? DETACH_SLOW_NS : GONE_DELAY_NS;
    sim_after(sim_below(most_ns), on_detached, socket, 0);
}

int ring_adopt(struct ring *ring, int descriptor, void *owner, ring_handle *handle)
{
    assert(descriptor > 0 && (unsigned)descriptor <= network.socket_count);
    struct network_socket *socket = network.sockets[descriptor - 1];
    assert(socket->ring == NULL && socket->state == NETWORK_OPEN);
    socket->ring = ring;
    socket->owner = owner;
    socket->is_detaching = false;
    ring->counters.sockets++;
    *handle = socket->handle;
    return 0;
}

void ring_set_owner(struct ring *ring, ring_handle handle, void *owner)
{
    struct network_socket *socket = network_socket_find(ring, handle);
    if (socket == NULL)
        return;
    bool is_first = socket->owner == NULL && owner != NULL;
    socket->owner = owner;
    if (is_first && socket->kind == NETWORK_STREAM && !socket->is_reading) {
        socket->is_reading = true;
        network_stream_read(socket);
    }
}

int ring_local_address(const struct ring *ring, ring_handle handle, union net_address *address)
{
    const struct network_socket *socket = network_socket_find(ring, handle);
    if (socket == NULL)
        return -EBADF;
    *address = socket->local;
    return 0;
}

static int listen_on(struct ring *ring, enum network_kind kind,
                     const union net_address *address, void *owner, ring_handle *handle)
{
    struct network_socket *socket = network_socket_make(ring, kind, owner);
    if (socket == NULL)
        return -EMFILE;
    socket->local = *address;
    *handle = socket->handle;
    return 0;
}

int ring_listen_stream(struct ring *ring, const union net_address *address, void *owner,
                       ring_handle *handle)
{
    return listen_on(ring, NETWORK_LISTENER, address, owner, handle);
}

int ring_listen_datagram(struct ring *ring, const union net_address *address, void *owner,
                         ring_handle *handle)
{
    return listen_on(ring, NETWORK_DATAGRAM, address, owner, handle);
}

/* ---- rings ---- */

int ring_open(struct ring **out, const struct ring_options *options)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL)
        return -ENOMEM;
    ring->number = network.ring_count++;
    ring->options = *options;
    words_init(&ring->words);
    words_init(&ring->batch);
    *out = ring;
    return 0;
}

void ring_close(struct ring **out)
{
    struct ring *ring = *out;
    *out = NULL;
    if (ring == NULL)
        return;
    for (unsigned i = 0; i < network.socket_count; i++) {
        struct network_socket *socket = network.sockets[i];
        if (socket->ring != ring)
            continue;
        if (socket->kind == NETWORK_STREAM && socket->state < NETWORK_DROPPING)
            network_stream_drop(socket);
        socket->state = NETWORK_GONE;
        socket->ring = NULL;
    }
    words_free(&ring->words);
    words_free(&ring->batch);
    free(ring->current);
    free(ring);
}

void network_close(void)
{
    for (unsigned i = 0; i < network.socket_count; i++) {
        words_free(&network.sockets[i]->held);
        free(network.sockets[i]);
        network.sockets[i] = NULL;
    }
    network.socket_count = 0;
}

bool network_is_ready(const struct ring *ring)
{
    return ring->words.first != NULL || ring->batch.first != NULL || ring->wake_pending ||
           ring->wakes_at_ns <= sim.now_ns;
}

/* Outside of the schedule (while something is closed) waiting lets time pass. */
static void wait_alone(const struct ring *ring, uint64_t timeout_ns)
{
    uint64_t end_ns = sim.now_ns + timeout_ns;
    if (network.meanwhile != NULL) {
        network.meanwhile(network.meanwhile_context, ring, end_ns);
        return;
    }
    while (ring->words.first == NULL && sim_next_ns() <= end_ns) {
        if (sim_next_ns() > sim.now_ns)
            sim.now_ns = sim_next_ns();
        sim_run_due();
    }
}

int ring_wait(struct ring *ring, uint64_t timeout_ns)
{
    unsigned count = 0;
    unsigned limit = network.faults.takes_all ? BATCH_MAX : (unsigned)sim_between(1, BATCH_MAX);
    free(ring->current);
    ring->current = NULL;
    if (!sim.is_scheduled)
        wait_alone(ring, timeout_ns);
    ring->counters.enters++;
    while (count < limit && ring->words.first != NULL) {
        words_add(&ring->batch, words_take(&ring->words));
        count++;
    }
    ring->counters.completions += count;
    bool is_idle = count == 0 && !ring->wake_pending;
    ring->wakes_at_ns = sim.now_ns;
    if (is_idle)
        ring->wakes_at_ns =
            timeout_ns < UINT64_MAX - sim.now_ns ? sim.now_ns + timeout_ns : UINT64_MAX;
    return (int)count;
}

static void trace_word(const struct ring *ring, const struct network_word *word)
{
    static const char *const names[] = {"accepted", "connected",   "received", "end",  "sent",
                                        "datagram", "send_failed", "detached", "gone", "woken"};
    sim_trace("ring %u: %s %llu result %d size %zu digest %llx", ring->number,
              names[word->kind], (unsigned long long)word->socket->handle, word->result,
              word->size,
              word->size > 0 ? (unsigned long long)sim_digest(word->data, word->size) : 0);
}

/* True when the word is still worth telling: a dropped socket has only its GONE to say. */
static bool is_told(const struct network_word *word)
{
    enum network_state state = word->socket->state;
    if (word->kind == RING_GONE)
        return true;
    if (state == NETWORK_FAILED)
        return word->kind == RING_CONNECTED;
    return state == NETWORK_OPEN;
}

bool ring_next(struct ring *ring, struct ring_event *event)
{
    struct network_word *word;
    free(ring->current);
    ring->current = NULL;
    *event = (struct ring_event){0};
    if (ring->wake_pending) {
        ring->wake_pending = false;
        event->kind = RING_WOKEN;
        return true;
    }
    while ((word = words_take(&ring->batch)) != NULL) {
        struct network_socket *socket = word->socket;
        if (word->kind == RING_RECEIVED)
            network_stream_taken(socket, word->size);
        if (!is_told(word)) {
            free(word);
            continue;
        }
        ring->current = word;
        trace_word(ring, word);
        *event = (struct ring_event){.kind = word->kind,
                                     .handle = socket->handle,
                                     .owner = socket->owner,
                                     .result = word->result,
                                     .accepted = word->accepted,
                                     .data = word->data,
                                     .size = word->size,
                                     .peer = word->peer};
        if (word->kind == RING_GONE)
            socket->state = NETWORK_GONE;
        if (word->kind == RING_DETACHED)
            socket->ring = NULL;
        if (word->kind == RING_GONE || word->kind == RING_DETACHED)
            ring->counters.sockets--;
        return true;
    }
    return false;
}

void ring_wake(struct ring *ring)
{
    ring->wake_pending = true;
}

void ring_counters(const struct ring *ring, struct ring_counters *counters)
{
    *counters = ring->counters;
}
