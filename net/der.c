/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/der.h"

#include <time.h>

static bool digits(const uint8_t *data, size_t count, int *value)
{
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (data[i] < '0' || data[i] > '9')
            return false;
        *value = *value * 10 + (data[i] - '0');
    }
    return true;
}

int64_t der_time(uint8_t tag, struct der value)
{
    struct tm tm = {0};
    size_t year = tag == DER_UTC_TIME ? 2 : 4;
    const uint8_t *at = value.data;
    if ((tag != DER_UTC_TIME && tag != DER_GENERALIZED_TIME) || value.size != year + 11 ||
        at[year + 10] != 'Z')
        return 0;
    if (!digits(at, year, &tm.tm_year) || !digits(at + year, 2, &tm.tm_mon) ||
        !digits(at + year + 2, 2, &tm.tm_mday) || !digits(at + year + 4, 2, &tm.tm_hour) ||
        !digits(at + year + 6, 2, &tm.tm_min) || !digits(at + year + 8, 2, &tm.tm_sec))
        return 0;
    if (tag == DER_GENERALIZED_TIME)
        tm.tm_year -= 1900;
    else if (tm.tm_year < 50)
        tm.tm_year += 100;
    tm.tm_mon--;
    return (int64_t)timegm(&tm);
}

/* Extension ::= SEQUENCE { OID, critical BOOLEAN DEFAULT FALSE, OCTET STRING }. */
bool der_take_extension(struct der *list, struct der_extension *extension)
{
    struct der whole, critical;
    if (!der_expect(list, DER_SEQUENCE, &whole) ||
        !der_expect(&whole, DER_OID, &extension->oid) ||
        !der_option(&whole, DER_BOOLEAN, &critical) ||
        !der_expect(&whole, DER_OCTETS, &extension->value))
        return false;
    extension->is_critical = critical.size > 0 && critical.data[0] != 0;
    return true;
}

bool der_read_signed(struct der whole, struct der_signed *read)
{
    struct der outer;
    if (!der_expect(&whole, DER_SEQUENCE, &outer) || whole.size != 0)
        return false;
    read->body.data = outer.data;
    if (!der_expect(&outer, DER_SEQUENCE, &read->content))
        return false;
    read->body.size = (size_t)(outer.data - read->body.data);
    if (!der_expect(&outer, DER_SEQUENCE, &read->algorithm) ||
        !der_expect(&outer, DER_BITS, &read->bits) || read->bits.size == 0)
        return false;
    /* The first byte counts the bits that are not used: none. */
    read->bits = (struct der){read->bits.data + 1, read->bits.size - 1};
    read->rest = outer;
    return true;
}
