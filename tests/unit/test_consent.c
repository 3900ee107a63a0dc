/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who of a public_unverified partner may write: whom users have written to, for how long, how
   many, over a restart; and the memory of proofs over a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "core/log.h"
#include "core/memories.h"
#include "core/trust.h"
#include "net/clock.h"
#include "tests/unit/config_folder.h"
#include "tests/unit/store_folder.h"

#define TENANTS                                                                                \
    "tenants:\n"                                                                               \
    "  - name: a\n"                                                                            \
    "    domains: [a.example, aa.example]\n"                                                   \
    "    trunks: [{uri: 'sip:192.0.2.1'}]\n"                                                   \
    "    partner_rules: [{domain: friend.example, type: federated}]\n"                         \
    "  - name: b\n"                                                                            \
    "    domains: [b.example]\n"                                                               \
    "    trunks: [{uri: 'sip:192.0.2.2'}]\n"
#define PARTNERS                                                                               \
    "partners:\n"                                                                              \
    "  - {domain: x.example, type: public_unverified}\n"                                       \
    "  - {domain: friend.example, type: public_unverified}\n"                                  \
    "  - {domain: verified.example, type: public_verified}\n"

#define STORED "store: {path: " STORE_FILE "}\n"

/* A SIP thread as far as consents go. */
struct scene {
    struct config *config;
    struct memories memories;
    struct stats *stats, *store_stats;
    struct thread thread;
};

static void begin(struct scene *scene, const char *more)
{
    char text[2000], error[300] = "";
    (void)snprintf(text, sizeof(text), "%s" XMPP TENANTS PARTNERS, more);
    write_file("p.yaml", text, 0644);
    *scene = (struct scene){.config = opened("p.yaml"),
                            .stats = stats_open(2),
                            .store_stats = stats_open(2)};
    if (memories_open(&scene->memories, scene->config, scene->store_stats, error,
                      sizeof(error)) != 0)
        fail_msg("%s", error);
    unsigned self = thread_egress(scene->config, 0);
    assert_null(memories_consent(&scene->memories, scene->config, self - 1));
    scene->thread =
        (struct thread){.self = self,
                        .config = scene->config,
                        .consent = memories_consent(&scene->memories, scene->config, self),
                        .stats = scene->stats};
    assert_non_null(scene->thread.consent);
}

static void end(struct scene *scene)
{
    memories_close(&scene->memories);
    stats_close(&scene->stats);
    stats_close(&scene->store_stats);
    config_close(&scene->config);
}

struct pair {
    char memory[500];
    struct jid user, peer;
    const struct config_tenant *tenant;
};

static void read_pair(const struct scene *scene, struct pair *pair, const char *user,
                      const char *peer)
{
    struct writer writer = writer_make(pair->memory, sizeof(pair->memory));
    assert_int_equal(jid_parse(span_of(user), &writer, &pair->user), JID_OK);
    assert_int_equal(jid_parse(span_of(peer), &writer, &pair->peer), JID_OK);
    pair->tenant = config_find_tenant(scene->config, pair->user.domain);
}

/* The peer writes. */
static bool may(struct scene *scene, const char *user, const char *peer)
{
    struct pair pair;
    read_pair(scene, &pair, user, peer);
    return consent_allows(&scene->thread, pair.tenant, &pair.user, &pair.peer);
}

/* The user writes. */
static void writes(struct scene *scene, const char *user, const char *peer)
{
    struct pair pair;
    read_pair(scene, &pair, user, peer);
    consent_note(&scene->thread, pair.tenant, &pair.user, &pair.peer);
}

#define USER_SIZE 40

static const char *user_at(unsigned number, char text[USER_SIZE])
{
    (void)snprintf(text, USER_SIZE, "user%u@a.example", number);
    return text;
}

/* So many users write to the same one. */
static void all_write(struct scene *scene, unsigned count)
{
    char user[USER_SIZE];
    for (unsigned i = 0; i < count; i++)
        writes(scene, user_at(i, user), "eve@x.example");
}

