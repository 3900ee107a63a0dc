/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of a worker share: worker.c, session.c, link.c, relay_in.c. */
#ifndef PASSERELLE_CORE_WORKER_PRIV_H
#define PASSERELLE_CORE_WORKER_PRIV_H

#include <sys/queue.h>

#include "core/quota.h"
#include "core/tls_store.h"
#include "core/worker.h"
#include "proto/s2s.h"

#define WORKER_LISTENER_MAGIC 0x4c495354u
#define WORKER_SCRATCH_SIZE   65536
#define WORKER_SITE_COUNT     4096

TAILQ_HEAD(session_list, session);
TAILQ_HEAD(intake_list, intake);
TAILQ_HEAD(probe_list, probe);

enum worker_timer {
    WORKER_TIMER_SESSION,
    WORKER_TIMER_LINK,
    WORKER_TIMER_INTAKE,
    WORKER_TIMER_PROBE,
    WORKER_TIMER_PACE
};

struct worker_listener {
    uint32_t magic; /* first, as in every owner of a socket */
    bool direct;
    bool proxied; /* a proxy stands in front of it */
    ring_handle handle;
};

struct worker {
    struct thread *thread;
    struct resolver_port *resolver;
    struct xml_pool *xml_pool;            /* of the sessions' streams */
    struct tls_store tls;
    struct worker_listener *listeners;
    size_t listener_count;
    struct session_list sessions;
    struct session_list held;     /* stopped because the relay was full */
    struct session_list full;     /* stopped because too many outcomes of theirs are open */
    struct session_list rationed; /* stopped because their tenant has enough in flight */
    bool has_freed;               /* a parcel since they were looked at last */
    struct session_list paced;    /* … because it has far too many a second */
    struct timer pace_timer;      /* armed while there are some */
    struct quota *quota;          /* of the messages that come in here */
    struct session_list unsent;   /* with something to send at the end of this turn */
    struct table sessions_by_ticket, links, intakes, intakes_by_id;
    struct table both_ways; /* streams that came in and take stanzas of ours, by their pair */
    struct intake_list waiting_intakes; /* of broken streams, the oldest first */
    unsigned waiting_intake_count;
    struct breaker_set *breakers;       /* of the partners of `links` */
    struct probe_list probes;
    unsigned session_count;
    uint64_t ticket_next;
    /* Over all links: a late answer to a link that was forgotten, or to a relay that was
       restarted, must not pass for one to its successor. */
    uint64_t ping_last;
    /* Dialback claims under verification, by hash of their site: sites that share a place share
       the limit too. */
    uint16_t verifying[WORKER_SITE_COUNT];
    uint64_t waiting; /* messages to SIP whose outcome has not come home */
    bool draining;
    char scratch[WORKER_SCRATCH_SIZE]; /* for what is written within one step */
};

/* The count of claims under verification for this site. */
uint16_t *worker_verifying(struct worker *worker, const union net_address *site);
/* True when our side of this tenant has a certificate to show. */
bool worker_has_certificate(const struct worker *worker, const struct config_tenant *tenant);
/* Takes the configuration that is offered, unless it has it. Between two parcels only. */
void worker_reload(struct worker *worker);
/* Those in `paced` are looked at then at the latest. */
void worker_pace(struct worker *worker, uint64_t until_ms);
/* Gives a parcel of this worker back, to its account, too. */
void worker_give(struct worker *worker, struct parcel **parcel);
/* The tenant of `local` when it may talk with `remote`; else NULL. */
const struct config_tenant *worker_pair_tenant(const struct worker *worker, struct span local,
                                               struct span remote);
/* How `remote`, empty while it has not said its name, may prove itself: a set of enum
   s2s_proof. None: the pair is refused. */
unsigned worker_pair_proofs(const struct worker *worker, struct span local, struct span remote);
/* The same for a stream that comes in. */
unsigned worker_pair_proofs_in(const struct worker *worker, struct span local,
                               struct span remote);

#endif
