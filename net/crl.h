/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Certificate revocation lists (RFC 5280 §5): which certificates their authorities have taken
 * back. A list is read from a file of the operator's and kept as its serial numbers, sorted:
 * `count` times the longest of them, so 100,000 of 16 bytes are 1.6 MB. Who signed it is seen
 * when a certificate of its authority is judged, once for each key. One thread; read-only but for
 * that.
 */
#ifndef PASSERELLE_NET_CRL_H
#define PASSERELLE_NET_CRL_H

#include "net/certificate.h"
#include "net/tls_text.h"

#define CRL_FILE_SIZE_MAX (64u << 20) /* bytes of a file, of which each may hold several lists */
#define CRL_COUNT_MAX     1024        /* lists of one `struct crls` */

struct crl;

struct crls {
    struct crl **list;
    size_t count, room;
};

/* Adds the lists of a file (PEM or DER), or of each file of a directory but hidden ones: 0,
   -errno, or -EBADMSG. `error` gets the file and what is wrong with it. Refused are delta and
   indirect lists, those of attribute certificates, without nextUpdate, with a critical extension
   that is not known here or a signature that is weak. An old list is taken: what it takes back
   stays so. */
int crls_add(struct crls *crls, const char *path, char *error, size_t error_size) NET_MUST_USE;
/* Those of a text, PEM or DER, likewise: *problem gets a static sentence with -EBADMSG. */
int crls_add_text(struct crls *crls, const struct tls_text *text,
                  const char **problem) NET_MUST_USE;
void crls_free(struct crls *crls);

enum crl_verdict {
    CRL_NONE,   /* no list here is of this authority */
    CRL_CLEAR,  /* none of its lists names the certificate */
    CRL_REVOKED,
    CRL_NO_MEMORY
};

/* What the lists of `authority`, which has issued `certificate`, say of it (RFC 5280 §6.3.3). */
enum crl_verdict crls_judge(const struct crls *crls, const struct certificate *certificate,
                            const struct certificate *authority);

/* For people: a list at `index` < count. */
struct crl_facts {
    const char *file;
    struct certificate_subject issuer;
    size_t count, bytes; /* numbers in it, and the memory that these take */
    int64_t this_update, next_update; /* seconds since the epoch */
};
struct crl_facts crls_facts(const struct crls *crls, size_t index);

#endif
