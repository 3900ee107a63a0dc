/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/sm.h"

#include <assert.h>

#include "proto/xml_stream.h"

/* xs:unsignedInt; false when it is none. */
static bool read_number(struct span text, uint32_t *out)
{
    uint64_t value = 0;
    text = span_trim(text);
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
        if (value > UINT32_MAX)
            return false;
    }
    *out = (uint32_t)value;
    return true;
}

static bool read_boolean(struct span text)
{
    return span_equal(text, SPAN("true")) || span_equal(text, SPAN("1"));
}

static enum sm_kind find_kind(struct span name)
{
    static const struct span names[] = {
        [SM_ENABLE] = SPAN("enable"), [SM_ENABLED] = SPAN("enabled"),
        [SM_REQUEST] = SPAN("r"),     [SM_ANSWER] = SPAN("a"),
        [SM_RESUME] = SPAN("resume"), [SM_RESUMED] = SPAN("resumed"),
        [SM_FAILED] = SPAN("failed")};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (span_equal(names[i], name))
            return (enum sm_kind)i;
    return SM_UNKNOWN;
}

struct sm_element sm_read(const struct xml_node *node)
{
    struct sm_element element = {.kind = find_kind(node->name)};
    struct span h = xml_node_attribute(node, SPAN("h"));
    element.has_h = read_number(h, &element.h);
    element.resume = read_boolean(xml_node_attribute(node, SPAN("resume")));
    bool is_resumption = element.kind == SM_RESUME || element.kind == SM_RESUMED;
    element.id = xml_node_attribute(node, is_resumption ? SPAN("previd") : SPAN("id"));
    (void)read_number(xml_node_attribute(node, SPAN("max")), &element.max_s);
    if ((element.kind == SM_ANSWER && !element.has_h) ||
        (is_resumption && (!element.has_h || element.id.size == 0)))
        element.kind = SM_BROKEN;
    return element;
}

static void put_number(struct writer *writer, struct span name, uint32_t value)
{
    writer_put_char(writer, ' ');
    writer_put(writer, name);
    writer_put_literal(writer, "='");
    writer_put_uint(writer, value);
    writer_put_char(writer, '\'');
}

void sm_write_enable(struct writer *writer, bool resume)
{
    writer_put_literal(writer, "<enable xmlns='" NS_SM "'");
    if (resume)
        writer_put_literal(writer, " resume='true'");
    writer_put_literal(writer, "/>");
}

void sm_write_enabled(struct writer *writer, struct span id, uint32_t max_s)
{
    writer_put_literal(writer, "<enabled xmlns='" NS_SM "'");
    if (id.size > 0) {
        writer_put_attribute(writer, SPAN("id"), id);
        writer_put_literal(writer, " resume='true'");
        put_number(writer, SPAN("max"), max_s);
    }
    writer_put_literal(writer, "/>");
}

void sm_write_request(struct writer *writer)
{
    writer_put_literal(writer, "<r xmlns='" NS_SM "'/>");
}

void sm_write_answer(struct writer *writer, uint32_t h)
{
    writer_put_literal(writer, "<a xmlns='" NS_SM "'");
    put_number(writer, SPAN("h"), h);
    writer_put_literal(writer, "/>");
}

static void write_resumption(struct writer *writer, struct span name, struct span previous,
                             uint32_t h)
{
    writer_put_char(writer, '<');
    writer_put(writer, name);
    writer_put_literal(writer, " xmlns='" NS_SM "'");
    put_number(writer, SPAN("h"), h);
    writer_put_attribute(writer, SPAN("previd"), previous);
    writer_put_literal(writer, "/>");
}

void sm_write_resume(struct writer *writer, struct span previous, uint32_t h)
{
    write_resumption(writer, SPAN("resume"), previous, h);
}

void sm_write_resumed(struct writer *writer, struct span previous, uint32_t h)
{
    write_resumption(writer, SPAN("resumed"), previous, h);
}

void sm_write_failed(struct writer *writer, enum stanza_error error)
{
    writer_put_literal(writer, "<failed xmlns='" NS_SM "'><");
    writer_put(writer, stanza_error_name(error));
    writer_put_literal(writer, " xmlns='" NS_STANZAS "'/></failed>");
}

void sm_write_too_high(struct writer *writer, uint32_t h, uint32_t sent)
{
    writer_put_literal(writer, "<handled-count-too-high xmlns='" NS_SM "'");
    put_number(writer, SPAN("h"), h);
    put_number(writer, SPAN("send-count"), sent);
    writer_put_literal(writer, "/>");
}

bool sm_acknowledge(struct sm_sender *sender, uint32_t h)
{
    if (h - sender->acked > sm_unacked(sender))
        return false;
    sender->acked = h;
    return true;
}

static uint64_t bit_of(uint32_t number)
{
    return 1ull << (number % 64);
}

static uint64_t *word_of(struct sm_receiver *receiver, uint32_t number)
{
    return &receiver->settled[number % SM_WINDOW / 64];
}

uint32_t sm_receive(struct sm_receiver *receiver)
{
    assert(sm_has_room(receiver));
    return receiver->received++;
}

void sm_settle(struct sm_receiver *receiver, uint32_t number)
{
    assert(number - receiver->handled < sm_open(receiver));
    assert((*word_of(receiver, number) & bit_of(number)) == 0);
    *word_of(receiver, number) |= bit_of(number);
    while ((*word_of(receiver, receiver->handled) & bit_of(receiver->handled)) != 0) {
        *word_of(receiver, receiver->handled) &= ~bit_of(receiver->handled);
        receiver->handled++;
    }
}
