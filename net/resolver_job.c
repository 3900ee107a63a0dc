/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/resolver_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/digest.h"

#define TTL_MIN_S   30
#define RR_CLASS_IN 1

static void job_take_address(struct job *job, unsigned index, enum record_type type,
                             const struct ub_result *result, int at)
{
    struct job_addresses *family =
        &job->hosts[index].families[type == RECORD_A ? FAMILY_V4 : FAMILY_V6];
    size_t size = type == RECORD_A ? 4 : 16;
    if (family->count == HOST_ADDRESS_MAX || (size_t)result->len[at] != size)
        return;
    union net_address *address = &family->address[family->count++];
    memset(address, 0, sizeof(*address));
    address->any.sa_family = type == RECORD_A ? AF_INET : AF_INET6;
    if (type == RECORD_A)
        memcpy(&address->v4.sin_addr, result->data[at], size);
    else
        memcpy(&address->v6.sin6_addr, result->data[at], size);
    family->secure = result->secure != 0;
}

static void job_take_service(struct job *job, unsigned index, const struct ub_result *result,
                             int at)
{
    struct resolver_record record;
    if (job->record_count == RESOLVER_TARGET_MAX || result->len[at] < 0 ||
        !resolver_order_parse((const uint8_t *)result->data[at], (size_t)result->len[at],
                              &record))
        return;
    if (record.is_dot) {
        job->services[index] = RESOLVER_NO_SERVICE;
        job->saw_dot = job->saw_dot || job->question.services[index].dot_is_final;
        return;
    }
    record.service = index;
    record.secure =
        result->secure != 0 && (job->pointers[index].host[0] == '\0' || job->pointers_secure);
    job->records[job->record_count++] = record;
}

/* RFC 3263 §4.1: of those for a service we ask for, the most preferred. */
static void job_take_pointer(struct job *job, const struct ub_result *result, int at)
{
    struct resolver_pointer pointer;
    if (result->len[at] < 0 || !resolver_order_pointer((const uint8_t *)result->data[at],
                                                       (size_t)result->len[at], &pointer))
        return;
    for (unsigned i = 0; i < job->question.service_count; i++) {
        const char *wanted = job->question.services[i].naptr;
        struct resolver_pointer *known = &job->pointers[i];
        if (wanted != NULL && strcasecmp(wanted, pointer.service) == 0 &&
            (known->host[0] == '\0' || resolver_order_before(&pointer, known)))
            *known = pointer;
    }
    job->pointers_secure = result->secure != 0;
}

/* What one lookup says of what it looked for. */
static enum resolver_status lookup_status(int failure, const struct ub_result *result)
{
    if (failure != 0 || result == NULL)
        return RESOLVER_FAILED;
    if (result->bogus)
        return RESOLVER_BOGUS;
    if (result->havedata)
        return RESOLVER_FOUND;
    if (result->nxdomain)
        return RESOLVER_NO_NAME;
    return result->rcode != 0 ? RESOLVER_FAILED : RESOLVER_NOT_FOUND;
}

/* Keeps the authority that a record holds. Without room it must be sent by the server. */
static void job_keep_whole(struct job *job, struct dane_record *record, const uint8_t *data)
{
    size_t size = job->whole_size + record->whole_size;
    uint8_t *grown = record->whole_size > 0 && size <= RESOLVER_WHOLE_MAX
                         ? realloc(job->whole, size)
                         : NULL;
    if (grown == NULL) {
        record->whole_size = 0;
        return;
    }
    memcpy(grown + job->whole_size, data, record->whole_size);
    record->whole_at = (uint16_t)job->whole_size;
    job->whole = grown;
    job->whole_size = size;
}

