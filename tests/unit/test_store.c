/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store: what is on disk when, what a bad file is answered with, a disk that is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "core/database.h"
#include "tests/unit/config_folder.h"
#include "tests/unit/store_folder.h"

static struct store *started(struct stats **stats)
{
    struct store *store = store_opened();
    *stats = stats_open(1);
    assert_non_null(*stats);
    assert_int_equal(store_start(store, *stats), 0);
    return store;
}

static void put(struct store *store, unsigned number, int64_t value)
{
    char partner[40];
    (void)snprintf(partner, sizeof(partner), "p%u@x.example", number);
    store_put(store, &(struct store_row){.kind = STORE_CONSENT,
                                         .subject = SPAN("bob@a.example"),
                                         .partner = span_of(partner),
                                         .value = value,
                                         .time_s = 1000 - number});
}

static void test_rows_survive(void **state)
{
    (void)state;
    struct stats *stats;
    struct store *store = started(&stats);
    struct store_row row = {.kind = STORE_PROOF,
                            .subject = SPAN(""),
                            .partner = SPAN("x.example"),
                            .value = 2,
                            .time_s = 5};
    store_put(store, &row);
    put(store, 1, 7);
    put(store, 2, 8);
    put(store, 3, 9);
    put(store, 2, 10); /* takes the place of the one before */
    row = (struct store_row){.kind = STORE_CONSENT,
                             .subject = SPAN("bob@a.example"),
                             .partner = SPAN("p3@x.example")};
    store_remove(store, &row);
    store_close(&store);
    assert_null(store);
    assert_int_equal(counted(stats, STAT_STORE_WRITES), 6);
    assert_int_equal(counted(stats, STAT_STORE_LOST), 0);
    stats_close(&stats);

    store = store_opened();
    /* The oldest first. */
    assert_int_equal(store_next(store, STORE_CONSENT, &row), 1);
    assert_true(span_equal(row.partner, SPAN("p2@x.example")));
    assert_int_equal(row.value, 10);
    assert_int_equal(row.time_s, 998);
    assert_int_equal(store_next(store, STORE_CONSENT, &row), 1);
    assert_true(span_equal(row.subject, SPAN("bob@a.example")));
    assert_true(span_equal(row.partner, SPAN("p1@x.example")));
    assert_int_equal(store_next(store, STORE_CONSENT, &row), 0);
    assert_int_equal(store_next(store, STORE_PROOF, &row), 1);
    assert_int_equal(row.subject.size, 0);
    assert_int_equal(row.value, 2);
    assert_int_equal(store_next(store, STORE_PROOF, &row), 0);
    store_close(&store);
}

/* Nobody else may read who writes to whom. */
static void test_the_file_is_private(void **state)
{
    (void)state;
    struct store *store = store_opened();
    struct stat status;
    assert_int_equal(stat(STORE_FILE, &status), 0);
    assert_int_equal(status.st_mode & 0777u, 0600);
    store_close(&store);
}

/* What waits when the thread comes to it is one transaction. */
static void test_changes_are_written_together(void **state)
{
    (void)state;
    struct store *store = store_opened();
    struct stats *stats = stats_open(1);
    for (unsigned i = 0; i < 4000; i++)
        put(store, i, 0);
    assert_int_equal(store_start(store, stats), 0);
    await(stats, STAT_STORE_COMMITS, 1);
    assert_int_equal(counted(stats, STAT_STORE_WRITES), 4000);
    assert_int_equal(counted(stats, STAT_STORE_COMMITS), 1);
    store_close(&store);
    stats_close(&stats);
    assert_int_equal(rows_of(STORE_CONSENT), 4000);
}

#define POSTERS    4
#define POSTED_MAX 2000u

struct poster {
    pthread_t thread;
    struct store *store;
    unsigned first;
};

static void *post_all(void *argument)
{
    const struct poster *poster = argument;
    for (unsigned i = 0; i < POSTED_MAX; i++)
        put(poster->store, poster->first + i, 0);
    return NULL;
}

static void test_any_thread_may_put(void **state)
{
    (void)state;
    struct poster posters[POSTERS];
    struct stats *stats;
    struct store *store = started(&stats);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.store = store, .first = i * POSTED_MAX};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    store_close(&store);
    assert_int_equal(counted(stats, STAT_STORE_WRITES), POSTERS * POSTED_MAX);
    assert_int_equal(counted(stats, STAT_STORE_LOST), 0);
    stats_close(&stats);
    assert_int_equal(rows_of(STORE_CONSENT), POSTERS * POSTED_MAX);
}

/* What has been counted as written is there after a kill, whatever was under way. */
static void test_a_kill_takes_nothing_that_was_written(void **state)
{
    (void)state;
    int ends[2];
    uint64_t written = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct stats *stats = stats_open(1);
        struct store *store = NULL;
        char error[300];
        if (store_open(&store, STORE_FILE, error, sizeof(error)) != 0 ||
            store_start(store, stats) != 0)
            _exit(1);
        for (unsigned i = 0;; i++) {
            put(store, i, 0);
            written = counted(stats, STAT_STORE_WRITES);
            if (written >= 1000)
                break;
            (void)usleep(10);
        }
        (void)!write(ends[1], &written, sizeof(written));
        (void)raise(SIGKILL);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &written, sizeof(written)), sizeof(written));
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_true(rows_of(STORE_CONSENT) >= written);
}

