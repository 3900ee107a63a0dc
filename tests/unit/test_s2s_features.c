/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stream features say, read from the real parser and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/heap.h"
#include "proto/s2s_features.h"
#include "proto/xml_stream.h"

#define HEADER                                                                                 \
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "    \
    "version='1.0'>"
#define LIMITS "<limits xmlns='urn:xmpp:stream-limits:0'>"

static struct xml_stream *stream;

static struct s2s_features read_element(struct span element)
{
    char text[4096];
    struct s2s_features features;
    struct xml_event event;
    int size = snprintf(text, sizeof(text), HEADER "%.*s", (int)element.size, element.data);
    xml_stream_close(&stream);
    stream = xml_stream_open(&heap_memory, NULL);
    assert_non_null(stream);
    memcpy(xml_stream_room(stream, (size_t)size), text, (size_t)size);
    xml_stream_commit(stream, (size_t)size);
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_OPEN);
    assert_int_equal(xml_stream_next(stream, &event), XML_EVENT_STANZA);
    s2s_features_read(&features, event.node);
    return features;
}

static struct s2s_features read_features(const char *inside)
{
    char text[2048];
    (void)snprintf(text, sizeof(text), "<stream:features>%s</stream:features>", inside);
    return read_element(span_of(text));
}

static void test_nothing(void **state)
{
    (void)state;
    struct s2s_features features = read_features("<starttls xmlns='other'/><x/>text");
    const struct s2s_features none = {.starttls = false};
    assert_memory_equal(&features, &none, sizeof(none));
}

static void test_everything(void **state)
{
    (void)state;
    struct s2s_features features = read_features(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism> "
        "EXTERNAL\n</mechanism>"
        "<mechanism>PLAIN</mechanism><other/></mechanisms>"
        "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
        "<sm xmlns='urn:xmpp:sm:3'/><bidi xmlns='urn:xmpp:features:bidi'/>" LIMITS
        "<max-bytes>262144</max-bytes><idle-seconds> 300 </idle-seconds></limits>");
    assert_true(features.starttls && features.starttls_required);
    assert_true(features.external && features.dialback && features.sm && features.bidi);
    assert_int_equal(features.mechanism_count, 2);
    assert_true(span_equal(features.mechanisms[0], SPAN("EXTERNAL")));
    assert_int_equal(features.max_bytes, 262144);
    assert_int_equal(features.idle_seconds, 300);
    features = read_features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
                             "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                             "<mechanism>PLAIN</mechanism></mechanisms>");
    assert_true(features.starttls && !features.starttls_required && !features.external);
}

/* What is kept is bounded, and EXTERNAL is found behind it. */
static void test_many_mechanisms(void **state)
{
    (void)state;
    char text[2048] = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>";
    for (unsigned i = 0; i < 20; i++)
        strcat(text, "<mechanism>X</mechanism>");
    strcat(text, "<mechanism>EXTERNAL</mechanism></mechanisms>");
    struct s2s_features features = read_features(text);
    assert_int_equal(features.mechanism_count, S2S_MECHANISM_MAX);
    assert_true(features.external);
}

static void test_wrong_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t number;
    } cases[] = {{"", 0},           {"-1", 0},          {"0x10", 0},
                 {"1e3", 0},        {"10 000", 0},      {"4294967295", 4294967295u},
                 {"4294967296", 0}, {"42949672950", 0}, {"99999999999999999999999", 0},
                 {"000010", 10}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[200];
        (void)snprintf(text, sizeof(text), LIMITS "<max-bytes>%s</max-bytes></limits>",
                       cases[i].text);
        assert_int_equal(read_features(text).max_bytes, cases[i].number);
    }
}

/* Every set of them comes back as it was written. */
static void test_written(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 1u << 7; set++) {
        char text[2048];
        struct writer writer = writer_make(text, sizeof(text));
        const struct s2s_features offer = {.starttls = (set & 3) != 0,
                                           .starttls_required = (set & 2) != 0,
                                           .external = (set & 4) != 0,
                                           .dialback = (set & 8) != 0,
                                           .sm = (set & 16) != 0,
                                           .max_bytes = (set & 32) != 0 ? 262144 : 0,
                                           .idle_seconds = (set & 64) != 0 ? UINT32_MAX : 0};
        s2s_features_write(&offer, &writer);
        assert_false(writer.overflow);
        struct s2s_features features = read_element(writer_span(&writer));
        assert_int_equal(features.starttls, offer.starttls);
        assert_int_equal(features.starttls_required, offer.starttls_required);
        assert_int_equal(features.external, offer.external);
        assert_int_equal(features.mechanism_count, offer.external ? 1 : 0);
        assert_int_equal(features.dialback, offer.dialback);
        assert_int_equal(features.sm, offer.sm);
        assert_int_equal(features.max_bytes, offer.max_bytes);
        assert_int_equal(features.idle_seconds, offer.idle_seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),         cmocka_unit_test(test_everything),
        cmocka_unit_test(test_many_mechanisms), cmocka_unit_test(test_wrong_numbers),
        cmocka_unit_test(test_written),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    xml_stream_close(&stream);
    return failed;
}
