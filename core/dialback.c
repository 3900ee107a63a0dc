/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/dialback.h"

#include <assert.h>

#include "net/digest.h"
#include "proto/writer.h"

_Static_assert(DIALBACK_KEY_SIZE == 2 * DIGEST_SIZE + 1, "a key is a digest in hex");

void dialback_key(const char *secret, struct span target, struct span sender, struct span id,
                  char key[DIALBACK_KEY_SIZE])
{
    assert(secret != NULL);
    uint8_t digest[DIGEST_SIZE];
    char secret_hex[2 * DIGEST_SIZE];
    digest_sha256(secret, strlen(secret), digest);
    struct writer writer = writer_make(secret_hex, sizeof(secret_hex));
    writer_put_hex(&writer, digest, sizeof(digest));
    const struct digest_part parts[] = {
        {target.data, target.size}, {" ", 1}, {sender.data, sender.size}, {" ", 1},
        {id.data, id.size}};
    digest_hmac_sha256(secret_hex, sizeof(secret_hex), parts, 5, digest);
    writer = writer_make(key, DIALBACK_KEY_SIZE - 1);
    writer_put_hex(&writer, digest, sizeof(digest));
    assert(!writer.overflow);
    key[DIALBACK_KEY_SIZE - 1] = '\0';
}

bool dialback_check(const char *secret, struct span target, struct span sender, struct span id,
                    struct span key)
{
    char expected[DIALBACK_KEY_SIZE];
    dialback_key(secret, target, sender, id, expected);
    return key.size == DIALBACK_KEY_SIZE - 1 && digest_equal(expected, key.data, key.size);
}
