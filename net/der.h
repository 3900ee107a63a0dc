/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The little of DER (X.690) that certificates and TLSA records need; inside of net. Pure. */
#ifndef PASSERELLE_NET_DER_H
#define PASSERELLE_NET_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* DER tags, X.690 §8.1.2 and RFC 5280 appendix A. */
enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BITS = 0x03,
    DER_OCTETS = 0x04,
    DER_OID = 0x06,
    DER_ENUMERATED = 0x0a,
    DER_UTF8 = 0x0c,
    DER_PRINTABLE = 0x13,
    DER_T61 = 0x14,
    DER_IA5 = 0x16,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_CONTEXT_0 = 0xa0, /* version; otherName and its value; permittedSubtrees */
    DER_CONTEXT_1 = 0xa1, /* excludedSubtrees */
    DER_CONTEXT_2 = 0xa2,
    DER_CONTEXT_3 = 0xa3, /* extensions */
    DER_DNS_NAME = 0x82,
    DER_URI = 0x86
};

struct der {
    const uint8_t *data;
    size_t size;
};

#define IS_OID(value, oid)                                                                     \
    ((value).size == sizeof(oid) && !memcmp((value).data, oid, sizeof(oid)))

/* Takes the element at the front of `from`; false when its length does not fit. */
static inline bool der_take(struct der *from, uint8_t *tag, struct der *value)
{
    size_t header = 2, size;
    if (from->size < 2 || (from->data[0] & 0x1f) == 0x1f)
        return false;
    size = from->data[1];
    if (size >= 0x80) {
        size_t count = size & 0x7f;
        if (count == 0 || count > 4 || from->size < 2 + count)
            return false;
        size = 0;
        for (size_t i = 0; i < count; i++)
            size = size << 8 | from->data[2 + i];
        header += count;
    }
    if (size > from->size - header)
        return false;
    *tag = from->data[0];
    *value = (struct der){from->data + header, size};
    from->data += header + size;
    from->size -= header + size;
    return true;
}

static inline bool der_expect(struct der *from, uint8_t tag, struct der *value)
{
    uint8_t found = 0;
    return der_take(from, &found, value) && found == tag;
}

/* Takes the element at the front when its tag is this one; false when it cannot be read. */
static inline bool der_option(struct der *from, uint8_t tag, struct der *value)
{
    *value = (struct der){0};
    return from->size == 0 || from->data[0] != tag || der_expect(from, tag, value);
}

static inline bool der_equal(struct der a, struct der b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* An INTEGER's value without the zeros in front: serial numbers are compared by it. */
static inline struct der der_digits(struct der integer)
{
    while (integer.size > 1 && integer.data[0] == 0)
        integer = (struct der){integer.data + 1, integer.size - 1};
    return integer;
}

/* RFC 5280 §4.1.2.5: YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ as seconds since the epoch; 0: neither. */
int64_t der_time(uint8_t tag, struct der value);

struct der_extension {
    struct der oid, value;
    bool is_critical;
};

/* Takes the Extension at the front of a list of them (RFC 5280 §4.1). */
bool der_take_extension(struct der *list, struct der_extension *extension);

/* What is signed, be it a certificate, a CRL or an OCSP response: SEQUENCE { what SEQUENCE,
   algorithm AlgorithmIdentifier, signature BIT STRING, … }. */
struct der_signed {
    struct der body;      /* the whole element that the signature is over */
    struct der content;   /* its value */
    struct der algorithm; /* the value of the AlgorithmIdentifier */
    struct der bits;      /* the signature */
    struct der rest;      /* what stands behind it */
};

bool der_read_signed(struct der whole, struct der_signed *read);

#endif
