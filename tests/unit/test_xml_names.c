/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Namespaces, with expat as the judge; and streams that share the readers of a pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <expat.h>

#include "tests/unit/xml_transcript.h"

/* Streams that share readers, in turns of a few bytes and resting after each: what one says is
   nothing to the other, however damaged it is. */
static void test_shared(void **state)
{
    (void)state;
    static const char sample[] = HEADER
        "<message a='1'><x xmlns='urn:x' xmlns:p='urn:p' p:y='&quot;'>a<p:z/></x></message> \n"
        "<iq/><db:result>k</db:result><p:a xmlns:p='urn:a'/></stream:stream>";
    static const char header[] = "<stream:stream xmlns:p='urn:other' xmlns='jabber:server' "
                                 "xmlns:stream='http://etherx.jabber.org/streams'>";
    static const char palette[] = "<>/'\"&;:xp \n";
    static char input[sizeof sample], alone[4096], shared[4096], quiet[8192];
    uint32_t seed = 20261126, random = seed;
    struct account account = {0, -1};
    struct memory memory = account_memory(&account);
    struct xml_pool *pool = xml_pool_open(&memory);
    assert_non_null(pool);
    struct xml_stream *other = xml_stream_open(&memory, pool);
    struct writer other_writer = writer_make(quiet, sizeof quiet);
    assert_true(feed(other, span_of(header), &other_writer));
    for (int round = 0; round < 3000; round++) {
        memcpy(input, sample, sizeof sample);
        for (size_t i = next_random(&random) % 3; i > 0; i--)
            input[next_random(&random) % (sizeof sample - 1)] =
                palette[next_random(&random) % (sizeof palette - 1)];
        size_t step = 1 + next_random(&random) % 40;
        transcribe(span_make(input, sizeof sample - 1), sizeof sample, alone, sizeof alone);
        struct writer writer = writer_make(shared, sizeof shared - 1);
        struct xml_stream *stream = xml_stream_open(&memory, pool);
        assert_non_null(stream);
        bool alive = true;
        for (size_t at = 0; alive && at < sizeof sample - 1; at += step) {
            struct span rest = span_make(input + at, sizeof sample - 1 - at);
            alive = feed(stream, span_to(rest, step), &writer);
            xml_stream_rest(stream);
            other_writer.used = 0;
            assert_true(feed(other, SPAN("<p:b/>"), &other_writer));
            xml_stream_rest(other);
            assert_true(span_equal(writer_span(&other_writer), SPAN("{urn:other}b\n")));
        }
        shared[writer.used] = '\0';
        if (strcmp(alone, shared) != 0)
            print_message("seed %u round %d step %zu: %s\n", seed, round, step, input);
        assert_string_equal(alone, shared);
        xml_stream_close(&stream);
    }
    assert_true(xml_stream_memory(other) < 1024);
    xml_stream_close(&other);
    xml_pool_close(&pool);
    assert_int_equal(account.blocks, 0);
}

/* ---- expat's own reading of namespaces, as a judge of ours ---- */

static void oracle_name(struct writer *writer, const char *text)
{
    const char *local = strrchr(text, '\n');
    if (local != NULL)
        put_space(writer, span_make(text, (size_t)(local - text)));
    writer_put(writer, span_of(local != NULL ? local + 1 : text));
}

static void oracle_start(void *data, const char *name, const char **pairs)
{
    struct writer *writer = data;
    writer_put_char(writer, '[');
    if (strchr(name, '\n') == NULL)
        put_space(writer, SPAN(""));
    oracle_name(writer, name);
    for (; pairs[0] != NULL; pairs += 2) {
        writer_put_char(writer, ' ');
        oracle_name(writer, pairs[0]);
        writer_put_char(writer, '=');
        writer_put(writer, span_of(pairs[1]));
    }
}

static void oracle_end(void *data, const char *name)
{
    (void)name;
    writer_put_char(data, ']');
}

/* The stanza as put_tree writes it, or nothing when expat refuses it. */
static struct span judge(struct span stanza, char *memory, size_t size)
{
    struct writer writer = writer_make(memory, size);
    XML_Parser parser = XML_ParserCreateNS("UTF-8", '\n');
    assert_int_equal(XML_Parse(parser, HEADER, sizeof(HEADER) - 1, 0), XML_STATUS_OK);
    XML_SetUserData(parser, &writer);
    XML_SetElementHandler(parser, oracle_start, oracle_end);
    enum XML_Status status = XML_Parse(parser, stanza.data, (int)stanza.size, 0);
    XML_ParserFree(parser);
    if (status != XML_STATUS_OK)
        return SPAN_NONE;
    /* Its outer brackets are not put by put_tree. */
    memory[writer.used - 1] = '\n';
    return span_from(writer_span(&writer), 1);
}