static void test_who_was_written_to_may_write(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, "");
    assert_false(may(&scene, "bob@a.example", "eve@x.example"));
    writes(&scene, "bob@a.example/phone", "eve@x.example/home");
    assert_true(may(&scene, "bob@a.example", "eve@x.example/balcony"));
    /* Nobody else, and to nobody else. */
    assert_false(may(&scene, "bob@a.example", "mallory@x.example"));
    assert_false(may(&scene, "alice@a.example", "eve@x.example"));
    assert_false(may(&scene, "bob@aa.example", "eve@x.example"));
    assert_false(may(&scene, "bob@b.example", "eve@x.example"));
    assert_false(may(&scene, "bob@a.example", "x.example"));
    assert_int_equal(counted(scene.stats, STAT_CONSENT_REFUSED), 6);
    assert_int_equal(counted(scene.stats, STAT_CONSENTS_GIVEN), 1);
    end(&scene);
}

/* Each place counts as for the other rules; where no consent is needed, none is remembered. */
static void test_types(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, "");
    assert_true(may(&scene, "bob@a.example", "eve@verified.example"));
    assert_true(may(&scene, "bob@a.example", "eve@else.example"));
    assert_true(may(&scene, "bob@a.example", "eve@friend.example"));
    assert_false(may(&scene, "bob@b.example", "eve@friend.example"));
    writes(&scene, "bob@a.example", "eve@friend.example");
    writes(&scene, "bob@a.example", "eve@else.example");
    assert_int_equal(counted(scene.stats, STAT_CONSENTS_GIVEN), 0);
    writes(&scene, "bob@b.example", "eve@friend.example");
    assert_true(may(&scene, "bob@b.example", "eve@friend.example"));
    assert_int_equal(counted(scene.stats, STAT_CONSENTS_GIVEN), 1);
    end(&scene);
}

static void test_over_a_restart(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, STORED);
    writes(&scene, "bob@a.example", "eve@x.example");
    writes(&scene, "bob@a.example", "eve@x.example"); /* no news for the store */
    writes(&scene, "bücher@aa.example", "eve@x.example");
    end(&scene);
    begin(&scene, STORED);
    assert_true(may(&scene, "bob@a.example", "eve@x.example"));
    assert_true(may(&scene, "bücher@aa.example", "eve@x.example"));
    assert_false(may(&scene, "bob@a.example", "mallory@x.example"));
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 2);
}

/* With another number of SIP threads each consent is where its conversation is. */
static void test_over_a_restart_with_more_threads(void **state)
{
    (void)state;
    struct scene scene;
    char user[USER_SIZE];
    begin(&scene, STORED);
    all_write(&scene, 50);
    end(&scene);
    begin(&scene, "global: {egress: 3}\nstore: {path: " STORE_FILE "}\n");
    for (unsigned i = 0; i < 50; i++) {
        struct pair pair;
        read_pair(&scene, &pair, user_at(i, user), "eve@x.example");
        unsigned owner = route_egress(scene.config, &pair.user, &pair.peer);
        scene.thread.consent = memories_consent(&scene.memories, scene.config, owner);
        assert_true(may(&scene, user, "eve@x.example"));
    }
    end(&scene);
}

static void put_old(const char *partner, int days)
{
    struct store *store = store_opened();
    struct stats *stats = stats_open(1);
    store_put(store, &(struct store_row){.kind = STORE_CONSENT,
                                         .subject = SPAN("bob@a.example"),
                                         .partner = span_of(partner),
                                         .time_s = time(NULL) - (int64_t)days * 86400 - 60});
    assert_int_equal(store_start(store, stats), 0);
    store_close(&store);
    stats_close(&stats);
}

static void test_consents_expire(void **state)
{
    (void)state;
    struct scene scene;
    put_old("eve@x.example", 365);
    put_old("ann@x.example", 364);
    begin(&scene, STORED);
    assert_false(may(&scene, "bob@a.example", "eve@x.example"));
    assert_true(may(&scene, "bob@a.example", "ann@x.example"));
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 1);
    /* Under another rule, which a reload may bring, it ends when it is met. */
    begin(&scene, STORED);
    rules_give(&scene.config->rules, RULE_CONSENT_EXPIRES, 300);
    assert_false(may(&scene, "bob@a.example", "ann@x.example"));
    writes(&scene, "bob@a.example", "ann@x.example");
    assert_true(may(&scene, "bob@a.example", "ann@x.example"));
    rules_give(&scene.config->rules, RULE_CONSENT_EXPIRES, 0);
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 1);
    put_old("old@x.example", 36000);
    begin(&scene, STORED);
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 1);
}

