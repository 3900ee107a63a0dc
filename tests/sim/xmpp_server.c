/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/xmpp_server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/dialback.h"
#include "tests/sim/certificates.h"
#include "tests/sim/xmpp_negotiation.h"

#define RETRY_NS    (2 * SIM_S)
#define SURVIVAL_NS (300 * SIM_S) /* longer than the network keeps anything back */

static void pump(struct xmpp_pair *pair);

struct xmpp_pair *xmpp_server_pair(struct xmpp_server *server, struct span remote)
{
    for (unsigned i = 0; i < server->plan->tenant_count; i++)
        if (span_equal(remote, span_of(server->pairs[i].remote)))
            return &server->pairs[i];
    return NULL;
}

/* ---- letters ---- */

struct xmpp_letter *xmpp_server_write(struct xmpp_pair *pair, struct ledger_message *message,
                                      struct span text)
{
    struct xmpp_letter *letter = calloc(1, sizeof(*letter) + text.size);
    if (letter == NULL)
        abort();
    letter->pair = pair;
    letter->message = message;
    letter->size = text.size;
    memcpy(letter->text, text.data, text.size);
    return letter;
}

void xmpp_server_post(struct xmpp_letter *letter)
{
    *letter->pair->last = letter;
    letter->pair->last = &letter->next;
    pump(letter->pair);
}

static struct xmpp_letter *letter_take(struct xmpp_pair *pair)
{
    struct xmpp_letter *letter = pair->first;
    pair->first = letter->next;
    if (pair->first == NULL)
        pair->last = &pair->first;
    return letter;
}

void xmpp_server_end(struct xmpp_stream *stream)
{
    network_note_trouble(&stream->server->partner->address);
    if (sim_chance(500))
        (void)xmpp_stream_write(stream,
                                SPAN("<stream:error><system-shutdown xmlns='" NS_STREAM_ERRORS
                                     "'/></stream:error>"));
    xmpp_stream_end(stream);
}

static void on_survivor(void *context, uint64_t number)
{
    struct xmpp_server *server = context;
    struct xmpp_stream *stream = server->streams;
    while (stream != NULL && stream->number != number)
        stream = stream->next;
    if (stream != NULL && stream->state != XMPP_STREAM_DEAD && !server->is_over)
        sim_fail("%s: stream %u survives what is no XMPP", stream->local, (unsigned)number);
}

/* The relay must end such a stream (RFC 6120 §4.9.3, §11). */
static void write_rubbish(struct xmpp_stream *stream)
{
    static const struct span rubbish[] = {
        SPAN("<message><body>a</message></body>"),
        SPAN("<!-- a comment -->"),
        SPAN("<?target data?>"),
        SPAN("<message>&undefined;</message>"),
        SPAN("<message to='v0@s0.example'><body>from nobody</body></message>"),
        SPAN("<message xmlns='jabber:server' from='a@b' to='c@d'><x:y/></message>"),
        SPAN("<message from='u0@x0.example' to='u0@elsewhere.example'><body/></message>"),
        SPAN("<message a='1' a='2'/>"),
        SPAN("\xff\xfe"),
        SPAN("</message>"),
    };
    network_note_trouble(&stream->server->partner->address);
    if (xmpp_stream_write(stream, rubbish[sim_below(sizeof(rubbish) / sizeof(rubbish[0]))]))
        sim_after(SURVIVAL_NS, on_survivor, stream->server, stream->number);
}

static void send_letters(struct xmpp_pair *pair)
{
    struct xmpp_stream *stream = pair->stream;
    while (pair->first != NULL && stream->state == XMPP_STREAM_READY) {
        struct xmpp_letter *letter = pair->first;
        if (!xmpp_stream_write(stream, span_make(letter->text, letter->size)))
            break;
        struct ledger_message *message = letter->message;
        if (message != NULL)
            ledger_sent(message);
        if (message != NULL && message->is_forged)
            network_note_trouble(&pair->server->partner->address); /* it ends the stream */
        letter = letter_take(pair);
        if (!xmpp_managed_sent(pair, letter))
            free(letter);
        if (sim_chance(pair->server->partner->rubbish)) {
            write_rubbish(stream);
            break;
        }
        if (sim_chance(pair->server->partner->closes)) {
            xmpp_server_end(stream);
            return;
        }
    }
    xmpp_managed_ask(pair);
    xmpp_stream_flush(stream);
}

