/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/xmpp_managed.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/xmpp_server.h"

#define NS_MANAGED "urn:xmpp:sm:3"
/* The relay keeps a broken stream for a minute, and may have known of it long before us. */
#define KEPT_NS    (30 * SIM_S)
#define CUT_AGE_NS (2 * SIM_S)  /* the relay does not race with who breaks all streams */
#define WAIT_NS    (30 * SIM_S) /* for the relay to resume its stream */

void xmpp_managed_open(struct xmpp_managed *managed)
{
    *managed = (struct xmpp_managed){.sent = 0};
    managed->last = &managed->first;
}

static void say(struct xmpp_stream *stream, struct writer *writer)
{
    assert(!writer->overflow);
    xmpp_stream_say(stream, writer_span(writer));
}

static void say_number(struct xmpp_stream *stream, struct span name, uint32_t h, struct span id)
{
    char text[256];
    struct writer writer = writer_make(text, sizeof(text));
    writer_put_char(&writer, '<');
    writer_put(&writer, name);
    writer_put_literal(&writer, " xmlns='" NS_MANAGED "' h='");
    writer_put_uint(&writer, h);
    writer_put_char(&writer, '\'');
    if (id.size > 0)
        writer_put_attribute(&writer, SPAN("previd"), id);
    writer_put_literal(&writer, "/>");
    say(stream, &writer);
}

static struct xmpp_managed *managed_of(const struct xmpp_stream *stream)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    assert(pair != NULL);
    return &pair->managed;
}

/* What of the relay's stanzas came on a stream that is managed. */
static struct xmpp_theirs *theirs_on(const struct xmpp_stream *stream)
{
    return stream->accepted ? stream->theirs : &managed_of(stream)->on_ours;
}

static bool read_h(const struct xml_node *node, uint32_t *h)
{
    struct span text = xml_node_attribute(node, SPAN("h"));
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    *h = (uint32_t)value;
    return text.size > 0 && value <= UINT32_MAX;
}

/* What it says of itself now. */
static uint32_t handled(const struct xmpp_stream *stream)
{
    struct xmpp_theirs *theirs = theirs_on(stream);
    uint32_t open = theirs->received - theirs->handled;
    theirs->handled += stream->server->partner->lags ? (uint32_t)sim_below(open + 1) : open;
    return theirs->handled;
}

/* ---- our own stream ---- */

static void pop(struct xmpp_managed *managed)
{
    struct xmpp_letter *letter = managed->first;
    managed->first = letter->next;
    if (managed->first == NULL)
        managed->last = &managed->first;
    free(letter);
}

void xmpp_managed_bounce(struct xmpp_pair *pair)
{
    struct xmpp_managed *managed = &pair->managed;
    while (managed->first != NULL) {
        if (managed->first->message != NULL)
            ledger_bounced(managed->first->message);
        pop(managed);
    }
    managed->sent = managed->acked = 0;
    managed->id[0] = '\0';
    managed->waits_until_ns = 0;
    managed->owes = false;
}

bool xmpp_managed_waits(const struct xmpp_pair *pair)
{
    return sim.now_ns < pair->managed.waits_until_ns;
}

static void enable(struct xmpp_stream *stream)
{
    if (!xmpp_stream_write(stream, SPAN("<enable xmlns='" NS_MANAGED "' resume='true'/>")))
        return;
    stream->is_managed = true;
}

bool xmpp_managed_begin(struct xmpp_stream *stream)
{
    struct xmpp_managed *managed = managed_of(stream);
    if (managed->id[0] != '\0') {
        uint32_t h = stream->is_bidi ? handled(stream) : 0;
        managed->on_ours.seen_left = managed->on_ours.received - h;
        say_number(stream, SPAN("resume"), h, span_of(managed->id));
        return true;
    }
    assert(managed->first == NULL);
    enable(stream);
    return false;
}

static void acknowledged(struct xmpp_stream *stream, uint32_t h)
{
    struct xmpp_managed *managed = managed_of(stream);
    if (h - managed->acked > managed->sent - managed->acked) {
        sim_fail("%s: the relay acknowledges %u of %u..%u", stream->local, h, managed->acked,
                 managed->sent);
        return;
    }
    for (; managed->acked != h; managed->acked++)
        pop(managed);
}

