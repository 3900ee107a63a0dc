/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/signature.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/signature.h>

#include <errno.h>

#define RSA_SIZE_MAX 1024 /* bytes of a signature */

static const uint8_t oid_sha1[] = {0x2b, 0x0e, 3, 2, 0x1a};
static const uint8_t oid_sha256[] = {0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1};
static const uint8_t oid_sha384[] = {0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2};
static const uint8_t oid_sha512[] = {0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3};

struct scheme {
    uint8_t oid[9];
    uint8_t oid_size;
    bool is_rsa;
    enum wc_HashType hash;
    int hash_oid; /* wolfCrypt's number of it */
};

/* RFC 4055 §5, RFC 5758 §3.2. */
static const struct scheme schemes[] = {
    {{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}, 9, true, WC_HASH_TYPE_SHA256, SHA256h},
    {{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12}, 9, true, WC_HASH_TYPE_SHA384, SHA384h},
    {{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13}, 9, true, WC_HASH_TYPE_SHA512, SHA512h},
    {{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}, 8, false, WC_HASH_TYPE_SHA256, 0},
    {{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3}, 8, false, WC_HASH_TYPE_SHA384, 0},
    {{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4}, 8, false, WC_HASH_TYPE_SHA512, 0},
};

static const struct scheme *scheme_of(struct der algorithm)
{
    struct der oid;
    if (!der_expect(&algorithm, DER_OID, &oid))
        return NULL;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (der_equal(oid, (struct der){schemes[i].oid, schemes[i].oid_size}))
            return &schemes[i];
    return NULL;
}

static size_t hash_parts(enum wc_HashType type, const struct der *parts, size_t count,
                         uint8_t out[SIGNATURE_DIGEST_MAX])
{
    wc_HashAlg hash;
    int size = wc_HashGetDigestSize(type);
    if (size <= 0 || size > SIGNATURE_DIGEST_MAX || wc_HashInit(&hash, type) != 0)
        return 0;
    bool is_good = true;
    for (size_t i = 0; i < count; i++)
        is_good &= parts[i].size <= UINT32_MAX &&
                   wc_HashUpdate(&hash, type, parts[i].data, (word32)parts[i].size) == 0;
    is_good &= wc_HashFinal(&hash, type, out) == 0;
    (void)wc_HashFree(&hash, type);
    return is_good ? (size_t)size : 0;
}

size_t signature_digest(struct der algorithm, const struct der *parts, size_t count,
                        uint8_t out[SIGNATURE_DIGEST_MAX])
{
    enum wc_HashType type = IS_OID(algorithm, oid_sha1)     ? WC_HASH_TYPE_SHA
                            : IS_OID(algorithm, oid_sha256) ? WC_HASH_TYPE_SHA256
                            : IS_OID(algorithm, oid_sha384) ? WC_HASH_TYPE_SHA384
                            : IS_OID(algorithm, oid_sha512) ? WC_HASH_TYPE_SHA512
                                                            : WC_HASH_TYPE_NONE;
    return type == WC_HASH_TYPE_NONE ? 0 : hash_parts(type, parts, count, out);
}

bool signature_read(struct signature *signature, const struct der_signed *read)
{
    const struct scheme *scheme = scheme_of(read->algorithm);
    if (scheme == NULL)
        return false;
    signature->algorithm = read->algorithm;
    signature->bits = read->bits;
    signature->digest_size = hash_parts(scheme->hash, &read->body, 1, signature->digest);
    return signature->digest_size > 0;
}

/* RFC 8017 §8.2.2: what the signature holds must be the very encoding of the digest. */
static int check_rsa(const struct signature *signature, const struct certificate *signer,
                     const struct scheme *scheme)
{
    RsaKey key;
    uint8_t held[RSA_SIZE_MAX], wanted[MAX_DER_DIGEST_SZ];
    word32 at = 0;
    if (wc_InitRsaKey(&key, NULL) != 0)
        return -ENOMEM;
    int rc = wc_RsaPublicKeyDecode(signer->key, &at, &key, (word32)signer->key_size);
    if (rc == 0)
        rc = wc_RsaSSL_Verify(signature->bits.data, (word32)signature->bits.size, held,
                              sizeof(held), &key);
    (void)wc_FreeRsaKey(&key);
    if (rc <= 0)
        return rc == MEMORY_E ? -ENOMEM : 0;
    word32 size = wc_EncodeSignature(wanted, signature->digest, (word32)signature->digest_size,
                                     scheme->hash_oid);
    return size == (word32)rc && memcmp(held, wanted, size) == 0;
}

static int check_ecdsa(const struct signature *signature, const struct certificate *signer)
{
    ecc_key key;
    word32 at = 0;
    int is_good = 0;
    if (wc_ecc_init(&key) != 0)
        return -ENOMEM;
    int rc = wc_EccPublicKeyDecode(signer->key, &at, &key, (word32)signer->key_size);
    if (rc == 0)
        rc = wc_ecc_verify_hash(signature->bits.data, (word32)signature->bits.size,
                                signature->digest, (word32)signature->digest_size, &is_good,
                                &key);
    (void)wc_ecc_free(&key);
    return rc == MEMORY_E ? -ENOMEM : rc == 0 && is_good == 1;
}

int signature_check(const struct signature *signature, const struct certificate *signer)
{
    const struct scheme *scheme = scheme_of(signature->algorithm);
    if (scheme == NULL || signature->bits.size == 0 || signature->bits.size > RSA_SIZE_MAX ||
        certificate_key_is_short(signer))
        return 0;
    return scheme->is_rsa ? check_rsa(signature, signer, scheme)
                          : check_ecdsa(signature, signer);
}
