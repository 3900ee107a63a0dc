/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the rogues on the XMPP side do. */
#include "bench/rogue_priv.h"

#define ROGUE_HEADER                                                                           \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' "                               \
    "xmlns:stream='http://etherx.jabber.org/streams' from='x0.bench' to='s0.bench' "           \
    "version='1.0'>"
#define ROGUE_DEPTH          10000
#define ROGUE_OVERSIZE_COUNT 16 /* pieces of ROGUE_OUTPUT_MAX bytes */
#define ROGUE_HANG_UP_COUNT  10

/* ---- before TLS ---- */

void rogue_step_mute(struct rogue *rogue)
{
    (void)rogue; /* it waits */
}

/* The byte whose turn it is; the last one never comes. */
static struct span rogue_drop_of(struct span text, const struct rogue *rogue)
{
    return span_to(span_from(text, rogue->steps % (text.size - 1)), 1);
}

void rogue_step_drip_header(struct rogue *rogue)
{
    (void)rogue_send(rogue, rogue_drop_of(SPAN(ROGUE_HEADER), rogue));
}

void rogue_step_junk(struct rogue *rogue)
{
    char bytes[256];
    rogue_random(rogue, bytes, sizeof(bytes));
    (void)rogue_send(rogue, span_make(bytes, sizeof(bytes)));
}

void rogue_step_doctype(struct rogue *rogue)
{
    if (rogue->steps == 0)
        (void)rogue_send(rogue, SPAN("<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'bbbbbbbb'>"
                                     "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]>"
                                     "<stream:stream xmlns='jabber:server' from='&c;'>"));
}

/* Its next connection begins when this one has gone. */
void rogue_step_hang_up(struct rogue *rogue)
{
    (void)rogue_send(rogue, SPAN(ROGUE_HEADER));
    if (rogue->steps + 1 >= ROGUE_HANG_UP_COUNT) {
        rogue_end(rogue, ROGUE_LEFT);
        return;
    }
    rogue->state = ROGUE_OPENING;
    ring_drop(rogue->all->load->ring, rogue->handle);
}

/* ---- in the handshake ---- */

void rogue_step_drip_tls(struct rogue *rogue)
{
    bench_stream_trickle(&rogue->stream, 1);
}

void rogue_step_junk_tls(struct rogue *rogue)
{
    struct net_buffer *output = &rogue->stream.output[0];
    char bytes[256];
    if (rogue->steps > 0)
        return;
    rogue_random(rogue, bytes, sizeof(bytes));
    net_buffer_consume(output, net_buffer_used(output)); /* the ClientHello */
    if (net_buffer_add(output, bytes, sizeof(bytes)) == 0)
        bench_stream_trickle(&rogue->stream, sizeof(bytes));
}

/* ---- authenticated ---- */

static void rogue_say(struct rogue *rogue, struct span text)
{
    if (rogue->stream.state == BENCH_STREAM_READY)
        (void)bench_stream_write(&rogue->stream, text);
    bench_stream_flush(&rogue->stream);
}

/* "<message …>", open. */
static void rogue_put_message(struct writer *writer, const struct rogue *rogue, const char *to)
{
    writer_put_literal(writer, "<message type='chat' id='r");
    writer_put_uint(writer, rogue->attempt);
    writer_put_literal(writer, "' from='rogue@");
    rogue_put_domain(writer, rogue, true);
    writer_put_literal(writer, "' to='");
    writer_put(writer, span_of(to));
    writer_put_uint(writer, rogue->place);
    writer_put_char(writer, '@');
    rogue_put_domain(writer, rogue, false);
    writer_put_literal(writer, "'>");
}

static void rogue_open_message(struct rogue *rogue, const char *to)
{
    char memory[512];
    struct writer writer = writer_make(memory, sizeof(memory));
    rogue_put_message(&writer, rogue, to);
    rogue_say(rogue, writer_span(&writer));
}

void rogue_step_drip_stanza(struct rogue *rogue)
{
    char memory[512];
    struct writer writer = writer_make(memory, sizeof(memory));
    rogue_put_message(&writer, rogue, "rogue");
    if (rogue->steps < writer.used)
        rogue_say(rogue, rogue_drop_of(writer_span(&writer), rogue));
}

void rogue_step_junk_stanza(struct rogue *rogue)
{
    char bytes[256];
    rogue_random(rogue, bytes, sizeof(bytes));
    rogue_say(rogue, span_make(bytes, sizeof(bytes)));
}

void rogue_step_oversize(struct rogue *rogue)
{
    char bytes[ROGUE_OUTPUT_MAX];
    if (rogue->steps > 0)
        return;
    memset(bytes, 'x', sizeof(bytes));
    rogue_open_message(rogue, "rogue");
    rogue_say(rogue, SPAN("<body>"));
    for (unsigned i = 0; i < ROGUE_OVERSIZE_COUNT; i++)
        rogue_say(rogue, span_make(bytes, sizeof(bytes)));
    rogue_say(rogue, SPAN("</body></message>"));
}

void rogue_step_deep(struct rogue *rogue)
{
    char memory[ROGUE_OUTPUT_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    if (rogue->steps > 0)
        return;
    rogue_open_message(rogue, "rogue");
    for (unsigned i = 0; i < ROGUE_DEPTH; i++) {
        writer_put_literal(&writer, "<a>");
        if (i % 1000 == 999) {
            rogue_say(rogue, writer_span(&writer));
            writer = writer_make(memory, sizeof(memory));
        }
    }
}

void rogue_step_spoof(struct rogue *rogue)
{
    if (rogue->steps == 0)
        rogue_say(rogue, SPAN("<message type='chat' id='r' from='chief@other.example' "
                              "to='rogue@s0.bench'><body>Believe me</body></message>"));
}

void rogue_step_late(struct rogue *rogue)
{
    if (rogue->steps > 0)
        return;
    rogue_open_message(rogue, "late");
    rogue_say(rogue, SPAN("<body>No hurry</body></message>"));
}