static bool send_again(struct xmpp_stream *stream, uint32_t h)
{
    struct xmpp_managed *managed = managed_of(stream);
    sim_trace("%s: stream %u resumed at %u of %u", stream->local, (unsigned)stream->number, h,
              managed->sent);
    acknowledged(stream, h);
    stream->is_managed = true;
    for (struct xmpp_letter *letter = managed->first; letter != NULL; letter = letter->next)
        if (!xmpp_stream_write(stream, span_make(letter->text, letter->size))) {
            xmpp_stream_kill(stream, "cannot send it all again");
            return false;
        }
    return true;
}

static void on_resumed(struct xmpp_stream *stream, uint32_t h)
{
    managed_of(stream)->owes = false;
    if (send_again(stream, h))
        xmpp_stream_ready(stream);
}

/* Stanzas of the relay had gone before: nothing is counted on this stream after all. */
static void on_not_enabled(struct xmpp_stream *stream)
{
    struct xmpp_managed *managed = managed_of(stream);
    if (!stream->is_bidi)
        sim_fail("%s: the relay does not enable stream management", stream->local);
    stream->is_managed = false;
    while (managed->first != NULL) {
        if (managed->first->message != NULL)
            managed->first->message->is_counted = false;
        pop(managed);
    }
    managed->sent = managed->acked = 0;
}

static void on_failed(struct xmpp_stream *stream)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    if (stream->state == XMPP_STREAM_READY) {
        on_not_enabled(stream);
        return;
    }
    sim_trace("%s: stream %u is not resumed", stream->local, (unsigned)stream->number);
    bool is_kept = sim.now_ns < pair->managed.broke_ns + KEPT_NS;
    /* Whatever worker the connection came to. But a relay that was restarted knows nothing of
       it, and one that was sent rubbish or serves its tenant no more has ended it, which the
       network may not have told us. */
    if (is_kept && ledger.restarted_ns == 0 && stream->server->partner->rubbish == 0 &&
        !ledger.plan->removes)
        sim_fail("%s: stream %u is not resumed", stream->local, (unsigned)stream->number);
    xmpp_managed_bounce(pair);
    enable(stream);
    xmpp_stream_ready(stream);
}

static void on_enabled(struct xmpp_stream *stream, const struct xml_node *node)
{
    struct xmpp_managed *managed = managed_of(stream);
    struct span id = xml_node_attribute(node, SPAN("id"));
    managed->on_ours = (struct xmpp_theirs){.received = 0};
    if (id.size >= sizeof(managed->id) || !stream->is_managed)
        sim_fail("%s: a strange <enabled/>", stream->local);
    else if (stream->server->partner->resumes)
        snprintf(managed->id, sizeof(managed->id), "%.*s", (int)id.size,
                 id.size > 0 ? id.data : "");
}

bool xmpp_managed_sent(struct xmpp_pair *pair, struct xmpp_letter *letter)
{
    struct xmpp_managed *managed = &pair->managed;
    if (!pair->stream->is_managed)
        return false;
    letter->next = NULL;
    *managed->last = letter;
    managed->last = &letter->next;
    managed->sent++;
    if (letter->message != NULL)
        letter->message->is_counted = true;
    return true;
}

void xmpp_managed_ask(struct xmpp_pair *pair)
{
    if (pair->stream->is_managed && sim_chance(700))
        (void)xmpp_stream_write(pair->stream, SPAN("<r xmlns='" NS_MANAGED "'/>"));
}

/* ---- the relay's stream ---- */

static uint64_t digest_of(const struct xml_node *node)
{
    char text[256];
    struct writer writer = writer_make(text, sizeof(text));
    writer_put(&writer, node->name);
    writer_put(&writer, xml_node_attribute(node, SPAN("type")));
    writer_put(&writer, xml_node_attribute(node, SPAN("to")));
    writer_put(&writer, xml_node_attribute(node, SPAN("id")));
    return sim_digest(text, writer.used);
}

