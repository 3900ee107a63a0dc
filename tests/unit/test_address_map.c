/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The vectors of RFC 7247 §6 and XEP-0106, and the round trip of random localparts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "proto/address_map.h"

static void assert_span(struct span got, const char *wanted)
{
    if (!span_equal(got, span_of(wanted)))
        fail_msg("got \"%.*s\", wanted \"%s\"", (int)got.size, got.data, wanted);
}

/* The JID of `text`, in `memory`. */
static enum address_result jid_of(const char *text, struct writer *memory, struct jid *jid)
{
    struct sip_uri uri;
    if (!sip_uri_parse(span_of(text), &uri))
        return ADDRESS_MALFORMED;
    return address_to_jid(&uri, SPAN("phone.example"), memory, jid);
}

struct pair {
    const char *source, *target;
};

static const struct pair users_to_locals[] = {
    {"f%C3%BC", "fü"},
    {"o'malley", "o\\27malley"},
    {"a/b", "a\\2fb"},
    {"a%2Fb", "a\\2fb"},
    {"a%2fb", "a\\2fb"},
    {"a&b", "a\\26b"},
    {"%61lice", "alice"},
    {"Alice", "alice"},
    {"user%40host", "user\\40host"},
    {"a%3Ab", "a\\3ab"},
    {"a%20b", "a\\20b"},
    {"j%2540x", "j%40x"},
    {"%5C27", "\\5c27"},
    {"x%5c40y", "x\\5c40y"},
    {"sips%3Auser%40example.com", "sips\\3auser\\40example.com"},
    {"here%27s_a_wild_%26_%2Fcr%25zy%2F_address",
     "here\\27s_a_wild_\\26_\\2fcr%zy\\2f_address"},
    {"a;b", "a;b"},
    {"a?b=c", "a?b=c"},
    {"%22x%22", "\\22x\\22"},
};

static void users_become_locals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(users_to_locals) / sizeof(users_to_locals[0]); i++) {
        char text[256], space[4096];
        (void)snprintf(text, sizeof(text), "sip:%s@example.com", users_to_locals[i].source);
        struct writer memory = writer_make(space, sizeof(space));
        struct jid jid;
        assert_int_equal(jid_of(text, &memory, &jid), ADDRESS_OK);
        assert_span(jid.local, users_to_locals[i].target);
        assert_span(jid.domain, "example.com");
        assert_int_equal(jid.resource.size, 0);
    }
}

static void bad_users_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum address_result result;
    } cases[] = {
        {"sip:null-%00-null@example.com", ADDRESS_UNREPRESENTABLE},
        {"sip:a%7Fb@example.com", ADDRESS_UNREPRESENTABLE},
        {"sip:a%C2%85b@example.com", ADDRESS_UNREPRESENTABLE},
        {"sip:a%0D%0Ab@example.com", ADDRESS_UNREPRESENTABLE},
        {"sip:alice%FF@example.com", ADDRESS_MALFORMED},
        {"sip:%ED%A0%80@example.com", ADDRESS_MALFORMED},
        {"sip:%C0%AF@example.com", ADDRESS_MALFORMED},
        {"sip:a%4@example.com", ADDRESS_MALFORMED},
        {"sip:a%zz@example.com", ADDRESS_MALFORMED},
        {"sip:%20a@example.com", ADDRESS_UNREPRESENTABLE},
        {"sip:a%20@example.com", ADDRESS_UNREPRESENTABLE},
        {"sip:alice@exam%70le.com", ADDRESS_MALFORMED},
        {"sip:alice@192.0.2.1", ADDRESS_UNREPRESENTABLE},
        {"sip:alice@[2001:db8::1]", ADDRESS_UNREPRESENTABLE},
        {"sip:%E2%85%A3@example.com", ADDRESS_UNREPRESENTABLE}, /* U+2163, RFC 7622 §3.5 */
        {"mailto:alice@example.com", ADDRESS_UNSUPPORTED_SCHEME},
        {"tel:5551234;phone-context=example.com", ADDRESS_UNREPRESENTABLE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char space[4096];
        struct writer memory = writer_make(space, sizeof(space));
        struct jid jid;
        enum address_result result = jid_of(cases[i].text, &memory, &jid);
        if (result != cases[i].result)
            fail_msg("%s: %d, wanted %d", cases[i].text, (int)result, (int)cases[i].result);
    }
}

