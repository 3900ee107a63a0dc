/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLSA records (RFC 6698, RFC 7671): what a domain says in DNS about the certificate of its
 * server. Reading and matching only: whether DNSSEC vouches for a record is the resolver's
 * business, paths and names are the caller's. Pure, any thread.
 */
#ifndef PASSERELLE_NET_DANE_H
#define PASSERELLE_NET_DANE_H

#include "net/certificate.h"

#define DANE_DATA_SIZE 64

/* RFC 6698 §2.1.1 by their names of RFC 7218 §2.1. */
enum dane_usage { DANE_PKIX_TA, DANE_PKIX_EE, DANE_TA, DANE_EE };

struct dane_record {
    uint8_t usage;                /* enum dane_usage */
    uint8_t selector;             /* 0: the certificate, 1: its public key */
    uint8_t matching;             /* 0: all of it, 1: its SHA-256, 2: its SHA-512 */
    uint8_t data[DANE_DATA_SIZE]; /* the digest; of "all of it" the SHA-512 is kept */
    /* Of an authority that is whole in DNS, so that the server need not send it (RFC 7671
       §5.2.2): its DER, at the end of the record's data. 0: of all others. */
    uint16_t whole_size;
    uint16_t whole_at; /* where its owner keeps it */
};

/* Reads the data of a TLSA record. False when it is unusable (RFC 6698 §4.1): malformed, or of an
   unknown kind. */
bool dane_parse(struct dane_record *record, const uint8_t *data, size_t size);
/* Does another of the records, of the same usage and selector, have a stronger digest? Then the
   one at `index` does not count (RFC 7671 §9). */
bool dane_is_outdone(const struct dane_record *records, unsigned count, unsigned index);
/* Does the record name this certificate, or its key? */
bool dane_matches(const struct dane_record *record, const struct certificate *certificate);

#endif
