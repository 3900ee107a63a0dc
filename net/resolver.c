/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One thread owns libunbound's context and every job. A job is one question (resolver_job.c).
 * Callbacks only note results; the thread's loop moves the jobs on. One mutex guards what the
 * ports share with the thread: the queues of new jobs and of answers, and whether a job's owner
 * still wants it.
 */
#include "net/resolver_priv.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/clock.h"

#define ASK_MAX             4096
#define OUTGOING_PORT_COUNT "4096" /* questions that libunbound asks at a time */

struct resolver_port {
    struct resolver *resolver;
    struct ring *ring;
    struct resolver_answer *first, *last;
    unsigned asked; /* without a taken answer */
};

struct resolver {
    struct ub_ctx *context;
    pthread_t thread;
    pthread_mutex_t mutex;
    int event_fd;
    bool is_stopping;
    bool allow_special;
    unsigned port_count;
    uint64_t timeout_ns;
    struct job *jobs; /* all; the thread removes, ports add at the front */
};

static void resolver_lock(struct resolver *resolver)
{
    int rc = pthread_mutex_lock(&resolver->mutex);
    assert(rc == 0);
    (void)rc;
}

static void resolver_unlock(struct resolver *resolver)
{
    int rc = pthread_mutex_unlock(&resolver->mutex);
    assert(rc == 0);
    (void)rc;
}

/* Gives the answer to the port if somebody still waits there. The mutex is held. */
static void job_answer(struct resolver *resolver, struct job *job, bool is_late)
{
    struct resolver_port *port = job->port;
    if (port == NULL)
        return;
    struct resolver_answer *answer = resolver_job_answer(job, resolver->allow_special, is_late);
    if (port->last != NULL)
        port->last->next = answer;
    else
        port->first = answer;
    port->last = answer;
    if (port->ring != NULL)
        ring_wake(port->ring);
}

/* Moves one job on; true when it is over. */
static bool job_step(struct resolver *resolver, struct job *job, uint64_t now_ns)
{
    bool is_late = now_ns >= job->deadline_ns;
    if (job->port != NULL && !is_late && !resolver_job_advance(resolver->context, job, now_ns))
        return false;
    job_answer(resolver, job, is_late);
    return true;
}

/* Moves all jobs on. Returns how long the thread may sleep, in ms; -1: until something happens.
 */
static int resolver_step(struct resolver *resolver)
{
    uint64_t now_ns = clock_now_ns(), nearest_ns = UINT64_MAX;
    resolver_lock(resolver);
    struct job **place = &resolver->jobs;
    while (*place != NULL) {
        struct job *job = *place;
        if (job_step(resolver, job, now_ns)) {
            *place = job->next;
            resolver_job_free(resolver->context, job);
            continue;
        }
        uint64_t next_ns = job->hurry_ns < job->deadline_ns ? job->hurry_ns : job->deadline_ns;
        nearest_ns = next_ns < nearest_ns ? next_ns : nearest_ns;
        place = &job->next;
    }
    resolver_unlock(resolver);
    if (nearest_ns == UINT64_MAX)
        return -1;
    return (int)((nearest_ns - now_ns) / 1000000u) + 1;
}

