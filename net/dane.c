/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/dane.h"

#include <assert.h>
#include <string.h>

#include "net/der.h"
#include "net/digest.h"

enum { SELECTOR_CERTIFICATE, SELECTOR_KEY, SELECTOR_COUNT };
enum { MATCHING_ALL, MATCHING_SHA256, MATCHING_SHA512, MATCHING_COUNT };

/* A certificate or a key is a SEQUENCE (RFC 5280 §4.1), and nothing stands behind it. */
static bool is_sequence(const uint8_t *data, size_t size)
{
    struct der all = {data, size}, value;
    return der_expect(&all, DER_SEQUENCE, &value) && value.size > 0 && all.size == 0;
}

bool dane_parse(struct dane_record *record, const uint8_t *data, size_t size)
{
    *record = (struct dane_record){0};
    if (size < 4 || size > UINT16_MAX || data[0] > DANE_EE || data[1] >= SELECTOR_COUNT ||
        data[2] >= MATCHING_COUNT)
        return false;
    record->usage = data[0];
    record->selector = data[1];
    record->matching = data[2];
    data += 3;
    size -= 3;
    if (record->matching == MATCHING_ALL && is_sequence(data, size)) {
        digest_sha512(data, size, record->data);
        if (record->usage == DANE_TA && record->selector == SELECTOR_CERTIFICATE)
            record->whole_size = (uint16_t)size;
        return true;
    }
    size_t wanted = record->matching == MATCHING_SHA256 ? DIGEST_SIZE : DIGEST_SIZE_SHA512;
    if (record->matching == MATCHING_ALL || size != wanted)
        return false;
    memcpy(record->data, data, size);
    return true;
}

bool dane_is_outdone(const struct dane_record *records, unsigned count, unsigned index)
{
    const struct dane_record *record = &records[index];
    if (record->matching != MATCHING_SHA256)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (records[i].matching == MATCHING_SHA512 && records[i].usage == record->usage &&
            records[i].selector == record->selector)
            return true;
    return false;
}

bool dane_matches(const struct dane_record *record, const struct certificate *certificate)
{
    bool is_key = record->selector == SELECTOR_KEY;
    const uint8_t *data = is_key ? certificate->key : certificate->der;
    size_t size = is_key ? certificate->key_size : certificate->der_size;
    uint8_t digest[DANE_DATA_SIZE];
    assert(data != NULL);
    if (record->matching == MATCHING_SHA256) {
        digest_sha256(data, size, digest);
        return digest_equal(digest, record->data, DIGEST_SIZE);
    }
    digest_sha512(data, size, digest);
    return digest_equal(digest, record->data, DIGEST_SIZE_SHA512);
}
