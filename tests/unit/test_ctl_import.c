/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What passerellectl reads and writes: CSV, settings by their paths, imports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/config_key.h"
#include "tools/ctl_import.h"

/* ---- CSV ---- */

/* The fields of `text` as "[a|b][c]", or its problem as "LINE: problem". */
static void check_csv(struct span text, const char *said)
{
    char *copy = malloc(text.size + 1), *out, *field;
    size_t size;
    assert_non_null(copy);
    memcpy(copy, text.data, text.size);
    FILE *stream = open_memstream(&out, &size);
    struct csv csv;
    enum csv_result result;
    bool in_row = false;
    csv_init(&csv, copy, text.size);
    while ((result = csv_next(&csv, &field)) == CSV_FIELD || result == CSV_LAST) {
        fprintf(stream, "%c%s%s", in_row ? '|' : '[', field, result == CSV_LAST ? "]" : "");
        in_row = result == CSV_FIELD;
    }
    if (result == CSV_BAD)
        fprintf(stream, "%u: %s", csv.line, csv.problem);
    (void)fclose(stream);
    assert_string_equal(out, said);
    free(out);
    free(copy);
}
#define CHECK_CSV(literal, said) check_csv(SPAN(literal), said)

static void test_csv(void **state)
{
    (void)state;
    CHECK_CSV("", "");
    CHECK_CSV("a", "[a]");
    CHECK_CSV("a,b\n", "[a|b]");
    CHECK_CSV("a,b\r\nc,d", "[a|b][c|d]");
    CHECK_CSV("a,,\n,\n", "[a||][|]");
    CHECK_CSV("a,", "[a|]");
    CHECK_CSV("\xef\xbb\xbf" "a\n", "[a]");
    CHECK_CSV("\n\r\na\n\n\nb\n\n", "[a][b]");
    CHECK_CSV("\"a\",\"\"\n", "[a|]");
    CHECK_CSV("\"a,\"\"b\"\"\",c\n", "[a,\"b\"|c]");
    CHECK_CSV("\"a\nb\r\nc\",d\ne", "[a\nb\r\nc|d][e]");
    CHECK_CSV("\"\"\"\"", "[\"]");
    CHECK_CSV("\xc3\xbc, x \n", "[\xc3\xbc| x ]");
    CHECK_CSV("a\n\"b", "[a]2: a quote is not closed");
    CHECK_CSV("\"b\"\"", "1: a quote is not closed");
    CHECK_CSV("a\n\n\"b\nc\"x", "[a]4: a comma or the end of the line must follow the closing quote");
    CHECK_CSV("a\"b\n", "1: a quote within a field: the whole field must stand in quotes");
    CHECK_CSV("a\rb\n", "1: a CR without LF: the whole field must stand in quotes");
    CHECK_CSV("a\0b\n", "2: there is a NUL in it");
    CHECK_CSV("\"a\0\"", "1: there is a NUL in it");
    CHECK_CSV("a,\xff\n", "[a2: it is not UTF-8");
    CHECK_CSV("a,\"\xed\xa0\x80\"\n", "[a2: it is not UTF-8");
}

static void test_csv_is_written(void **state)
{
    (void)state;
    static const struct span fields[] = {{"a b", 3}, {NULL, 0}, {"", 0}, {",", 1}, {"\"\n", 2}};
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        csv_put(out, fields[i]);
        (void)fputc('|', out);
    }
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "a b|||\",\"|\"\"\"\n\"|");
    free(text);
}

static void test_a_very_long_field(void **state)
{
    (void)state;
    enum { SIZE = 20000000 };
    char *text = malloc(SIZE + 10), *field;
    struct csv csv;
    assert_non_null(text);
    memset(text, 'x', SIZE);
    memcpy(text + SIZE, ",b\n", 3);
    csv_init(&csv, text, SIZE + 3);
    assert_int_equal(csv_next(&csv, &field), CSV_FIELD);
    assert_int_equal(strlen(field), SIZE);
    assert_int_equal(csv_next(&csv, &field), CSV_LAST);
    assert_int_equal(csv_next(&csv, &field), CSV_END);
    free(text);
}

/* ---- settings ---- */

static void check_change(json_t *settings, const char *path, enum settings_change change,
                         const char *text, const char *said)
{
    char problem[SETTINGS_PROBLEM_SIZE] = "";
    bool done = settings_change(settings, "tenants", path, change, text, problem);
    if (done != (said == NULL) || (said != NULL && strstr(problem, said) == NULL))
        fail_msg("%s=%s: '%s' should be '%s'", path, text, problem, said != NULL ? said : "");
}

static void check_json(const json_t *value, const char *expected)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text, expected);
    free(text);
}

