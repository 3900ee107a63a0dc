/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The process: options, configuration, the threads, signals. */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/claim.h"
#include "core/config.h"
#include "core/control.h"
#include "core/egress.h"
#include "core/log.h"
#include "core/memories.h"
#include "core/reload.h"
#include "core/worker.h"
#include "net/clock.h"
#include "net/tls.h"

#define MAIN_TURN_MS  1000 /* longest wait of a loop: how soon a stop is seen without a wake */
#define MAIN_DRAIN_MS 5000 /* how long streams may take to close */
#define MAIN_ERROR    512
#define MAIN_MISUSE   2 /* status for wrong options and wrong configurations: no use to retry */

/* Read by jemalloc: memory that a flood needed goes back to the system within seconds, also
   when nothing happens any more that would make a thread think of it. */
extern const char *const malloc_conf;
const char *const malloc_conf = "background_thread:true,dirty_decay_ms:3000,muzzy_decay_ms:0";

/* The mutable globals: the signal flags. One says stop, the other read the configuration. */
static volatile sig_atomic_t main_signal, main_hangup;

enum main_role { MAIN_WORKER, MAIN_EGRESS };

/* One thread and how its start went. */
struct main_thread {
    struct thread thread;
    enum main_role role;
    pthread_t id;
    bool created;
    struct main_process *process;
};

struct main_process {
    const struct config *config; /* of the start */
    struct reload *reload;
    struct mesh *mesh;
    struct resolver *resolver;
    struct census *census;
    struct memories memories;
    struct control *control;
    struct stats **stats; /* by mesh index; behind them the store's */
    struct main_thread *threads;
    unsigned thread_count; /* without control */
    _Atomic bool stopping;
    pthread_mutex_t lock; /* guards what follows: start and end only */
    pthread_cond_t changed;
    unsigned opened, failed;
    bool go;
    unsigned to_close, closed;  /* threads, once the stop has begun; under `lock` too */
    _Atomic unsigned undrained; /* threads that still have work of before the stop */
    char error[MAIN_ERROR];
};

static void main_on_signal(int number)
{
    if (number == SIGHUP)
        main_hangup = 1;
    else
        main_signal = number;
}

static const char main_usage[] =
    "usage: passerelle [options]\n"
    "\n"
    "An XMPP-SIP federation relay. Without --config it starts with embedded defaults for\n"
    "trying it out on loopback (passerelle --defaults prints them).\n"
    "\n"
    "  -c, --config FILE  read the configuration from FILE\n"
    "  -t, --check        check the configuration, print what is wrong, and end\n"
    "  -d, --defaults     print the embedded configuration and end\n"
    "  -v, --version      print the version and end\n"
    "  -h, --help         print this text and end\n"
    "\n"
    "SIGHUP has it read its configuration again, as passerellectl reload does.\n"
    "SIGTERM and SIGINT end it after at most 5 seconds of saying good-bye. Status: 0 after a\n"
    "stop, 1 when it cannot start, 2 for wrong options or a wrong configuration.\n";

/* ---- threads ---- */

static void main_report(struct main_thread *one, int status, const char *error)
{
    struct main_process *process = one->process;
    pthread_mutex_lock(&process->lock);
    if (status == 0) {
        process->opened++;
        atomic_fetch_add(&process->undrained, 1);
    } else {
        if (process->failed == 0)
            snprintf(process->error, sizeof(process->error), "%s", error);
        process->failed++;
    }
    pthread_cond_broadcast(&process->changed);
    while (!process->go && process->failed == 0)
        pthread_cond_wait(&process->changed, &process->lock);
    pthread_mutex_unlock(&process->lock);
}

/* A thread that has drained goes on until all have: the others may still need its answers. */
static bool main_draining(struct main_process *process, bool *drained, bool now, uint64_t end_ms)
{
    if (now && !*drained) {
        *drained = true;
        atomic_fetch_sub(&process->undrained, 1);
    }
    return atomic_load(&process->undrained) > 0 && clock_now_ns() / 1000000 < end_ms;
}