static void whole_uris_become_jids(void **state)
{
    (void)state;
    static const struct {
        const char *text, *jid;
    } cases[] = {
        {"sip:foo@example.com;gr=bar", "foo@example.com/bar"},
        {"sip:foo@example.com;gr=Home%20Office", "foo@example.com/Home Office"},
        {"sip:foo@example.com;gr=balcony%402;x=y", "foo@example.com/balcony@2"},
        {"sip:foo@example.com;gr", "foo@example.com"},
        {"sips:foo@example.com", "foo@example.com"},
        {"im:foo@example.com", "foo@example.com"},
        {"pres:foo@example.com", "foo@example.com"},
        {"sip:foo:secret@EXAMPLE.com:5070;transport=tcp?Subject=x", "foo@example.com"},
        {"sip:example.com", "example.com"},
        {"sip:foo@xn--bcher-kva.example", "foo@bücher.example"},
        {"tel:+358-555-1234567;postd=pp22", "+3585551234567@phone.example"},
        {"sip:+358-555-1234567@foo.com;user=phone", "+3585551234567@foo.com"},
        {"sip:user;par=u%40example.net@example.com", "user;par=u\\40example.net@example.com"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char space[4096], out[512];
        struct writer memory = writer_make(space, sizeof(space));
        struct writer writer = writer_make(out, sizeof(out));
        struct jid jid;
        assert_int_equal(jid_of(cases[i].text, &memory, &jid), ADDRESS_OK);
        jid_write(&writer, &jid);
        assert_span(writer_span(&writer), cases[i].jid);
    }
}

static const struct pair jids_to_uris[] = {
    {"m\\26m@example.com", "sip:m&m@example.com"},
    {"tschüss@example.com", "sip:tsch%C3%BCss@example.com"},
    {"o\\27malley@example.com", "sip:o'malley@example.com"},
    {"user\\40host@example.com", "sip:user%40host@example.com"},
    {"call\\20me\\20\\22ishmael\\22@x.example", "sip:call%20me%20%22ishmael%22@x.example"},
    {"c\\3a\\5c5commas@x.example", "sip:c%3A%5C5commas@x.example"},
    {"c\\3a\\net@x.example", "sip:c%3A%5Cnet@x.example"},
    {"foob\\41r@x.example", "sip:foob%5C41r@x.example"},
    {"\\5c27@x.example", "sip:%5C27@x.example"},
    {"100%@x.example", "sip:100%25@x.example"},
    {"a#b@x.example", "sip:a%23b@x.example"},
    {"a;b@x.example", "sip:a;b@x.example"},
    {"a?b=c@x.example", "sip:a?b=c@x.example"},
    {"first.last@x.example", "sip:first.last@x.example"},
    {"{x}|`^[y]@x.example", "sip:%7Bx%7D%7C%60%5E%5By%5D@x.example"},
    {"example.com", "sip:example.com"},
    {"example.com/res", "sip:example.com"},
    {"foo@bücher.example", "sip:foo@xn--bcher-kva.example"},
    {"baz@xmpp.example/qux", "sip:baz@xmpp.example;gr=qux"},
    {"baz@x.example/Home Office", "sip:baz@x.example;gr=Home%20Office"},
    {"baz@x.example/a;b=c", "sip:baz@x.example;gr=a%3Bb%3Dc"},
    {"baz@x.example/balcony@2", "sip:baz@x.example;gr=balcony%402"},
    {"baz@x.example/50%", "sip:baz@x.example;gr=50%25"},
    {"baz@x.example/x/y:z", "sip:baz@x.example;gr=x/y:z"},
    {"baz@x.example/ü", "sip:baz@x.example;gr=%C3%BC"},
};

static void jids_become_uris(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(jids_to_uris) / sizeof(jids_to_uris[0]); i++) {
        char space[4096], out[512];
        struct writer memory = writer_make(space, sizeof(space));
        struct writer writer = writer_make(out, sizeof(out));
        struct jid jid;
        assert_int_equal(jid_parse(span_of(jids_to_uris[i].source), &memory, &jid), JID_OK);
        assert_int_equal(address_to_sip(&writer, &jid, true), ADDRESS_OK);
        assert_span(writer_span(&writer), jids_to_uris[i].target);
    }
}