static void test_settings(void **state)
{
    (void)state;
    json_t *one = json_object();
    check_change(one, "domains", SETTINGS_PUT, " a.example  b.example ", NULL);
    check_change(one, "trunks[0].uri", SETTINGS_PUT, "sip:h;transport=tcp", NULL);
    check_change(one, "trunks[0].priority", SETTINGS_PUT, "10", NULL);
    check_change(one, "trunks[1].uri", SETTINGS_PUT, "[text]", NULL);
    check_change(one, "trunks[1].sources", SETTINGS_PUT, "[]", NULL);
    check_json(one, "{\"domains\":[\"a.example\",\"b.example\"],\"trunks\":[{\"uri\":"
                    "\"sip:h;transport=tcp\",\"priority\":10},{\"uri\":\"[text]\",\"sources\":[]}]}");
    check_change(one, "trunks[0].priority", SETTINGS_PUT, "many", NULL); /* --check will say */
    check_change(one, "trunks[0]", SETTINGS_PUT, "", NULL);
    check_change(one, "trunks[0].sources", SETTINGS_ADD, "10.0.0.1 10.0.0.2", NULL);
    check_change(one, "trunks[0].sources", SETTINGS_ADD, "10.0.0.2 10.0.0.3", NULL);
    check_change(one, "trunks[0].sources", SETTINGS_REMOVE, "10.0.0.2", NULL);
    check_change(one, "domains", SETTINGS_REMOVE, "b.example a.example", NULL);
    check_json(one, "{\"trunks\":[{\"uri\":\"[text]\",\"sources\":[\"10.0.0.1\",\"10.0.0.3\"]}]}");
    check_change(one, "xmpp.sasl", SETTINGS_PUT, "required", NULL);
    check_change(one, "xmpp.sasl", SETTINGS_PUT, "", NULL);
    check_change(one, "xmpp.tls", SETTINGS_PUT, "", NULL);
    check_change(one, "users.allow", SETTINGS_ADD, "bob@a.example", NULL);
    check_change(one, "users.allow", SETTINGS_REMOVE, "bob@a.example", NULL);
    check_json(one, "{\"trunks\":[{\"uri\":\"[text]\",\"sources\":[\"10.0.0.1\",\"10.0.0.3\"]}]}");
    check_change(one, "trunks[0].sources", SETTINGS_REMOVE, "10.0.0.9", "not in the list");
    check_change(one, "trunks[3].uri", SETTINGS_PUT, "sip:h", "the entry before it is missing");
    check_change(one, "trunks", SETTINGS_PUT, "sip:h", "give each key of it");
    check_change(one, "trunks", SETTINGS_PUT, "{}", "it is to be a list");
    check_change(one, "trunks[0]", SETTINGS_PUT, "{\"uri\":\"sip:x\",\"x\":1}",
                 "trunks[0].x: unknown key");
    check_change(one, "trunks[0].priority", SETTINGS_ADD, "1", "only lists are added to");
    check_change(one, "name", SETTINGS_PUT, "\xff", "it is not UTF-8");
    check_change(one, "domains", SETTINGS_PUT, "a \xff", "it is not UTF-8");
    static const char *const bad[] = {"", "x", "trunks[0]uri.", "trunks[].uri", "trunks[x].uri",
                                      "name.x", "name[0]", ".name.", "trunks[0].uri.x", "[0]",
                                      "trunks[99999999].uri", "trunks.uri", "trunks[0]uri", "trunks.[0].uri",
                                      ".name", "name."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_change(one, bad[i], SETTINGS_PUT, "x", "unknown key");
    json_decref(one);
}

static void check_tidy(const char *given, const char *said)
{
    char problem[SETTINGS_PROBLEM_SIZE];
    json_t *one = json_loads(given, 0, NULL);
    assert_non_null(one);
    if (settings_tidy(one, "partners", problem))
        check_json(one, said);
    else
        assert_string_equal(problem, said);
    json_decref(one);
}

static void test_what_comes_from_elsewhere(void **state)
{
    (void)state;
    check_tidy("{\"domain\":\"x\",\"port\":\"5269\",\"direct_tls\":\"yes\",\"host\":null,"
               "\"auth\":\"\"}", "{\"domain\":\"x\",\"port\":5269,\"direct_tls\":true}");
    check_tidy("{\"host\":7,\"port\":7.5}", "{\"host\":\"7\",\"port\":\"7.5\"}");
    check_tidy("{\"colour\":1}", "colour: unknown key");
    check_tidy("{\"port\":[1]}", "port: it has another form");
    check_tidy("{\"port\":{\"port\":1}}", "port: it has another form");
    check_tidy("{\"a.b\":1}", "a.b: unknown key");
}

/* ---- imports ---- */

/* The entries of a file with this text, as one JSON list; or the problem. */
static void check_list(const char *list, enum import_format format, const char *text,
                       const char *said)
{
    char path[] = "/tmp/passerelle-import-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    struct import import;
    json_t *rows = json_array(), *row;
    int got = import_open(&import, path, format, list) ? 1 : -1;
    while (got == 1 && (got = import_next(&import, &row)) == 1)
        assert_int_equal(json_array_append_new(rows, row), 0);
    if (got == 0) {
        check_json(rows, said);
        assert_int_equal(import_percent(&import), 100);
    } else if (strncmp(import.problem, path, strlen(path)) != 0 ||
               strcmp(import.problem + strlen(path), said) != 0) {
        fail_msg("'%s' should be 'FILE%s'", import.problem, said);
    }
    json_decref(rows);
    import_close(&import);
    assert_int_equal(unlink(path), 0);
}

static void check_import(enum import_format format, const char *text, const char *said)
{
    check_list("tenants", format, text, said);
}

static void test_imports_of_users(void **state)
{
    (void)state;
    static const char both[] = "[{\"tenant\":\"a\",\"user\":\"bob\",\"access\":\"deny\"},"
                               "{\"user\":\"7\"}]";
    check_list(IMPORT_USERS, IMPORT_CSV, "tenant,user,access\na,bob,deny\n,7,\n", both);
    check_list(IMPORT_USERS, IMPORT_JSON, both, both);
    check_list(IMPORT_USERS, IMPORT_YAML, "users:\n- {tenant: a, user: bob, access: deny}\n"
                                          "- {user: 7}\n", both);
    check_list(IMPORT_USERS, IMPORT_CSV, "user,name\nbob,Bob\n", ":2: name: unknown key");
    check_list(IMPORT_USERS, IMPORT_CSV, "user,access\nbob\n",
               ":2: the row has fewer fields than the first line");
    check_list(IMPORT_USERS, IMPORT_JSON, "[{\"user\":\"a\"},{\"user\":7}]",
               ": users[1]: user: it is to be a text");
    check_list(IMPORT_USERS, IMPORT_JSON, "[{\"user\":null}]",
               ": users[0]: user: it is to be a text");
    check_list(IMPORT_USERS, IMPORT_JSON, "[{\"domains\":\"a\"}]",
               ": users[0]: domains: unknown key");
    check_list(IMPORT_USERS, IMPORT_JSON, "[\"bob\"]", ": users[0]: it is to have keys");
    check_list(IMPORT_USERS, IMPORT_JSON, "{\"tenants\":[]}", ": there is no list of users in it");
}

static void test_imports(void **state)
{
    (void)state;
    static const char both[] = "[{\"name\":\"a\",\"domains\":[\"a.example\",\"b.example\"],"
                               "\"trunks\":[{\"uri\":\"sip:h\",\"priority\":3}]},"
                               "{\"name\":\"c\",\"trunks\":[{\"uri\":\"sip:i\"}]}]";
    check_import(IMPORT_CSV, "name,domains,trunks[0].uri,trunks[0].priority\n"
                             "a,a.example b.example,sip:h,3\r\nc,,sip:i,\n", both);
    check_import(IMPORT_JSON, both, both);
    check_import(IMPORT_YAML, "global: {workers: 2}\ntenants:\n- name: a\n  domains: [a.example, "
                              "b.example]\n  trunks: &t\n  - {uri: 'sip:h', priority: 3}\n"
                              "- name: c\n  trunks:\n  - uri: sip:i\n", both);
    check_import(IMPORT_JSON, "{\"tenants\":[]}", "[]");
    check_import(IMPORT_CSV, "name\n", "[]");
    check_import(IMPORT_CSV, "", ": the first line is to name the columns");
    check_import(IMPORT_CSV, "name,colour\na,\nb,red\n", ":3: colour: unknown key");
    check_import(IMPORT_CSV, "name,policy\n\"a\nb\"\n", ":2: the row has fewer fields than the "
                                                       "first line");
    check_import(IMPORT_CSV, "name\na,b\n", ":2: the row has more fields than the first line");
    check_import(IMPORT_CSV, "name\n\na\"\n", ":3: a quote within a field: the whole field must "
                                             "stand in quotes");
    check_import(IMPORT_JSON, "{\"partners\":[]}", ": there is no list of tenants in it");
    check_import(IMPORT_JSON, "[{},7]", ": tenants[1]: it is to have keys");
    check_import(IMPORT_JSON, "[{\"name\":\"\\u0000\"}]", ": line 1: \\u0000 is not allowed "
                                                         "without JSON_ALLOW_NUL near "
                                                         "'\"\\u0000\"'");
    check_import(IMPORT_JSON, "[{\"x\":1}]", ": tenants[0]: x: unknown key");
    check_import(IMPORT_YAML, "tenants: [\n", ": line 2: did not find expected node content");
    check_import(IMPORT_YAML, "a: &a [*a]\n", ": it has no list, or one that is too deep");
    check_import(IMPORT_YAML, "", ": it has no list, or one that is too deep");
}

static void test_an_import_that_cannot_be_read(void **state)
{
    (void)state;
    struct import import;
    assert_false(import_open(&import, "/nowhere/x.csv", IMPORT_BY_NAME, "tenants"));
    assert_string_equal(import.problem, "/nowhere/x.csv: cannot read it: No such file or directory");
    import_close(&import);
    assert_false(import_open(&import, "x.txt", IMPORT_BY_NAME, "tenants"));
    assert_non_null(strstr(import.problem, "is it csv, json or yaml?"));
    import_close(&import);
}

/* ---- round trips ---- */

static uint64_t seed = 1;

static unsigned chance(unsigned limit)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % limit;
}

