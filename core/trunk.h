/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The state of every trunk as one egress thread sees it: its addresses (literal, or found by
 * RFC 3263: NAPTR and a choice of transports when the URI names neither port nor transport, SRV
 * without a port, A and AAAA), up or down, a circuit breaker. Keep-alive OPTIONS are asked for
 * here and sent by sip_uac. Owner: one egress thread.
 */
#ifndef PASSERELLE_CORE_TRUNK_H
#define PASSERELLE_CORE_TRUNK_H

#include <stdio.h>

#include "core/sip_transport.h"

enum trunk_status { TRUNK_UNKNOWN, TRUNK_UP, TRUNK_DOWN };

struct trunk_server;

/* One address of a trunk. RFC 3263 §4.3: what one says about itself is not said of the
   others. */
struct trunk_target {
    struct sip_target at;
    struct trunk_server *server; /* who is there, for all trunks that lead there */
    unsigned misses;           /* failures in a row; a connection that is lost is one */
    uint64_t lost_ms;          /* when the last transport failure was noted */
    uint64_t blocked_until_ms; /* Retry-After or open circuit breaker */
};

/* What a message needs stands in the first two lines of the caches. */
struct trunk {
    /* NULL: it is no more, but for what is in flight */
    _Alignas(CONFIG_LINE_SIZE) const struct config_trunk *config;
    struct trunk_table *table;
    struct trunk_target *targets; /* in the order to try; own memory unless it is `literal` */
    unsigned target_count, target_next;
    enum trunk_status status;
    int last_status;
    uint64_t in_flight, sent;
    uint64_t answered_ms;        /* its last answer, 0: none yet */
    struct trunk_target literal; /* the only target of a trunk without a name */
    uint64_t failed;
    uint64_t queued;     /* as of the latest sip_uac_count_queued */
    uint64_t changed_ms; /* its status */
    bool resolving;
    uint64_t resolve_at_ms; /* when to ask DNS again; for named trunks */
    struct timer timer;     /* keep-alive or the next question to DNS */
    struct trunk *next;     /* of those without a configuration */
    uint32_t serial;
};

_Static_assert(offsetof(struct trunk, literal) == CONFIG_LINE_SIZE, "one line, and its target");
_Static_assert(sizeof(struct trunk_target) <= CONFIG_LINE_SIZE, "one line, and its target");

struct trunk_table;

int trunk_open(struct trunk_table **table, struct thread *thread) MUST_USE;
void trunk_close(struct trunk_table **table);
struct trunk *trunk_find(struct trunk_table *table, uint32_t index);
/* thread->config has taken the place of another. Who stays keeps his state; one that is no more
   lives on without a configuration while a request to it is in flight, and until the next
   trunk_pump: the caller sees to it that no other request names it then. */
void trunk_reload(struct trunk_table *table);
/* May a request go there now? Has a target that is not blocked. */
bool trunk_usable(const struct trunk *trunk, uint64_t now_ms);
/* The target for the next request, from the one on that worked last. */
const struct sip_target *trunk_target(const struct trunk *trunk, uint64_t now_ms);
/* What became of a request to `target`. After a failure the next request goes to the next
   target. */
struct trunk_result {
    const struct sip_target *target;
    int status;         /* final; 408 for Timer F, 0 for a transport failure */
    long retry_after_s; /* negative: the response had none */
    bool is_keep_alive;
};
void trunk_note(struct trunk *trunk, const struct trunk_result *result);
/* Takes resolver answers that have come. */
void trunk_pump(struct trunk_table *table);
/* The timer of a trunk. True: send an OPTIONS to *trunk now. Of all trunks to one server over
   UDP or TCP one asks, and none while the server answers requests anyway. */
bool trunk_tick(struct trunk_table *table, struct timer *timer, struct trunk **trunk);
void trunk_reset_queued(struct trunk_table *table);
/* Appends rows for `show trunks` (core/inquiry.h). */
void trunk_report(const struct trunk_table *table, FILE *out);

#endif
