/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tenants file: its rows, read as YAML; mistakes in it and beside it; what is no such file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>

#include "config_folder.h"
#include "core/tenant_file.h"

#define MAIN XMPP "tenants_file: sqlite:t.db\n"
#define TRUNK "\"trunks\":[{\"uri\":\"sip:192.0.2.1\"}]"

static struct tenant_file *file_opened(const char *path, enum tenant_file_mode mode)
{
    struct tenant_file *file = NULL;
    char error[300];
    if (tenant_file_open(&file, path, mode, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    return file;
}

/* A new file with these rows of tenants: name, settings, …, NULL. */
static struct tenant_file *file_with(const char *const *rows)
{
    (void)unlink("t.db");
    struct tenant_file *file = file_opened("t.db", TENANT_FILE_WRITE);
    for (; *rows != NULL; rows += 2)
        assert_int_equal(tenant_file_put(file, TENANT_TABLE_TENANTS, rows[0], rows[1]), 0);
    return file;
}

static void file_made(const char *const *rows)
{
    struct tenant_file *file = file_with(rows);
    assert_int_equal(tenant_file_commit(file), 0);
    tenant_file_close(&file);
}

static void execute(const char *path, const char *sql)
{
    sqlite3 *database = NULL;
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

static void check_error(const char *path, int rc, const char *said)
{
    struct config *config = NULL;
    char error[700] = "";
    int got = config_open(&config, path, error, sizeof(error));
    if (got != rc || strstr(error, said) == NULL)
        fail_msg("%d '%s' should be %d '%s'", got, error, rc, said);
}

static void test_rows(void **state)
{
    (void)state;
    const char *name, *settings;
    char *text;
    struct tenant_file *file = file_with((const char *[]){NULL});
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_TENANTS, "b", "{\"policy\":\"open\"}"), 0);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_TENANTS, "a", "{}"), 0);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_TENANTS, "a", "{\"key\":\"1\"}"), 0);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_PARTNERS, "x.example", "{}"), 0);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_PARTNERS, "x", "no JSON"), -EINVAL);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_PARTNERS, "x", "[1]"), -EINVAL);
    assert_non_null(strstr(tenant_file_problem(file), "CHECK constraint failed"));
    assert_int_equal(tenant_file_get(file, TENANT_TABLE_TENANTS, "a", &text), 0);
    assert_string_equal(text, "{\"key\":\"1\"}");
    free(text);
    assert_int_equal(tenant_file_get(file, TENANT_TABLE_TENANTS, "x.example", &text), 0);
    assert_null(text);
    for (int i = 0; i < 2; i++) { /* it begins again after its end */
        assert_int_equal(tenant_file_next(file, TENANT_TABLE_TENANTS, &name, &settings), 1);
        assert_string_equal(name, "a");
        assert_int_equal(tenant_file_next(file, TENANT_TABLE_TENANTS, &name, &settings), 1);
        assert_string_equal(name, "b");
        assert_string_equal(settings, "{\"policy\":\"open\"}");
        assert_int_equal(tenant_file_next(file, TENANT_TABLE_TENANTS, &name, &settings), 0);
    }
    assert_int_equal(tenant_file_remove(file, TENANT_TABLE_TENANTS, "c"), -ENOENT);
    assert_int_equal(tenant_file_remove(file, TENANT_TABLE_TENANTS, "b"), 0);
    assert_int_equal(tenant_file_commit(file), 0);
    tenant_file_close(&file);
    file = file_opened("t.db", TENANT_FILE_READ);
    size_t size;
    assert_int_equal(tenant_file_text(file, &text, &size), 0);
    assert_string_equal(text, "tenants:\n- {\"name\": \"a\", \"key\":\"1\"}\n"
                              "partners:\n- {\"domain\": \"x.example\", }\n");
    assert_int_equal(size, strlen(text));
    free(text);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_TENANTS, "n", "{}"), -EACCES);
    tenant_file_close(&file);
}

static void test_what_is_not_committed_is_undone(void **state)
{
    (void)state;
    char *text;
    file_made((const char *[]){"a", "{}", NULL});
    struct tenant_file *file = file_opened("t.db", TENANT_FILE_WRITE), *other = NULL;
    char error[300];
    assert_int_equal(tenant_file_remove(file, TENANT_TABLE_TENANTS, "a"), 0);
    /* One writes; others may read what was there before. */
    struct tenant_file *reader = file_opened("t.db", TENANT_FILE_READ);
    assert_int_equal(tenant_file_get(reader, TENANT_TABLE_TENANTS, "a", &text), 0);
    assert_string_equal(text, "{}");
    free(text);
    tenant_file_close(&reader);
    assert_int_equal(tenant_file_open(&other, "t.db", TENANT_FILE_WRITE, error, sizeof(error)),
                     -EBUSY);
    assert_string_equal(error, "t.db: database is locked");
    tenant_file_close(&file);
    file = file_opened("t.db", TENANT_FILE_READ);
    assert_int_equal(tenant_file_get(file, TENANT_TABLE_TENANTS, "a", &text), 0);
    assert_non_null(text);
    free(text);
    tenant_file_close(&file);
}

