/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SIP as the load generator speaks it: as little work as possible. Pure. */
#ifndef PASSERELLE_BENCH_SIP_PEER_H
#define PASSERELLE_BENCH_SIP_PEER_H

#include "proto/writer.h"

/* Bytes of the message at the front of a stream buffer, 0 while it is not complete. A
   keep-alive of CRLFs counts as a message of its own. */
size_t sip_peer_frame(struct span buffer);
/* An answer to a request, its header fields copied; `status` is the code, the reason and,
   behind CRLF, what else the head shall have. False when it is no request. */
bool sip_peer_answer(struct span request, struct span status, struct writer *out);
/* A MESSAGE with the number in its branch. */
struct sip_peer_message {
    uint32_t run; /* tells the transactions of one run of the generator from another's */
    uint32_t number;
    unsigned user;
    struct span transport; /* UDP, TCP, TLS */
    struct span from_domain, to_domain, sent_by, body;
};
void sip_peer_message(struct writer *out, const struct sip_peer_message *message);
/* Status of a final response and the number of its branch; 0 when it is something else. */
int sip_peer_response(struct span message, uint32_t *number);
/* The body of a MESSAGE request; absent for anything else. */
struct span sip_peer_body(struct span request);
/* Names the transaction of a request: a hash of its top Via, never 0. */
uint32_t sip_peer_mark(struct span request);
/* The number behind '#' at the start of a text. False when there is none. */
bool sip_peer_number(struct span text, uint32_t *number);
/* Decimal digits at the start of a text. */
bool sip_peer_digits(struct span text, uint32_t *number);

#endif
