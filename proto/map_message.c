/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/map_message.h"

#include <assert.h>

#include "proto/limits.h"
#include "proto/message_body.h"
#include "proto/scan.h"
#include "proto/utf8.h"

#define NS_DELAY SPAN("urn:xmpp:delay")

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A language tag that is safe in a header and in xml:lang (RFC 5646 §2.1); else SPAN_NONE. */
static struct span clean_language(struct span tag)
{
    tag = span_trim(tag);
    for (size_t i = 0; i < tag.size; i++) {
        if (!is_alphanumeric(tag.data[i]) && tag.data[i] != '-')
            return SPAN_NONE;
    }
    return tag.size > 0 && tag.size <= 35 ? tag : SPAN_NONE;
}

/* ---- XMPP → SIP ---- */

static enum map_result refuse(struct stanza_fault *fault, enum stanza_error error,
                              struct span type, struct span text, const struct jid *to)
{
    /* `by` says that the relay refused, not the far user (RFC 6120 §8.3.1). */
    *fault =
        (struct stanza_fault){.error = error, .type = type, .text = text, .by = to->domain};
    return MAP_FAULT;
}

/* The child `name` for the reader: in the language of the stanza or without one of its own,
   else the first. */
static const struct xml_node *choose(const struct xml_node *stanza, struct span name,
                                     struct span language)
{
    const struct xml_node *first = xml_node_child(stanza, stanza->space, name);
    for (const struct xml_node *child = first; child != NULL;
         child = xml_node_next_element(child)) {
        if (!xml_node_is(child, stanza->space, name))
            continue;
        struct span own = xml_node_lang(child);
        if (own.data == NULL || span_equal_nocase(own, language))
            return child;
    }
    return first;
}

/* MIME lines end with CRLF (RFC 2046 §4.1.1), whatever the stanza had. Runs between line ends
   are copied in one go. */
static struct span put_crlf(struct writer *writer, struct span text)
{
    size_t start = writer->used, run = 0;
    for (;;) {
        size_t end = scan_any(text, run, "\r\n");
        writer_put(writer, span_make(text.data + run, end - run));
        if (end == text.size)
            return writer_since(writer, start);
        writer_put_literal(writer, "\r\n");
        run = end + 1;
        if (text.data[end] == '\r' && run < text.size && text.data[run] == '\n')
            run++;
    }
}

static bool is_word_char(char c)
{
    return is_alphanumeric(c) || (c != '\0' && strchr("-.!%*_+`'~()<>:\\\"/[]?{}", c) != NULL);
}

/* Whether a thread can be the Call-ID itself: callid of RFC 3261 §25.1, and long enough or with
   a host so that it can pass for unique (§8.1.1.4). */
static bool is_call_id(struct span thread)
{
    size_t at = span_find(thread, '@');
    if (thread.size > SIP_CALL_ID_SIZE_MAX || at == 0 || at + 1 == thread.size)
        return false;
    for (size_t i = 0; i < thread.size; i++) {
        if (i != at && !is_word_char(thread.data[i]))
            return false;
    }
    return at < thread.size || thread.size >= 16;
}

/* Reads `count` digits at *text; -1 when there are not as many. */
static int take_number(struct span *text, size_t count)
{
    int value = 0;
    if (text->size < count)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(text->data[i]))
            return -1;
        value = value * 10 + (text->data[i] - '0');
    }
    *text = span_from(*text, count);
    return value;
}

struct moment {
    int year, month, day, hour, minute, second;
};