/* It stands for the one with its number, or, where that needs no repetition, it is a ping. */
static void check_again(const struct xmpp_stream *stream, const struct xmpp_theirs *theirs,
                        const struct xml_node *node)
{
    uint32_t number = theirs->received - theirs->seen_left;
    bool is_ping = span_equal(node->name, SPAN("iq")) &&
                   span_equal(xml_node_attribute(node, SPAN("type")), SPAN("get"));
    if (!is_ping && digest_of(node) != theirs->seen[number % XMPP_LAG_MAX])
        sim_fail("%s: stanza %u is another one when it is sent again", stream->local, number);
}

static bool is_cut(const struct xmpp_stream *stream)
{
    const struct plan_partner *partner = stream->server->partner;
    return sim.now_ns > stream->opened_ns + CUT_AGE_NS && sim_chance(partner->cuts);
}

bool xmpp_managed_received(struct xmpp_stream *stream, const struct xml_node *node)
{
    if (!stream->is_managed)
        return true;
    struct xmpp_theirs *theirs = theirs_on(stream);
    if (is_cut(stream)) {
        xmpp_stream_kill(stream, "it is cut");
        return false;
    }
    if (theirs->seen_left > 0) {
        check_again(stream, theirs, node);
        theirs->seen_left--;
        return false;
    }
    theirs->seen[theirs->received % XMPP_LAG_MAX] = digest_of(node);
    theirs->received++;
    if (theirs->received - theirs->handled > XMPP_LAG_MAX)
        theirs->handled++;
    return true;
}

/* The relay has a new stream before we know that the one that went both ways is over: one of a
   pair does at a time. */
static struct xmpp_pair *supersede(struct xmpp_stream *stream)
{
    struct xmpp_pair *pair = xmpp_server_pair(stream->server, span_of(stream->remote));
    bool is_beside = stream->server->partner->streams > 1 && !stream->is_bidi;
    if (pair->stream != NULL && pair->stream != stream && pair->stream->is_bidi &&
        pair->stream->accepted && !is_beside)
        xmpp_stream_kill(pair->stream, "the relay has another one");
    return pair;
}

void xmpp_managed_forget(struct xmpp_pair *pair)
{
    if (pair->managed.waits_for != NULL)
        pair->managed.waits_for->id[0] = '\0';
    xmpp_managed_bounce(pair);
}

static void on_enable(struct xmpp_stream *stream)
{
    char text[256];
    struct writer writer = writer_make(text, sizeof(text));
    struct xmpp_managed *managed = managed_of(stream);
    struct xmpp_pair *pair = supersede(stream);
    struct xmpp_theirs *theirs = &managed->theirs[managed->their_count % XMPP_THEIRS_MAX];
    if (managed->waits_until_ns > 0 &&
        (stream->server->partner->streams == 1 || stream->is_bidi))
        xmpp_managed_forget(pair);
    *theirs = (struct xmpp_theirs){.received = 0};
    stream->is_managed = true;
    stream->theirs = theirs;
    snprintf(theirs->id, sizeof(theirs->id), "%.40s-%u", stream->remote,
             ++managed->their_count);
    writer_put_literal(&writer, "<enabled xmlns='" NS_MANAGED "'");
    if (stream->server->partner->resumes) {
        writer_put_literal(&writer, " resume='true'");
        writer_put_attribute(&writer, SPAN("id"), span_of(theirs->id));
    }
    writer_put_literal(&writer, "/>");
    say(stream, &writer);
    xmpp_server_ready(stream);
}

static struct xmpp_theirs *find_theirs(struct xmpp_managed *managed, struct span id)
{
    for (unsigned i = 0; i < XMPP_THEIRS_MAX; i++)
        if (id.size > 0 && span_equal(id, span_of(managed->theirs[i].id)))
            return &managed->theirs[i];
    return NULL;
}

/* The stream that it replaces may seem to stand yet. */
static void take_over(struct xmpp_stream *stream, struct xmpp_theirs *theirs)
{
    struct xmpp_stream *other = stream->server->streams;
    for (; other != NULL; other = other->next)
        if (other != stream && other->theirs == theirs)
            xmpp_stream_kill(other, "the relay resumes it");
    stream->is_managed = true;
    stream->theirs = theirs;
}

