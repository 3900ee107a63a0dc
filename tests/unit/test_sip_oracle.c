/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Our reading of SIP messages beside sofia-sip's: messages with random headers about their
 * content, and the torture messages of RFC 4475 damaged at random. What both take must say the
 * same; what sofia-sip refuses of the frame or of what changes the meaning, we refuse too, but
 * for the differences that are listed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First: sofia-sip has macros of the same names. */
#include "core/heap.h"
#include "proto/sip_guard.h"
#include "proto/sip_message.h"

#include <sofia-sip/msg.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/msg_parser.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>

#define SEED 20261126u

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

struct tally {
    unsigned both, refused, only_ours;
};

static struct span unquote(const char *text)
{
    struct span value = span_of(text);
    if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
        return span_from(span_to(value, value.size - 1), 1);
    return value;
}

static void same(const char *what, struct span ours, struct span theirs, struct span message)
{
    if (span_equal(ours, theirs))
        return;
    fail_msg("%s: ours \"%.*s\", sofia-sip's \"%.*s\" in\n%.*s", what, (int)ours.size,
             ours.data, (int)theirs.size, theirs.data, (int)message.size, message.data);
}

static struct span first_of(const msg_param_t *items)
{
    return items != NULL && items[0] != NULL ? span_of(items[0]) : SPAN_NONE;
}

static void compare_require(const sip_t *sip, const struct sip_message *message)
{
    char text[4096];
    struct writer writer = writer_make(text, sizeof(text));
    const msg_param_t *items = sip->sip_require != NULL ? sip->sip_require->k_items : NULL;
    for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
        if (i > 0)
            writer_put_literal(&writer, ", ");
        writer_put(&writer, span_of(items[i]));
    }
    same("Require", message->require, writer_span(&writer), message->raw);
}

static void compare(const sip_t *sip, const struct sip_message *message)
{
    struct span raw = message->raw;
    const sip_content_type_t *type = sip->sip_content_type;
    same("type", message->content_type, type != NULL ? span_of(type->c_type) : SPAN_NONE, raw);
    if (type != NULL)
        same("charset", message->charset,
             unquote(msg_header_find_param(type->c_common, "charset")), raw);
    if (sip->sip_content_language != NULL)
        same("language", message->content_language,
             first_of(sip->sip_content_language->k_items), raw);
    if (sip->sip_content_encoding != NULL)
        same("encoding", message->content_encoding,
             first_of(sip->sip_content_encoding->k_items), raw);
    if (sip->sip_content_disposition != NULL)
        same("disposition", message->content_disposition,
             span_of(sip->sip_content_disposition->cd_type), raw);
    if (sip->sip_retry_after != NULL)
        assert_int_equal(message->retry_after, sip->sip_retry_after->af_delta);
    compare_require(sip, message);
    assert_int_equal(message->cseq, sip->sip_cseq->cs_seq);
    same("From tag", message->from_tag, span_of(sip->sip_from->a_tag), raw);
    same("To tag", message->to_tag, span_of(sip->sip_to->a_tag), raw);
}

/* True when sofia-sip takes the frame and what changes the meaning of the content. */
static bool oracle_accepts(const sip_t *sip, const struct sip_message *message)
{
    bool framed = (sip->sip_request == NULL) != (sip->sip_status == NULL) &&
                  sip->sip_via != NULL && sip->sip_from != NULL && sip->sip_to != NULL &&
                  sip->sip_call_id != NULL && sip->sip_cseq != NULL;
    bool lost = (message->content_type.size > 0 && sip->sip_content_type == NULL) ||
                (message->require.size > 0 && sip->sip_require == NULL) ||
                (message->content_encoding.size > 0 && sip->sip_content_encoding == NULL);
    return framed && !lost;
}

static bool check(struct span datagram, struct tally *tally)
{
    struct sip_guard guard;
    struct sip_message message;
    int status;
    struct span reason;
    if (sip_guard_datagram(datagram, &guard) != SIP_GUARD_OK)
        return false;
    struct span raw = span_to(span_from(datagram, guard.skipped), guard.size);
    struct sip_parser *parser = sip_parser_open(&heap_memory);
    assert_non_null(parser);
    enum sip_parse_result result = sip_message_parse(parser, raw, &message, &status, &reason);
    bool known = !message.is_request || message.method != SIP_METHOD_UNKNOWN;
    bool agreed = true;
    if (result == SIP_PARSE_OK && known) {
        msg_t *sofia = msg_make(sip_default_mclass(), 0, raw.data, (ssize_t)raw.size);
        assert_non_null(sofia);
        const sip_t *sip = sip_object(sofia);
        assert_non_null(sip);
        agreed = oracle_accepts(sip, &message);
        if (agreed)
            compare(sip, &message);
        msg_destroy(sofia);
        tally->both += agreed;
        tally->only_ours += !agreed;
    } else {
        tally->refused++;
    }
    sip_parser_close(&parser);
    return !agreed;
}

static const char *pick(uint32_t *random, const char *const *list, size_t count)
{
    return list[next_random(random) % count];
}
#define PICK(random, list) pick(random, list, sizeof(list) / sizeof((list)[0]))

