/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "core/database.h"
#include "core/log.h"
#include "proto/limits.h"

/* PRAGMA application_id: "PSRM". */
#define STORE_APPLICATION 1347637837
#define STORE_VERSION     1
#define STORE_BUSY_MS     2000  /* how long a relay that ends is waited for */
#define STORE_BATCH_MAX   4096u /* changes of one commit */
#define STORE_RETRY_S     1

enum statement { STATEMENT_PUT, STATEMENT_REMOVE, STATEMENT_READ, STATEMENT_COUNT };

static const char *const statements[STATEMENT_COUNT] = {
    [STATEMENT_PUT] = "INSERT INTO rows (kind, subject, partner, value, time)"
                      " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT(kind, subject, partner)"
                      " DO UPDATE SET value = excluded.value, time = excluded.time",
    [STATEMENT_REMOVE] = "DELETE FROM rows WHERE kind = ?1 AND subject = ?2 AND partner = ?3",
    [STATEMENT_READ] = ("SELECT subject, partner, value, time FROM rows WHERE kind = ?1"
                        " ORDER BY time"),
};

static const char schema[] =
    "CREATE TABLE rows (kind INTEGER NOT NULL, subject TEXT NOT NULL, partner TEXT NOT NULL,"
    " value INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (kind, subject, partner))"
    " WITHOUT ROWID;"
    "PRAGMA application_id = 1347637837;"
    "PRAGMA user_version = 1;";

struct change {
    STAILQ_ENTRY(change) link;
    bool removes;
    struct store_row row; /* its spans point into the text */
    char text[];
};

STAILQ_HEAD(change_list, change);

struct store {
    char *path;
    sqlite3 *database; /* of the thread, once it runs */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct stats *stats;
    pthread_t thread;
    bool is_running, is_failing;
    char problem[STATS_ERROR_TEXT_SIZE]; /* of the last commit that failed */
    pthread_mutex_t lock; /* guards what follows; never held while the disk is waited for */
    pthread_cond_t changed;
    struct change_list queue;
    unsigned count; /* of the queue, and of the batch that is being written */
    uint64_t lost;  /* that nobody has counted yet */
    bool is_closing;
};

/* ---- opening ---- */

/* SQLite would make it as the umask says: who writes to whom is nobody else's business. */
static int make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    (void)close(fd);
    return 0;
}

/* Takes the file for this process alone: the first statement that looks into it locks it, until
   the database is closed. */
static int prepare(struct store *store)
{
    (void)sqlite3_extended_result_codes(store->database, 1);
    (void)sqlite3_busy_timeout(store->database, STORE_BUSY_MS);
    int rc = database_execute(store->database, "PRAGMA locking_mode = EXCLUSIVE;"
                                               "PRAGMA journal_mode = WAL;"
                                               "PRAGMA synchronous = FULL;"
                                               "PRAGMA journal_size_limit = 4194304");
    return rc != 0 ? rc : database_execute(store->database, "BEGIN IMMEDIATE");
}

static bool is_whole(struct store *store)
{
    sqlite3_stmt *statement = NULL;
    bool whole = sqlite3_prepare_v2(store->database, "PRAGMA quick_check(1)", -1, &statement,
                                    NULL) == SQLITE_OK &&
                 sqlite3_step(statement) == SQLITE_ROW &&
                 strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
    (void)sqlite3_finalize(statement);
    return whole;
}

/* `problem` stays NULL where the code says all. */
static int identify(struct store *store, const char **problem)
{
    int owner = database_owner(store->database, STORE_APPLICATION, STORE_VERSION);
    if (owner < 0)
        return owner;
    if (owner == DATABASE_NEW)
        return database_execute(store->database, schema);
    if (owner == DATABASE_OURS)
        return is_whole(store) ? 0 : -EIO;
    if (owner == DATABASE_OF_OTHER_VERSION)
        *problem = "was made by another version of passerelle; name another file in store.path";
    return -EINVAL;
}

static int prepare_statements(struct store *store)
{
    int code = SQLITE_OK;
    for (size_t i = 0; i < STATEMENT_COUNT && code == SQLITE_OK; i++)
        code = sqlite3_prepare_v3(store->database, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &store->statements[i], NULL);
    return database_errno(code);
}

/* Static or SQLite's. */
static const char *problem_of(const struct store *store, int rc)
{
    switch (rc) {
    case -EBUSY:
        return "another process has it open; is another relay running with this store?";
    case -EIO:
        return "is damaged; put a copy in its place, or move it away to begin with an empty "
               "store";
    case -EINVAL: return "is no store of passerelle; name another file in store.path";
    default: return sqlite3_errmsg(store->database);
    }
}

