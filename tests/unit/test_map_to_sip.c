/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages from XMPP to SIP (RFC 7572). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "map_scene.h"

/* A small stanza built by hand: elements with one text and at most two attributes each. */
#define NODES_MAX 8
struct tree {
    struct xml_node nodes[2 * NODES_MAX];
    struct xml_attribute attributes[2 * NODES_MAX];
    size_t node_count, attribute_count;
};

static void add_attribute(struct tree *tree, struct xml_node *node, const char *ns,
                          const char *name, const char *value)
{
    struct xml_attribute *attribute = &tree->attributes[tree->attribute_count++];
    *attribute = (struct xml_attribute){node->attributes, span_of(ns), span_of(name),
                                        span_of(value)};
    node->attributes = attribute;
}

static void tree_init(struct tree *tree, const char *type, const char *lang)
{
    memset(tree, 0, sizeof(*tree));
    struct xml_node *message = &tree->nodes[tree->node_count++];
    message->space = SPAN("jabber:server");
    message->name = SPAN("message");
    if (type != NULL)
        add_attribute(tree, message, "", "type", type);
    if (lang != NULL)
        add_attribute(tree, message, "http://www.w3.org/XML/1998/namespace", "lang", lang);
}

static struct xml_node *add_child(struct tree *tree, const char *name, const char *lang,
                                  struct span text)
{
    struct xml_node *message = &tree->nodes[0];
    struct xml_node *node = &tree->nodes[tree->node_count++];
    struct xml_node *run = &tree->nodes[tree->node_count++];
    node->space = SPAN("jabber:server");
    node->name = span_of(name);
    run->text = text;
    node->first_child = node->last_child = run;
    if (lang != NULL)
        add_attribute(tree, node, "http://www.w3.org/XML/1998/namespace", "lang", lang);
    if (message->last_child != NULL)
        message->last_child->next = node;
    else
        message->first_child = node;
    message->last_child = node;
    return node;
}

static struct sip_draft sip;
static struct stanza_fault stanza_fault;

static enum map_result to_sip(const struct tree *tree)
{
    struct writer memory = writer_make(space, sizeof(space));
    return map_message_to_sip(&tree->nodes[0], &romeo, &juliet, SPAN("fr"), &memory, &sip,
                              &stanza_fault);
}

static void whole_message_to_sip(void **state)
{
    (void)state;
    struct tree tree;
    tree_init(&tree, "chat", NULL);
    add_child(&tree, "subject", NULL, SPAN("A\nB\tC"));
    add_child(&tree, "body", NULL, SPAN("one\ntwo\r\nthree"));
    add_child(&tree, "thread", NULL, SPAN("e0ffe42b28561960c6b12b944a092794"));
    struct xml_node *delay = add_child(&tree, "delay", NULL, SPAN(""));
    delay->space = SPAN("urn:xmpp:delay");
    add_attribute(&tree, delay, "", "stamp", "1994-11-06T08:49:37.5Z");
    assert_int_equal(to_sip(&tree), MAP_OK);
    assert_span(sip.request_uri, "sip:juliet@example.com");
    assert_span(sip.from_uri, "sip:romeo@example.net;gr=orchard");
    assert_span(sip.subject, "A B C");
    assert_span(sip.body, "one\r\ntwo\r\nthree");
    assert_span(sip.content_type, "text/plain;charset=UTF-8");
    assert_span(sip.language, "fr");
    assert_span(sip.call_id, "e0ffe42b28561960c6b12b944a092794");
    assert_span(sip.thread, "e0ffe42b28561960c6b12b944a092794");
    assert_span(sip.date, "Sun, 06 Nov 1994 08:49:37 GMT");
}

static void body_is_chosen_by_language(void **state)
{
    (void)state;
    static const struct {
        const char *stanza, *second; /* languages; the first body has "en" */
        const char *body, *language;
    } rows[] = {{"de", "DE", "hallo", "DE"},
                {"de", NULL, "hallo", "de"},
                {"it", "de", "hello", "en"}};
    struct tree tree;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tree_init(&tree, NULL, rows[i].stanza);
        add_child(&tree, "body", "en", SPAN("hello"));
        add_child(&tree, "body", rows[i].second, SPAN("hallo"));
        assert_int_equal(to_sip(&tree), MAP_OK);
        assert_span(sip.body, rows[i].body);
        assert_span(sip.language, rows[i].language);
    }
    /* What is no language tag never gets into a header. */
    tree_init(&tree, NULL, "en\r\nEvil: x");
    add_child(&tree, "body", NULL, SPAN("hello"));
    assert_int_equal(to_sip(&tree), MAP_OK);
    assert_int_equal(sip.language.size, 0);
}

static void types_decide(void **state)
{
    (void)state;
    struct tree tree;
    static const char *const relayed[] = {NULL, "normal", "chat", "headline", "unheard-of"};
    for (size_t i = 0; i < sizeof(relayed) / sizeof(relayed[0]); i++) {
        tree_init(&tree, relayed[i], NULL);
        add_child(&tree, "body", NULL, SPAN("x"));
        assert_int_equal(to_sip(&tree), MAP_OK);
    }
    tree_init(&tree, "error", NULL);
    add_child(&tree, "body", NULL, SPAN("x"));
    assert_int_equal(to_sip(&tree), MAP_IGNORE);
    tree_init(&tree, "groupchat", NULL);
    add_child(&tree, "body", NULL, SPAN("x"));
    assert_int_equal(to_sip(&tree), MAP_FAULT);
    assert_int_equal(stanza_fault.error, STANZA_ERROR_SERVICE_UNAVAILABLE);
    assert_span(stanza_fault.type, "cancel");
    assert_span(stanza_fault.by, "example.com");
    tree_init(&tree, "chat", NULL);
    add_child(&tree, "subject", NULL, SPAN("x"));
    assert_int_equal(to_sip(&tree), MAP_IGNORE);
    add_child(&tree, "body", NULL, SPAN(""));
    assert_int_equal(to_sip(&tree), MAP_IGNORE);
}