/* RFC 7673 §3.4. One that DNSSEC does not vouch for counts as none. */
static void job_take_associations(struct job *job, unsigned index, enum resolver_status status,
                                  const struct ub_result *result)
{
    struct job_tlsa *tlsa = &job->tlsa_of[index];
    if (status == RESOLVER_BOGUS || status == RESOLVER_FAILED) {
        job->hosts[index].status = status;
        return;
    }
    tlsa->first = job->tlsa_count;
    bool is_found = status == RESOLVER_FOUND && result->secure, has_room = true;
    for (int i = 0; is_found && result->data[i] != NULL; i++) {
        struct dane_record *record = &job->tlsa[job->tlsa_count];
        has_room = job->tlsa_count < RESOLVER_TLSA_MAX && tlsa->count < RESOLVER_TLSA_HOST;
        if (!has_room)
            break;
        const uint8_t *data = (const uint8_t *)result->data[i];
        size_t size = (size_t)(result->len[i] > 0 ? result->len[i] : 0);
        if (!dane_parse(record, data, size)) {
            tlsa->saw_unusable = true;
            continue;
        }
        job_keep_whole(job, record, data + size - record->whole_size);
        tlsa->count++;
        job->tlsa_count++;
    }
    /* A host for which none had room stays unknown: its certificate could not be judged. */
    tlsa->is_known = has_room || tlsa->count > 0;
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
    /* Without NAPTR there is still SRV: a server that fails on it is as one that has none. */
    bool matters = lookup->type != RECORD_NAPTR;
    enum resolver_status status = lookup_status(failure, result);
    if (lookup->type == RECORD_SRV)
        job->services[lookup->index] = status;
    else if (lookup->type == RECORD_TLSA)
        job_take_associations(job, lookup->index, status, result);
    else if (matters && status != RESOLVER_FOUND)
        job->hosts[lookup->index].status = status;
    if (failure != 0 || result == NULL) {
        job->saw_failure = job->saw_failure || matters;
        return;
    }
    if (result->bogus)
        job->saw_bogus = true;
    else if (!result->havedata && matters)
        job->saw_failure = job->saw_failure || (result->rcode != 0 && result->rcode != 3);
    bool usable = result->havedata && !result->bogus;
    if (usable && (uint32_t)result->ttl < job->ttl_s)
        job->ttl_s = (uint32_t)result->ttl;
    /* Bounded by the answer's size, at most 64 KiB. */
    for (int i = 0; usable && result->data[i] != NULL; i++) {
        if (lookup->type == RECORD_NAPTR)
            job_take_pointer(job, result, i);
        else if (lookup->type == RECORD_SRV)
            job_take_service(job, lookup->index, result, i);
        else if (lookup->type != RECORD_TLSA)
            job_take_address(job, lookup->index, lookup->type, result, i);
    }
    ub_resolve_free(result);
}

static void job_look_up(struct ub_ctx *context, struct job *job, const char *name,
                        enum record_type type, unsigned index)
{
    if (job->lookup_count == LOOKUP_MAX)
        return;
    struct job_lookup *lookup = &job->lookups[job->lookup_count++];
    *lookup = (struct job_lookup){.job = job, .type = type, .index = index, .is_pending = true};
    job->pending++;
    int rc = ub_resolve_async(context, name, (int)type, RR_CLASS_IN, lookup, lookup_done,
                              &lookup->id);
    if (rc != 0) {
        lookup->is_pending = false;
        job->pending--;
        job->saw_failure = true;
    }
}

static bool job_wants_pointers(const struct job *job)
{
    bool wants = false;
    for (unsigned i = 0; i < job->question.service_count; i++)
        wants = wants || job->question.services[i].naptr != NULL;
    return wants;
}

/* How many pointers go before the one of `service`. */
static unsigned job_rank(const struct job *job, unsigned service)
{
    unsigned rank = 0;
    for (unsigned i = 0; i < job->question.service_count; i++)
        rank += job->pointers[i].host[0] != '\0' &&
                resolver_order_before(&job->pointers[i], &job->pointers[service]);
    return rank;
}

/* What the pointers name, or, when there are none, every service of the question (RFC 3263
 * §4.1). */
