/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/demo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/sip_peer.h"
#include "net/clock.h"

#define DEMO_LINES      3
#define DEMO_TIMEOUT_NS 10000000000ull

static const char *const demo_to_sip[DEMO_LINES] = {
    "Hello Bob, this comes from an XMPP client.", "Umlauts and symbols: Grüße, 你好, ☺, <&>",
    "Does it reach your SIP phone?"};
static const char *const demo_to_xmpp[DEMO_LINES] = {
    "It does, Alice!", "And this is a SIP MESSAGE on its way to XMPP.", "See you on both sides."};

struct demo {
    const struct load_options *options;
    const char *xmpp_domain, *sip_domain;
    struct ring *ring;
    struct tls_context *tls;
    ring_handle listener, udp;
    struct bench_stream out, in[4];
    unsigned in_count;
    unsigned sip_arrived, xmpp_arrived, answered, sip_sent;
    bool xmpp_sent, failed;
};

static void demo_print(struct demo *demo, bool to_sip, struct span text, const char *note)
{
    printf(to_sip ? "  alice@%s → bob@%s  (XMPP → SIP)  %.*s%s\n"
                  : "  bob@%s → alice@%s  (SIP → XMPP)  %.*s%s\n",
           to_sip ? demo->xmpp_domain : demo->sip_domain,
           to_sip ? demo->sip_domain : demo->xmpp_domain, (int)text.size, text.data, note);
    fflush(stdout);
}

static void demo_write(struct demo *demo, const struct writer *writer)
{
    if (writer->overflow || !bench_stream_write(&demo->out, writer_span(writer)))
        demo->failed = true;
    bench_stream_flush(&demo->out);
}

static void demo_pong(struct demo *demo, const struct xml_node *iq)
{
    char memory[1024];
    struct writer writer = writer_make(memory, sizeof(memory));
    writer_put_literal(&writer, "<iq type='result'");
    writer_put_attribute(&writer, SPAN("from"), xml_node_attribute(iq, SPAN("to")));
    writer_put_attribute(&writer, SPAN("to"), xml_node_attribute(iq, SPAN("from")));
    writer_put_attribute(&writer, SPAN("id"), xml_node_attribute(iq, SPAN("id")));
    writer_put_literal(&writer, "/>");
    demo_write(demo, &writer);
}

static void demo_on_stanza(struct bench_stream *stream, const struct xml_node *stanza)
{
    struct demo *demo = stream->context;
    struct span type = xml_node_attribute(stanza, SPAN("type"));
    if (span_equal(stanza->name, SPAN("iq")) && span_equal(type, SPAN("get")))
        demo_pong(demo, stanza);
    if (!span_equal(stanza->name, SPAN("message")))
        return;
    if (span_equal(type, SPAN("error"))) {
        const struct xml_node *error = xml_node_child(stanza, SPAN(NS_SERVER), SPAN("error"));
        const struct xml_node *text =
            error != NULL ? xml_node_child(error, SPAN(NS_STANZAS), SPAN("text")) : NULL;
        demo_print(demo, true, text != NULL ? xml_node_text(text) : SPAN("(error)"), "  [FAILED]");
        demo->failed = true;
        return;
    }
    const struct xml_node *body = xml_node_child(stanza, SPAN(NS_SERVER), SPAN("body"));
    if (body == NULL)
        return;
    demo_print(demo, false, xml_node_text(body), "");
    demo->xmpp_arrived++;
}

static void demo_send_xmpp(struct demo *demo)
{
    for (unsigned i = 0; i < DEMO_LINES; i++) {
        char memory[1024];
        struct writer writer = writer_make(memory, sizeof(memory));
        writer_put_literal(&writer, "<message type='chat' id='demo");
        writer_put_uint(&writer, i);
        writer_put_literal(&writer, "' from='alice@");
        writer_put(&writer, span_of(demo->xmpp_domain));
        writer_put_literal(&writer, "/demo' to='bob@");
        writer_put(&writer, span_of(demo->sip_domain));
        writer_put_literal(&writer, "'><body>");
        writer_put_xml_text(&writer, span_of(demo_to_sip[i]));
        writer_put_literal(&writer, "</body></message>");
        demo_write(demo, &writer);
    }
    demo->xmpp_sent = true;
}

/* "MESSAGE sip:alice@…": written here by hand, since sip_peer_message numbers its users. */
static void demo_send_sip(struct demo *demo)
{
    char memory[2048], sent_by[NET_ADDRESS_TEXT_SIZE];
    const char *text = demo_to_xmpp[demo->sip_sent];
    net_address_format(&demo->options->own_sip, sent_by);
    int size = snprintf(memory, sizeof(memory),
                        "MESSAGE sip:alice@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;"
                        "branch=z9hG4bKb0.%u\r\nMax-Forwards: 70\r\nFrom: <sip:bob@%s>;tag=d%u\r\n"
                        "To: <sip:alice@%s>\r\nCall-ID: demo%u@%s\r\nCSeq: 1 MESSAGE\r\n"
                        "Content-Type: text/plain;charset=utf-8\r\nContent-Length: %zu\r\n\r\n%s",
                        demo->xmpp_domain, sent_by, demo->sip_sent, demo->sip_domain,
                        demo->sip_sent, demo->xmpp_domain, demo->sip_sent, demo->sip_domain,
                        strlen(text), text);
    demo->sip_sent++;
    if (size < 0 || (size_t)size >= sizeof(memory) ||
        ring_send_datagram(demo->ring, demo->udp, &demo->options->relay_sip, memory,
                           (size_t)size) != 0)
        demo->failed = true;
}