/* ---- dialback ---- */

void xmpp_server_write_key(const struct xmpp_stream *stream, struct writer *writer)
{
    char key[DIALBACK_KEY_SIZE];
    dialback_key(stream->server->secret, span_of(stream->remote), span_of(stream->local),
                 span_of(stream->id), key);
    writer_put(writer, span_of(key));
}

bool xmpp_server_knows_key(const struct xmpp_server *server, struct span remote, struct span id,
                           struct span key)
{
    return dialback_check(server->secret, remote, span_of(server->partner->domain), id, key);
}

void xmpp_server_verify(struct xmpp_stream *stream, struct span key)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    if (pair == NULL) {
        sim_fail("%s: a key for %s", stream->local, stream->remote);
        return;
    }
    for (unsigned i = 0; i < XMPP_VERIFY_MAX; i++) {
        struct xmpp_verify *verify = &pair->verifies[i];
        if (verify->stream != 0)
            continue;
        *verify = (struct xmpp_verify){.stream = stream->number};
        memcpy(verify->id, stream->id, sizeof(verify->id));
        snprintf(verify->key, sizeof(verify->key), "%.*s", (int)key.size,
                 key.size > 0 ? key.data : "");
        pump(pair);
        return;
    }
    xmpp_stream_kill(stream, "too many keys wait");
}

static void ask_verifies(struct xmpp_pair *pair)
{
    char text[1024];
    struct xmpp_stream *stream = pair->stream;
    for (unsigned i = 0; i < XMPP_VERIFY_MAX; i++) {
        struct xmpp_verify *verify = &pair->verifies[i];
        if (verify->stream == 0 || verify->is_asked)
            continue;
        struct writer writer = writer_make(text, sizeof(text));
        writer_put_literal(&writer, "<db:verify");
        writer_put_attribute(&writer, SPAN("from"), span_of(stream->local));
        writer_put_attribute(&writer, SPAN("to"), span_of(stream->remote));
        writer_put_attribute(&writer, SPAN("id"), span_of(verify->id));
        writer_put_char(&writer, '>');
        writer_put_xml_text(&writer, span_of(verify->key));
        writer_put_literal(&writer, "</db:verify>");
        verify->is_asked = xmpp_stream_write(stream, writer_span(&writer));
    }
    xmpp_stream_flush(stream);
}

void xmpp_server_verified(struct xmpp_stream *stream, const struct xml_node *node)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    struct span id = xml_node_attribute(node, SPAN("id"));
    bool valid = span_equal(xml_node_attribute(node, SPAN("type")), SPAN("valid"));
    assert(pair != NULL);
    for (unsigned i = 0; i < XMPP_VERIFY_MAX; i++) {
        struct xmpp_verify *verify = &pair->verifies[i];
        if (verify->stream == 0 || !span_equal(id, span_of(verify->id)))
            continue;
        struct xmpp_stream *asker = stream->server->streams;
        while (asker != NULL && asker->number != verify->stream)
            asker = asker->next;
        verify->stream = 0;
        if (!valid)
            sim_fail("%s: the relay does not know its own key", stream->local);
        if (asker != NULL && asker->state != XMPP_STREAM_DEAD)
            xmpp_negotiation_verdict(asker, valid);
        return;
    }
    /* The stream that the key came on may be gone by now. */
}

/* ---- streams of its own ---- */

static bool has_verifies(const struct xmpp_pair *pair)
{
    for (unsigned i = 0; i < XMPP_VERIFY_MAX; i++)
        if (pair->verifies[i].stream != 0)
            return true;
    return false;
}

static void on_retry(void *context, uint64_t number)
{
    (void)number;
    pump(context);
}

