/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of the resolver. resolver_job.c leads one question through its lookups: NAPTR, SRV,
 * addresses, TLSA; resolver.c has the thread, the ports and their queues. Resolver thread, but
 * for what is said to be guarded.
 */
#ifndef PASSERELLE_NET_RESOLVER_PRIV_H
#define PASSERELLE_NET_RESOLVER_PRIV_H

#include "net/resolver_order.h"

#include <unbound.h>

#define HOST_ADDRESS_MAX 8 /* of one host, and of one family before they are put in order */
#define LOOKUP_MAX       (2 * RESOLVER_TARGET_MAX)
#define TTL_MAX_S        3600

enum record_type {
    RECORD_A = 1,
    RECORD_AAAA = 28,
    RECORD_SRV = 33,
    RECORD_NAPTR = 35,
    RECORD_TLSA = 52
};
enum job_stage { JOB_NEW, JOB_POINTERS, JOB_SERVICES, JOB_ADDRESSES, JOB_TLSA };

enum job_family { FAMILY_V6, FAMILY_V4, FAMILY_COUNT };

struct job_host {
    enum resolver_status status; /* what the lookups say when there is no address */
    struct job_addresses {
        union net_address address[HOST_ADDRESS_MAX];
        unsigned count;
        bool secure; /* one answer, one proof */
    } families[FAMILY_COUNT];
};

/* What DNS says of the certificate of a record's host. */
struct job_tlsa {
    bool is_known; /* there is an answer, and it is not bogus */
    bool saw_unusable;
    unsigned first, count; /* in the job's `tlsa` */
};

struct job_lookup {
    struct job *job;
    enum record_type type;
    unsigned index; /* of the service or of the record; not for NAPTR */
    int id;         /* libunbound's, to cancel */
    bool is_pending;
};

struct job {
    struct job *next;
    struct resolver_port *port; /* NULL: nobody waits any more; guarded by the mutex */
    struct resolver_question question;
    struct resolver_answer *answer; /* taken with the question: it cannot be missing later */
    enum job_stage stage;
    uint64_t deadline_ns;
    uint64_t hurry_ns; /* when the other family is not waited for any more; UINT64_MAX */
    unsigned pending;
    bool saw_dot, saw_failure, saw_bogus, saw_special, is_partial;
    uint32_t ttl_s;
    struct resolver_pointer pointers[RESOLVER_SERVICE_MAX]; /* host empty: none for the service */
    bool pointers_secure;
    unsigned ranks[RESOLVER_SERVICE_MAX];
    struct resolver_record records[RESOLVER_TARGET_MAX];
    unsigned record_count;
    enum resolver_status services[RESOLVER_SERVICE_MAX];
    struct job_host hosts[RESOLVER_TARGET_MAX];
    struct job_tlsa tlsa_of[RESOLVER_TARGET_MAX];
    struct dane_record tlsa[RESOLVER_TLSA_MAX];
    unsigned tlsa_count;
    uint8_t *whole; /* authorities out of them; NULL: none, as nearly always */
    size_t whole_size;
    struct job_lookup lookups[LOOKUP_MAX];
    unsigned lookup_count;
};

/* Moves the job on; true when there is nothing left to look up. */
bool resolver_job_advance(struct ub_ctx *context, struct job *job, uint64_t now_ns);
/* What the lookups gave; the caller's now, once for a job. `is_late`: some may not have come. */
struct resolver_answer *resolver_job_answer(struct job *job, bool allow_special, bool is_late);
/* Cancels what is still looked up. */
void resolver_job_free(struct ub_ctx *context, struct job *job);

#endif