static void main_run_worker(struct main_process *process, struct worker *worker)
{
    bool drained = false;
    while (!atomic_load_explicit(&process->stopping, memory_order_acquire))
        worker_turn(worker, MAIN_TURN_MS);
    uint64_t end_ms = clock_now_ns() / 1000000 + MAIN_DRAIN_MS;
    while (main_draining(process, &drained, worker_drain(worker, false), end_ms))
        worker_turn(worker, 20);
    worker_drain(worker, true);
}

static void main_run_egress(struct main_process *process, struct egress *egress)
{
    bool drained = false;
    while (!atomic_load_explicit(&process->stopping, memory_order_acquire))
        egress_turn(egress, MAIN_TURN_MS);
    uint64_t end_ms = clock_now_ns() / 1000000 + MAIN_DRAIN_MS;
    while (main_draining(process, &drained, egress_drain(egress, false), end_ms))
        egress_turn(egress, 20);
    /* The answers of the last turn are written, and it takes another one to send them:
       unanswered, a client would repeat to the next relay what this one has delivered. */
    egress_turn(egress, 0);
    egress_drain(egress, true);
}

/* No ring may go while another thread can still wake it. */
static void main_await_all(struct main_process *process)
{
    pthread_mutex_lock(&process->lock);
    process->closed++;
    pthread_cond_broadcast(&process->changed);
    while (process->to_close == 0 || process->closed < process->to_close)
        pthread_cond_wait(&process->changed, &process->lock);
    pthread_mutex_unlock(&process->lock);
}

static int main_open_ring(struct thread *thread, char *error, size_t error_size)
{
    const char *cause = "";
    struct ring_options options = {.socket_max = thread->config->sessions_max + 64,
                                   .datagram_batches = true,
                                   .error_text = &cause};
    int status = ring_open(&thread->ring, &options);
    if (status != 0)
        snprintf(error, error_size, "io_uring: %s: %s", strerror(-status), cause);
    else
        mesh_attach(thread->mesh, thread->self, thread->ring);
    return status;
}

static void *main_thread_run(void *argument)
{
    struct main_thread *one = argument;
    struct thread *thread = &one->thread;
    struct worker *worker = NULL;
    struct egress *egress = NULL;
    char error[MAIN_ERROR] = "";
    timer_heap_init(&thread->timers);
    int status = main_open_ring(thread, error, sizeof(error));
    if (status == 0 && one->role == MAIN_WORKER)
        status = worker_open(&worker, thread, error, sizeof(error));
    else if (status == 0)
        status = egress_open(&egress, thread, error, sizeof(error));
    main_report(one, status, error);
    if (worker != NULL) {
        main_run_worker(one->process, worker);
        worker_close(&worker);
    }
    if (egress != NULL) {
        main_run_egress(one->process, egress);
        egress_close(&egress);
    }
    main_await_all(one->process);
    if (thread->ring != NULL)
        ring_close(&thread->ring);
    timer_heap_fini(&thread->timers);
    return NULL;
}

static int main_start_threads(struct main_process *process)
{
    for (unsigned i = 0; i < process->thread_count; i++) {
        struct main_thread *one = &process->threads[i];
        one->process = process;
        one->role = i < process->config->worker_count ? MAIN_WORKER : MAIN_EGRESS;
        one->thread = (struct thread){.self = i + 1,
                                      .config = process->config,
                                      .offer = reload_offer(process->reload, i + 1),
                                      .mesh = process->mesh,
                                      .resolver = process->resolver,
                                      .census = process->census,
                                      .trust = process->memories.trust,
                                      .consent = memories_consent(&process->memories,
                                                                  process->config, i + 1),
                                      .stats = process->stats[i + 1],
                                      .stopping = &process->stopping};
        if (pthread_create(&one->id, NULL, main_thread_run, one) != 0) {
            main_report(one, -EAGAIN, "the system allows no more threads");
            return -EAGAIN;
        }
        one->created = true;
        char name[16];
        snprintf(name, sizeof(name), "%s-%u", one->role == MAIN_WORKER ? "worker" : "egress",
                 one->role == MAIN_WORKER ? i : i - process->config->worker_count);
        pthread_setname_np(one->id, name);
    }
    pthread_mutex_lock(&process->lock);
    while (process->opened + process->failed < process->thread_count && process->failed == 0)
        pthread_cond_wait(&process->changed, &process->lock);
    int status = process->failed == 0 ? 0 : -EIO;
    process->go = true;
    pthread_cond_broadcast(&process->changed);
    pthread_mutex_unlock(&process->lock);
    return status;
}

