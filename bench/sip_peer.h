/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SIP as the load generator speaks it: as little work as possible, over UDP. Pure. */
#ifndef PASSERELLE_BENCH_SIP_PEER_H
#define PASSERELLE_BENCH_SIP_PEER_H

#include "proto/writer.h"

/* A 200 for a request, its header fields copied. False when it is no request. */
bool sip_peer_answer(struct span request, struct writer *out);
/* A MESSAGE with the number in its branch. */
struct sip_peer_message {
    uint32_t number;
    unsigned user;
    struct span from_domain, to_domain, sent_by, body;
};
void sip_peer_message(struct writer *out, const struct sip_peer_message *message);
/* Status of a final response and the number of its branch; 0 when it is something else. */
int sip_peer_response(struct span datagram, uint32_t *number);
/* The number behind '#' at the start of a text. False when there is none. */
bool sip_peer_number(struct span text, uint32_t *number);

#endif