/* Who writes again keeps what he has. */
static void test_writing_renews(void **state)
{
    (void)state;
    struct scene scene;
    put_old("eve@x.example", 364);
    begin(&scene, STORED);
    writes(&scene, "bob@a.example", "eve@x.example");
    end(&scene);
    begin(&scene, STORED);
    rules_give(&scene.config->rules, RULE_CONSENT_EXPIRES, 1);
    assert_true(may(&scene, "bob@a.example", "eve@x.example"));
    end(&scene);
}

/* A domain that has half of all loses its own oldest, and another finds room. */
static void test_consents_are_bounded(void **state)
{
    (void)state;
    struct scene scene;
    char user[USER_SIZE];
    begin(&scene, "store: {path: " STORE_FILE ", consents_max: 1000}\n");
    for (unsigned i = 0; i < 700; i++) {
        writes(&scene, user_at(i, user), "eve@x.example");
        writes(&scene, "user0@a.example", "eve@x.example");
    }
    assert_int_equal(counted(scene.stats, STAT_CONSENTS_FORGOTTEN), 200);
    assert_true(may(&scene, "user0@a.example", "eve@x.example"));
    assert_false(may(&scene, "user1@a.example", "eve@x.example"));
    assert_false(may(&scene, "user200@a.example", "eve@x.example"));
    assert_true(may(&scene, "user201@a.example", "eve@x.example"));
    writes(&scene, "bob@b.example", "eve@x.example");
    assert_true(may(&scene, "bob@b.example", "eve@x.example"));
    assert_true(may(&scene, "user201@a.example", "eve@x.example"));
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 501);
}

/* Under a lower limit than before the newest are kept, in the file, too. */
static void test_a_lower_limit(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, STORED);
    all_write(&scene, 700);
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 700);
    begin(&scene, "store: {path: " STORE_FILE ", consents_max: 1000}\n");
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 500);
}

static unsigned answer(struct scene *scene, struct consent_query *query, char **rows)
{
    size_t size = 0;
    FILE *out = open_memstream(rows, &size);
    assert_non_null(out);
    consent_answer(&scene->thread, query, out);
    assert_int_equal(fclose(out), 0);
    return query->row_count;
}

static void test_what_operators_see_and_take_away(void **state)
{
    (void)state;
    struct scene scene;
    char *rows = NULL;
    begin(&scene, STORED);
    writes(&scene, "bob@a.example", "eve@x.example");
    writes(&scene, "bob@aa.example", "eve@x.example");
    writes(&scene, "bob@a.example", "ann@x.example");
    writes(&scene, "bobby@a.example", "ann@x.example");
    writes(&scene, "bob@b.example", "ann@x.example");
    struct consent_query all = {.tenant = "a"}, one = {.tenant = "a", .user = "bob"},
                         exact = {.tenant = "a", .user = "bob@aa.example"},
                         other = {.tenant = "b", .user = "bob@a.example"};
    assert_int_equal(answer(&scene, &all, &rows), 4);
    assert_non_null(strstr(rows, "bob@a.example\teve@x.example\t20"));
    free(rows);
    assert_int_equal(answer(&scene, &one, &rows), 3);
    assert_null(strstr(rows, "bobby"));
    free(rows);
    assert_int_equal(answer(&scene, &exact, &rows), 1);
    free(rows);
    assert_int_equal(answer(&scene, &other, &rows), 0);
    free(rows);
    struct consent_query gone = {
        .tenant = "a", .user = "bob", .peer = "eve@x.example", .removes = true};
    assert_int_equal(answer(&scene, &gone, &rows), 2);
    free(rows);
    assert_false(may(&scene, "bob@a.example", "eve@x.example"));
    assert_true(may(&scene, "bob@a.example", "ann@x.example"));
    all_write(&scene, CONSENT_ROWS_MAX);
    all = (struct consent_query){.tenant = "a"};
    assert_int_equal(answer(&scene, &all, &rows), CONSENT_ROWS_MAX);
    assert_int_equal(all.left_out, 2);
    free(rows);
    end(&scene);
    assert_int_equal(rows_of(STORE_CONSENT), 3 + CONSENT_ROWS_MAX);
}

/* What is written to the log meanwhile. */
static void logged(void (*action)(void), char *text, size_t size)
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    assert_non_null(file);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    action();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    (void)close(before);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    (void)fclose(file);
}

static void start_and_end(void)
{
    struct scene scene;
    begin(&scene, STORED);
    assert_true(may(&scene, "bob@a.example", "eve@x.example"));
    assert_int_equal(trust_best(scene.memories.trust, SPAN("good.example")), TRUST_DANE);
    end(&scene);
}