/* Sometimes, or as it is not known; with what is handled of it, or without. */
static void refuse_resumption(struct xmpp_stream *stream, struct xmpp_theirs *theirs)
{
    network_note_trouble(&stream->server->partner->address);
    stream->theirs = theirs;
    if (theirs != NULL && sim_chance(500))
        say_number(stream, SPAN("failed"), handled(stream), SPAN_NONE);
    else
        (void)xmpp_stream_write(stream,
                                SPAN("<failed xmlns='" NS_MANAGED
                                     "'><item-not-found xmlns='" NS_STANZAS "'/></failed>"));
    stream->theirs = NULL;
    if (theirs != NULL)
        theirs->id[0] = '\0';
}

static void on_resume(struct xmpp_stream *stream, const struct xml_node *node, uint32_t h)
{
    struct xmpp_managed *managed = managed_of(stream);
    struct span previous = xml_node_attribute(node, SPAN("previd"));
    struct xmpp_theirs *theirs = find_theirs(managed, previous);
    if (theirs == NULL || sim_chance(100)) {
        refuse_resumption(stream, theirs);
        return;
    }
    struct xmpp_pair *pair = supersede(stream);
    take_over(stream, theirs);
    uint32_t mine = handled(stream);
    theirs->seen_left = theirs->received - mine;
    sim_trace("%s: stream %u of the relay resumed at %u of %u", stream->local,
              (unsigned)stream->number, mine, theirs->received);
    say_number(stream, SPAN("resumed"), mine, previous);
    if (managed->waits_until_ns == 0 || managed->waits_for != theirs) {
        if (h != 0)
            sim_fail("%s: the relay has %u stanzas of none", stream->local, h);
        return;
    }
    managed->waits_until_ns = 0;
    pair->stream = stream;
    if (stream->state != XMPP_STREAM_DEAD && send_again(stream, h))
        xmpp_server_ready(stream);
}

static void say_handled(struct xmpp_stream *stream)
{
    if (!sim_chance(stream->server->partner->mute))
        say_number(stream, SPAN("a"), handled(stream), SPAN_NONE);
}

void xmpp_managed_element(struct xmpp_stream *stream, const struct xml_node *node)
{
    uint32_t h = 0;
    bool has_h = read_h(node, &h), mine = !stream->accepted;
    if (mine && span_equal(node->name, SPAN("enabled")))
        on_enabled(stream, node);
    else if (mine && span_equal(node->name, SPAN("resumed")) && has_h)
        on_resumed(stream, h);
    else if (mine && span_equal(node->name, SPAN("failed")))
        on_failed(stream);
    else if ((mine || stream->is_bidi) && span_equal(node->name, SPAN("a")) && has_h)
        acknowledged(stream, h);
    else if (!mine && span_equal(node->name, SPAN("enable")))
        on_enable(stream);
    else if (!mine && span_equal(node->name, SPAN("resume")) && has_h)
        on_resume(stream, node, h);
    else if ((!mine || stream->is_bidi) && span_equal(node->name, SPAN("r")))
        say_handled(stream);
    else
        sim_fail("%s: a strange <%.*s/>", stream->local, (int)node->name.size, node->name.data);
}

/* ---- its end ---- */

static void wait_for(struct xmpp_managed *managed, struct xmpp_stream *stream)
{
    managed->waits_until_ns = sim.now_ns + WAIT_NS;
    managed->waits_for = stream->theirs;
}

void xmpp_managed_died(struct xmpp_stream *stream, struct xmpp_pair *pair)
{
    struct xmpp_managed *managed = &pair->managed;
    if (stream->theirs != NULL && stream->is_clean)
        stream->theirs->id[0] = '\0';
    if (pair->stream != stream || !stream->is_managed)
        return;
    managed->broke_ns = sim.now_ns;
    managed->owes = !stream->accepted && stream->is_bidi;
    if (stream->is_bidi && stream->accepted && !stream->is_clean && stream->server->partner->resumes &&
        !stream->server->is_over)
        wait_for(managed, stream);
    else if (stream->is_clean || managed->id[0] == '\0' || stream->server->is_over)
        xmpp_managed_bounce(pair);
}
