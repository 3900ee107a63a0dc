/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a tenant may have of a thread: messages in flight, and messages a second; and what one
 * partner domain may have of that with the tenant. Each thread has a quota of its own for the
 * messages that it lets in: nothing is shared, nothing locked. Whatever the rules say, where
 * there are several tenants none may hold more parcels than are left free: one that does not
 * get rid of its messages has half of the pool, n of them have n / (n + 1) of it, and the next
 * finds room. What is over a rate is refused as long as that is cheap: as many a second as may
 * pass, or QUOTA_REFUSALS_MIN where that is more; whoever can lets the next one wait. Bounded:
 * one account for each tenant; of partners with tenants those of which something is in flight
 * or waits, and QUOTA_IDLE_MAX others.
 */
#ifndef PASSERELLE_CORE_QUOTA_H
#define PASSERELLE_CORE_QUOTA_H

#include "core/config.h"

#define QUOTA_IDLE_MAX     4096u
#define QUOTA_REFUSALS_MIN 20u /* a second */
/* Who waits for a rate goes on after so many ms, for some messages at a time: the sooner, the
   more wakes it costs; the later, the longer others stand behind what may then pass. */
#define QUOTA_PACE_MIN_MS 10u
#define QUOTA_PACE_MAX_MS 100u
#define QUOTA_TELL_MS     1000u /* from one line of the log about an account to the next */

/* Of what is refused on a stream of several pairs of domains: so many in one go, so often. */
#define QUOTA_RUN_MAX 4u
#define QUOTA_RUN_MS  3u

struct quota;
struct quota_account; /* of a tenant, or of a partner with it */

enum quota_verdict {
    QUOTA_WITHIN,
    QUOTA_RATE,     /* over messages_per_second_max */
    QUOTA_IN_FLIGHT /* over messages_in_flight_max, or with more parcels than are free */
};

/* NULL without memory. */
struct quota *quota_open(void) MUST_USE;
void quota_close(struct quota **quota);

/* The account for what this tenant and `partner` (a prepared domain) say to each other, under
   the rules of `config`. NULL: nothing limits them, or there is no memory to count. It may go
   with the next call unless something of it is entered or waits. */
struct quota_account *quota_account(struct quota *quota, const struct config *config,
                                    const struct config_tenant *tenant, struct span partner);
/* May one more message come in, where so many parcels are free? NULL: it may. Else *over is the
   account that stands in the way: this one, or that of its tenant. */
enum quota_verdict quota_judge(struct quota_account *account, unsigned free, uint64_t now_ms,
                               struct quota_account **over);
/* Is it a tenant's own, not a partner's with it? */
bool quota_is_of_tenant(const struct quota_account *account);
/* What its sender is told. Static. */
struct span quota_reason(const struct quota_account *over, enum quota_verdict verdict);
/* A message has come in with a parcel; of the messages of this second it is one more if it was
   within the quota. NULL: nothing happens, here and below. */
void quota_enter(struct quota *quota, struct quota_account *account, bool is_within);
/* Its parcel is free again. */
void quota_leave(struct quota *quota, struct quota_account *account);
/* A message that is over the rate of this account is refused. */
void quota_refuse(struct quota_account *over);
/* Counts a refusal for the log. 0: it need not be told yet; else how many there were since the
   last that was, with this one. */
unsigned quota_untold(struct quota_account *over, uint64_t now_ms);
/* Were so many refused that the next should wait? After quota_judge. */
bool quota_has_refused(const struct quota_account *over);
/* Somebody waits until the account has room, and so keeps it; or no more. */
void quota_wait(struct quota *quota, struct quota_account *account);
void quota_go_on(struct quota *quota, struct quota_account *account);
/* Why who waits for this account waits on: QUOTA_IN_FLIGHT, until some have left, or
   QUOTA_RATE, until some time has passed. QUOTA_WITHIN: no more; the next is let in or
   refused. */
enum quota_verdict quota_look(struct quota_account *account, unsigned free, uint64_t now_ms);
/* How long who waits for the rate of this account should wait before he looks again, ms: some
   messages can then pass or be refused in one go. */
unsigned quota_pace_ms(const struct quota_account *account);
/* A stream of several pairs of domains is not stopped for one of them: the others would wait
   with it. But each refusal takes its thread from others. So its refusals come in runs of a few,
   between which others are served. All zero at first. */
struct quota_run {
    uint64_t next_ms; /* when the next may begin */
    unsigned left;    /* of this one */
};
/* 0: one may be refused now. Else the stream stands until then. */
uint64_t quota_run_refuse(struct quota_run *run, uint64_t now_ms);
/* How many accounts there are. */
size_t quota_count(const struct quota *quota);

#endif