static void *resolver_run(void *context)
{
    struct resolver *resolver = context;
    struct pollfd fds[2] = {{.fd = resolver->event_fd, .events = POLLIN},
                            {.fd = ub_fd(resolver->context), .events = POLLIN}};
    for (bool more = true; more;) {
        int wait_ms = resolver_step(resolver);
        (void)poll(fds, 2, wait_ms);
        uint64_t count;
        if ((fds[0].revents & POLLIN) != 0 &&
            read(resolver->event_fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
            continue;
        if ((fds[1].revents & POLLIN) != 0)
            (void)ub_process(resolver->context);
        resolver_lock(resolver);
        more = !resolver->is_stopping;
        resolver_unlock(resolver);
    }
    return NULL;
}

static void resolver_notify(struct resolver *resolver)
{
    const uint64_t one = 1;
    /* A full counter means that a wake-up is pending already. */
    ssize_t rc = write(resolver->event_fd, &one, sizeof(one));
    (void)rc;
}

static int resolver_set_up(struct resolver *resolver, const struct resolver_options *options)
{
    struct ub_ctx *context = resolver->context;
    int rc = ub_ctx_async(context, 1);
    if (rc == 0 && options->hosts_file != NULL)
        rc = ub_ctx_hosts(context, options->hosts_file);
    if (rc == 0 && options->trust_anchor != NULL)
        rc = ub_ctx_add_ta_file(context, options->trust_anchor);
    /* A server on the loopback interface is usual (systemd-resolved, a local unbound). */
    if (rc == 0)
        rc = ub_ctx_set_option(context, "do-not-query-localhost:", "no");
    /* A question without an answer holds one of libunbound's ports for some seconds. With its
       16, a few names of silent servers would stop everybody's questions. */
    if (rc == 0)
        rc = ub_ctx_set_option(context, "outgoing-range:", OUTGOING_PORT_COUNT);
    if (rc == 0 && options->server != NULL)
        rc = ub_ctx_set_fwd(context, options->server);
    else if (rc == 0)
        rc = ub_ctx_resolvconf(context, NULL);
    return rc == 0 ? 0 : -EINVAL;
}

int resolver_open(struct resolver **resolver, const struct resolver_options *options)
{
    assert(options != NULL);
    *resolver = NULL;
    struct resolver *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    unsigned timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : 10000;
    made->timeout_ns = (uint64_t)timeout_ms * 1000000u;
    made->allow_special = options->allow_special;
    made->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = made->event_fd < 0 ? -errno : 0;
    if (rc == 0)
        made->context = ub_ctx_create();
    if (rc == 0)
        rc = made->context != NULL ? resolver_set_up(made, options) : -ENOMEM;
    if (rc == 0)
        rc = -pthread_mutex_init(&made->mutex, NULL);
    if (rc == 0)
        rc = -pthread_create(&made->thread, NULL, resolver_run, made);
    if (rc == 0) {
        *resolver = made;
        return 0;
    }
    if (made->context != NULL)
        ub_ctx_delete(made->context);
    if (made->event_fd >= 0)
        (void)close(made->event_fd);
    free(made);
    return rc;
}

void resolver_close(struct resolver **resolver)
{
    struct resolver *closed = *resolver;
    if (closed == NULL)
        return;
    assert(closed->port_count == 0);
    resolver_lock(closed);
    closed->is_stopping = true;
    resolver_unlock(closed);
    resolver_notify(closed);
    (void)pthread_join(closed->thread, NULL);
    while (closed->jobs != NULL) {
        struct job *job = closed->jobs;
        closed->jobs = job->next;
        resolver_job_free(closed->context, job);
    }
    ub_ctx_delete(closed->context);
    (void)close(closed->event_fd);
    (void)pthread_mutex_destroy(&closed->mutex);
    free(closed);
    *resolver = NULL;
}

int resolver_port_open(struct resolver_port **port, struct resolver *resolver,
                       struct ring *ring)
{
    *port = calloc(1, sizeof(**port));
    if (*port == NULL)
        return -ENOMEM;
    (*port)->resolver = resolver;
    (*port)->ring = ring;
    resolver_lock(resolver);
    resolver->port_count++;
    resolver_unlock(resolver);
    return 0;
}

/* Forgets the jobs and answers of one owner, or of all when `every`. The mutex is held. */
static void port_forget(struct resolver_port *port, const void *owner, bool every)
{
    for (struct job *job = port->resolver->jobs; job != NULL; job = job->next) {
        if (job->port != port || (!every && job->question.owner != owner))
            continue;
        job->port = NULL;
        port->asked--;
    }
    struct resolver_answer **place = &port->first;
    port->last = NULL;
    while (*place != NULL) {
        struct resolver_answer *answer = *place;
        if (every || answer->owner == owner) {
            *place = answer->next;
            port->asked--;
            free(answer);
            continue;
        }
        port->last = answer;
        place = &answer->next;
    }
}

void resolver_port_close(struct resolver_port **port)
{
    struct resolver_port *closed = *port;
    if (closed == NULL)
        return;
    struct resolver *resolver = closed->resolver;
    resolver_lock(resolver);
    port_forget(closed, NULL, true);
    assert(closed->asked == 0);
    assert(resolver->port_count > 0);
    resolver->port_count--;
    resolver_unlock(resolver);
    resolver_notify(resolver);
    free(closed);
    *port = NULL;
}

int resolver_ask(struct resolver_port *port, const struct resolver_question *question)
{
    assert(question->service_count <= RESOLVER_SERVICE_MAX);
    struct resolver *resolver = port->resolver;
    struct job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return -ENOMEM;
    job->answer = calloc(1, sizeof(*job->answer));
    if (job->answer == NULL) {
        free(job);
        return -ENOMEM;
    }
    job->question = *question;
    job->port = port;
    job->ttl_s = TTL_MAX_S;
    job->hurry_ns = UINT64_MAX;
    job->deadline_ns = clock_now_ns() + resolver->timeout_ns;
    resolver_lock(resolver);
    bool is_full = port->asked == ASK_MAX;
    if (!is_full) {
        port->asked++;
        job->next = resolver->jobs;
        resolver->jobs = job;
    }
    resolver_unlock(resolver);
    if (is_full) {
        free(job->answer);
        free(job);
        return -EAGAIN;
    }
    resolver_notify(resolver);
    return 0;
}

void resolver_forget(struct resolver_port *port, const void *owner)
{
    resolver_lock(port->resolver);
    port_forget(port, owner, false);
    resolver_unlock(port->resolver);
}

bool resolver_next(struct resolver_port *port, struct resolver_answer **answer)
{
    resolver_lock(port->resolver);
    struct resolver_answer *first = port->first;
    if (first != NULL) {
        assert(port->asked > 0);
        port->asked--;
        port->first = first->next;
        if (port->first == NULL)
            port->last = NULL;
    }
    resolver_unlock(port->resolver);
    *answer = first;
    return first != NULL;
}

const char *resolver_status_text(enum resolver_status status)
{
    switch (status) {
    case RESOLVER_FOUND: return "found";
    case RESOLVER_NOT_FOUND: return "no such name or record";
    case RESOLVER_NO_SERVICE: return "the domain declares that it has no such service";
    case RESOLVER_REFUSED: return "only loopback or private addresses";
    case RESOLVER_TIMEOUT: return "no answer in time";
    case RESOLVER_FAILED: return "the name server failed";
    case RESOLVER_BOGUS: return "DNSSEC validation failed";
    case RESOLVER_NO_NAME: return "no such name";
    }
    return "unknown";
}
