/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What PowerShell exports, and what passerellectl skype makes of it. The files of
   tests/data/skype are made after the documentation of the cmdlets and of the forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "tools/ctl_powershell.h"
#include "tools/ctl_skype.h"

/* ---- exports ---- */

/* What is read from `text`, as JSON, or the problem. */
static void check_read(struct span text, const char *said)
{
    char problem[SETTINGS_PROBLEM_SIZE] = "";
    json_t *objects = powershell_read(text.data, text.size, problem);
    char *dumped = objects != NULL ? json_dumps(objects, JSON_COMPACT) : strdup(problem);
    assert_string_equal(dumped, said);
    free(dumped);
    json_decref(objects);
}
#define CHECK_READ(literal, said) check_read(SPAN(literal), said)

#define OBJS(text)                                                                             \
    "<Objs Version='1.1.0.1' xmlns='http://schemas.microsoft.com/powershell/2004/04'>" text    \
    "</Objs>"
#define OBJ(text) OBJS("<Obj RefId='0'>" text "</Obj>")

static void test_clixml(void **state)
{
    (void)state;
    CHECK_READ(OBJS(""), "[]");
    CHECK_READ(OBJ("<Props><S N='a'>1</S><Nil N='b'/><B N='c'>true</B><B N='d'>false</B>"
                   "<U32 N='e'>7</U32><S N='f'/></Props><MS><S N='g'>x</S></MS>"),
               "[{\"a\":\"1\",\"b\":null,\"c\":true,\"d\":false,\"e\":\"7\",\"f\":\"\",\"g\":"
               "\"x\"}]");
    /* The types say nothing; an enum calls itself by its name; lists of every kind. */
    CHECK_READ(
        OBJ("<TN RefId='0'><T>a</T></TN><ToString>me</ToString><Props><Obj N='e'>"
            "<ToString>Required</ToString><I32>0</I32></Obj><Obj N='l'><TNRef RefId='0'/>"
            "<LST><S>a</S><S>b</S></LST></Obj><Obj N='m'><IE/></Obj></Props>"),
        "[{\"e\":\"Required\",\"l\":[\"a\",\"b\"],\"m\":[],\"\":\"me\"}]");
    CHECK_READ(OBJ("<Props><Obj N='w'><S>text</S><MS><S N='n'>x</S></MS></Obj></Props>"),
               "[{\"w\":{\"n\":\"x\",\"\":\"text\"}}]");
    CHECK_READ(OBJ("<Props><Obj N='a' RefId='1'><LST><S>x</S></LST></Obj><Ref N='b' RefId='1'/>"
                   "<Ref N='c' RefId='9'/></Props>"),
               "[{\"a\":[\"x\"],\"b\":[\"x\"],\"c\":null}]");
    CHECK_READ(OBJ("<LST><Obj><MS><S N='a'>1</S></MS></Obj><Obj><MS><S N='a'>2</S></MS></Obj>"
                   "</LST>"),
               "[{\"a\":\"1\"},{\"a\":\"2\"}]");
    CHECK_READ(
        OBJ("<MS><S N='a'>x_x000A_y_x005F_z &amp; _xD83D__xDE00_ _xD83D_ _x0000_ _x00</S>"
            "<SS N='b'>01000</SS></MS>"),
        "[{\"a\":\"x\\ny_z & \xf0\x9f\x98\x80 _xD83D_ _x0000_ _x00\",\"b\":"
        "\"(encrypted)\"}]");
    /* Four digits, and nothing else that a number may have. */
    CHECK_READ(OBJ("<MS><S N='a'>_x0x41_ _x+041_ _x\t041_ _x00e9_</S></MS>"),
               "[{\"a\":\"_x0x41_ _x+041_ _x\\t041_ \xc3\xa9\"}]");
    CHECK_READ("<?xml version='1.0' encoding='utf-16'?>" OBJS(""), "[]");
    CHECK_READ("<a/>", "line 1: it is XML, but not of Export-Clixml: its root is not <Objs>");
    CHECK_READ("<!DOCTYPE a [<!ENTITY b 'c'>]>\n" OBJS(""), "line 1: it has a document type");
    CHECK_READ(OBJS("\n<S>1"), "line 2: mismatched tag");
    CHECK_READ(OBJS("<S>1</S>"), "there is something in it that is no object");
}

static void test_clixml_is_bounded(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fputs("<Objs>", out);
    for (int i = 0; i < 100000; i++)
        fputs("<Obj><LST>", out);
    assert_int_equal(fclose(out), 0);
    check_read(span_make(text, size), "line 1: it is too deep");
    free(text);
}

