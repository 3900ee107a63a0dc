/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The IQs that the gateway answers: RFC 6120 §8.2.3, XEP-0030, 0092, 0157, 0199 and 0202. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/service_iq.h"

static const struct service_identity identity = {
    .name = SPAN("Passerelle"), .version = SPAN("1<2"),
    .abuse = SPAN("mailto:abuse@x.example xmpp:abuse@x.example")};
static const struct jid romeo = {SPAN("romeo"), SPAN("example.net"), SPAN("orchard")};
static const struct jid domain = {SPAN(""), SPAN("example.com"), SPAN("")};
static const struct jid user = {SPAN("juliet"), SPAN("example.com"), SPAN("")};

/* An <iq/> with up to one payload, built by hand. */
struct request {
    struct xml_node iq, payload, second;
    struct xml_attribute type, id, node;
};

static void build(struct request *request, struct span type, struct span space,
                  struct span name)
{
    *request = (struct request){.type = {.name = SPAN("type"), .value = type}};
    request->id = (struct xml_attribute){.name = SPAN("id"), .value = SPAN("i1")};
    request->type.next = &request->id;
    request->payload = (struct xml_node){.space = space, .name = name};
    request->second = request->payload;
    request->iq = (struct xml_node){.space = SPAN("jabber:server"), .name = SPAN("iq"),
                                    .attributes = &request->type,
                                    .first_child = &request->payload,
                                    .last_child = &request->payload};
}

static char answer_text[4096];

static struct span answer(const struct request *request, const struct jid *to)
{
    struct writer writer = writer_make(answer_text, sizeof(answer_text));
    service_iq_answer(&writer, &request->iq, &romeo, to, &identity,
                      SPAN("2026-01-02T03:04:05Z"));
    assert_false(writer.overflow);
    return writer_span(&writer);
}

static void assert_span(struct span got, const char *wanted)
{
    if (!span_equal(got, span_of(wanted)))
        fail_msg("got \"%.*s\", wanted \"%s\"", (int)got.size, got.data, wanted);
}

static void assert_holds(struct span got, const char *part)
{
    if (got.size == 0 || memmem(got.data, got.size, part, strlen(part)) == NULL)
        fail_msg("\"%.*s\" lacks \"%s\"", (int)got.size, got.data, part);
}

#define RESULT "<iq type='result' id='i1' from='example.com' to='romeo@example.net/orchard'>"

static void known_requests_get_results(void **state)
{
    (void)state;
    struct request request;
    build(&request, SPAN("get"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    assert_span(answer(&request, &domain), RESULT "</iq>");
    build(&request, SPAN("get"), SPAN("jabber:iq:version"), SPAN("query"));
    assert_span(answer(&request, &domain),
                RESULT "<query xmlns='jabber:iq:version'><name>Passerelle</name>"
                       "<version>1&lt;2</version></query></iq>");
    build(&request, SPAN("get"), SPAN("urn:xmpp:time"), SPAN("time"));
    assert_span(answer(&request, &domain),
                RESULT "<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo>"
                       "<utc>2026-01-02T03:04:05Z</utc></time></iq>");
    build(&request, SPAN("get"), SPAN("http://jabber.org/protocol/disco#info"), SPAN("query"));
    struct span info = answer(&request, &domain);
    assert_holds(info, "<identity category='gateway' type='simple' name='Passerelle'/>");
    assert_holds(info, "<feature var='urn:xmpp:ping'/>");
    assert_holds(info, "http://jabber.org/network/serverinfo");
    assert_holds(info, "var='abuse-addresses'><value>mailto:abuse@x.example</value>"
                       "<value>xmpp:abuse@x.example</value></field>");
    assert_null(memmem(info.data, info.size, "admin-addresses", 15));
}

static void unknown_requests_get_errors(void **state)
{
    (void)state;
    struct request request;
    build(&request, SPAN("get"), SPAN("vcard-temp"), SPAN("vCard"));
    assert_holds(answer(&request, &domain), "<service-unavailable");
    assert_holds(answer(&request, &domain), "id='i1'");
    build(&request, SPAN("set"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    assert_holds(answer(&request, &domain), "<service-unavailable");
    build(&request, SPAN("get"), SPAN("http://jabber.org/protocol/disco#info"), SPAN("query"));
    request.node = (struct xml_attribute){.name = SPAN("node"), .value = SPAN("n")};
    request.payload.attributes = &request.node;
    assert_holds(answer(&request, &domain), "<item-not-found");
}

static void broken_requests_are_bad(void **state)
{
    (void)state;
    struct request request;
    build(&request, SPAN("fetch"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    assert_holds(answer(&request, &domain), "<bad-request");
    build(&request, SPAN("get"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    request.type.next = NULL;
    assert_holds(answer(&request, &domain), "<bad-request");
    build(&request, SPAN("get"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    request.iq.first_child = request.iq.last_child = NULL;
    assert_holds(answer(&request, &domain), "<bad-request");
    build(&request, SPAN("get"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    request.payload.next = request.iq.last_child = &request.second;
    assert_holds(answer(&request, &domain), "<bad-request");
}

static void answers_are_never_answered(void **state)
{
    (void)state;
    struct request request;
    build(&request, SPAN("result"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    assert_int_equal(answer(&request, &domain).size, 0);
    build(&request, SPAN("error"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    assert_int_equal(answer(&request, &domain).size, 0);
}

static void users_leak_nothing(void **state)
{
    (void)state;
    struct request request;
    build(&request, SPAN("get"), SPAN("http://jabber.org/protocol/disco#info"), SPAN("query"));
    assert_holds(answer(&request, &user), "<service-unavailable");
    assert_holds(answer(&request, &user), "from='juliet@example.com'");
    build(&request, SPAN("get"), SPAN("urn:xmpp:ping"), SPAN("ping"));
    assert_holds(answer(&request, &user), "<service-unavailable");
    build(&request, SPAN("get"), SPAN("http://jabber.org/protocol/disco#items"), SPAN("query"));
    assert_holds(answer(&request, &user),
                 "<query xmlns='http://jabber.org/protocol/disco#items'/></iq>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_requests_get_results),
        cmocka_unit_test(unknown_requests_get_errors),
        cmocka_unit_test(broken_requests_are_bad),
        cmocka_unit_test(answers_are_never_answered),
        cmocka_unit_test(users_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