static size_t make_message(char *out, size_t size, uint32_t *random)
{
    static const char *const lines[] = {
        "Content-Type: text/plain\r\n",
        "c: text/plain;charset=UTF-8\r\n",
        "Content-Type: text/plain ; charset = \"utf-8\" ; x=y\r\n",
        "Content-Type: message/cpim;a\r\n",
        "Content-Type: text / plain\r\n",
        "Content-Type: text\r\n /plain\r\n",
        "Content-Type: text\r\n",
        "Content-Type: ;\r\n",
        "Content-Type: text/plain;charset=\"a\\\"b\"\r\n",
        "Content-Type:\r\n",
        "Content-Type: text/plain;;x\r\n",
        "Content-Type: text/plain x\r\n",
        "Content-Language: en, de\r\n",
        "Content-Language: de\r\nContent-Language: en\r\n",
        "Content-Language: ,fr\r\n",
        "Content-Encoding: gzip\r\n",
        "e: identity, gzip\r\n",
        "Content-Encoding: a b\r\n",
        "Content-Disposition: render;handling=optional\r\n",
        "Content-Disposition: session ; a=b\r\n",
        "Retry-After: 30 (soon);duration=3\r\n",
        "Require: 100rel\r\n",
        "Require: a, b\r\nRequire: c\r\n",
        "Require: ,a,,b,\r\n",
        "Require:\r\n",
        "Require: a b\r\n",
        "Require: <x>\r\n",
        "Subject: x\r\n",
        "Expires: 10\r\n",
        "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n",
        "X-Any: \"<;,>\r\n"};
    static const char *const call_ids[] = {
        "a", "a@b", "a@b@c", "<a>(b)\"\\[]/?{}", "a b", "a,b", "a;b", "a=b", "a&b", "@b", "a@"};
    static const char *const froms[] = {
        "<sip:a@b.c>;tag=1",       "\"A \\\" B\" <sip:a@b.c>;tag=2;x=\"y;z\"",
        "sip:a@b.c;tag=3",         "A B <sips:a@b.c:99;lr>",
        "<sip:a@[::1]>;tag=\"q\"", "A, B <sip:a@b.c>;tag=4",
        "<tel:+1-2>;tag=5",        "<sip:a%40@b.c;p=1?h=2>;tag=6"};
    int used = snprintf(out, size,
                        "MESSAGE sip:bob@example.com SIP/2.0\r\n"
                        "Via: SIP/2.0/UDP h.example;branch=z9hG4bK%u;rport\r\n"
                        "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %u MESSAGE\r\n",
                        next_random(random), PICK(random, froms), PICK(random, froms),
                        next_random(random) % 4 ? "abc@example" : PICK(random, call_ids),
                        next_random(random) % 5);
    for (unsigned i = next_random(random) % 5; i > 0; i--)
        used += snprintf(out + used, size - (size_t)used, "%s", PICK(random, lines));
    used += snprintf(out + used, size - (size_t)used, "Content-Length: 2\r\n\r\nhi");
    assert_true((size_t)used < size);
    return (size_t)used;
}

static void random_messages(void **state)
{
    (void)state;
    static char text[4096];
    uint32_t random = SEED;
    struct tally tally = {0};
    for (unsigned round = 0; round < 20000; round++) {
        size_t size = make_message(text, sizeof(text), &random);
        if (check(span_make(text, size), &tally))
            fail_msg("seed %u round %u, sofia-sip refuses:\n%.*s", SEED, round, (int)size,
                     text);
    }
    print_message("%u agreed, %u refused\n", tally.both, tally.refused);
    assert_true(tally.both > 2000 && tally.refused > 2000);
}

/* Damaged at random: most are refused; where sofia-sip alone refuses, it is for one of the
   reasons that are harmless here, and seldom. */
static void damaged_torture(void **state)
{
    (void)state;
    static char text[65536], kept[65536];
    static const char palette[] = "\"<>,;: @=/()\\ax0\t\xc3";
    uint32_t random = SEED;
    struct tally tally = {0};
    DIR *folder = opendir(TEST_SOURCE_DIR "/tests/data/rfc4475");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[1024];
        if (strstr(entry->d_name, ".dat") == NULL)
            continue;
        (void)snprintf(path, sizeof(path), TEST_SOURCE_DIR "/tests/data/rfc4475/%s",
                       entry->d_name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        size_t size = fread(kept, 1, sizeof(kept), file);
        fclose(file);
        for (unsigned round = 0; round < 400; round++) {
            memcpy(text, kept, size);
            for (unsigned i = next_random(&random) % 3; i > 0; i--)
                text[next_random(&random) % size] =
                    palette[next_random(&random) % (sizeof(palette) - 1)];
            if (check(span_make(text, size), &tally) && getenv("ORACLE_SHOW") != NULL)
                print_message("---- only we take:\n%.*s\n", (int)size, text);
        }
    }
    closedir(folder);
    print_message("%u agreed, %u refused, %u only taken by us\n", tally.both, tally.refused,
                  tally.only_ours);
    assert_true(tally.both > 1000 && tally.refused > 1000);
    assert_true(tally.only_ours * 50 < tally.both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_messages),
        cmocka_unit_test(damaged_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