/* CCYY-MM-DDThh:mm:ss[.sss]Z (XEP-0082; XEP-0203 §3 wants UTC). */
static bool read_stamp(struct span text, struct moment *moment)
{
    static const struct {
        size_t digits;
        char behind;
        int low, high;
    } fields[6] = {{4, '-', 1970, 9999}, {2, '-', 1, 12}, {2, 'T', 1, 31},
                   {2, ':', 0, 23},      {2, ':', 0, 59}, {2, '\0', 0, 60}};
    int values[6];
    for (size_t i = 0; i < 6; i++) {
        values[i] = take_number(&text, fields[i].digits);
        if (values[i] < fields[i].low || values[i] > fields[i].high)
            return false;
        if (fields[i].behind == '\0')
            break;
        if (text.size == 0 || text.data[0] != fields[i].behind)
            return false;
        text = span_from(text, 1);
    }
    if (text.size > 0 && text.data[0] == '.') {
        text = span_from(text, 1);
        while (text.size > 0 && is_digit(text.data[0]))
            text = span_from(text, 1);
    }
    *moment = (struct moment){values[0], values[1], values[2], values[3], values[4], values[5]};
    return span_equal(text, SPAN("Z"));
}

/* 0 for Sunday; Sakamoto's method, for the Gregorian calendar. */
static int day_of_week(const struct moment *moment)
{
    static const int offsets[12] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
    int year = moment->year - (moment->month < 3 ? 1 : 0);
    return (year + year / 4 - year / 100 + year / 400 + offsets[moment->month - 1] +
            moment->day) %
           7;
}

static void put_two(struct writer *writer, int value)
{
    writer_put_char(writer, (char)('0' + value / 10 % 10));
    writer_put_char(writer, (char)('0' + value % 10));
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 3261 §20.17) from a <delay/>; empty without one. */
static struct span put_date(const struct xml_node *stanza, struct writer *writer)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const struct xml_node *delay = xml_node_child(stanza, NS_DELAY, SPAN("delay"));
    struct moment moment;
    if (delay == NULL || !read_stamp(xml_node_attribute(delay, SPAN("stamp")), &moment))
        return SPAN_NONE;
    size_t start = writer->used;
    writer_put(writer, span_make(days + 3 * day_of_week(&moment), 3));
    writer_put_literal(writer, ", ");
    put_two(writer, moment.day);
    writer_put_char(writer, ' ');
    writer_put(writer, span_make(months + 3 * (moment.month - 1), 3));
    writer_put_char(writer, ' ');
    writer_put_uint(writer, (uint64_t)moment.year);
    writer_put_char(writer, ' ');
    put_two(writer, moment.hour);
    writer_put_char(writer, ':');
    put_two(writer, moment.minute);
    writer_put_char(writer, ':');
    put_two(writer, moment.second);
    writer_put_literal(writer, " GMT");
    return writer_since(writer, start);
}

/* Both URIs. A legal JID may have no SIP form; then no such SIP user can exist. */
static enum map_result put_addresses(const struct jid *from, const struct jid *to,
                                     struct writer *memory, struct sip_draft *draft,
                                     struct stanza_fault *fault)
{
    size_t start = memory->used;
    if (address_to_sip(memory, to, false) != ADDRESS_OK)
        return refuse(fault, STANZA_ERROR_ITEM_NOT_FOUND, SPAN_NONE,
                      SPAN("The recipient's address has no SIP form."), to);
    draft->request_uri = writer_since(memory, start);
    start = memory->used;
    if (address_to_sip(memory, from, true) != ADDRESS_OK)
        return refuse(fault, STANZA_ERROR_JID_MALFORMED, SPAN_NONE,
                      SPAN("The sender's address has no SIP form."), to);
    draft->from_uri = writer_since(memory, start);
    if (draft->request_uri.size > SIP_URI_SIZE_MAX || draft->from_uri.size > SIP_URI_SIZE_MAX)
        return refuse(fault, STANZA_ERROR_JID_MALFORMED, SPAN_NONE,
                      SPAN("An address is too long for SIP."), to);
    return MAP_OK;
}

/* A thread is compared and hashed only: this much tells two apart, and it must fit a parcel
   beside the text. Longer than any that can be a Call-ID itself. */
#define THREAD_SIZE_MAX 512
_Static_assert(THREAD_SIZE_MAX > SIP_CALL_ID_SIZE_MAX, "a cut thread is no Call-ID");