static void special_jids(void **state)
{
    (void)state;
    char out[512];
    struct writer writer = writer_make(out, sizeof(out));
    struct jid jid = {SPAN("a"), SPAN("x.example"), SPAN("r")};
    assert_int_equal(address_to_sip(&writer, &jid, false), ADDRESS_OK);
    assert_span(writer_span(&writer), "sip:a@x.example");
    /* A capital is no escape (only an unprepared JID can hold one). */
    writer = writer_make(out, sizeof(out));
    jid.local = SPAN("a\\2Fb");
    assert_int_equal(address_to_sip(&writer, &jid, false), ADDRESS_OK);
    assert_span(writer_span(&writer), "sip:a%5C2Fb@x.example");
    /* What would come back as another JID is refused, and so is what does not fit. */
    static const char *const refused[] = {"\\20a", "a\\20", "a\\5cb", "a\\5c"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        writer = writer_make(out, sizeof(out));
        jid.local = span_of(refused[i]);
        assert_int_equal(address_to_sip(&writer, &jid, false), ADDRESS_UNREPRESENTABLE);
    }
    writer = writer_make(out, 8);
    jid.local = SPAN("abcdef");
    assert_int_equal(address_to_sip(&writer, &jid, false), ADDRESS_UNREPRESENTABLE);
}

/* jid == map(map(jid)) for every prepared localpart that is not refused, and refused are only
   those that XEP-0106 §4.1 never generates. */
static void locals_come_back(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "a",     "z",     "0",     "5",     "c",     "\\",    "\\20",  "\\22", "\\26",
        "\\27",  "\\2f",  "\\3a",  "\\3c",  "\\3e",  "\\40",  "\\5c",  "%",    "#",
        "ü",     "π",     ".",     ";",     "?",     "=",     "[",     "20",   "40",
    };
    const char *wanted = getenv("TEST_SEED");
    unsigned seed = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    unsigned refused = 0;
    for (unsigned round = 0; round < 20000; round++) {
        char text[64], space[8192], out[1024];
        struct writer local = writer_make(text, sizeof(text));
        for (unsigned n = 1 + (unsigned)rand_r(&seed) % 10; n > 0; n--) {
            size_t pick = (size_t)rand_r(&seed) % (sizeof(pieces) / sizeof(pieces[0]));
            writer_put(&local, span_of(pieces[pick]));
        }
        struct writer memory = writer_make(space, sizeof(space));
        struct writer writer = writer_make(out, sizeof(out));
        struct jid jid = {SPAN_NONE, SPAN("x.example"), SPAN("r/@ü")}, back;
        assert_int_equal(jid_prepare_local(writer_span(&local), &memory, &jid.local), JID_OK);
        if (address_to_sip(&writer, &jid, true) != ADDRESS_OK) {
            assert_non_null(memmem(jid.local.data, jid.local.size, "\\", 1));
            refused++;
            continue;
        }
        struct sip_uri uri;
        assert_true(sip_uri_parse(writer_span(&writer), &uri));
        assert_int_equal(address_to_jid(&uri, SPAN_NONE, &memory, &back), ADDRESS_OK);
        assert_true(span_equal(back.local, jid.local));
        assert_true(span_equal(back.domain, jid.domain));
        assert_true(span_equal(back.resource, jid.resource));
    }
    assert_true(refused < 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_become_locals), cmocka_unit_test(bad_users_are_refused),
        cmocka_unit_test(whole_uris_become_jids), cmocka_unit_test(jids_become_uris),
        cmocka_unit_test(special_jids), cmocka_unit_test(locals_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