/* A first change that is refused leaves a file that can be read. */
static void test_a_new_file_is_one_at_once(void **state)
{
    (void)state;
    const char *name, *settings;
    struct tenant_file *file = file_with((const char *[]){"a", "{}", NULL});
    tenant_file_close(&file);
    file = file_opened("t.db", TENANT_FILE_READ);
    assert_int_equal(tenant_file_next(file, TENANT_TABLE_TENANTS, &name, &settings), 0);
    tenant_file_close(&file);
    write_file("main.yaml", MAIN, 0644);
    struct config *config = opened("main.yaml");
    assert_int_equal(config->tenant_count, 0);
    config_close(&config);
}

static void test_tenants_of_both(void **state)
{
    (void)state;
    write_file("main.yaml", MAIN "tenants:\n- {name: y, domains: [y.example], trunks: "
                                 "[{uri: 'sip:192.0.2.1'}]}\npartners: [{domain: p.example}]\n",
               0644);
    struct tenant_file *file = file_with((const char *[]){
        "acme", "{\"domains\":[\"B\xc3\xbc" "cher.example\",\"a.example\"]," TRUNK
                ",\"policy\":\"list\",\"partners\":[\"p.example\"]}",
        "o'\"\\ne", "{\"domains\":[\"o.example\"],\n\"trunks\":[{\"uri\":\"sip:h\",\"priority\":7,"
                  "\"sources\":[]}]}",
        NULL});
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_PARTNERS, "q.example",
                                     "{\"host\":\"h\",\"port\":9,\"direct_tls\":true}"),
                     0);
    assert_int_equal(tenant_file_commit(file), 0);
    tenant_file_close(&file);
    struct config *config = opened("main.yaml");
    assert_int_equal(config->tenant_count, 3);
    const struct config_tenant *acme = config_find_named(config, SPAN("acme"));
    assert_ptr_equal(config_find_tenant_ascii(config, SPAN("xn--bcher-kva.example")), acme);
    assert_int_equal(acme->policy, PARTNER_LIST);
    const struct config_tenant *odd = config_find_named(config, SPAN("o'\"\\ne"));
    assert_ptr_equal(config_find_tenant(config, SPAN("o.example")), odd);
    assert_int_equal(odd->trunks[0].priority, 7);
    assert_int_equal(odd->trunks[0].source_count, 0);
    const struct config_partner *partner = config_find_partner(config, SPAN("q.example"));
    assert_int_equal(partner->port, 9);
    assert_true(partner->direct_tls);
    assert_non_null(config_find_partner(config, SPAN("p.example")));
    config_close(&config);
}

static const struct {
    const char *settings, *said;
} mistakes[] = {
    {"{\"domains\":[\"y.example\"]," TRUNK "}",
     "t.db: tenant 'm': domains[0]: 'y.example' also belongs to tenant 'y' (main.yaml:6)"},
    {"{\"domains\":[\"a.example\"]," TRUNK "}",
     "t.db: tenant 'm': domains[0]: 'a.example' also belongs to tenant 'a' (t.db: tenant 'a')"},
    {"{\"domains\":[\"m.example\"],\"trunks\":[{\"uri\":\"sip:h:99999\"}]}",
     "t.db: tenant 'm': trunks[0].uri: 'sip:h:99999': bad port"},
    {"{\"domains\":[\"m.example\"]," TRUNK ",\"colour\":1}",
     "t.db: tenant 'm': colour: unknown key"},
    {"{\"domains\":[\"m.example\"],\"trunks\":[{\"uri\":\"sip:h\",\"priority\":\"x\"}]}",
     "t.db: tenant 'm': trunks[0].priority: not a whole number"},
    {"{\"domains\":[\"m.example\"]}", "t.db: tenant 'm': trunks: a tenant needs at least one trunk"},
    {"{\"domains\":[\"m.example\"]," TRUNK ",\"certificate\":\"dev/xmpp.pem\"}",
     "t.db: tenant 'm': certificate and key belong together"},
    {"{\"domains\":[\"m\x7f.example\"]," TRUNK "}",
     "t.db: tenant 'm': control characters are not allowed: syntax error"},
    {"{}", "t.db: tenant 'm': domains: a tenant needs at least one domain"},
};

static void test_mistakes_name_the_row(void **state)
{
    (void)state;
    write_file("main.yaml", MAIN "tenants:\n- {name: y, domains: [y.example], trunks: "
                                 "[{uri: 'sip:192.0.2.1'}]}\n", 0644);
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        file_made((const char *[]){"a", "{\"domains\":[\"a.example\"]," TRUNK "}", "m",
                                   mistakes[i].settings, "z",
                                   "{\"domains\":[\"z.example\"]," TRUNK "}", NULL});
        check_error("main.yaml", -EINVAL, mistakes[i].said);
    }
}