#define QUOTE(x)      #x
#define TO_TEXT(x)    QUOTE(x)
#define TOO_LONG_TEXT "The text is longer than " TO_TEXT(TEXT_SIZE_MAX) " bytes."

/* The stanza's memory is gone before another thread reads the draft: what it keeps is copied.
 */
static struct span keep(struct writer *memory, struct span text)
{
    size_t start = memory->used;
    if (text.size == 0)
        return SPAN_NONE;
    writer_put(memory, text);
    return writer_since(memory, start);
}

/* RFC 7572 §4. */
static enum map_result put_content(const struct xml_node *stanza, struct span language,
                                   struct span text, struct writer *memory,
                                   struct sip_draft *draft)
{
    if (text.size > TEXT_SIZE_MAX)
        return MAP_FAULT;
    draft->content_type = SPAN("text/plain;charset=UTF-8");
    draft->body = put_crlf(memory, text);
    const struct xml_node *subject = choose(stanza, SPAN("subject"), language);
    size_t start = memory->used;
    if (subject != NULL)
        sip_header_text(memory, xml_node_text(subject), SIP_SUBJECT_SIZE_MAX);
    draft->subject = span_trim(writer_since(memory, start));
    draft->date = put_date(stanza, memory);
    const struct xml_node *thread = xml_node_child(stanza, stanza->space, SPAN("thread"));
    if (thread != NULL)
        draft->thread = keep(memory, span_to(xml_node_text(thread), THREAD_SIZE_MAX));
    if (is_call_id(draft->thread))
        draft->call_id = draft->thread;
    return memory->overflow || draft->body.size > TEXT_SIZE_MAX ? MAP_FAULT : MAP_OK;
}

static struct span language_of(const struct xml_node *stanza, struct span stream_lang)
{
    struct span language = xml_node_lang(stanza);
    return language.data != NULL ? language : stream_lang;
}

bool map_message_has_text(const struct xml_node *stanza, struct span stream_lang)
{
    const struct xml_node *body =
        choose(stanza, SPAN("body"), language_of(stanza, stream_lang));
    return body != NULL && xml_node_text(body).size > 0;
}

enum map_result map_message_to_sip(const struct xml_node *stanza, const struct jid *from,
                                   const struct jid *to, struct span stream_lang,
                                   struct writer *memory, struct sip_draft *draft,
                                   struct stanza_fault *fault)
{
    assert(from->domain.size > 0);
    assert(to->domain.size > 0);
    *draft = (struct sip_draft){.request_uri = SPAN_NONE};
    struct span type = xml_node_attribute(stanza, SPAN("type"));
    if (span_equal(type, SPAN("error")))
        return MAP_IGNORE; /* Never answered, never converted (RFC 6120 §8.3.1). */
    if (span_equal(type, SPAN("groupchat"))) /* RFC 6121 §8.5.2.1.1 */
        return refuse(fault, STANZA_ERROR_SERVICE_UNAVAILABLE, SPAN("cancel"), SPAN_NONE, to);

    struct span language = language_of(stanza, stream_lang);
    const struct xml_node *body = choose(stanza, SPAN("body"), language);
    struct span text = body != NULL ? xml_node_text(body) : SPAN_NONE;
    if (text.size == 0)
        return MAP_IGNORE;
    enum map_result result = put_addresses(from, to, memory, draft, fault);
    if (result != MAP_OK)
        return result;
    if (put_content(stanza, language, text, memory, draft) != MAP_OK)
        return refuse(fault, STANZA_ERROR_POLICY_VIOLATION, SPAN("modify"), SPAN(TOO_LONG_TEXT),
                      to);
    struct span own = xml_node_lang(body);
    draft->language = keep(memory, clean_language(own.data != NULL ? own : language));
    if (memory->overflow)
        return refuse(fault, STANZA_ERROR_POLICY_VIOLATION, SPAN("modify"), SPAN(TOO_LONG_TEXT),
                      to);
    return MAP_OK;
}

/* ---- SIP → XMPP ---- */

