/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the load share: load.c (loop, phases, opening) and load_message.c. */
#ifndef PASSERELLE_BENCH_LOAD_PRIV_H
#define PASSERELLE_BENCH_LOAD_PRIV_H

#include "bench/load.h"

/* Writes message `number` to its stream, or to SIP. False when it does not fit now. */
bool load_send_xmpp(struct load *load, uint32_t number);
bool load_send_sip(struct load *load, uint32_t number);
/* A stanza on a stream, a bench_stanza_fn; a message from SIP, a sip_side_message_fn. */
void load_on_stanza(struct bench_stream *stream, const struct xml_node *stanza);
void load_on_component(void *context, struct span text);
void load_on_sip(void *context, struct span message, const struct sip_flow *flow);

#endif