static void refused(const char *path, int expected, const char *words)
{
    struct store *store = NULL;
    char error[300] = "";
    assert_int_equal(store_open(&store, path, error, sizeof(error)), expected);
    assert_null(store);
    if (strstr(error, words) == NULL || strstr(error, path) == NULL)
        fail_msg("'%s' should name %s and say: %s", error, path, words);
}

static void alter(const char *sql)
{
    sqlite3 *database;
    assert_int_equal(sqlite3_open(STORE_FILE, &database), SQLITE_OK);
    assert_int_equal(database_execute(database, sql), 0);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

static void test_a_bad_file_is_refused(void **state)
{
    (void)state;
    write_file("text", "This has been a text for longer than there have been databases.\n",
               0600);
    refused("text", -EINVAL, "is no store of passerelle");
    refused("nowhere/store.db", -ENOENT, "No such file");
    refused("dev", -EISDIR, "Is a directory");

    alter("CREATE TABLE other (x); PRAGMA application_id = 7");
    refused(STORE_FILE, -EINVAL, "is no store of passerelle");
    assert_int_equal(unlink(STORE_FILE), 0);
    assert_int_equal(rows_of(STORE_CONSENT), 0);
    alter("PRAGMA user_version = 99");
    refused(STORE_FILE, -EINVAL, "was made by another version");
}

static void test_one_process_has_it(void **state)
{
    (void)state;
    struct store *store = store_opened();
    refused(STORE_FILE, -EBUSY, "is another relay running with this store?");
    store_close(&store);
    store = store_opened();
    store_close(&store);
}

static void test_a_damaged_file_is_refused(void **state)
{
    (void)state;
    struct stats *stats;
    struct store *store = started(&stats);
    for (unsigned i = 0; i < 2000; i++)
        put(store, i, 0);
    store_close(&store);
    stats_close(&stats);
    /* The head stays: a page in the middle was overwritten. */
    FILE *file = fopen(STORE_FILE, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 3 * 4096, SEEK_SET), 0);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(fputc(0xa5, file), 0xa5);
    assert_int_equal(fclose(file), 0);
    refused(STORE_FILE, -EIO, "is damaged");
}

/* No file of this process may grow: for SQLite the disk is full. */
static void limit_files(rlim_t size)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool is_told(struct stats *stats, const char *event)
{
    struct stats_error errors[STATS_ERROR_COUNT];
    stats_errors(stats, errors);
    for (size_t i = 0; i < STATS_ERROR_COUNT; i++)
        if (errors[i].key != 0 && strcmp(errors[i].event, event) == 0)
            return true;
    return false;
}

/* What cannot be written waits, as much as there is room for, and is written when it can be. */
static void test_a_full_disk(void **state)
{
    (void)state;
    struct stats *stats;
    (void)signal(SIGXFSZ, SIG_IGN);
    struct store *store = started(&stats);
    put(store, 0, 0);
    await(stats, STAT_STORE_WRITES, 1);
    limit_files(4096);
    put(store, 1, 0);
    await(stats, STAT_STORE_FAILURES, 1);
    assert_true(is_told(stats, "store.failed"));
    for (unsigned i = 2; i < STORE_QUEUE_MAX + 51; i++)
        put(store, i, 0);
    await(stats, STAT_STORE_LOST, 50);
    limit_files(RLIM_INFINITY);
    await(stats, STAT_STORE_WRITES, STORE_QUEUE_MAX + 1);
    put(store, 1, 1);
    store_close(&store);
    assert_int_equal(counted(stats, STAT_STORE_LOST), 50);
    assert_int_equal(counted(stats, STAT_STORE_WRITES), STORE_QUEUE_MAX + 2);
    stats_close(&stats);
    assert_int_equal(rows_of(STORE_CONSENT), STORE_QUEUE_MAX + 1);
}

/* A stop does not wait for a disk that stays full; what is lost is counted. */
static void test_a_stop_with_a_full_disk(void **state)
{
    (void)state;
    struct stats *stats;
    (void)signal(SIGXFSZ, SIG_IGN);
    struct store *store = started(&stats);
    limit_files(4096);
    for (unsigned i = 0; i < 100; i++)
        put(store, i, 0);
    await(stats, STAT_STORE_FAILURES, 1);
    store_close(&store);
    limit_files(RLIM_INFINITY);
    assert_int_equal(counted(stats, STAT_STORE_LOST), 100);
    stats_close(&stats);
    assert_int_equal(rows_of(STORE_CONSENT), 0);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_rows_survive),
        ROW(test_the_file_is_private),
        ROW(test_changes_are_written_together),
        ROW(test_any_thread_may_put),
        ROW(test_a_kill_takes_nothing_that_was_written),
        ROW(test_a_bad_file_is_refused),
        ROW(test_one_process_has_it),
        ROW(test_a_damaged_file_is_refused),
        ROW(test_a_full_disk),
        ROW(test_a_stop_with_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
