/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What probe.c (its life, and what control hears), probe_policy.c (what we allow),
   probe_steps.c (what each step says), probe_proof.c (what the proof says) and probe_remedy.c (what
   to do about it) share. */
#ifndef PASSERELLE_CORE_PROBE_PRIV_H
#define PASSERELLE_CORE_PROBE_PRIV_H

#include "core/link_priv.h"

enum probe_step {
    PROBE_POLICY,
    PROBE_DNS,
    PROBE_TCP,
    PROBE_TLS,
    PROBE_CERTIFICATE,
    PROBE_CHAIN,
    PROBE_IDENTITY,
    PROBE_DANE,
    PROBE_FEATURES,
    PROBE_AUTH
};

struct probe {
    TAILQ_ENTRY(probe) all;
    struct worker *worker;
    struct link *link;
    struct probe_talk *talk; /* ours while the parcel is here */
    struct parcel *parcel;   /* NULL: control has it */
    struct net_buffer rows;  /* that control has not got yet */
    struct timer timer;
    enum probe_step step; /* that is under way */
    bool direct;          /* TLS from the first byte */
    bool is_done;         /* with this address: it worked, or what is wrong was told */
    bool is_over;
    uint64_t begin_ms, step_ms; /* of the whole, and of the step */
    char target[NET_ADDRESS_TEXT_SIZE];
    unsigned ready; /* addresses at which we were authenticated */
    unsigned faults;
    char first_fault[512]; /* and what to do about it: */
    char first_remedy[512];
};

/* Tells of a step; with OK and FAILED its time, and the next one begins. */
void probe_tell(struct probe *probe, enum probe_step step, enum probe_result result,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same, FAILED; the first remedy is part of the verdict. `remedy`: a sentence. */
void probe_tell_fault(struct probe *probe, enum probe_step step, const char *remedy,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- probe_remedy.c: sentences ---- */

const char *probe_dns_remedy(enum resolver_status status);
/* Of a connection that was lost in the step that is under way. */
const char *probe_lost_remedy(const struct probe *probe);

/* ---- probe_policy.c ---- */

/* May the pair talk at all? Tells why not. */
bool probe_check_policy(struct probe *probe);

#endif
