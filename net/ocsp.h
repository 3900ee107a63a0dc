/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Responses of OCSP (RFC 6960), as servers staple them to their certificates (RFC 6066 §8): read
 * and judged here, for what a peer sends and for what the relay staples itself. Nothing is kept
 * and nobody is asked. Any thread.
 */
#ifndef PASSERELLE_NET_OCSP_H
#define PASSERELLE_NET_OCSP_H

#include "net/crl.h"

#define OCSP_SIZE_MAX 16384 /* bytes of a response that is looked at, or stapled */

enum ocsp_verdict {
    OCSP_UNUSABLE, /* as if there was none */
    OCSP_GOOD,
    OCSP_REVOKED
};

struct ocsp_question {
    const uint8_t *der; /* the response */
    size_t size;
    const struct certificate *certificate; /* whom it is to be about */
    const struct certificate *authority;   /* who has issued that */
    const struct crls *crls;               /* that may name its responder; NULL: none */
    int64_t now;                           /* seconds since the epoch */
};

struct ocsp_answer {
    enum ocsp_verdict verdict;
    const char *reason;  /* a static sentence: why it is unusable */
    int64_t next_update; /* seconds since the epoch: it holds so long */
};

/* What the response says of the certificate: signed by the authority, or by a responder to which
   that has delegated it (RFC 6960 §4.2.2.2), about this certificate (§4.1.1: its number, and the
   hashes of its authority's name and key), and now (thisUpdate, nextUpdate, which must be there;
   clocks may differ by five minutes). */
struct ocsp_answer ocsp_judge(const struct ocsp_question *question) NET_MUST_USE;

#endif
