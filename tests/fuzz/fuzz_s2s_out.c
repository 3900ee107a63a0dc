/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The initiating side of a stream under whatever a server may answer, in segments parted by
 * NUL: unless dialback in clear is allowed nothing but a header and <starttls/> leaves in
 * clear, and stanzas may only leave, or come, after SASL EXTERNAL or our own dialback succeeded
 * in a way that is allowed.
 */
#include "fuzz_s2s.h"
#include "proto/s2s_out.h"

struct side {
    struct account account;
    struct memory memory;
    struct xml_stream *xml, *mirror;
    struct s2s_out out;
    bool secure, asked_external, sent_key, mirror_fresh, ready;
};

static bool holds(struct span text, const char *part)
{
    return text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

static bool may_clear(const struct side *side)
{
    return (side->out.proofs & S2S_PROOF_CLEAR) != 0;
}

static void sent(struct side *side, struct span text)
{
    struct xml_event event;
    if (text.size == 0)
        return;
    side->asked_external |= holds(text, "<auth ");
    CHECK(!holds(text, "<bidi ") || (side->secure && side->out.bidi_wanted));
    if (!side->secure)
        CHECK(!holds(text, "<auth ") && (may_clear(side) || !holds(text, "<db:")));
    if (span_starts(text, SPAN("<?xml")))
        side->mirror_fresh = true;
    if (side->mirror_fresh)
        xml_stream_restart(side->mirror);
    side->mirror_fresh = false;
    enum xml_event_kind kind = fuzz_xml_feed(side->mirror, text, &event);
    while (kind != XML_EVENT_NONE) {
        CHECK(kind != XML_EVENT_ERROR);
        kind = xml_stream_next(side->mirror, &event);
    }
}

/* False at the end of the stream. */
static bool act(struct side *side, const struct s2s_action *action, struct writer *writer)
{
    writer->used = 0;
    switch (action->kind) {
    case S2S_NOTHING:
    case S2S_UNSOLICITED:
    case S2S_PAIR_REFUSED:
    case S2S_VERIFIED: return true;
    case S2S_START_TLS:
        CHECK(!side->secure && side->out.proofs != S2S_PROOF_CLEAR);
        side->secure = true;
        s2s_out_tls_done(&side->out, writer);
        sent(side, writer_span(writer));
        xml_stream_restart(side->xml);
        return true;
    case S2S_RESTART:
        CHECK(side->secure && side->asked_external);
        xml_stream_restart(side->xml);
        return true;
    case S2S_NEED_KEY:
        CHECK((side->out.proofs & (side->secure ? S2S_PROOF_DIALBACK : S2S_PROOF_CLEAR)) != 0);
        CHECK(!side->ready);
        s2s_out_send_key(&side->out, SPAN("0123456789abcdef"), writer);
        side->sent_key = true;
        sent(side, writer_span(writer));
        return true;
    case S2S_SM_ENABLED:
    case S2S_SM_ACKED:
    case S2S_SM_FAILED:
        CHECK(side->ready && side->out.sm_wanted && side->out.external_done);
        return true;
    case S2S_SM_RESUMED:
        CHECK(span_equal(action->sm.id, side->out.sm_previous));
        CHECK(side->secure && !side->ready && side->out.external_done);
        side->ready = true;
        return true;
    case S2S_SM_REFUSED:
        CHECK(side->out.sm_previous.size > 0);
        CHECK(side->secure && !side->ready && side->out.external_done);
        side->ready = true;
        return true;
    case S2S_READY:
        CHECK((side->secure || may_clear(side)) && !side->ready);
        CHECK(side->sent_key || (side->asked_external && side->out.external_done));
        side->ready = true;
        return true;
    case S2S_STANZA:
        CHECK(side->out.bidi_wanted && side->secure);
        CHECK(side->ready || (side->asked_external && side->out.external_done));
        return true;
    case S2S_ANSWER_VERIFY: CHECK(side->out.bidi_wanted && side->secure); return true;
    case S2S_SM_REQUEST: CHECK(side->out.bidi_wanted && side->ready); return true;
    case S2S_SM_ENABLE:
    case S2S_SM_RESUME:
    case S2S_PAIR_AUTHORISED:
    case S2S_VERIFY: CHECK(false); return false; /* for the receiving side */
    case S2S_CLOSE:
        s2s_out_write_close(&side->out, writer,
                            action->received ? STREAM_ERROR_NONE : action->error, action->text);
        sent(side, writer_span(writer));
        return false;
    }
    return false;
}

static bool feed(struct side *side, struct span text)
{
    static char memory[65536];
    struct xml_event event;
    enum xml_event_kind kind = fuzz_xml_feed(side->xml, text, &event);
    while (kind != XML_EVENT_NONE) {
        struct writer writer = writer_make(memory, sizeof(memory));
        struct s2s_action action;
        s2s_out_event(&side->out, &event, &writer, &action);
        CHECK(!writer.overflow);
        sent(side, writer_span(&writer));
        if (!act(side, &action, &writer))
            return false;
        kind = xml_stream_next(side->xml, &event);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_make(data, size);
    unsigned choice = fuzz_choice(&input);
    struct side side = {.account = {0, -1}, .mirror_fresh = true};
    struct s2s_domain local, remote;
    char memory[4096];
    struct writer writer = writer_make(memory, sizeof(memory));
    side.secure = (choice & 1) != 0;
    side.memory = account_memory(&side.account);
    side.xml = xml_stream_open(&side.memory, NULL);
    side.mirror = xml_stream_open(&side.memory, NULL);
    CHECK(side.xml != NULL && side.mirror != NULL);
    CHECK(s2s_domain_read(&local, SPAN("sip.example")));
    CHECK(s2s_domain_read(&remote, SPAN("xmpp.example")));
    s2s_out_init(&side.out, &local, &remote,
                 fuzz_s2s_proofs[(choice >> 2 & 3) + (choice >> 4 & 4)], (choice & 2) != 0);
    side.out.sm_wanted = (choice & 16) != 0;
    side.out.sm_previous = (choice & 32) != 0 ? SPAN("former") : SPAN_NONE;
    side.out.bidi_wanted = side.out.bidi_unmanaged = side.out.sm_previous_bidi =
        (choice & 128) != 0;
    s2s_out_start(&side.out, side.secure, &writer);
    sent(&side, writer_span(&writer));
    bool more = true;
    while (more && input.size > 0) {
        size_t part = span_find(input, '\0');
        more = feed(&side, span_to(input, part));
        input = span_from(input, part + 1);
    }
    CHECK(!side.asked_external || (choice & 2) != 0);
    xml_stream_close(&side.xml);
    xml_stream_close(&side.mirror);
    CHECK(side.account.blocks == 0);
    return 0;
}
