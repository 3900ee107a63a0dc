/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load_priv.h"

#include "bench/greedy_tenant.h"
#include "bench/random.h"
#include "bench/rogue.h"
#include "bench/sip_peer.h"
#include "net/clock.h"

#define LOAD_FRAME_MAX 1024 /* what is around a text */
#define LOAD_TEXT_MAX  8000

static bool load_write(struct load *load, struct bench_stream *stream, struct span stanza)
{
    if (stream->state != BENCH_STREAM_READY || stream->ending ||
        !bench_stream_write(stream, stanza))
        return false;
    if (!stream->dirty) {
        stream->dirty = true;
        load->dirty[load->dirty_count++] = stream;
    }
    return true;
}

/* "#n " and padding up to `size` bytes, no character cut. */
static void load_put_text(const struct load *load, struct writer *writer, uint32_t number,
                          size_t size)
{
    size_t start = writer->used;
    writer_put_char(writer, '#');
    writer_put_uint(writer, number);
    writer_put_char(writer, ' ');
    size_t used = writer->used - start, whole = size > used ? size - used : 0;
    size_t cut = whole;
    while (cut > 0 && (load->text[cut] & 0xc0) == 0x80)
        cut--;
    writer_put(writer, span_make(load->text, cut));
    for (size_t i = cut; i < whole; i++)
        writer_put_char(writer, '.');
}