static void long_texts_are_refused(void **state)
{
    (void)state;
    static char text[TEXT_SIZE_MAX + 1];
    memset(text, 'a', sizeof(text));
    struct tree tree;
    tree_init(&tree, NULL, NULL);
    add_child(&tree, "body", NULL, span_make(text, TEXT_SIZE_MAX));
    assert_int_equal(to_sip(&tree), MAP_OK);
    assert_int_equal(sip.body.size, TEXT_SIZE_MAX);
    tree.nodes[2].text.size = TEXT_SIZE_MAX + 1;
    assert_int_equal(to_sip(&tree), MAP_FAULT);
    assert_int_equal(stanza_fault.error, STANZA_ERROR_POLICY_VIOLATION);
    assert_span(stanza_fault.type, "modify");
    assert_non_null(memmem(stanza_fault.text.data, stanza_fault.text.size, "12000", 5));
    /* The line ends count as they are sent. */
    text[0] = '\n';
    tree.nodes[2].text.size = TEXT_SIZE_MAX;
    assert_int_equal(to_sip(&tree), MAP_FAULT);
}

static void threads_become_call_ids_when_they_can(void **state)
{
    (void)state;
    static const struct {
        const char *thread;
        bool usable;
    } cases[] = {
        {"a@b", true}, {"short", false}, {"0123456789abcdef", true}, {"0123456789abcde", false},
        {"0123456789 abcdef", false}, {"0123456789abcdef;x", false},
        {"@0123456789abcdef", false},
        {"0123456789abcdef@", false}, {"a@b@c", false}, {"0123456789abcdéf", false},
        {"a(b)<c>:\\\"/[d]?{e}@host", true}, {"0123456789abcdef\r\nEvil: x", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tree tree;
        tree_init(&tree, NULL, NULL);
        add_child(&tree, "body", NULL, SPAN("x"));
        add_child(&tree, "thread", NULL, span_of(cases[i].thread));
        assert_int_equal(to_sip(&tree), MAP_OK);
        assert_span(sip.thread, cases[i].thread);
        assert_span(sip.call_id, cases[i].usable ? cases[i].thread : "");
    }
    char text[SIP_CALL_ID_SIZE_MAX + 1];
    memset(text, 'a', sizeof(text));
    struct tree tree;
    tree_init(&tree, NULL, NULL);
    add_child(&tree, "body", NULL, SPAN("x"));
    add_child(&tree, "thread", NULL, span_make(text, sizeof(text) - 1));
    assert_int_equal(to_sip(&tree), MAP_OK);
    assert_int_equal(sip.call_id.size, SIP_CALL_ID_SIZE_MAX);
    tree.nodes[4].text.size++;
    assert_int_equal(to_sip(&tree), MAP_OK);
    assert_int_equal(sip.call_id.size, 0);
}

static void bad_stamps_give_no_date(void **state)
{
    (void)state;
    static const struct {
        const char *stamp, *date;
    } cases[] = {
        {"2024-02-29T00:00:00Z", "Thu, 29 Feb 2024 00:00:00 GMT"},
        {"2026-01-02T03:04:05Z", "Fri, 02 Jan 2026 03:04:05 GMT"},
        {"2026-01-02T03:04:05", ""}, {"2026-13-02T03:04:05Z", ""}, {"", ""},
        {"2026-01-02T03:04:05+01:00", ""}, {"2026-01-02 03:04:05Z", ""}, {"2026", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tree tree;
        tree_init(&tree, NULL, NULL);
        add_child(&tree, "body", NULL, SPAN("x"));
        struct xml_node *delay = add_child(&tree, "delay", NULL, SPAN(""));
        delay->space = SPAN("urn:xmpp:delay");
        add_attribute(&tree, delay, "", "stamp", cases[i].stamp);
        assert_int_equal(to_sip(&tree), MAP_OK);
        assert_span(sip.date, cases[i].date);
    }
}

static void assert_kept(struct span text, const char *wanted)
{
    assert_span(text, wanted);
    assert_true(text.data >= space && text.data + text.size <= space + sizeof(space));
}

/* Another thread reads the draft when the stanza's memory is gone. */
static void test_draft_outlives_stanza(void **state)
{
    (void)state;
    struct tree tree;
    struct stanza_fault fault;
    tree_init(&tree, "chat", "de");
    add_child(&tree, "subject", NULL, SPAN("topic"));
    add_child(&tree, "body", NULL, SPAN("text"));
    add_child(&tree, "thread", NULL, SPAN("0e3141cd80894871"));
    struct writer memory = writer_make(space, sizeof(space));
    assert_int_equal(map_message_to_sip(&tree.nodes[0], &romeo, &juliet, SPAN("en"), &memory,
                                        &sip, &fault),
                     MAP_OK);
    assert_kept(sip.language, "de");
    assert_kept(sip.thread, "0e3141cd80894871");
    assert_kept(sip.call_id, "0e3141cd80894871");
    assert_kept(sip.subject, "topic");
    assert_kept(sip.body, "text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draft_outlives_stanza),
        cmocka_unit_test(whole_message_to_sip),
        cmocka_unit_test(body_is_chosen_by_language),
        cmocka_unit_test(types_decide),
        cmocka_unit_test(long_texts_are_refused),
        cmocka_unit_test(threads_become_call_ids_when_they_can),
        cmocka_unit_test(bad_stamps_give_no_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
