/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the load share: load.c (loop and phases), load_open.c (opening and
 * closing), load_message.c (texts on both sides), load_churn.c (streams that come and go).
 */
#ifndef PASSERELLE_BENCH_LOAD_PRIV_H
#define PASSERELLE_BENCH_LOAD_PRIV_H

#include "bench/load.h"

#define LOAD_WAIT_NS 1000000ull /* the longest wait while something may be sent */
#define LOAD_TICK_NS 20000000ull

/* Sends what was written, waits for events and hands them out. */
void load_turn(struct load *load, uint64_t wait_ns);
/* Sends what may go; returns when to try again, in nanoseconds from now. */
uint64_t load_send(struct load *load);
/* Clears both ledgers for a phase; its messages get the next numbers. */
void load_start(struct load *load, const struct load_phase *phase);
/* -EPIPE and `problem` when one of our streams or the far side is dead. */
int load_check(struct load *load);
/* The same of the far side alone. */
int load_check_far(struct load *load);
/* -ETIMEDOUT and `problem` when nothing came for timeout_s. */
int load_check_progress(struct load *load);
/* Starts stream i, which joins an XMPP domain and a SIP domain; few streams are spread over
   many domains. -errno. */
int load_open_stream(struct load *load, unsigned i);
/* The end of the trunk is there. */
bool load_far_ready(const struct load *load);

/* Writes a message that is in the ledger to its stream, or to SIP. False when it does not fit
   now. */
bool load_send_xmpp(struct load *load, struct ledger_entry *entry, uint32_t number);
bool load_send_sip(struct load *load, struct ledger_entry *entry, uint32_t number);
/* A stanza on a stream, a bench_stanza_fn; a message from SIP, a sip_side_message_fn. */
void load_on_stanza(struct bench_stream *stream, const struct xml_node *stanza);
void load_on_component(void *context, struct span text);
void load_on_sip(void *context, struct span message, const struct sip_flow *flow);

#endif
