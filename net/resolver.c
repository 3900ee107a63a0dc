/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One thread owns libunbound's context and every job. A job is one question: first its SRV
 * lookups, then the addresses of each target. Callbacks only note results; the thread's loop moves
 * the jobs on. One mutex guards what the ports share with the thread: the queues of new jobs and
 * of answers, and whether a job's owner still wants it.
 */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unbound.h>
#include <unistd.h>

#include "net/clock.h"
#include "net/digest.h"
#include "net/resolver_order.h"

#define ASK_MAX          4096
#define HOST_ADDRESS_MAX 8 /* of one host and family together */
#define LOOKUP_MAX       (2 * RESOLVER_TARGET_MAX)
#define TTL_MIN_S        30
#define TTL_MAX_S        3600
#define RR_CLASS_IN      1
#define OUTGOING_PORT_COUNT "4096" /* questions that libunbound asks at a time */

enum record_type { RECORD_A = 1, RECORD_AAAA = 28, RECORD_SRV = 33 };
enum job_stage { JOB_NEW, JOB_SERVICES, JOB_ADDRESSES };

struct job_host {
    union net_address address[HOST_ADDRESS_MAX];
    bool secure[HOST_ADDRESS_MAX];
    unsigned count;
};

struct job_lookup {
    struct job *job;
    enum record_type type;
    unsigned index; /* of the service or of the record */
    int id;         /* libunbound's, to cancel */
    bool is_pending;
};

struct job {
    struct job *next;
    struct resolver_port *port; /* NULL: nobody waits any more; guarded by the mutex */
    struct resolver_question question;
    enum job_stage stage;
    uint64_t deadline_ns;
    unsigned pending;
    bool saw_dot, saw_failure, saw_bogus, saw_special;
    uint32_t ttl_s;
    struct resolver_record records[RESOLVER_TARGET_MAX];
    unsigned record_count;
    struct job_host hosts[RESOLVER_TARGET_MAX];
    struct job_lookup lookups[LOOKUP_MAX];
    unsigned lookup_count;
};

struct answer_node {
    struct resolver_answer answer; /* first: the caller frees the node by it */
    struct answer_node *next;
};