/* Each object has the one before: names may not make what elements may not. */
static void test_references_are_bounded(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fputs("<Objs><Obj RefId='0'><MS><S N='a'>1</S></MS></Obj>", out);
    for (int i = 1; i < 400000; i++)
        fprintf(out, "<Obj RefId='%d'><MS><Ref N='a' RefId='%d'/></MS></Obj>", i, i - 1);
    fputs("</Objs>", out);
    assert_int_equal(fclose(out), 0);
    check_read(span_make(text, size), "line 1: it is too deep");
    free(text);
}

static void test_json(void **state)
{
    (void)state;
    CHECK_READ("[]", "[]");
    CHECK_READ("\xef\xbb\xbf {\"a\": 1}", "[{\"a\":1}]");
    CHECK_READ("{\"value\": [{\"a\": 1}, {\"a\": 2}], \"Count\": 2}", "[{\"a\":1},{\"a\":2}]");
    CHECK_READ("[{\"a\": 1}, 2]", "there is something in it that is no object");
    CHECK_READ("{\"a\": 1,\n\"a\": 2}", "line 2: duplicate object key near '\"a\"'");
    CHECK_READ("[{\"a\": }]", "line 1: unexpected token near '}'");
}

static void test_csv(void **state)
{
    (void)state;
    CHECK_READ("#TYPE a.b\r\n\"a\",\"b\"\r\n\"1\",\r\n", "[{\"a\":\"1\",\"b\":\"\"}]");
    CHECK_READ("a;b,c\n1;\"2;3\"\n", "[{\"a\":\"1\",\"b,c\":\"2;3\"}]");
    CHECK_READ("\"a;b\"\t\"c\"\n\"1\"\t\"2\"\n", "[{\"a;b\":\"1\",\"c\":\"2\"}]");
    CHECK_READ("\"a\"\n", "[]");
    CHECK_READ("#TYPE a.b\na,b\n1\n", "line 3: the row has fewer fields than the first line");
    CHECK_READ("a,b\n1,2\n\n1,2,3\n", "line 4: the row has more fields than the first line");
    CHECK_READ("a\n\"1", "line 2: a quote is not closed");
    CHECK_READ("#TYPE a.b", "it is empty");
    CHECK_READ("", "it is empty");
    CHECK_READ(" \r\n", "it is empty");
}

static void test_encodings(void **state)
{
    (void)state;
    CHECK_READ("\xff\xfe"
               "a\0\n\0\x31\0\xfc\0\x3d\xd8\x00\xde\n\0",
               "[{\"a\":\"1\xc3\xbc\xf0\x9f\x98\x80\"}]");
    CHECK_READ("\xfe\xff"
               "\0a\0\n\0\x31\0\xfc\xd8\x3d\xde\0\0\n",
               "[{\"a\":\"1\xc3\xbc\xf0\x9f\x98\x80\"}]");
    static const char neither[] =
        "it is neither UTF-8 nor UTF-16 with a byte order mark: export "
        "it with -Encoding UTF8";
    CHECK_READ("a\n\xfc\n", neither);
    CHECK_READ("\xff\xfe"
               "a\0\n",
               neither); /* half a unit */
    CHECK_READ("\xff\xfe"
               "a\0\n\0\x3d\xd8",
               neither); /* half a pair */
    CHECK_READ("\xff\xfe", "it is empty");
}

static void check_list(const char *json, const char *said)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL), *list = powershell_list(value);
    char *dumped = list != NULL ? json_dumps(list, JSON_COMPACT) : strdup("-");
    assert_string_equal(dumped, said);
    free(dumped);
    json_decref(list);
    json_decref(value);
}

static void test_lists(void **state)
{
    (void)state;
    check_list("null", "[]");
    check_list("\"\"", "[]");
    check_list("[\"a\", \"b\"]", "[\"a\",\"b\"]");
    check_list("\"a b,c; d\"", "[\"a\",\"b\",\"c\",\"d\"]");
    check_list("\"{a, b}\"", "[\"a\",\"b\"]");
    check_list("{\"value\": [\"a\", \"b\"], \"Count\": 2}", "[\"a\",\"b\"]");
    check_list("[{\"\": \"a\", \"Name\": \"x\"}]", "[\"a\"]");
    check_list("\"System.Collections.Generic.List`1[System.String]\"", "-");
    check_list("\"System.String[]\"", "-");
    check_list("\"Microsoft.Rtc.Xds.Something\"", "-");
    check_list("{\"Length\": 1}", "-");
}

/* ---- settings ---- */

/* Maps one export and gives the report and what came of it: "setting=value:result". */
static void map(struct skype *skype, const char *json)
{
    json_t *objects = json_loads(json, 0, NULL);
    assert_non_null(objects);
    assert_true(skype_init(skype));
    skype_take(skype, "x.json", objects);
    skype_map(skype);
    json_decref(objects);
}