static void job_start_services(struct ub_ctx *context, struct job *job)
{
    const struct resolver_question *question = &job->question;
    bool has_pointers = false;
    job->stage = JOB_SERVICES;
    for (unsigned i = 0; i < question->service_count; i++)
        has_pointers = has_pointers || job->pointers[i].host[0] != '\0';
    for (unsigned i = 0; i < question->service_count; i++) {
        char name[2 * RESOLVER_NAME_SIZE];
        if (has_pointers && job->pointers[i].host[0] == '\0')
            continue;
        job->ranks[i] = has_pointers ? job_rank(job, i) : i;
        if (has_pointers)
            (void)snprintf(name, sizeof(name), "%s", job->pointers[i].host);
        else
            (void)snprintf(name, sizeof(name), "%s.%s", question->services[i].prefix,
                           question->domain);
        job_look_up(context, job, name, RECORD_SRV, i);
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

static void job_start_addresses(struct ub_ctx *context, struct job *job)
{
    uint32_t random[RESOLVER_TARGET_MAX];
    job->stage = JOB_ADDRESSES;
    job_add_fallback(job);
    digest_random(random, sizeof(random));
    /* XEP-0368 §3: the records of both services are one set. */
    resolver_order_sort(job->records, job->record_count, random);
    job->lookup_count = 0;
    for (unsigned i = 0; i < job->record_count; i++) {
        union net_address address;
        if (net_address_parse_host(&address, job->records[i].host, 0) == 0) {
            job->hosts[i].families[FAMILY_V6] = (struct job_addresses){{address}, 1, false};
            continue;
        }
        job_look_up(context, job, job->records[i].host, RECORD_AAAA, i);
        job_look_up(context, job, job->records[i].host, RECORD_A, i);
    }
}

/* Has every host an address, of those that are still looked up? */
static bool job_has_enough(const struct job *job)
{
    for (unsigned i = 0; i < job->lookup_count; i++) {
        const struct job_addresses *families = job->hosts[job->lookups[i].index].families;
        if (job->lookups[i].is_pending &&
            families[FAMILY_V6].count + families[FAMILY_V4].count == 0)
            return false;
    }
    return true;
}

static void job_cancel(struct ub_ctx *context, struct job *job)
{
    for (unsigned i = 0; i < job->lookup_count; i++) {
        if (!job->lookups[i].is_pending)
            continue;
        (void)ub_cancel(context, job->lookups[i].id);
        job->lookups[i].is_pending = false;
        job->pending--;
    }
}

/* RFC 8305 §3: a family that does not come does not hold up the other one for long. */
static void job_hurry(struct ub_ctx *context, struct job *job, uint64_t now_ns)
{
    unsigned delay_ms = job->question.family_delay_ms;
    if (delay_ms == 0 || job->pending == 0 || !job_has_enough(job))
        return;
    if (job->hurry_ns == UINT64_MAX)
        job->hurry_ns = now_ns + (uint64_t)delay_ms * 1000000u;
    if (now_ns < job->hurry_ns)
        return;
    job_cancel(context, job);
    job->is_partial = true;
}

/* TLSA is asked for where DNSSEC vouches for all that led there (RFC 7673 §3.1, §3.2). */
static bool job_wants_tlsa(const struct job *job, unsigned index)
{
    const struct job_addresses *families = job->hosts[index].families;
    bool is_secure = families[FAMILY_V6].secure || families[FAMILY_V4].secure;
    return job->question.wants_tlsa && job->records[index].secure && is_secure;
}

/* The base domain is the target as SRV names it (RFC 7673 §3.3): it may be no alias (RFC 2782).
 */
static void job_start_tlsa(struct ub_ctx *context, struct job *job)
{
    job->stage = JOB_TLSA;
    job->hurry_ns = UINT64_MAX;
    job->lookup_count = 0;
    for (unsigned i = 0; i < job->record_count; i++) {
        char name[RESOLVER_NAME_SIZE + 16];
        if (!job_wants_tlsa(job, i))
            continue;
        (void)snprintf(name, sizeof(name), "_%u._tcp.%s", job->records[i].port,
                       job->records[i].host);
        job_look_up(context, job, name, RECORD_TLSA, i);
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

static struct resolver_target *target_add(const struct job *job, unsigned index,
                                          struct resolver_answer *answer)
{
    const struct resolver_record *record = &job->records[index];
    struct resolver_target *target = &answer->targets[answer->target_count++];
    target->service = record->service;
    target->rank =
        record->service < job->question.service_count ? job->ranks[record->service] : 0;
    target->port = record->port;
    target->priority = record->priority;
    target->weight = record->weight;
    memcpy(target->host, record->host, sizeof(target->host));
    return target;
}

/* The addresses of one record; returns how many. */
static unsigned fill_record(struct job *job, unsigned index, bool allow_special,
                            struct resolver_answer *answer)
{
    struct job_host *host = &job->hosts[index];
    const struct job_tlsa *tlsa = &job->tlsa_of[index];
    unsigned live = 0;
    for (unsigned i = 0; i < FAMILY_COUNT * HOST_ADDRESS_MAX; i++) {
        const struct job_addresses *family = &host->families[i % FAMILY_COUNT];
        unsigned at = i / FAMILY_COUNT;
        if (at >= family->count)
            continue;
        if (live == HOST_ADDRESS_MAX || answer->target_count == RESOLVER_TARGET_MAX)
            return live;
        if (!allow_special && net_address_is_special(&family->address[at])) {
            job->saw_special = true;
            host->status = RESOLVER_REFUSED;
            continue;
        }
        bool is_secure = job->records[index].secure && family->secure;
        bool uses_tlsa = is_secure && job->question.wants_tlsa;
        if (uses_tlsa && !tlsa->is_known)
            continue;
        struct resolver_target *target = target_add(job, index, answer);
        target->address = family->address[at];
        net_address_set_port(&target->address, target->port);
        target->secure = is_secure;
        if (uses_tlsa) {
            target->tlsa_first = tlsa->first;
            target->tlsa_count = tlsa->count;
            target->tlsa_unusable = tlsa->saw_unusable && tlsa->count == 0;
        }
        live++;
    }
    return live;
}

/* Most answers have no TLSA records, and are kept as long as their stream stands. */
static struct resolver_answer *take_answer(struct job *job)
{
    struct resolver_answer *answer = job->answer;
    size_t tlsa_size = job->tlsa_count * sizeof(job->tlsa[0]);
    job->answer = NULL;
    if (tlsa_size == 0)
        return answer;
    struct resolver_answer *grown =
        realloc(answer, sizeof(*answer) + tlsa_size + job->whole_size);
    if (grown == NULL) {
        /* As if they had not come: whom they are about is not connected to. */
        memset(job->tlsa_of, 0, sizeof(job->tlsa_of));
        job->saw_failure = true;
        return answer;
    }
    grown->tlsa_count = job->tlsa_count;
    memcpy(grown->tlsa, job->tlsa, tlsa_size);
    if (job->whole_size > 0)
        memcpy(&grown->tlsa[grown->tlsa_count], job->whole, job->whole_size);
    return grown;
}

struct resolver_answer *resolver_job_answer(struct job *job, bool allow_special, bool is_late)
{
    unsigned live_total = 0;
    struct resolver_answer *answer = take_answer(job);
    answer->owner = job->question.owner;
    answer->is_partial = job->is_partial;
    memcpy(answer->services, job->services, sizeof(answer->services));
    for (unsigned i = 0; i < job->record_count; i++) {
        unsigned live = fill_record(job, i, allow_special, answer);
        live_total += live;
        if (live > 0 || !job->question.keeps_dead ||
            answer->target_count == RESOLVER_TARGET_MAX)
            continue;
        /* Lookups that have not come say nothing yet. */
        enum resolver_status status = job->hosts[i].status;
        target_add(job, i, answer)->status =
            is_late || status == RESOLVER_FOUND ? RESOLVER_TIMEOUT : status;
    }
    answer->status = live_total > 0 ? RESOLVER_FOUND : job_failure(job, is_late);
    answer->ttl_s = job->ttl_s < TTL_MIN_S   ? TTL_MIN_S
                    : job->ttl_s > TTL_MAX_S ? TTL_MAX_S
                                             : job->ttl_s;
    return answer;
}

void resolver_job_free(struct ub_ctx *context, struct job *job)
{
    job_cancel(context, job);
    free(job->answer);
    free(job->whole);
    free(job);
}

bool resolver_job_advance(struct ub_ctx *context, struct job *job, uint64_t now_ns)
{
    if (job->stage == JOB_NEW && job_wants_pointers(job)) {
        job->stage = JOB_POINTERS;
        job_look_up(context, job, job->question.domain, RECORD_NAPTR, 0);
    }
    bool is_next = job->stage == JOB_NEW || (job->stage == JOB_POINTERS && job->pending == 0);
    if (is_next && job->question.service_count > 0)
        job_start_services(context, job);
    if (job->stage < JOB_ADDRESSES && job->pending == 0)
        job_start_addresses(context, job);
    if (job->stage == JOB_ADDRESSES)
        job_hurry(context, job, now_ns);
    if (job->stage == JOB_ADDRESSES && job->pending == 0)
        job_start_tlsa(context, job);
    return job->stage == JOB_TLSA && job->pending == 0;
}
