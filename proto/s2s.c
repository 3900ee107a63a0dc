/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/s2s.h"

#include "proto/jid.h"

bool s2s_domain_read(struct s2s_domain *domain, struct span text)
{
    char memory[JID_SIZE_MAX];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct span prepared;
    domain->size = 0;
    domain->text[0] = '\0';
    if (text.size == 0 || jid_prepare_domain(text, &writer, &prepared) != JID_OK ||
        prepared.size > DOMAIN_SIZE_MAX)
        return false;
    memcpy(domain->text, prepared.data, prepared.size);
    domain->text[prepared.size] = '\0';
    domain->size = prepared.size;
    return true;
}

void s2s_write_header(struct writer *writer, struct span from, struct span to, struct span id)
{
    writer_put_literal(writer, "<?xml version='1.0'?><stream:stream xmlns='" NS_SERVER
                               "' xmlns:stream='" NS_STREAMS "' xmlns:db='" NS_DIALBACK "'");
    if (id.size > 0)
        writer_put_attribute(writer, SPAN("id"), id);
    writer_put_attribute(writer, SPAN("from"), from);
    if (to.size > 0)
        writer_put_attribute(writer, SPAN("to"), to);
    writer_put_literal(writer, " version='1.0' xml:lang='en'>");
}

static void write_addresses(struct writer *writer, const struct s2s_action *pair)
{
    writer_put_attribute(writer, SPAN("from"), pair->local);
    writer_put_attribute(writer, SPAN("to"), pair->remote);
    if (pair->id.size > 0)
        writer_put_attribute(writer, SPAN("id"), pair->id);
}

static void write_verdict(struct writer *writer, const struct s2s_action *pair,
                          struct span name)
{
    struct stanza_fault fault = {pair->fault, SPAN("cancel"), SPAN_NONE, SPAN_NONE, SPAN_NONE};
    switch (pair->verdict) {
    case S2S_VALID: writer_put_literal(writer, " type='valid'/>"); return;
    case S2S_INVALID: writer_put_literal(writer, " type='invalid'/>"); return;
    case S2S_ERROR: break;
    }
    writer_put_literal(writer, " type='error'>");
    stanza_error_write(writer, &fault);
    writer_put_literal(writer, "</db:");
    writer_put(writer, name);
    writer_put_char(writer, '>');
}

void s2s_write_result(struct writer *writer, const struct s2s_action *pair)
{
    struct s2s_action without = *pair;
    without.id = SPAN_NONE;
    writer_put_literal(writer, "<db:result");
    write_addresses(writer, &without);
    write_verdict(writer, pair, SPAN("result"));
}

void s2s_write_verify(struct writer *writer, const struct s2s_action *pair)
{
    writer_put_literal(writer, "<db:verify");
    write_addresses(writer, pair);
    writer_put_char(writer, '>');
    writer_put_xml_text(writer, pair->key);
    writer_put_literal(writer, "</db:verify>");
}

void s2s_write_verified(struct writer *writer, const struct s2s_action *pair)
{
    writer_put_literal(writer, "<db:verify");
    write_addresses(writer, pair);
    write_verdict(writer, pair, SPAN("verify"));
}

bool s2s_read_verdict(const struct xml_node *node, struct s2s_action *action)
{
    struct span type = xml_node_attribute(node, SPAN("type"));
    action->fault = STANZA_ERROR_NONE;
    if (span_equal(type, SPAN("valid"))) {
        action->verdict = S2S_VALID;
    } else if (span_equal(type, SPAN("invalid"))) {
        action->verdict = S2S_INVALID;
        action->fault = STANZA_ERROR_FORBIDDEN;
    } else if (span_equal(type, SPAN("error"))) {
        action->verdict = S2S_ERROR;
        action->fault = stanza_error_read(node).error;
    } else {
        return false;
    }
    return true;
}

void s2s_close(struct s2s_action *action, enum stream_error error, struct span text)
{
    *action = (struct s2s_action){.kind = S2S_CLOSE, .error = error, .text = text};
}

void s2s_write_end(struct writer *writer, enum stream_error error, struct span text,
                   const struct s2s_detail *detail)
{
    char memory[160];
    struct writer application = writer_make(memory, sizeof(memory));
    if (error == STREAM_ERROR_NONE) {
        writer_put_literal(writer, "</stream:stream>");
        return;
    }
    switch (detail->kind) {
    case S2S_DETAIL_NONE: break;
    case S2S_DETAIL_HANDLED_TOO_HIGH:
        sm_write_too_high(&application, detail->h, detail->sent);
        break;
    case S2S_DETAIL_STANZA_TOO_BIG:
        writer_put_literal(&application, "<stanza-too-big xmlns='urn:xmpp:errors'/>");
        break;
    }
    stream_error_write(writer, error, text, writer_span(&application));
}

void s2s_close_broken(struct s2s_action *action, struct s2s_detail *detail,
                      const struct xml_event *event)
{
    if (event->stanza_too_big)
        detail->kind = S2S_DETAIL_STANZA_TOO_BIG;
    s2s_close(action, event->error, event->detail);
}

void s2s_close_too_high(struct s2s_action *action, struct s2s_detail *detail, uint32_t h,
                        uint32_t sent)
{
    *detail = (struct s2s_detail){S2S_DETAIL_HANDLED_TOO_HIGH, h, sent};
    s2s_close(action, STREAM_ERROR_UNDEFINED_CONDITION,
              SPAN("you acknowledge more stanzas than were sent to you"));
}

bool s2s_is_stanza(const struct xml_node *node)
{
    return xml_node_is(node, SPAN(NS_SERVER), SPAN("message")) ||
           xml_node_is(node, SPAN(NS_SERVER), SPAN("iq")) ||
           xml_node_is(node, SPAN(NS_SERVER), SPAN("presence"));
}

void s2s_read_lang(char lang[S2S_LANG_SIZE], const struct xml_node *header)
{
    struct span tag = xml_node_lang(header);
    size_t size = tag.size < S2S_LANG_SIZE ? tag.size : 0;
    if (size > 0)
        memcpy(lang, tag.data, size);
    lang[size] = '\0';
}