static struct sip_fault fault_of_body(enum body_result result)
{
    switch (result) {
    case BODY_MALFORMED: return (struct sip_fault){400, SPAN("Wrong Encoding"), SPAN_NONE};
    case BODY_TOO_LARGE: return (struct sip_fault){413, SPAN_NONE, SPAN_NONE};
    case BODY_UNSUPPORTED_TYPE: /* RFC 3261 §21.4.13 */
        return (struct sip_fault){415, SPAN_NONE, SPAN("Accept: " MESSAGE_BODY_ACCEPT "\r\n")};
    case BODY_UNSUPPORTED_ENCODING:
        return (struct sip_fault){415, SPAN_NONE, SPAN("Accept-Encoding: identity\r\n")};
    case BODY_TEXT:
    case BODY_NONE: break;
    }
    assert(false); /* a body without fault has no answer */
    return (struct sip_fault){500, SPAN_NONE, SPAN_NONE};
}

static void put_jid_attribute(struct writer *writer, struct span name, const struct jid *jid)
{
    char text[JID_SIZE_MAX];
    struct writer scratch = writer_make(text, sizeof(text));
    jid_write(&scratch, jid);
    assert(!scratch.overflow);
    writer_put_attribute(writer, name, writer_span(&scratch));
}

static void put_element(struct writer *writer, const char *name, struct span text)
{
    writer_put_char(writer, '<');
    writer_put(writer, span_of(name));
    writer_put_char(writer, '>');
    writer_put_xml_text(writer, text);
    writer_put_literal(writer, "</");
    writer_put(writer, span_of(name));
    writer_put_char(writer, '>');
}

/* Folds become single spaces (RFC 3261 §7.3.1). */
static struct span unfold(struct span text, struct writer *memory)
{
    size_t start = memory->used;
    if (span_find(text, '\n') == text.size)
        return text;
    sip_header_text(memory, text, text.size);
    return writer_since(memory, start);
}

enum map_result map_message_to_xmpp(const struct sip_message *request, const struct jid *from,
                                    const struct jid *to, struct span id,
                                    struct writer *scratch, struct writer *memory,
                                    struct xmpp_draft *draft, struct sip_fault *fault)
{
    assert(from->domain.size > 0);
    assert(to->domain.size > 0);
    *draft = (struct xmpp_draft){*from, *to, SPAN_NONE};
    const struct body_part part = {request->content_type, request->charset,
                                   request->content_encoding, request->body};
    struct message_body body = {SPAN_NONE, SPAN_NONE};
    enum body_result result = BODY_NONE;
    if (request->body.size > 0)
        result = message_body_read(&part, scratch, &body);
    if (result == BODY_NONE)
        return MAP_IGNORE;
    /* What the CPIM says is about this very message: it wins over the SIP header. */
    struct span subject = body.subject.size > 0 ? body.subject : request->subject;
    if (result == BODY_TEXT && !utf8_xml_legal(subject))
        result = BODY_MALFORMED;
    if (result != BODY_TEXT) {
        *fault = fault_of_body(result);
        return MAP_FAULT;
    }

    subject = unfold(subject, scratch);
    size_t start = memory->used;
    writer_put_literal(memory, "<message");
    put_jid_attribute(memory, SPAN("from"), from);
    put_jid_attribute(memory, SPAN("to"), to);
    if (id.size > 0)
        writer_put_attribute(memory, SPAN("id"), id);
    writer_put_attribute(memory, SPAN("xml:lang"), clean_language(request->content_language));
    writer_put_char(memory, '>'); /* no type: RFC 7572 §5 */
    if (subject.size > 0)
        put_element(memory, "subject", subject);
    put_element(memory, "body", body.text);
    if (request->call_id.size > 0 && utf8_xml_legal(request->call_id))
        put_element(memory, "thread", request->call_id);
    writer_put_literal(memory, "</message>");
    if (memory->overflow || scratch->overflow) {
        *fault = fault_of_body(BODY_TOO_LARGE);
        return MAP_FAULT;
    }
    draft->stanza = writer_since(memory, start);
    return MAP_OK;
}