static void main_stop_threads(struct main_process *process)
{
    unsigned created = 0;
    for (unsigned i = 0; i < process->thread_count; i++)
        created += process->threads[i].created;
    pthread_mutex_lock(&process->lock);
    process->to_close = created;
    pthread_cond_broadcast(&process->changed);
    pthread_mutex_unlock(&process->lock);
    atomic_store_explicit(&process->stopping, true, memory_order_release);
    for (unsigned i = 0; i < process->thread_count; i++) {
        if (process->threads[i].created)
            pthread_join(process->threads[i].id, NULL);
    }
}

/* ---- process ---- */

/* Control's, one for each thread, and the store's. */
static unsigned main_stats_count(const struct main_process *process)
{
    return process->thread_count + 2;
}

static void main_close(struct main_process *process)
{
    control_close(&process->control);
    resolver_close(&process->resolver);
    memories_close(&process->memories);
    for (unsigned i = 0; process->stats != NULL && i < main_stats_count(process); i++)
        stats_close(&process->stats[i]);
    free(process->stats);
    free(process->threads);
    census_close(&process->census);
    mesh_close(&process->mesh);
    reload_close(&process->reload);
}

/* The configuration becomes the process's as soon as there is who keeps it. */
static int main_open(struct main_process *process, struct config **owned)
{
    struct config *config = *owned;
    process->thread_count = config->worker_count + config->egress_count;
    process->threads = calloc(process->thread_count, sizeof(*process->threads));
    process->stats = calloc(main_stats_count(process), sizeof(*process->stats));
    if (process->threads == NULL || process->stats == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < main_stats_count(process); i++) {
        process->stats[i] = stats_open(config->tenant_slots);
        if (process->stats[i] == NULL)
            return -ENOMEM;
    }
    int status = mesh_open(&process->mesh, process->thread_count + 1, config->parcel_count);
    if (status != 0)
        return status;
    struct reload_options reload = {.config = config,
                                    .mesh = process->mesh,
                                    .stats = process->stats,
                                    .stats_count = main_stats_count(process)};
    status = reload_open(&process->reload, &reload);
    *owned = NULL;
    if (status != 0)
        return status;
    status = census_open(&process->census, config->sessions_max,
                         config->sessions_per_address_max);
    if (status == 0)
        status = memories_open(&process->memories, config,
                               process->stats[main_stats_count(process) - 1], process->error,
                               sizeof(process->error));
    if (status != 0)
        return status;
    struct resolver_options resolver = {.server = config->dns_server,
                                        .trust_anchor = config->dns_trust_anchor,
                                        .hosts_file = config->dns_hosts_file,
                                        .timeout_ms = config->dns_timeout_ms,
                                        .allow_special = config->dns_allow_special};
    status = resolver_open(&process->resolver, &resolver);
    if (status != 0) {
        snprintf(process->error, sizeof(process->error), "resolver: %s", strerror(-status));
        return status;
    }
    struct control_options control = {.config = config,
                                      .reload = process->reload,
                                      .stats = process->stats,
                                      .stats_count = main_stats_count(process),
                                      .mesh = process->mesh,
                                      .self = THREAD_CONTROL};
    return control_open(&process->control, &control, process->error, sizeof(process->error));
}

/* A session costs one descriptor; asking for what the hard limit allows is all we can do. */
static void main_raise_limits(const struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    rlim_t wanted = (rlim_t)config->sessions_max * config->worker_count + 256;
    if (limit.rlim_cur < wanted)
        log_event(LOG_LEVEL_WARN, "start.descriptors", 0,
                  log_number("limit", (int64_t)limit.rlim_cur),
                  log_number("wanted", (int64_t)wanted),
                  log_text("remedy", SPAN("raise LimitNOFILE or lower xmpp.sessions_max")));
}

