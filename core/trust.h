/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How well the servers of partners have proved themselves, and the memory of it: for each
 * domain the best there was, of the last TRUST_PARTNER_MAX domains that did better than
 * dialback. One for the process; the store (core/store.h) remembers it over a restart. Any
 * thread: a lock guards it, which a stream takes once, beside a TLS handshake.
 */
#ifndef PASSERELLE_CORE_TRUST_H
#define PASSERELLE_CORE_TRUST_H

#include "proto/span.h"

#define TRUST_PARTNER_MAX 16384 /* at most some 5 MB */

/* The ladder: a better proof is greater. */
enum trust {
    TRUST_DIALBACK, /* where DNS leads: no more than dialback proves (XEP-0220 §1.2) */
    TRUST_PKIX,     /* a certificate of an authority that we trust, in the domain's name */
    TRUST_DANE      /* a certificate that TLSA records name, which DNSSEC vouches for */
};

struct store;
struct trust_memory;

/* With what the store remembers; NULL: nothing survives the process. Negative errno. */
int trust_open(struct trust_memory **memory, struct store *store) MUST_USE;
void trust_close(struct trust_memory **memory);
/* The best proof of `domain` that is remembered; TRUST_DIALBACK when none is known. */
enum trust trust_best(struct trust_memory *memory, struct span domain);
/* Takes note of how `domain` has proved itself now and returns the best before, TRUST_DIALBACK
   when none is known. A lesser proof replaces a better one only with `forget`. */
enum trust trust_note(struct trust_memory *memory, struct span domain, enum trust now,
                      bool forget);
/* "dialback", "pkix", "dane". Static. */
const char *trust_name(enum trust trust);

#endif