/* `problem` gets what is wrong. */
static int open_database(struct store *store, const char **problem)
{
    int rc = make_file(store->path);
    if (rc != 0) {
        *problem = strerror(-rc);
        return rc;
    }
    *problem = NULL;
    rc = database_errno(sqlite3_open_v2(store->path, &store->database,
                                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));
    if (rc == 0)
        rc = prepare(store);
    if (rc == 0)
        rc = identify(store, problem);
    if (rc == 0)
        rc = database_execute(store->database, "COMMIT");
    if (rc == 0)
        rc = prepare_statements(store);
    if (*problem == NULL)
        *problem = problem_of(store, rc);
    return rc;
}

int store_open(struct store **out, const char *path, char *error, size_t error_size)
{
    pthread_condattr_t monotonic;
    const char *problem = strerror(ENOMEM);
    struct store *store = calloc(1, sizeof(*store));
    *out = NULL;
    if (store == NULL)
        return -ENOMEM;
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    STAILQ_INIT(&store->queue);
    store->path = strdup(path);
    int rc = store->path != NULL ? open_database(store, &problem) : -ENOMEM;
    if (rc == 0) {
        *out = store;
        return 0;
    }
    (void)snprintf(error, error_size, "store: %s: %s", path, problem);
    store_close(&store);
    return rc;
}

/* ---- reading ---- */

static struct span column(sqlite3_stmt *statement, int number)
{
    const void *text = sqlite3_column_text(statement, number);
    return span_make(text, (size_t)sqlite3_column_bytes(statement, number));
}

int store_next(struct store *store, enum store_kind kind, struct store_row *row)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_READ];
    assert(!store->is_running);
    if (sqlite3_stmt_busy(statement) == 0)
        (void)sqlite3_bind_int(statement, 1, (int)kind);
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW) {
        (void)sqlite3_reset(statement);
        return database_errno(code);
    }
    *row = (struct store_row){.kind = kind,
                              .subject = column(statement, 0),
                              .partner = column(statement, 1),
                              .value = sqlite3_column_int64(statement, 2),
                              .time_s = sqlite3_column_int64(statement, 3)};
    return row->subject.data != NULL && row->partner.data != NULL ? 1 : -ENOMEM;
}

/* ---- the queue ---- */

static struct change *change_make(const struct store_row *row, bool removes)
{
    size_t size = row->subject.size + row->partner.size;
    struct change *change = malloc(sizeof(*change) + size);
    if (change == NULL)
        return NULL;
    *change = (struct change){.removes = removes, .row = *row};
    memcpy(change->text, row->subject.data, row->subject.size);
    memcpy(change->text + row->subject.size, row->partner.data, row->partner.size);
    change->row.subject = span_make(change->text, row->subject.size);
    change->row.partner = span_make(change->text + row->subject.size, row->partner.size);
    return change;
}

static void post(struct store *store, const struct store_row *row, bool removes)
{
    if (store == NULL)
        return;
    assert(row->subject.size <= JID_SIZE_MAX);
    assert(row->partner.size <= JID_SIZE_MAX);
    struct change *change = change_make(row, removes);
    pthread_mutex_lock(&store->lock);
    if (change != NULL && store->count < STORE_QUEUE_MAX) {
        STAILQ_INSERT_TAIL(&store->queue, change, link);
        store->count++;
        change = NULL;
    } else {
        store->lost++;
    }
    pthread_cond_signal(&store->changed);
    pthread_mutex_unlock(&store->lock);
    free(change);
}

void store_put(struct store *store, const struct store_row *row)
{
    post(store, row, false);
}

void store_remove(struct store *store, const struct store_row *row)
{
    post(store, row, true);
}

/* ---- the thread ---- */

static int bind_text(sqlite3_stmt *statement, int number, struct span text)
{
    /* Empty is not NULL. */
    return sqlite3_bind_text(statement, number, text.size > 0 ? text.data : "", (int)text.size,
                             SQLITE_STATIC);
}

static int apply(struct store *store, const struct change *change)
{
    const struct store_row *row = &change->row;
    sqlite3_stmt *statement =
        store->statements[change->removes ? STATEMENT_REMOVE : STATEMENT_PUT];
    int code = sqlite3_bind_int(statement, 1, (int)row->kind);
    if (code == SQLITE_OK)
        code = bind_text(statement, 2, row->subject);
    if (code == SQLITE_OK)
        code = bind_text(statement, 3, row->partner);
    if (code == SQLITE_OK && !change->removes)
        code = sqlite3_bind_int64(statement, 4, row->value);
    if (code == SQLITE_OK && !change->removes)
        code = sqlite3_bind_int64(statement, 5, row->time_s);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    (void)sqlite3_reset(statement);
    return database_errno(code);
}

/* All of the batch or nothing of it. */
static int commit(struct store *store, const struct change_list *batch)
{
    const struct change *change;
    int rc = database_execute(store->database, "BEGIN IMMEDIATE");
    STAILQ_FOREACH(change, batch, link)
    {
        if (rc != 0)
            break;
        rc = apply(store, change);
    }
    if (rc == 0)
        rc = database_execute(store->database, "COMMIT");
    if (rc != 0)
        (void)snprintf(store->problem, sizeof(store->problem), "%s: %s", store->path,
                       sqlite3_errmsg(store->database));
    if (rc != 0 && sqlite3_get_autocommit(store->database) == 0)
        (void)database_execute(store->database, "ROLLBACK");
    return rc;
}

