/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The OCSP response that the relay staples to a certificate of its own (RFC 6066 §8): a file
 * beside it, of the operator's tool, DER, named like the certificate with ".ocsp" behind.
 */
#ifndef PASSERELLE_NET_STAPLE_H
#define PASSERELLE_NET_STAPLE_H

#include "net/anchors.h"
#include "net/ocsp.h"
#include "net/tls_text.h"

#define STAPLE_PATH_MAX 4096

struct staple {
    struct tls_text der; /* no data: nothing is stapled */
    int64_t next_update; /* seconds since the epoch: so long */
    const char *problem; /* why what is there is not stapled, a static sentence; else NULL */
};

/* Where it is to be; false: the path is too long. */
bool staple_path(char path[STAPLE_PATH_MAX], const char *certificate_file);
/* The DER of the first certificate of a PEM text: -ENOMEM, -EBADMSG. */
int staple_leaf(const struct tls_text *pem, struct tls_text *der) NET_MUST_USE;
/* Reads and judges it as a peer would: `pem` are the certificates of the file, leaf first. Its
   authority is looked for among them, then among the anchors (NULL: none). */
void staple_read(struct staple *staple, const char *certificate_file,
                 const struct tls_text *pem, const struct anchors *anchors,
                 const struct crls *crls);
void staple_fini(struct staple *staple);

#endif
