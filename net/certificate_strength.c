/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What nobody should trust any more (RFC 9325 §4.5, RFC 9155): short RSA keys, MD5 and SHA-1.
 */
#include "net/certificate.h"

#include "net/der.h"

#define RSA_MODULUS_MIN 256 /* bytes */

/* RFC 8017 appendix A: pkcs-1; below it 1 is a key, 2 to 5 sign with MD2, MD4, MD5, SHA-1. */
static const uint8_t oid_pkcs1[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1};
static const uint8_t oid_ecdsa_sha1[] = {0x2a, 0x86, 0x48, 0xce,
                                         0x3d, 4,    1}; /* RFC 3279 §2.2.3 */
static const uint8_t oid_sha1[] = {0x2b, 0x0e, 3, 2, 0x1a};

enum pkcs1 { RSA_KEY = 1, RSA_SHA1 = 5, RSA_PSS = 10, NOT_RSA = -1 };

static int pkcs1_of(struct der oid)
{
    if (oid.size != sizeof(oid_pkcs1) + 1 ||
        memcmp(oid.data, oid_pkcs1, sizeof(oid_pkcs1)) != 0)
        return NOT_RSA;
    return oid.data[sizeof(oid_pkcs1)];
}

/* RSASSA-PSS-params, RFC 8017 appendix A.2.3: without a hash it is SHA-1. */
static bool pss_is_weak(struct der parameters)
{
    struct der fields, wrapped, hash, oid;
    return !der_expect(&parameters, DER_SEQUENCE, &fields) ||
           !der_expect(&fields, DER_CONTEXT_0, &wrapped) ||
           !der_expect(&wrapped, DER_SEQUENCE, &hash) || !der_expect(&hash, DER_OID, &oid) ||
           IS_OID(oid, oid_sha1);
}

bool certificate_signature_is_weak(const struct certificate *certificate)
{
    struct der algorithm = {certificate->algorithm, certificate->algorithm_size}, oid;
    if (!der_expect(&algorithm, DER_OID, &oid))
        return true;
    int pkcs1 = pkcs1_of(oid);
    return pkcs1 == RSA_PSS ? pss_is_weak(algorithm)
                            : (pkcs1 >= 0 && pkcs1 <= RSA_SHA1) || IS_OID(oid, oid_ecdsa_sha1);
}

/* SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { OID, parameters }, BIT STRING }, and in it
   RSAPublicKey ::= SEQUENCE { modulus INTEGER, exponent INTEGER } (RFC 3279 §2.3.1). */
bool certificate_key_is_short(const struct certificate *certificate)
{
    struct der key = {certificate->key, certificate->key_size}, info, algorithm, oid, bits;
    struct der numbers, modulus;
    if (!der_expect(&key, DER_SEQUENCE, &info) ||
        !der_expect(&info, DER_SEQUENCE, &algorithm) || !der_expect(&algorithm, DER_OID, &oid))
        return true;
    int pkcs1 = pkcs1_of(oid);
    if (pkcs1 != RSA_KEY && pkcs1 != RSA_PSS)
        return false;
    if (!der_expect(&info, DER_BITS, &bits) || bits.size == 0)
        return true;
    bits = (struct der){bits.data + 1, bits.size - 1}; /* the count of bits that are not used */
    if (!der_expect(&bits, DER_SEQUENCE, &numbers) ||
        !der_expect(&numbers, DER_INTEGER, &modulus))
        return true;
    while (modulus.size > 0 && modulus.data[0] == 0)
        modulus = (struct der){modulus.data + 1, modulus.size - 1};
    return modulus.size < RSA_MODULUS_MIN;
}
