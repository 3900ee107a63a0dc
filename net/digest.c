/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/sha512.h>

#include "net/digest.h"

#include <assert.h>
#include <string.h>

_Static_assert(DIGEST_SIZE == WC_SHA256_DIGEST_SIZE, "FIPS 180-4");
_Static_assert(DIGEST_SIZE_SHA512 == WC_SHA512_DIGEST_SIZE, "FIPS 180-4");

void digest_sha256(const void *data, size_t size, uint8_t out[DIGEST_SIZE])
{
    wc_Sha256 sha;
    assert(size <= UINT32_MAX);
    int rc = wc_InitSha256(&sha);
    if (rc == 0 && size > 0)
        rc = wc_Sha256Update(&sha, data, (word32)size);
    if (rc == 0)
        rc = wc_Sha256Final(&sha, out);
    wc_Sha256Free(&sha);
    assert(rc == 0);
}

void digest_sha512(const void *data, size_t size, uint8_t out[DIGEST_SIZE_SHA512])
{
    assert(size <= UINT32_MAX);
    int rc = wc_Sha512Hash(data, (word32)size, out);
    assert(rc == 0);
    (void)rc;
}

/* RFC 2104, written out: wolfCrypt's own refuses the empty key in some builds. */
void digest_hmac_sha256(const void *key, size_t key_size, const struct digest_part *parts,
                        size_t count, uint8_t out[DIGEST_SIZE])
{
    uint8_t block[WC_SHA256_BLOCK_SIZE] = {0};
    uint8_t pad[WC_SHA256_BLOCK_SIZE];
    if (key_size > sizeof(block))
        digest_sha256(key, key_size, block);
    else if (key_size > 0)
        memcpy(block, key, key_size);

    wc_Sha256 sha;
    int rc = wc_InitSha256(&sha);
    assert(rc == 0);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] = block[i] ^ 0x36;
    rc = wc_Sha256Update(&sha, pad, sizeof(pad));
    for (size_t i = 0; i < count && rc == 0; i++) {
        assert(parts[i].size <= UINT32_MAX);
        if (parts[i].size > 0)
            rc = wc_Sha256Update(&sha, parts[i].data, (word32)parts[i].size);
    }
    if (rc == 0)
        rc = wc_Sha256Final(&sha, out);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] = block[i] ^ 0x5c;
    if (rc == 0)
        rc = wc_Sha256Update(&sha, pad, sizeof(pad));
    if (rc == 0)
        rc = wc_Sha256Update(&sha, out, DIGEST_SIZE);
    if (rc == 0)
        rc = wc_Sha256Final(&sha, out);
    wc_Sha256Free(&sha);
    explicit_bzero(block, sizeof(block));
    explicit_bzero(pad, sizeof(pad));
    assert(rc == 0);
}

bool digest_equal(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++)
        difference = (uint8_t)(difference | (x[i] ^ y[i]));
    return difference == 0;
}