/* One of the relay's streams that takes stanzas, too, is as good as one of its own. */
static struct xmpp_stream *find_bidi(const struct xmpp_pair *pair)
{
    struct xmpp_stream *stream = pair->server->streams;
    while (stream != NULL && (!stream->accepted || !stream->is_bidi || stream->state != XMPP_STREAM_READY ||
                              stream->is_closing || strcmp(stream->remote, pair->remote) != 0))
        stream = stream->next;
    return stream;
}

/* Of its own streams there is none: is there one of the relay's that it may use instead? What
   waits for a stream to be resumed goes before. */
static void adopt(struct xmpp_pair *pair)
{
    if (pair->managed.first != NULL || pair->managed.id[0] != '\0')
        return;
    pair->stream = find_bidi(pair);
    if (pair->stream == NULL)
        return;
    sim_trace("%s: stream %u of the relay goes both ways", pair->server->partner->domain,
              (unsigned)pair->stream->number);
    pair->stream->may_verify = true;
    pair->managed.sent = pair->managed.acked = 0;
}

static void pump(struct xmpp_pair *pair)
{
    struct xmpp_server *server = pair->server;
    if (pair->stream == NULL && xmpp_managed_waits(pair))
        return;
    if (pair->managed.waits_until_ns > 0 && pair->stream == NULL)
        xmpp_managed_forget(pair);
    bool wanted = pair->first != NULL || pair->managed.first != NULL || has_verifies(pair) ||
                  pair->managed.owes;
    if (!wanted || server->is_over)
        return;
    if (pair->stream == NULL)
        adopt(pair);
    if (pair->stream != NULL) {
        if (pair->stream->may_verify)
            ask_verifies(pair);
        if (pair->stream != NULL && pair->stream->state == XMPP_STREAM_READY)
            send_letters(pair);
        return;
    }
    if (sim.now_ns < pair->retry_at_ns || !server->is_listening)
        return;
    pair->stream = xmpp_stream_connect(server, pair->remote,
                                       server->partner->direct_tls ? &server->relay_direct
                                                                   : &server->relay);
}

void xmpp_server_ready(struct xmpp_stream *stream)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    if (pair == NULL)
        sim_fail("%s: ready for %s", stream->local, stream->remote);
    else if (!stream->accepted || stream->is_bidi)
        pump(pair);
}

void xmpp_server_writable(struct xmpp_stream *stream)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    if (pair != NULL && pair->stream == stream && pair->first != NULL)
        pump(pair);
}

/* Whatever ends a stream may cost what was on it: an idle one that is ended politely costs
   nothing, but that need not be told apart. */
void xmpp_server_died(struct xmpp_stream *stream)
{
    struct xmpp_server *server = stream->server;
    struct xmpp_pair *pair = xmpp_server_pair(server, span_of(stream->remote));
    if (pair == NULL)
        return;
    for (unsigned i = 0; i < XMPP_VERIFY_MAX; i++)
        if (pair->verifies[i].stream == stream->number)
            pair->verifies[i].stream = 0;
    xmpp_managed_died(stream, pair);
    if (pair->stream != stream)
        return;
    pair->stream = NULL;
    for (unsigned i = 0; i < XMPP_VERIFY_MAX; i++)
        pair->verifies[i].is_asked = false;
    uint64_t delay_ns = sim_between(RETRY_NS / 4, RETRY_NS);
    if (xmpp_managed_waits(pair))
        delay_ns = pair->managed.waits_until_ns - sim.now_ns;
    pair->retry_at_ns = sim.now_ns + delay_ns;
    sim_after(delay_ns, on_retry, pair, 0);
}

bool xmpp_server_is_settled(const struct xmpp_server *server)
{
    for (unsigned i = 0; i < server->plan->tenant_count; i++)
        if ((server->pairs[i].first != NULL || server->pairs[i].managed.first != NULL) &&
            !server->partner->is_impostor)
            return false;
    return true;
}

/* ---- life ---- */