static json_t *random_text(void)
{
    static const char *const parts[] = {"a", "ü", "\"", ",", " ", "\n", "\r", "[", "{", "=", "7", "]"};
    char text[64] = "";
    for (unsigned i = 0, count = 1 + chance(8); i < count; i++)
        strcat(text, parts[chance(sizeof(parts) / sizeof(parts[0]))]);
    return json_string(text);
}

static json_t *random_list(void)
{
    json_t *list = json_array();
    for (unsigned i = 0, count = chance(4); i < count; i++)
        (void)json_array_append_new(list, random_text());
    return list;
}

static json_t *random_tenant(void)
{
    json_t *trunks = json_array();
    for (unsigned i = 0, count = chance(3); i < count; i++) {
        json_t *trunk = json_pack("{s:o}", "uri", random_text());
        if (chance(2) == 0)
            (void)json_object_set_new(trunk, "sources", random_list());
        if (chance(2) == 0)
            (void)json_object_set_new(trunk, "priority", json_integer(chance(1000)));
        (void)json_array_append_new(trunks, trunk);
    }
    return json_pack("{s:o, s:o, s:o}", "name", random_text(), "domains", random_list(), "trunks",
                     trunks);
}

/* Settings → texts → CSV → texts → the same settings. */
static void test_csv_brings_everything_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        json_t *before = random_tenant(), *texts = settings_texts(before), *after = json_object();
        const char *path;
        json_t *value;
        char *text, *field, problem[SETTINGS_PROBLEM_SIZE];
        size_t size;
        FILE *out = open_memstream(&text, &size);
        json_object_foreach(texts, path, value)
        {
            csv_put(out, span_of(json_string_value(value)));
            (void)fputc(',', out);
        }
        (void)fclose(out);
        struct csv csv;
        csv_init(&csv, text, size);
        json_object_foreach(texts, path, value)
        {
            assert_int_equal(csv_next(&csv, &field), CSV_FIELD);
            if (!settings_change(after, "tenants", path, SETTINGS_PUT, field, problem))
                fail_msg("seed %u: %s", i, problem);
        }
        if (!json_equal(before, after))
            fail_msg("seed %u: %s\nbecame %s", i, json_dumps(before, 0), json_dumps(after, 0));
        free(text);
        json_decref(texts);
        json_decref(before);
        json_decref(after);
    }
}