struct resolver_port {
    struct resolver *resolver;
    struct ring *ring;
    struct answer_node *first, *last;
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

static void job_take_address(struct job *job, unsigned index, enum record_type type,
                             const struct ub_result *result, int at)
{
    struct job_host *host = &job->hosts[index];
    size_t size = type == RECORD_A ? 4 : 16;
    if (host->count == HOST_ADDRESS_MAX || (size_t)result->len[at] != size)
        return;
    union net_address *address = &host->address[host->count];
    memset(address, 0, sizeof(*address));
    address->any.sa_family = type == RECORD_A ? AF_INET : AF_INET6;
    if (type == RECORD_A)
        memcpy(&address->v4.sin_addr, result->data[at], size);
    else
        memcpy(&address->v6.sin6_addr, result->data[at], size);
    host->secure[host->count++] = result->secure != 0;
}

static void job_take_service(struct job *job, unsigned index, const struct ub_result *result,
                             int at)
{
    struct resolver_record record;
    if (job->record_count == RESOLVER_TARGET_MAX || result->len[at] < 0 ||
        !resolver_order_parse((const uint8_t *)result->data[at], (size_t)result->len[at], &record))
        return;
    if (record.is_dot) {
        job->saw_dot = job->saw_dot || job->question.services[index].dot_is_final;
        return;
    }
    record.service = index;
    record.secure = result->secure != 0;
    job->records[job->record_count++] = record;
}

/* libunbound's callback, on our thread inside ub_process. */
static void lookup_done(void *context, int failure, struct ub_result *result)
{
    struct job_lookup *lookup = context;
    struct job *job = lookup->job;
    assert(lookup->is_pending);
    assert(job->pending > 0);
    lookup->is_pending = false;
    job->pending--;
    if (failure != 0 || result == NULL) {
        job->saw_failure = true;
        return;
    }
    if (result->bogus)
        job->saw_bogus = true;
    else if (!result->havedata)
        job->saw_failure = job->saw_failure || (result->rcode != 0 && result->rcode != 3);
    bool usable = result->havedata && !result->bogus;
    if (usable && (uint32_t)result->ttl < job->ttl_s)
        job->ttl_s = (uint32_t)result->ttl;
    /* Bounded by the answer's size, at most 64 KiB. */
    for (int i = 0; usable && result->data[i] != NULL; i++) {
        if (lookup->type == RECORD_SRV)
            job_take_service(job, lookup->index, result, i);
        else
            job_take_address(job, lookup->index, lookup->type, result, i);
    }
    ub_resolve_free(result);
}

static void job_look_up(struct resolver *resolver, struct job *job, const char *name,
                        enum record_type type, unsigned index)
{
    if (job->lookup_count == LOOKUP_MAX)
        return;
    struct job_lookup *lookup = &job->lookups[job->lookup_count++];
    *lookup = (struct job_lookup){.job = job, .type = type, .index = index, .is_pending = true};
    job->pending++;
    int rc = ub_resolve_async(resolver->context, name, (int)type, RR_CLASS_IN, lookup, lookup_done,
                              &lookup->id);
    if (rc != 0) {
        lookup->is_pending = false;
        job->pending--;
        job->saw_failure = true;
    }
}

static void job_start_services(struct resolver *resolver, struct job *job)
{
    const struct resolver_question *question = &job->question;
    job->stage = JOB_SERVICES;
    for (unsigned i = 0; i < question->service_count; i++) {
        char name[2 * RESOLVER_NAME_SIZE];
        (void)snprintf(name, sizeof(name), "%s.%s", question->services[i].prefix,
                       question->domain);
        job_look_up(resolver, job, name, RECORD_SRV, i);
    }
}

/* When no service is announced, the domain itself is the target (RFC 6120 §3.2.2); not when the
   answer is unknown or forged, because then a service may well be announced. */
static void job_add_fallback(struct job *job)
{
    const struct resolver_question *question = &job->question;
    bool wanted = question->service_count == 0 || question->fallback_port != 0;
    if (job->record_count > 0 || job->saw_dot || job->saw_failure || job->saw_bogus || !wanted)
        return;
    struct resolver_record *record = &job->records[job->record_count++];
    *record = (struct resolver_record){
        .port = question->fallback_port, .service = question->service_count, .secure = true};
    memcpy(record->host, question->domain, sizeof(record->host));
}

static void job_start_addresses(struct resolver *resolver, struct job *job)
{
    uint32_t random[RESOLVER_TARGET_MAX];
    job->stage = JOB_ADDRESSES;
    job_add_fallback(job);
    digest_random(random, sizeof(random));
    /* XEP-0368 §3: the records of both services are one set. */
    resolver_order_sort(job->records, job->record_count, random);
    job->lookup_count = 0;
    for (unsigned i = 0; i < job->record_count; i++) {
        struct job_host *host = &job->hosts[i];
        if (net_address_parse_host(&host->address[0], job->records[i].host, 0) == 0) {
            host->count = 1;
            continue;
        }
        job_look_up(resolver, job, job->records[i].host, RECORD_AAAA, i);
        job_look_up(resolver, job, job->records[i].host, RECORD_A, i);
    }
}

static enum resolver_status job_failure(const struct job *job, bool is_late)
{
    if (job->saw_bogus)
        return RESOLVER_BOGUS;
    if (job->saw_special)
        return RESOLVER_REFUSED;
    if (job->saw_dot && job->record_count == 0)
        return RESOLVER_NO_SERVICE;
    if (is_late)
        return RESOLVER_TIMEOUT;
    return job->saw_failure ? RESOLVER_FAILED : RESOLVER_NOT_FOUND;
}

static void job_fill(const struct resolver *resolver, struct job *job, bool is_late,
                     struct resolver_answer *answer)
{
    answer->owner = job->question.owner;
    for (unsigned i = 0; i < job->record_count * HOST_ADDRESS_MAX; i++) {
        const struct resolver_record *record = &job->records[i / HOST_ADDRESS_MAX];
        const struct job_host *host = &job->hosts[i / HOST_ADDRESS_MAX];
        unsigned at = i % HOST_ADDRESS_MAX;
        if (at >= host->count || answer->target_count == RESOLVER_TARGET_MAX)
            continue;
        if (!resolver->allow_special && net_address_is_special(&host->address[at])) {
            job->saw_special = true;
            continue;
        }
        struct resolver_target *target = &answer->targets[answer->target_count++];
        target->address = host->address[at];
        net_address_set_port(&target->address, record->port);
        target->service = record->service;
        target->secure = record->secure && host->secure[at];
        memcpy(target->host, record->host, sizeof(target->host));
    }
    answer->status =
        answer->target_count > 0 ? RESOLVER_FOUND : job_failure(job, is_late);
    answer->ttl_s = job->ttl_s < TTL_MIN_S   ? TTL_MIN_S
                    : job->ttl_s > TTL_MAX_S ? TTL_MAX_S
                                             : job->ttl_s;
}

/* Gives the answer to the port if somebody still waits there. The mutex is held. */
static void job_answer(struct resolver *resolver, struct job *job, bool is_late)
{
    struct resolver_port *port = job->port;
    if (port == NULL)
        return;
    struct answer_node *node = calloc(1, sizeof(*node));
    /* Without memory for the answer nobody could be told; the asker's own time-out ends it. */
    if (node == NULL) {
        port->asked--;
        return;
    }
    job_fill(resolver, job, is_late, &node->answer);
    if (port->last != NULL)
        port->last->next = node;
    else
        port->first = node;
    port->last = node;
    if (port->ring != NULL)
        ring_wake(port->ring);
}

static void job_free(struct resolver *resolver, struct job *job)
{
    for (unsigned i = 0; i < job->lookup_count; i++)
        if (job->lookups[i].is_pending)
            (void)ub_cancel(resolver->context, job->lookups[i].id);
    free(job);
}

/* Moves one job on; true when it is over. */
static bool job_step(struct resolver *resolver, struct job *job, uint64_t now_ns)
{
    if (job->port == NULL || now_ns >= job->deadline_ns) {
        job_answer(resolver, job, true);
        return true;
    }
    if (job->stage == JOB_NEW && job->question.service_count > 0)
        job_start_services(resolver, job);
    if (job->stage != JOB_ADDRESSES && job->pending == 0)
        job_start_addresses(resolver, job);
    if (job->stage != JOB_ADDRESSES || job->pending > 0)
        return false;
    job_answer(resolver, job, false);
    return true;
}

/* Moves all jobs on. Returns how long the thread may sleep, in ms; -1: until something happens. */
static int resolver_step(struct resolver *resolver)
{
    uint64_t now_ns = clock_now_ns(), nearest_ns = UINT64_MAX;
    resolver_lock(resolver);
    struct job **place = &resolver->jobs;
    while (*place != NULL) {
        struct job *job = *place;
        if (job_step(resolver, job, now_ns)) {
            *place = job->next;
            job_free(resolver, job);
            continue;
        }
        if (job->deadline_ns < nearest_ns)
            nearest_ns = job->deadline_ns;
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
        job_free(closed, job);
    }
    ub_ctx_delete(closed->context);
    (void)close(closed->event_fd);
    (void)pthread_mutex_destroy(&closed->mutex);
    free(closed);
    *resolver = NULL;
}

int resolver_port_open(struct resolver_port **port, struct resolver *resolver, struct ring *ring)
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
    struct answer_node **place = &port->first;
    port->last = NULL;
    while (*place != NULL) {
        struct answer_node *node = *place;
        if (every || node->answer.owner == owner) {
            *place = node->next;
            port->asked--;
            free(node);
            continue;
        }
        port->last = node;
        place = &node->next;
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
    job->question = *question;
    job->port = port;
    job->ttl_s = TTL_MAX_S;
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
    struct answer_node *node = port->first;
    if (node != NULL) {
        assert(port->asked > 0);
        port->asked--;
        port->first = node->next;
        if (port->first == NULL)
            port->last = NULL;
    }
    resolver_unlock(port->resolver);
    *answer = node != NULL ? &node->answer : NULL;
    return node != NULL;
}

const char *resolver_status_text(enum resolver_status status)
{
    switch (status) {
    case RESOLVER_FOUND:
        return "found";
    case RESOLVER_NOT_FOUND:
        return "no such name or record";
    case RESOLVER_NO_SERVICE:
        return "the domain declares that it has no such service";
    case RESOLVER_REFUSED:
        return "only loopback or private addresses";
    case RESOLVER_TIMEOUT:
        return "no answer in time";
    case RESOLVER_FAILED:
        return "the name server failed";
    case RESOLVER_BOGUS:
        return "DNSSEC validation failed";
    }
    return "unknown";
}