static void main_announce(const struct config *config)
{
    config_tell_warnings(config, NULL);
    if (!tls_accelerated())
        log_event(LOG_LEVEL_WARN, "start.crypto", 0, log_text("library", span_of(tls_library())),
                  log_text("problem", SPAN("AES is not hardware accelerated in this wolfSSL")),
                  log_text("remedy", SPAN("run tools/setup and build again")));
    log_event(LOG_LEVEL_INFO, "start.ready", 0, log_text("version", SPAN(PASSERELLE_VERSION)),
              log_text("config", span_of(config->path)),
              log_number("workers", config->worker_count),
              log_number("egress", config->egress_count),
              log_number("tenants", (int64_t)config->tenant_count),
              log_text("tls", span_of(tls_library())),
              log_text("stats_socket", span_of(config->stats_socket)));
}

static void main_catch_signals(void)
{
    struct sigaction action = {.sa_handler = main_on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files fails the write, as a full disk does */
}

/* Until a signal says stop. */
static void main_wait(struct main_process *process)
{
    while (main_signal == 0) {
        if (main_hangup != 0) {
            main_hangup = 0;
            control_reload(process->control);
        }
        control_turn(process->control, 200);
    }
    log_event(LOG_LEVEL_INFO, "stop.signal", 0, log_number("signal", main_signal));
}

static int main_serve(struct config **owned)
{
    const struct config *config = *owned;
    struct main_process process = {.config = config,
                                   .lock = PTHREAD_MUTEX_INITIALIZER,
                                   .changed = PTHREAD_COND_INITIALIZER};
    log_setup((enum log_level)config->log_level, (enum log_format)config->log_format);
    main_catch_signals();
    main_raise_limits(config);
    int status = claim_all(config, process.error, sizeof(process.error));
    if (status == 0)
        status = main_open(&process, owned);
    if (status == 0)
        status = main_start_threads(&process);
    if (status == 0) {
        main_announce(config);
        main_wait(&process);
    } else {
        fprintf(stderr, "passerelle: cannot start: %s\n",
                process.error[0] != '\0' ? process.error : strerror(-status));
    }
    if (process.threads != NULL)
        main_stop_threads(&process);
    main_close(&process);
    return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 't'},
        {"defaults", no_argument, NULL, 'd'},     {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    bool check = false;
    for (int c; (c = getopt_long(argc, argv, "c:tdvh", options, NULL)) != -1;) {
        switch (c) {
        case 'c': path = optarg; break;
        case 't': check = true; break;
        case 'd': fputs(config_defaults(), stdout); return EXIT_SUCCESS;
        case 'v': puts("passerelle " PASSERELLE_VERSION); return EXIT_SUCCESS;
        case 'h': fputs(main_usage, stdout); return EXIT_SUCCESS;
        default: fputs("Try passerelle --help.\n", stderr); return MAIN_MISUSE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "passerelle: unexpected argument: %s\nTry passerelle --help.\n",
                argv[optind]);
        return MAIN_MISUSE;
    }
    char error[MAIN_ERROR] = "";
    struct config *config = NULL;
    if (tls_start() != 0) {
        fputs("passerelle: wolfSSL does not start\n", stderr);
        return EXIT_FAILURE;
    }
    struct config_source source = {.path = path, .checks_certificates = check};
    int status = EXIT_SUCCESS;
    if (config_read(&config, &source, error, sizeof(error)) != 0) {
        fprintf(stderr, "passerelle: %s\n", error);
        status = MAIN_MISUSE;
    } else if (check) {
        config_tell_warnings(config, stderr);
        printf("%s: correct: %zu tenants, %zu trunks, %zu partners\n", config->path,
               config->tenant_count, config->trunk_count, config->partner_count);
    } else {
        status = main_serve(&config);
    }
    config_close(&config);
    tls_stop();
    return status;
}