static void put_random(struct writer *writer, uint32_t *random, const char *const *list,
                       size_t count)
{
    writer_put(writer, span_of(list[next_random(random) % count]));
}

/* An element of random names with random declarations, and perhaps another in it. */
static void put_element(struct writer *writer, uint32_t *random, unsigned depth)
{
    static const char *const prefixes[] = {
        "",   "",   "",     "a:",     "b:",   "c:", "stream:",
        "a:", "b:", "xml:", "xmlns:", "a:b:", ":",  "a:1"};
    static const char *const bound[] = {
        "xmlns:a",     "xmlns:b", "xmlns:c", "xmlns",     "xmlns:a", "xmlns:xml",
        "xmlns:xmlns", "xmlns:",  "xmlns:1", "xmlns:a:b", "xmlns:b", "xmlnsx"};
    static const char *const uris[] = {"urn:a",
                                       "urn:b",
                                       "urn:a",
                                       "urn:a",
                                       "",
                                       NS_XML,
                                       "http://www.w3.org/2000/xmlns/",
                                       "urn:&amp;",
                                       "urn:b",
                                       "jabber:server"};
    char name[64];
    struct writer maker = writer_make(name, sizeof name);
    /* Rarely what is illegal: most documents must be read to their end. */
    bool wild = next_random(random) % 16 == 0;
    put_random(&maker, random, prefixes, wild ? 14 : 5);
    writer_put_literal(&maker, "x");
    writer_put_char(writer, '<');
    writer_put(writer, writer_span(&maker));
    for (unsigned i = next_random(random) % 3; i > 0; i--) {
        writer_put_char(writer, ' ');
        put_random(writer, random, bound, wild ? 12 : 5);
        writer_put_literal(writer, "='");
        put_random(writer, random, uris, wild ? 10 : 4);
        writer_put_literal(writer, "'");
    }
    for (unsigned i = next_random(random) % 3; i > 0; i--) {
        writer_put_char(writer, ' ');
        put_random(writer, random, prefixes, wild ? 14 : 5);
        writer_put_char(writer, next_random(random) % 2 ? 'y' : 'z');
        writer_put_literal(writer, "='1'");
    }
    writer_put_char(writer, '>');
    for (unsigned i = 0; depth < 4 && i < next_random(random) % 3; i++)
        put_element(writer, random, depth + 1);
    writer_put_literal(writer, "</");
    writer_put(writer, writer_span(&maker));
    writer_put_char(writer, '>');
}

static void test_namespace_oracle(void **state)
{
    (void)state;
    static char stanza[65536], ours[65536], theirs[65536];
    uint32_t seed = 26112026, random = seed;
    unsigned accepted = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        struct writer maker = writer_make(stanza, sizeof stanza - 1);
        writer_put_literal(&maker, "<q xmlns:a='urn:q' xmlns:b='urn:b'>");
        put_element(&maker, &random, 0);
        writer_put_literal(&maker, "</q>");
        stanza[maker.used] = '\0';
        struct span verdict = judge(writer_span(&maker), theirs, sizeof theirs);
        struct account account = {0, -1};
        struct memory memory;
        struct xml_stream *stream = open_stream(&account, &memory);
        struct writer writer = writer_make(ours, sizeof ours);
        assert_true(feed(stream, SPAN(HEADER), &writer));
        xml_stream_set_stanza_size_max(stream, STANZA_SIZE_MAX);
        writer.used = 0;
        (void)feed(stream, writer_span(&maker), &writer);
        struct span said = writer_span(&writer);
        bool same = verdict.data != NULL ? span_equal(said, verdict)
                                         : span_equal(said, SPAN("not-well-formed\n"));
        /* One that is legal, and not on a stream. */
        same |= span_equal(said, SPAN("unsupported-stanza-type\n"));
        if (!same)
            print_message("seed %u round %d: %s\nours %.*stheirs %.*s\n", seed, round, stanza,
                          (int)said.size, said.data, (int)verdict.size, verdict.data);
        assert_true(same);
        accepted += verdict.data != NULL;
        refused += verdict.data == NULL;
        xml_stream_close(&stream);
        assert_int_equal(account.blocks, 0);
    }
    assert_true(accepted > 1000 && refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_namespace_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
