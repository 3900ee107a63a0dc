/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Signatures of authorities on what is no certificate: CRLs (RFC 5280 §5) and OCSP responses (RFC
 * 6960), and on the certificates in these. RSA PKCS #1 v1.5 and ECDSA with SHA-256, SHA-384 or
 * SHA-512; nothing weaker is known here. By wolfCrypt; inside of net. Any thread.
 */
#ifndef PASSERELLE_NET_SIGNATURE_H
#define PASSERELLE_NET_SIGNATURE_H

#include "net/certificate.h"
#include "net/der.h"

#define SIGNATURE_DIGEST_MAX 64

/* What is signed, as its digest, by which algorithm. */
struct signature {
    struct der algorithm; /* the value of the AlgorithmIdentifier */
    struct der bits;
    uint8_t digest[SIGNATURE_DIGEST_MAX];
    size_t digest_size;
};

/* `algorithm` and `bits` stay the caller's memory. False: the algorithm is not known here. */
bool signature_read(struct signature *signature, const struct der_signed *read);
/* Did the key of this certificate make it? 1, 0, or -ENOMEM. */
int signature_check(const struct signature *signature, const struct certificate *signer);
/* The digest of an algorithm that is named by its OID, of parts one after the other: SHA-1 (to
   find, not to trust), SHA-256, SHA-384 or SHA-512. Its size, or 0. */
size_t signature_digest(struct der algorithm, const struct der *parts, size_t count,
                        uint8_t out[SIGNATURE_DIGEST_MAX]);

#endif