static void demo_on_datagram(struct demo *demo, const struct ring_event *event)
{
    struct span datagram = span_make(event->data, event->size);
    char memory[2048];
    uint32_t number;
    int status = sip_peer_response(datagram, &number);
    if (status != 0) {
        demo->answered++;
        printf("  %-45s (SIP answer)   %d\n", "", status);
        demo->failed = demo->failed || status >= 300;
        return;
    }
    struct writer answer = writer_make(memory, sizeof(memory));
    if (!sip_peer_answer(datagram, SPAN("200 OK"), &answer) ||
        ring_send_datagram(demo->ring, demo->udp, &event->peer, answer.data, answer.used) != 0)
        return;
    const char *end = memmem(datagram.data, datagram.size, "\r\n\r\n", 4);
    if (!span_starts(datagram, SPAN("MESSAGE ")) || end == NULL)
        return;
    demo_print(demo, true, span_from(datagram, (size_t)(end - datagram.data) + 4), "");
    demo->sip_arrived++;
}

static void demo_turn(struct demo *demo)
{
    struct ring_event event;
    (void)ring_wait(demo->ring, 50000000);
    while (ring_next(demo->ring, &event)) {
        if (event.kind == RING_ACCEPTED && demo->in_count < 4) {
            struct bench_stream *stream = &demo->in[demo->in_count++];
            bench_stream_accept(stream, demo->ring, event.accepted);
            stream->context = demo;
        } else if (event.kind == RING_DATAGRAM) {
            demo_on_datagram(demo, &event);
        } else if (event.owner != NULL && event.owner != demo) {
            bench_stream_event(event.owner, &event, demo->tls, demo_on_stanza);
        }
    }
    if (demo->out.state == BENCH_STREAM_READY && !demo->xmpp_sent)
        demo_send_xmpp(demo);
    if (demo->sip_arrived == DEMO_LINES && demo->sip_sent < DEMO_LINES &&
        demo->answered == demo->sip_sent)
        demo_send_sip(demo);
}

static int demo_open(struct demo *demo)
{
    const char *cause = "";
    char error[300] = "";
    const struct load_options *options = demo->options;
    struct ring_options ring = {.socket_max = 16, .error_text = &cause};
    struct tls_context_options tls = {.certificate_file = options->certificate,
                                      .key_file = options->key,
                                      .ca_file = options->ca};
    int status = ring_open(&demo->ring, &ring);
    if (status == 0)
        status = tls_context_open(&demo->tls, &tls, error, sizeof(error));
    if (status == 0)
        status = ring_listen_stream(demo->ring, &options->own_xmpp, demo, &demo->listener);
    if (status == 0)
        status = ring_listen_datagram(demo->ring, &options->own_sip, demo, &demo->udp);
    if (status == 0)
        status = bench_stream_connect(&demo->out, demo->ring, &options->relay_xmpp,
                                      demo->xmpp_domain, demo->sip_domain);
    demo->out.context = demo;
    if (status != 0)
        fprintf(stderr, "demo: %s %s %s\n", strerror(-status), cause, error);
    return status;
}

int demo_run(const struct load_options *options, const char *xmpp_domain, const char *sip_domain)
{
    struct demo demo = {
        .options = options, .xmpp_domain = xmpp_domain, .sip_domain = sip_domain};
    int status = demo_open(&demo);
    uint64_t end_ns = clock_now_ns() + DEMO_TIMEOUT_NS;
    bool done = false;
    while (status == 0 && !done && !demo.failed && demo.out.state != BENCH_STREAM_DEAD &&
           clock_now_ns() < end_ns) {
        demo_turn(&demo);
        done = demo.sip_arrived == DEMO_LINES && demo.xmpp_arrived == DEMO_LINES &&
               demo.answered == DEMO_LINES;
    }
    if (status == 0 && !done) {
        fprintf(stderr, "demo: %u of %u messages reached SIP, %u of %u reached XMPP%s%s\n",
                demo.sip_arrived, DEMO_LINES, demo.xmpp_arrived, DEMO_LINES,
                demo.out.problem != NULL ? ": " : "",
                demo.out.problem != NULL ? demo.out.problem : "");
        status = -EPROTO;
    }
    if (demo.ring != NULL)
        ring_close(&demo.ring);
    if (demo.out.xml != NULL)
        bench_stream_close(&demo.out);
    for (unsigned i = 0; i < demo.in_count; i++)
        bench_stream_close(&demo.in[i]);
    if (demo.tls != NULL)
        tls_context_close(&demo.tls);
    return status;
}
