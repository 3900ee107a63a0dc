/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every allocation of a stream and of the SIP parser refused once: no crash and nothing left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/heap.h"
#include "proto/s2s_in.h"
#include "proto/sip_message.h"
#include "tests/unit/allocation.h"

static bool feed(struct xml_stream *xml, const char *text, struct xml_event *event)
{
    void *room = xml_stream_room(xml, strlen(text));
    if (room == NULL)
        return false;
    memcpy(room, text, strlen(text));
    xml_stream_commit(xml, strlen(text));
    return xml_stream_next(xml, event) != XML_EVENT_NONE && event->kind != XML_EVENT_ERROR;
}

#define HEADER                                                                                 \
    "<stream:stream xmlns='jabber:server' "                                                    \
    "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "       \
    "from='xmpp.example' to='sip.example' version='1.0'>"

static bool hosts(void *context, struct span local)
{
    (void)context;
    return span_equal(local, SPAN("sip.example"));
}

static unsigned any_pair(void *context, struct span local, struct span remote)
{
    (void)context;
    (void)local;
    (void)remote;
    return S2S_PROOF_TLS;
}

static bool not_certified(void *context, struct span remote)
{
    (void)context;
    (void)remote;
    return false;
}

/* A stream from its header to a pair that is verified and a stanza with a large tree. */
static void run_stream(void)
{
    static char stanza[9000];
    char memory[8192];
    const struct s2s_policy policy = {
        .hosts = hosts, .proofs = any_pair, .certified = not_certified};
    struct writer writer = writer_make(memory, sizeof(memory));
    struct s2s_action action;
    struct xml_event event;
    struct s2s_in in;
    size_t used = (size_t)snprintf(stanza, sizeof(stanza), "<message><body>");
    memset(stanza + used, 'x', 4000);
    (void)snprintf(stanza + used + 4000, sizeof(stanza) - used - 4000,
                   "</body><a b='c'><d/><e/></a></message>");
    struct xml_stream *xml = xml_stream_open(&heap_memory, NULL);
    if (xml == NULL)
        return;
    s2s_in_init(&in, &heap_memory, &policy, true);
    s2s_in_set_id(&in, SPAN("id"));
    if (feed(xml, HEADER, &event)) {
        s2s_in_event(&in, &event, &writer, &action);
        bool more = true;
        for (char name = 'a'; name < 'f' && more; name++) {
            char text[200];
            (void)snprintf(text, sizeof(text),
                           "<db:result from='%c.example' to='sip.example'>key</db:result>",
                           name);
            more = feed(xml, text, &event);
            if (more)
                s2s_in_event(&in, &event, &writer, &action);
        }
        if (more && feed(xml, stanza, &event))
            assert_int_equal(event.kind, XML_EVENT_STANZA);
        xml_stream_restart(xml);
        (void)feed(xml, HEADER, &event);
    }
    s2s_in_fini(&in);
    xml_stream_close(&xml);
}

static void test_stream(void **state)
{
    (void)state;
    long n = 0;
    bool more = true;
    while (more) {
        refuse(++n);
        run_stream();
        more = refuse_end();
        assert_true(n < STEPS_MAX);
    }
    assert_true(n > 10);
}

static void test_sip_parser(void **state)
{
    (void)state;
    static const char text[] =
        "MESSAGE sip:romeo@xmpp.example SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:a@sip.example>;tag=1\r\nTo: "
        "<sip:romeo@xmpp.example>\r\n"
        "Call-ID: c\r\nCSeq: 1 MESSAGE\r\nRequire: a, b\r\nRequire: c\r\nContent-Length: "
        "0\r\n\r\n";
    long n = 0;
    bool more = true;
    while (more) {
        struct sip_message message;
        struct span reason;
        int status = 0;
        refuse(++n);
        struct sip_parser *parser = sip_parser_open(&heap_memory);
        if (parser != NULL && sip_message_parse(parser, span_of(text), &message, &status,
                                                &reason) == SIP_PARSE_OK)
            assert_true(span_equal(message.call_id, SPAN("c")));
        more = refuse_end();
        if (parser != NULL)
            sip_parser_close(&parser);
        assert_true(n < STEPS_MAX);
    }
    assert_true(n > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_sip_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