/* Counts what became of a commit; what an operator must know is said once, not every second. */
static void tell(struct store *store, int rc, unsigned size)
{
    if (rc == 0 && store->is_failing)
        log_event(LOG_LEVEL_INFO, "store.recovered", 0, log_text("path", span_of(store->path)));
    if (rc != 0 && !store->is_failing) {
        struct span reason = span_of(store->problem);
        log_event(
            LOG_LEVEL_ERROR, "store.failed", 0, log_text("reason", reason),
            log_text("remedy", SPAN("make room or mend it; until then it is tried again")));
        stats_error(store->stats,
                    &(struct stats_trouble){.event = "store.failed", .reason = reason});
    }
    store->is_failing = rc != 0;
    stats_add(store->stats, STAT_STORE_WRITES, rc == 0 ? size : 0);
    stats_count(store->stats, rc == 0 ? STAT_STORE_COMMITS : STAT_STORE_FAILURES);
}

static void count_lost(struct store *store, uint64_t changes)
{
    if (changes == 0)
        return;
    stats_add(store->stats, STAT_STORE_LOST, changes);
    log_event(LOG_LEVEL_ERROR, "store.lost", 0, log_number("changes", (int64_t)changes),
              log_text("path", span_of(store->path)));
}

/* Under the lock: adds to the batch what has come. */
static void gather(struct store *store, struct change_list *batch, unsigned *size)
{
    while (*size < STORE_BATCH_MAX && !STAILQ_EMPTY(&store->queue)) {
        struct change *change = STAILQ_FIRST(&store->queue);
        STAILQ_REMOVE_HEAD(&store->queue, link);
        STAILQ_INSERT_TAIL(batch, change, link);
        ++*size;
    }
}

static void release(struct store *store, struct change_list *batch, unsigned size)
{
    pthread_mutex_lock(&store->lock);
    store->count -= size;
    pthread_mutex_unlock(&store->lock);
    while (!STAILQ_EMPTY(batch)) {
        struct change *change = STAILQ_FIRST(batch);
        STAILQ_REMOVE_HEAD(batch, link);
        free(change);
    }
}

static void wait_to_retry(struct store *store)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STORE_RETRY_S;
    pthread_mutex_lock(&store->lock);
    while (!store->is_closing &&
           pthread_cond_timedwait(&store->changed, &store->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&store->lock);
}

/* True: there may be something to write; false: it is over. */
static bool await(struct store *store, struct change_list *batch, unsigned *size)
{
    pthread_mutex_lock(&store->lock);
    while (*size == 0 && STAILQ_EMPTY(&store->queue) && store->lost == 0 && !store->is_closing)
        pthread_cond_wait(&store->changed, &store->lock);
    gather(store, batch, size);
    bool goes_on = *size > 0 || !store->is_closing;
    uint64_t lost = store->lost;
    store->lost = 0;
    pthread_mutex_unlock(&store->lock);
    count_lost(store, lost);
    return goes_on;
}

static bool is_closing(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    bool closing = store->is_closing;
    pthread_mutex_unlock(&store->lock);
    return closing;
}

static void *run(void *argument)
{
    struct store *store = argument;
    struct change_list batch = STAILQ_HEAD_INITIALIZER(batch);
    unsigned size = 0;
    while (await(store, &batch, &size)) {
        if (size == 0)
            continue;
        bool is_last = is_closing(store);
        int rc = commit(store, &batch);
        tell(store, rc, size);
        if (rc != 0 && !is_last) {
            wait_to_retry(store);
            continue;
        }
        if (rc != 0)
            count_lost(store, size);
        release(store, &batch, size);
        size = 0;
    }
    return NULL;
}

int store_start(struct store *store, struct stats *stats)
{
    assert(!store->is_running);
    store->stats = stats;
    int rc = -pthread_create(&store->thread, NULL, run, store);
    store->is_running = rc == 0;
    if (rc == 0)
        (void)pthread_setname_np(store->thread, "store");
    return rc;
}

void store_close(struct store **store)
{
    struct store *closed = *store;
    *store = NULL;
    if (closed == NULL)
        return;
    pthread_mutex_lock(&closed->lock);
    closed->is_closing = true;
    pthread_cond_signal(&closed->changed);
    pthread_mutex_unlock(&closed->lock);
    if (closed->is_running)
        (void)pthread_join(closed->thread, NULL);
    /* Without a thread nothing was written yet that the next start would not say again. */
    release(closed, &closed->queue, closed->count);
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        (void)sqlite3_finalize(closed->statements[i]);
    int code = sqlite3_close(closed->database);
    assert(code == SQLITE_OK);
    pthread_cond_destroy(&closed->changed);
    pthread_mutex_destroy(&closed->lock);
    free(closed->path);
    free(closed);
}