static void test_kinds_of_keys(void **state)
{
    (void)state;
    static const struct {
        const char *list, *path;
        enum config_kind kind;
    } rows[] = {{"tenants", "name", CONFIG_KIND_TEXT},
                {"tenants", "domains", CONFIG_KIND_LIST},
                {"tenants", "domains[3]", CONFIG_KIND_TEXT},
                {"tenants", "trunks", CONFIG_KIND_ITEMS},
                {"tenants", "trunks[63]", CONFIG_KIND_SECTION},
                {"tenants", "trunks[0].options_interval", CONFIG_KIND_NUMBER},
                {"partners", "direct_tls", CONFIG_KIND_BOOL},
                {"partners", "domains", CONFIG_KIND_NONE},
                {"global", "workers", CONFIG_KIND_NONE},
                {"nothing", "workers", CONFIG_KIND_NONE}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(config_key_kind(rows[i].list, span_of(rows[i].path)), rows[i].kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_csv_is_written),
        cmocka_unit_test(test_a_very_long_field),
        cmocka_unit_test(test_kinds_of_keys),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_what_comes_from_elsewhere),
        cmocka_unit_test(test_imports),
        cmocka_unit_test(test_imports_of_users),
        cmocka_unit_test(test_an_import_that_cannot_be_read),
        cmocka_unit_test(test_csv_brings_everything_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