/* A message that is in the ledger must have the text that was sent. */
static void load_check_text(const struct load *load, struct ledger *ledger, uint32_t number,
                            struct span text)
{
    char memory[LOAD_TEXT_MAX + LOAD_FRAME_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    const struct ledger_entry *entry = ledger_find(ledger, number);
    if (entry == NULL)
        return;
    load_put_text(load, &writer, number, entry->text_size);
    if (!span_equal(text, writer_span(&writer)))
        ledger_damaged(ledger);
}

/* ---- XMPP side ---- */

/* Answers travel on our own stream of the pair: S2S streams carry one direction. */
static struct bench_stream *load_reply_stream(struct load *load, struct bench_stream *stream)
{
    if (stream->reply == NULL)
        stream->reply = load->tenant != NULL
                            ? &load->out[0] /* all of its pairs of domains are on that one */
                            : load_index_find(&load->index, stream->from, stream->to);
    return stream->reply;
}

static void load_pong(struct load *load, struct bench_stream *stream, const struct xml_node *iq)
{
    char memory[1024];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct bench_stream *reply = load_reply_stream(load, stream);
    writer_put_literal(&writer, "<iq type='result'");
    writer_put_attribute(&writer, SPAN("from"), xml_node_attribute(iq, SPAN("to")));
    writer_put_attribute(&writer, SPAN("to"), xml_node_attribute(iq, SPAN("from")));
    writer_put_attribute(&writer, SPAN("id"), xml_node_attribute(iq, SPAN("id")));
    writer_put_literal(&writer, "/>");
    /* Where there is no stream, as in a soak at times, nobody is too slow to answer. */
    if (reply != NULL && reply->state == BENCH_STREAM_READY && !reply->ending &&
        (writer.overflow || !load_write(load, reply, writer_span(&writer))))
        load->answers_lost++;
}

/* Keeps what the first failure said. */
static void load_note_failure(struct load *load, struct span what)
{
    if (load->failure[0] != '\0')
        return;
    what = span_to(what, sizeof(load->failure) - 1);
    for (size_t i = 0; i < what.size; i++) /* it will stand in JSON and on a terminal */
        load->failure[i] = what.data[i] >= ' ' && what.data[i] != '"' && what.data[i] != '\\'
                               ? what.data[i]
                               : ' ';
}

static void load_on_error(struct load *load, const struct xml_node *stanza)
{
    uint32_t number;
    struct span id = xml_node_attribute(stanza, SPAN("id")); /* "m" and the number */
    if (load->tenant != NULL && greedy_tenant_on_error(load->tenant, id))
        return;
    if (!span_starts(id, SPAN("m")) || !sip_peer_digits(span_from(id, 1), &number))
        return; /* of a rogue */
    const struct xml_node *error = xml_node_child(stanza, SPAN(NS_SERVER), SPAN("error"));
    const struct xml_node *text =
        error != NULL ? xml_node_child(error, SPAN(NS_STANZAS), SPAN("text")) : NULL;
    const struct xml_node *condition = error != NULL ? xml_node_first_element(error) : NULL;
    if (text != NULL)
        load_note_failure(load, xml_node_text(text));
    else if (condition != NULL)
        load_note_failure(load, condition->name);
    ledger_answered(&load->to_sip, number, false);
}

void load_on_stanza(struct bench_stream *stream, const struct xml_node *stanza)
{
    struct load *load = stream->context;
    uint32_t number = 0;
    struct span type = xml_node_attribute(stanza, SPAN("type"));
    if (span_equal(stanza->name, SPAN("iq")) && span_equal(type, SPAN("get")))
        load_pong(load, stream, stanza);
    if (load->tenant != NULL && span_equal(stanza->space, SPAN(NS_DIALBACK)))
        greedy_tenant_on_proof(load->tenant, type);
    if (!span_equal(stanza->name, SPAN("message")))
        return;
    load->progress_ns = clock_now_ns();
    if (span_equal(type, SPAN("error"))) {
        load_on_error(load, stanza);
        return;
    }
    const struct xml_node *body = xml_node_child(stanza, SPAN(NS_SERVER), SPAN("body"));
    if (body == NULL || !sip_peer_number(xml_node_text(body), &number))
        return;
    ledger_arrived(&load->to_xmpp, number, 0, load->progress_ns);
    load_check_text(load, &load->to_xmpp, number, xml_node_text(body));
}

void load_on_component(void *context, struct span text)
{
    struct load *load = context;
    uint32_t number;
    load->progress_ns = clock_now_ns();
    if (sip_peer_number(text, &number))
        ledger_arrived(&load->to_sip, number, 0, load->progress_ns);
}

static void load_put_user(struct writer *writer, unsigned user, const char *suffix,
                          const char *domain)
{
    writer_put_char(writer, 'u');
    writer_put_uint(writer, user);
    writer_put(writer, span_of(suffix));
    writer_put_char(writer, '@');
    writer_put(writer, span_of(domain));
}

bool load_send_xmpp(struct load *load, struct ledger_entry *entry, uint32_t number)
{
    char memory[LOAD_TEXT_MAX + LOAD_FRAME_MAX];
    const struct load_options *options = &load->options;
    unsigned user = entry->user;
    struct bench_stream *stream = &load->out[user % options->streams];
    struct writer writer = writer_make(memory, sizeof(memory));
    writer_put_literal(&writer, "<message type='chat' id='m");
    writer_put_uint(&writer, number);
    writer_put_literal(&writer, "' from='");
    load_put_user(&writer, user, "", stream->from);
    writer_put_literal(&writer, "/bench' to='");
    load_put_user(&writer, user, options->user_suffix, stream->to);
    writer_put_literal(&writer, "'><body>");
    size_t start = writer.used, frame = start + sizeof("</body></message>") - 1;
    size_t size = choice_size(&load->choice, number);
    load_put_text(load, &writer, number, size > frame ? size - frame : 1);
    entry->text_size = (uint16_t)(writer.used - start);
    writer_put_literal(&writer, "</body></message>");
    return load_write(load, stream, writer_span(&writer));
}

/* ---- SIP side ---- */

/* Does this datagram get lost? */
static bool load_loses(struct load *load)
{
    return load->manners.loss > 0 && random_share(&load->chance) < load->manners.loss;
}

static void load_on_response(struct load *load, struct span message, int status,
                             uint32_t number)
{
    load->progress_ns = clock_now_ns();
    if (status >= 300)
        load_note_failure(load, span_to(message, span_find(message, '\r')));
    if (status == 202)
        ledger_handed_over(&load->to_xmpp, number);
    ledger_answered(&load->to_xmpp, number, status < 300);
}

static void load_answer(struct load *load, struct span request, bool busy,
                        const struct sip_flow *flow)
{
    char memory[2048];
    struct writer answer = writer_make(memory, sizeof(memory));
    struct span status =
        busy ? SPAN("503 Service Unavailable\r\nRetry-After: 1") : SPAN("200 OK");
    if (sip_peer_answer(request, status, &answer) && !load_loses(load) &&
        !sip_side_answer(&load->sip, flow, writer_span(&answer)))
        load->answers_lost++;
}

static void load_on_request(struct load *load, struct span request, const struct sip_flow *flow)
{
    uint32_t number = 0;
    struct span body = sip_peer_body(request);
    bool numbered = sip_peer_number(body, &number);
    const struct ledger_entry *entry = numbered ? ledger_find(&load->to_sip, number) : NULL;
    /* A retransmission gets the answer that was given (RFC 3261 §17.2.2). */
    bool busy = load->manners.busy && (entry == NULL || !entry->arrived);
    load_answer(load, request, busy, flow);
    if (load->tenant != NULL && greedy_tenant_on_text(load->tenant, body))
        return;
    if (!numbered || busy)
        return;
    load->progress_ns = clock_now_ns();
    ledger_arrived(&load->to_sip, number, sip_peer_mark(request), load->progress_ns);
    load_check_text(load, &load->to_sip, number, body);
}

void load_on_sip(void *context, struct span message, const struct sip_flow *flow)
{
    struct load *load = context;
    uint32_t number = 0;
    if (load_loses(load) ||
        (load->rogues != NULL && rogues_on_sip(load->rogues, message, flow)))
        return;
    int status = sip_peer_response(message, &number);
    if (status != 0 && load->tenant != NULL)
        (void)greedy_tenant_on_response(load->tenant, number, status);
    else if (status != 0)
        load_on_response(load, message, status, number);
    else if (!load->manners.silent)
        load_on_request(load, message, flow);
}

bool load_send_sip(struct load *load, struct ledger_entry *entry, uint32_t number)
{
    char text[LOAD_TEXT_MAX], memory[LOAD_TEXT_MAX + LOAD_FRAME_MAX];
    char sent_by[NET_ADDRESS_TEXT_SIZE];
    const struct load_options *options = &load->options;
    unsigned user = entry->user;
    const struct bench_stream *stream = &load->out[user % options->streams];
    struct writer body = writer_make(text, sizeof(text));
    load_put_text(load, &body, number, choice_size(&load->choice, number));
    entry->text_size = (uint16_t)body.used;
    net_address_format(&options->own_sip, sent_by);
    struct sip_peer_message message = {.run = load->run,
                                       .number = number,
                                       .user = user,
                                       .transport = sip_transport_name(options->transport),
                                       .from_domain = span_of(stream->to),
                                       .to_domain = span_of(stream->from),
                                       .sent_by = span_of(sent_by),
                                       .body = writer_span(&body)};
    struct writer writer = writer_make(memory, sizeof(memory));
    sip_peer_message(&writer, &message);
    return sip_side_request(&load->sip, writer_span(&writer));
}