static void test_partners_of_both(void **state)
{
    (void)state;
    write_file("main.yaml", MAIN "partners:\n- domain: w.example\n- domain: p.example\n", 0644);
    struct tenant_file *file = file_with((const char *[]){NULL});
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_PARTNERS, "P.example", "{}"), 0);
    assert_int_equal(tenant_file_commit(file), 0);
    tenant_file_close(&file);
    check_error("main.yaml", -EINVAL, "t.db: partner 'P.example': domain: 'P.example' is "
                                      "configured twice (main.yaml:7)");
}

/* What passerellectl checks before it commits. */
static void test_changes_are_read_before_the_commit(void **state)
{
    (void)state;
    char error[300] = "";
    struct config *config = NULL;
    write_file("main.yaml", MAIN, 0644);
    file_made((const char *[]){NULL});
    struct tenant_file *file = file_opened("t.db", TENANT_FILE_WRITE);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_TENANTS, "a",
                                     "{\"domains\":[\"a.example\"]," TRUNK "}"), 0);
    const struct config_source source = {.path = "main.yaml", .tenants = file};
    assert_int_equal(config_read(&config, &source, error, sizeof(error)), 0);
    assert_int_equal(config->tenant_count, 1);
    config_close(&config);
    tenant_file_close(&file);
    config = opened("main.yaml");
    assert_int_equal(config->tenant_count, 0); /* all may come later */
    config_close(&config);
}

static void test_what_is_no_tenants_file(void **state)
{
    (void)state;
    write_file("main.yaml", MAIN, 0644);
    (void)unlink("t.db");
    check_error("main.yaml", -ENOENT,
                "main.yaml:4: tenants_file: t.db: No such file or directory; make it with");
    write_file("t.db", "domains: [a.example]\nthis is no database, and long enough to see it\n"
                       "..................................................................\n", 0644);
    check_error("main.yaml", -EINVAL, "tenants_file: t.db: file is not a database");
    assert_int_equal(unlink("t.db"), 0);
    execute("t.db", "CREATE TABLE tenants (name, settings)");
    check_error("main.yaml", -EINVAL, "t.db: is no tenant file of passerellectl");
    struct tenant_file *file = NULL;
    char error[300];
    assert_int_equal(tenant_file_open(&file, "t.db", TENANT_FILE_WRITE, error, sizeof(error)),
                     -EINVAL);
    assert_string_equal(error, "t.db: is no tenant file of passerellectl");
    file_made((const char *[]){NULL});
    execute("t.db", "PRAGMA user_version = 2");
    check_error("main.yaml", -EINVAL, "t.db: was made by another version of passerellectl");
    write_file("main.yaml", XMPP "tenants_file: t.db\n", 0644);
    check_error("main.yaml", -EINVAL, "main.yaml:4: tenants_file: 't.db' is no file of tenants; "
                                      "write sqlite:PATH");
    write_file("main.yaml", XMPP "include: more\n", 0644);
    write_file("more/1.yaml", "tenants_file: sqlite:t.db\n", 0644);
    check_error("main.yaml", -EINVAL, "more/1.yaml:1: tenants_file: an included file holds");
    assert_int_equal(unlink("more/1.yaml"), 0);
}

static void test_outline(void **state)
{
    (void)state;
    struct config_outline outline;
    char error[300];
    write_file("dev/o.yaml", "global: {stats_socket: s.sock}\ntenants_file: sqlite:t.db\n", 0644);
    assert_int_equal(config_outline(&outline, "dev/o.yaml", error, sizeof(error)), 0);
    assert_string_equal(outline.tenants_file, "dev/t.db");
    assert_string_equal(outline.stats_socket, "dev/s.sock");
    config_outline_free(&outline);
    write_file("o.yaml", "tenants_file: sqlite:/x/t.db\n", 0644);
    assert_int_equal(config_outline(&outline, "o.yaml", error, sizeof(error)), 0);
    assert_string_equal(outline.tenants_file, "/x/t.db");
    assert_string_equal(outline.stats_socket, "./passerelle.sock");
    config_outline_free(&outline);
    write_file("o.yaml", "tenants_file: nothing\n", 0644);
    assert_int_equal(config_outline(&outline, "o.yaml", error, sizeof(error)), -EINVAL);
    assert_null(outline.stats_socket);
    assert_int_equal(config_outline(&outline, "none.yaml", error, sizeof(error)), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_what_is_not_committed_is_undone),
        cmocka_unit_test(test_a_new_file_is_one_at_once),
        cmocka_unit_test(test_tenants_of_both),
        cmocka_unit_test(test_mistakes_name_the_row),
        cmocka_unit_test(test_partners_of_both),
        cmocka_unit_test(test_changes_are_read_before_the_commit),
        cmocka_unit_test(test_what_is_no_tenants_file),
        cmocka_unit_test(test_outline),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
