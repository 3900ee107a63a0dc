/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whether certificates lead from a leaf to a trust anchor (RFC 5280 §6.1): each signed by the
 * next one, which is an authority and may sign, has room for those below it (pathLenConstraint)
 * and may vouch for the leaf's names, all within their dates, meant for TLS and none too weak.
 * wolfSSL checks one signature at a time; which may follow which is decided here, and nothing
 * that a peer sends is ever kept. Along a way that leads to an anchor nobody may be revoked: by
 * the CRLs of each authority (§6.3), and for the leaf by the OCSP response that came with it.
 * Policies are not looked at, directory names in name constraints only between neighbours.
 */
#ifndef PASSERELLE_NET_PATH_H
#define PASSERELLE_NET_PATH_H

#include "net/anchors.h"
#include "net/ocsp.h"
#include "net/tls_text.h"

#define PATH_MAX_CHECKS 16 /* signatures that are checked for one chain */

/* What a chain is judged by. */
struct path_trust {
    const struct anchors *anchors;
    const struct crls *crls; /* NULL: none */
    const uint8_t *staple;   /* the OCSP response that came with the leaf; NULL: none */
    size_t staple_size;
    bool wants_staple; /* the peer was asked for one: who promises it (RFC 7633) must have it */
    int64_t now;       /* seconds since the epoch */
};

struct path_findings {
    bool is_revoked;           /* the leaf or an authority of it, where that is why */
    struct ocsp_answer staple; /* what the response says, when the chain leads to an anchor */
};

/* The certificates as the peer sent them: the leaf first, the others in any order and perhaps
   useless, at most TLS_CHAIN_MAX. NULL: it is good; else a static sentence that says why not.
   `findings` may be NULL. */
const char *path_verify(const struct tls_text *certificates, unsigned count,
                        const struct path_trust *trust, struct path_findings *findings)
    NET_MUST_USE;

#endif
