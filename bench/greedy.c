/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/greedy.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bench/random.h"
#include "net/clock.h"

#define GREEDY_TEXT    "greedy "
#define GREEDY_USERS   64
#define GREEDY_BATCH   64 /* sends of one turn */
#define GREEDY_WAIT_S  5 /* of its quota: so many may be unanswered, as in TCP's buffers */
#define GREEDY_OPEN_NS 15000000000ull
#define GREEDY_STEP_NS 20000000ull /* while it waits */

struct greedy {
    struct load *load;
    struct bench_stream stream;
    bool active;
    double due_ns;   /* when the next message goes */
    uint64_t chance; /* the state of what is drawn */
    struct greedy_count count;
};

int greedy_open(struct load *load)
{
    struct greedy *greedy = calloc(1, sizeof(*greedy));
    if (greedy == NULL)
        return -ENOMEM;
    load->greedy = greedy;
    greedy->load = load;
    greedy->chance = load->options.choice.seed;
    int status = bench_stream_connect(&greedy->stream, load->ring, &load->options.relay_xmpp,
                                      "x0.bench", GREEDY_DOMAIN);
    greedy->stream.context = load;
    uint64_t end_ns = clock_now_ns() + GREEDY_OPEN_NS;
    while (status == 0 && greedy->stream.state != BENCH_STREAM_READY) {
        load_rest(load, GREEDY_STEP_NS);
        if (greedy->stream.state == BENCH_STREAM_DEAD)
            status = -EPIPE;
        else if (load->now_ns > end_ns)
            status = -ETIMEDOUT;
    }
    return status;
}

void greedy_set(struct greedy *greedy, bool active)
{
    greedy->active = active;
    greedy->due_ns = (double)clock_now_ns();
}

static bool greedy_send(struct greedy *greedy)
{
    char memory[1024], text[180];
    uint32_t number = greedy->count.sent;
    struct writer writer = writer_make(memory, sizeof(memory));
    memset(text, 'x', sizeof(text));
    writer_put_literal(&writer, "<message type='chat' id='g");
    writer_put_uint(&writer, number);
    writer_put_literal(&writer, "' from='u@x0.bench/bench' to='u");
    writer_put_uint(&writer, number % GREEDY_USERS);
    writer_put_literal(&writer, "@" GREEDY_DOMAIN "'><body>" GREEDY_TEXT);
    writer_put(&writer, span_make(text, sizeof(text))); /* as long as a stanza of the load */
    writer_put_literal(&writer, "</body></message>");
    assert(!writer.overflow);
    return bench_stream_write(&greedy->stream, writer_span(&writer));
}

/* Many users, each at a time of its own: not in step with the load. */
static void greedy_draw(struct greedy *greedy)
{
    double mean_ns = 1e9 / ((double)greedy->load->options.greedy * GREEDY_TIMES);
    while ((double)greedy->load->now_ns >= greedy->due_ns) {
        greedy->due_ns -= log(1 - random_share(&greedy->chance)) * mean_ns;
        greedy->count.due++;
    }
}

static bool greedy_may_send(const struct greedy *greedy)
{
    const struct greedy_count *count = &greedy->count;
    return count->sent < count->due && count->sent - count->delivered - count->refused <
                                           GREEDY_WAIT_S * greedy->load->options.greedy;
}

void greedy_turn(struct greedy *greedy)
{
    bool sent = greedy->active && greedy->stream.state == BENCH_STREAM_READY;
    if (sent)
        greedy_draw(greedy);
    for (unsigned i = 0; i < GREEDY_BATCH && sent; i++) {
        sent = greedy_may_send(greedy) && greedy_send(greedy);
        greedy->count.sent += sent;
    }
    bench_stream_flush(&greedy->stream);
}

bool greedy_on_error(struct greedy *greedy, struct span id)
{
    bool is_ours = span_starts(id, SPAN("g"));
    greedy->count.refused += is_ours;
    return is_ours;
}

bool greedy_on_text(struct greedy *greedy, struct span text)
{
    bool is_ours = span_starts(text, SPAN(GREEDY_TEXT));
    greedy->count.delivered += is_ours;
    return is_ours;
}

void greedy_settle(struct greedy *greedy)
{
    struct load *load = greedy->load;
    const struct greedy_count *count = &greedy->count;
    uint64_t end_ns = clock_now_ns() + load->options.timeout_s * 1000000000ull;
    while (count->delivered + count->refused < count->sent && clock_now_ns() < end_ns)
        load_rest(load, GREEDY_STEP_NS);
}

struct greedy_count greedy_count(const struct greedy *greedy)
{
    return greedy->count;
}

void greedy_close(struct greedy *greedy)
{
    if (greedy == NULL)
        return;
    bench_stream_close(&greedy->stream);
    free(greedy);
}