static const char *result_of(const struct skype *skype, const char *what, const char *setting)
{
    size_t i;
    const json_t *row;
    json_array_foreach(skype->report, i, row)
    {
        if (strcmp(json_string_value(json_array_get(row, 0)), what) == 0 &&
            strcmp(json_string_value(json_array_get(row, 1)), setting) == 0)
            return json_string_value(json_array_get(row, 3));
    }
    return "-";
}

static void check_pairs(const struct skype *skype, const char *expected)
{
    char *text = json_dumps(skype->pairs, JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
}

#define DEFAULTS                                                                               \
    "\"tls\":\"required\",\"sasl\":\"required\",\"dialback\":\"true\","                        \
    "\"type\":\"public_unverified\""

/* What an export does not say holds as it held there, not as here. */
static void test_defaults_are_theirs(void **state)
{
    (void)state;
    struct skype skype;
    map(&skype, "[{\"Domain\": \"A.example\", \"PartnerType\": \"PublicUnverified\"}]");
    check_pairs(&skype, "[{\"domain\":\"a.example\"," DEFAULTS "}]");
    assert_string_equal(result_of(&skype, "A.example", "TlsNegotiation"), "their default");
    assert_string_equal(result_of(&skype, "A.example", "PartnerType"), "taken");
    char *rules = json_dumps(skype.rules, JSON_COMPACT);
    assert_string_equal(rules,
                        "{\"sessions_per_partner_max\":20,\"keepalive_demand_ms\":300000,"
                        "\"negotiation_timeout_ms\":60000,\"idle_timeout_ms\":600000}");
    free(rules);
    assert_int_equal(skype.invalid, 0);
    skype_fini(&skype);
}

/* The table of docs/configuration.md: which combinations are refused, and which are in doubt.
 */
static void test_matrix(void **state)
{
    (void)state;
    static const char *const words[] = {"Required", "Optional", "NotSupported"};
    static const char results[3][2][3] = {
        {{'-', 'w', 'w'}, {'-', 'w', 'X'}},
        {{'-', 'w', 'w'}, {'-', 'w', 'X'}},
        {{'-', '-', '-'}, {'X', 'X', 'X'}},
    };
    for (int sasl = 0; sasl < 3; sasl++)
        for (int dialback = 0; dialback < 2; dialback++)
            for (int tls = 0; tls < 3; tls++) {
                char text[300];
                struct skype skype;
                (void)snprintf(
                    text, sizeof(text),
                    "[{\"Domain\": \"a.example\", \"TlsNegotiation\": \"%s\", "
                    "\"SaslNegotiation\": \"%s\", \"SupportDialbackNegotiation\": %s}]",
                    words[tls], words[sasl], dialback == 0 ? "true" : "false");
                map(&skype, text);
                const char *result = result_of(&skype, "a.example", "TLS, SASL, dialback");
                char expected = results[sasl][dialback][tls];
                assert_string_equal(result, expected == 'X'   ? "INVALID"
                                            : expected == 'w' ? "warning"
                                                              : "-");
                assert_int_equal(json_array_size(skype.pairs), expected == 'X' ? 0 : 1);
                assert_int_equal(skype.invalid, expected == 'X' ? 1 : 0);
                skype_fini(&skype);
            }
}

static void check_invalid(const char *what, const char *setting, const char *json)
{
    struct skype skype;
    map(&skype, json);
    if (strcmp(result_of(&skype, what, setting), "INVALID") != 0 || skype.invalid == 0)
        fail_msg("%s of %s is not refused in %s", setting, what, json);
    skype_fini(&skype);
}

static void test_what_cannot_be_meant(void **state)
{
    (void)state;
    /* Windows PowerShell writes the values of an enum as numbers, and none documents them. */
    check_invalid("a.example", "TlsNegotiation",
                  "[{\"Domain\": \"a.example\", \"TlsNegotiation\": 0}]");
    check_invalid("a.example", "SaslNegotiation",
                  "[{\"Domain\": \"a.example\", \"SaslNegotiation\": \"Perhaps\"}]");
    check_invalid("a.example", "PartnerType",
                  "[{\"Domain\": \"a.example\", \"PartnerType\": \"Public\"}]");
    check_invalid("a.example", "EnableKeepAlive",
                  "[{\"Domain\": \"a.example\", \"PartnerType\": \"Federated\", "
                  "\"EnableKeepAlive\": \"maybe\"}]");
    check_invalid("a.example", "ConnectionLimit",
                  "[{\"Domain\": \"a.example\", \"PartnerType\": \"Federated\", "
                  "\"ConnectionLimit\": \"-1\"}]");
    check_invalid("a b", "Domain", "[{\"Domain\": \"a b\", \"PartnerType\": \"Federated\"}]");
    check_invalid("(partner)", "Domain", "[{\"PartnerType\": \"Federated\"}]");
    check_invalid("A.example", "Domain",
                  "[{\"Domain\": \"a.example\", \"PartnerType\": \"Federated\"}, "
                  "{\"Domain\": \"A.example\", \"PartnerType\": \"Federated\"}]");
    check_invalid("a.example", "Domain",
                  "[{\"Domain\": \"a.example\", \"PartnerType\": \"Federated\", "
                  "\"AdditionalDomains\": [\"x y\", \"[1]\"]}]");
    check_invalid("x.json", "-", "[{\"Domain\": \"a.example\", \"Comment\": \"\"}]");
    check_invalid("(gateway)", "-", "[{\"KeepAliveInterval\": 1}, {\"KeepAliveInterval\": 1}]");
    check_invalid("bob@a.example", "ExternalAccessPolicy",
                  "[{\"Identity\": \"Global\", \"EnableXmppAccess\": true}, {\"SipAddress\": "
                  "\"sip:bob@a.example\", \"ExternalAccessPolicy\": \"Other\"}]");
    check_invalid("(users)", "EnableXmppAccess", "[{\"SipAddress\": \"sip:bob@a.example\"}]");
    check_invalid("tel:1", "SipAddress",
                  "[{\"Identity\": \"Global\", \"EnableXmppAccess\": "
                  "true}, {\"SipAddress\": \"tel:1\"}]");
}

/* A row that is counted is told, whatever its text is. */
static void test_long_texts_are_told(void **state)
{
    (void)state;
    char text[3000], name[2001] = "";
    for (size_t i = 0; i < 1000; i++)
        memcpy(name + 2 * i, "\xc3\xa9", 2);
    for (int shift = 0; shift < 2; shift++) {
        (void)snprintf(text, sizeof(text),
                       "[{\"Domain\": \"a.example\", \"PartnerType\": \"Federated\", "
                       "\"AdditionalDomains\": [\"%s%s\"]}]",
                       shift == 0 ? "" : "x", name);
        check_invalid("a.example", "Domain", text);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    struct skype skype;
    map(&skype, "[{\"ConnectionLimit\": 5, \"PartnerConnectionLimit\": 0, "
                "\"KeepAliveInterval\": 0, \"StreamEstablishmentTimeout\": 900, "
                "\"StreamInactivityTimeout\": \"\"}]");
    assert_string_equal(result_of(&skype, "(gateway)", "ConnectionLimit"), "by hand");
    assert_string_equal(result_of(&skype, "(gateway)", "PartnerConnectionLimit"), "left out");
    assert_string_equal(result_of(&skype, "(gateway)", "KeepAliveInterval"), "taken");
    assert_string_equal(result_of(&skype, "(gateway)", "StreamEstablishmentTimeout"),
                        "changed");
    assert_string_equal(result_of(&skype, "(gateway)", "StreamInactivityTimeout"), "left out");
    char *rules = json_dumps(skype.rules, JSON_COMPACT);
    assert_string_equal(rules, "{\"keepalive_demand_ms\":0,\"negotiation_timeout_ms\":300000}");
    free(rules);
    skype_fini(&skype);
}

/* Everybody may: what holds for all holds for the tenant, and for one partner his own. */
static void test_all_domains(void **state)
{
    (void)state;
    struct skype skype;
    json_t *settings = json_pack("{s:[s], s:s}", "partners", "old.example", "policy", "list");
    map(&skype, "[{\"Domain\": \"*\", \"TlsNegotiation\": \"Optional\"}, "
                "{\"Domain\": \"a.example\", \"PartnerType\": \"Federated\"}]");
    assert_true(skype_merge(&skype, settings, false));
    assert_string_equal(json_string_value(json_object_get(settings, "policy")), "open");
    assert_null(json_object_get(settings, "partners"));
    const json_t *rules = json_object_get(settings, "xmpp");
    assert_string_equal(json_string_value(json_object_get(rules, "tls")), "optional");
    assert_int_equal(json_array_size(json_object_get(settings, "partner_rules")), 1);
    json_decref(settings);
    skype_fini(&skype);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clixml),
        cmocka_unit_test(test_clixml_is_bounded),
        cmocka_unit_test(test_references_are_bounded),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_defaults_are_theirs),
        cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_what_cannot_be_meant),
        cmocka_unit_test(test_long_texts_are_told),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_all_domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