/* Rows that nobody can mean, as a hand in the file makes them, are no lack of room, and go. */
static void test_bad_rows_go(void **state)
{
    (void)state;
    static const char *const addresses[][2] = {
        {"bob@a.example", "eve@x.example"}, {"@", "eve@x.example"},
        {"bob@a.example", ""},              {"a.example", "eve@x.example"},
        {"bob@a.example/phone", "eve@x.example"}, {"Bob@a.example", "eve@x.example"}};
    static const struct {
        const char *domain;
        int64_t value;
    } proofs[] = {{"good.example", TRUST_DANE}, {"a.example", 0}, {"b.example", 3},
                  {"c.example", -1}, {"d.example", INT64_MAX}};
    char text[2000];
    struct stats *stats = stats_open(1);
    struct store *store = store_opened();
    assert_int_equal(store_start(store, stats), 0);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        const struct store_row row = {.kind = STORE_CONSENT,
                                      .subject = span_of(addresses[i][0]),
                                      .partner = span_of(addresses[i][1]),
                                      .time_s = (int64_t)(clock_wall_ms() / 1000)};
        store_put(store, &row);
    }
    for (size_t i = 0; i < sizeof(proofs) / sizeof(proofs[0]); i++) {
        const struct store_row row = {.kind = STORE_PROOF,
                                      .subject = SPAN(""),
                                      .partner = span_of(proofs[i].domain),
                                      .value = proofs[i].value,
                                      .time_s = 1};
        store_put(store, &row);
    }
    store_close(&store);
    stats_close(&stats);
    assert_int_equal(rows_of(STORE_CONSENT), 6);
    assert_int_equal(rows_of(STORE_PROOF), 5);
    logged(start_and_end, text, sizeof(text));
    if (strstr(text, "event=consent.loaded count=1 expired=0 forgotten=0 bad=5") == NULL)
        fail_msg("%s", text);
    assert_int_equal(rows_of(STORE_CONSENT), 1);
    assert_int_equal(rows_of(STORE_PROOF), 1);
}

static void test_proofs_over_a_restart(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, STORED);
    (void)trust_note(scene.memories.trust, SPAN("dane.example"), TRUST_DANE, false);
    (void)trust_note(scene.memories.trust, SPAN("dane.example"), TRUST_PKIX, false);
    (void)trust_note(scene.memories.trust, SPAN("less.example"), TRUST_DANE, false);
    (void)trust_note(scene.memories.trust, SPAN("less.example"), TRUST_PKIX, true);
    (void)trust_note(scene.memories.trust, SPAN("none.example"), TRUST_PKIX, false);
    (void)trust_note(scene.memories.trust, SPAN("none.example"), TRUST_DIALBACK, true);
    end(&scene);
    begin(&scene, STORED);
    assert_int_equal(trust_best(scene.memories.trust, SPAN("dane.example")), TRUST_DANE);
    assert_int_equal(trust_best(scene.memories.trust, SPAN("less.example")), TRUST_PKIX);
    assert_int_equal(trust_best(scene.memories.trust, SPAN("none.example")), TRUST_DIALBACK);
    end(&scene);
    assert_int_equal(rows_of(STORE_PROOF), 2);
}

/* The file has no more of them than the memory. */
static void test_proofs_are_bounded(void **state)
{
    (void)state;
    struct scene scene;
    char name[40];
    begin(&scene, STORED);
    for (unsigned i = 0; i < TRUST_PARTNER_MAX + 100; i++) {
        int size = snprintf(name, sizeof(name), "n%u.example", i);
        (void)trust_note(scene.memories.trust, span_make(name, (size_t)size), TRUST_PKIX,
                         false);
    }
    end(&scene);
    assert_int_equal(rows_of(STORE_PROOF), TRUST_PARTNER_MAX);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_who_was_written_to_may_write),
        ROW(test_types),
        ROW(test_over_a_restart),
        ROW(test_over_a_restart_with_more_threads),
        ROW(test_consents_expire),
        ROW(test_writing_renews),
        ROW(test_consents_are_bounded),
        ROW(test_a_lower_limit),
        ROW(test_what_operators_see_and_take_away),
        ROW(test_bad_rows_go),
        ROW(test_proofs_over_a_restart),
        ROW(test_proofs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