static void listen_all(struct xmpp_server *server)
{
    union net_address address = server->partner->address;
    for (unsigned i = 0; i < 2; i++) {
        net_address_set_port(&address,
                             (uint16_t)(net_address_port(&server->partner->address) + i));
        int rc = ring_listen_stream(server->ring, &address, server, &server->listeners[i]);
        assert(rc == 0);
        (void)rc;
    }
    server->is_listening = true;
}

static void on_down(void *context, uint64_t number)
{
    struct xmpp_server *server = context;
    (void)number;
    if (server->is_over)
        return;
    sim_trace("%s: goes down", server->partner->domain);
    network_note_trouble(&server->partner->address);
    server->is_listening = false;
    for (unsigned i = 0; i < 2; i++)
        ring_drop(server->ring, server->listeners[i]);
    for (struct xmpp_stream *stream = server->streams; stream != NULL; stream = stream->next)
        xmpp_stream_kill(stream, "the server goes down");
}

static void on_up(void *context, uint64_t number)
{
    struct xmpp_server *server = context;
    (void)number;
    if (server->is_over)
        return;
    sim_trace("%s: is up again", server->partner->domain);
    listen_all(server);
    for (unsigned i = 0; i < server->plan->tenant_count; i++)
        pump(&server->pairs[i]);
}

void xmpp_server_open(struct xmpp_server *server, const struct plan *plan, unsigned number,
                      struct ring *ring, const char *folder)
{
    char error[256] = "", name[16], certificate[256], key[256], authority[256];
    const struct plan_partner *partner = &plan->partners[number];
    *server = (struct xmpp_server){.kind = PEER_XMPP_SERVER,
                                   .number = number,
                                   .plan = plan,
                                   .partner = partner,
                                   .ring = ring};
    snprintf(server->secret, sizeof(server->secret), "secret of %s", partner->domain);
    unsigned shown = partner->is_impostor ? (number + 1) % PLAN_PARTNER_MAX : number;
    snprintf(name, sizeof(name), "x%u.pem", shown);
    certificates_path(folder, name, certificate);
    snprintf(name, sizeof(name), "x%u.key", shown);
    certificates_path(folder, name, key);
    certificates_path(folder, "ca.pem", authority);
    struct tls_context_options options = {
        .certificate_file = certificate, .key_file = key, .ca_file = authority};
    int rc = tls_context_open(&server->context, &options, error, sizeof(error));
    if (rc == 0)
        rc = net_address_parse_host(&server->relay, PLAN_RELAY_HOST, 5269);
    if (rc == 0)
        rc = net_address_parse_host(&server->relay_direct, PLAN_RELAY_HOST, 5270);
    assert(rc == 0);
    for (unsigned i = 0; i < plan->tenant_count; i++) {
        struct xmpp_pair *pair = &server->pairs[i];
        *pair = (struct xmpp_pair){.server = server, .remote = plan->tenants[i].domain};
        pair->last = &pair->first;
        xmpp_managed_open(&pair->managed);
    }
    listen_all(server);
    if (partner->down_until_ns > 0) {
        sim_after(partner->down_from_ns, on_down, server, 0);
        sim_after(partner->down_until_ns, on_up, server, 0);
    }
}

void xmpp_server_retire(struct xmpp_server *server)
{
    server->is_over = true;
}

void xmpp_server_event(struct xmpp_server *server, const struct ring_event *event)
{
    if (event->kind != RING_ACCEPTED)
        return;
    if (server->is_listening)
        (void)xmpp_stream_accept(server, event->accepted,
                                 event->handle == server->listeners[1]);
    else
        ring_drop(server->ring, event->accepted);
}

void xmpp_server_close(struct xmpp_server *server)
{
    server->is_over = true;
    for (unsigned i = 0; i < server->plan->tenant_count; i++)
        xmpp_managed_bounce(&server->pairs[i]);
    while (server->streams != NULL)
        xmpp_stream_free(server->streams);
    for (unsigned i = 0; i < server->plan->tenant_count; i++)
        while (server->pairs[i].first != NULL)
            free(letter_take(&server->pairs[i]));
    tls_context_close(&server->context);
}
