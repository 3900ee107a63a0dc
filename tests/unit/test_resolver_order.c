/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SRV and NAPTR records as they come, and the order of SRV records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "net/resolver_order.h"

static void test_parse(void **state)
{
    (void)state;
    static const uint8_t good[] = {0, 1, 0, 2, 0x14, 0x95, 1, 'a', 2, 'b', 'c', 0};
    struct resolver_record record;
    assert_true(resolver_order_parse(good, sizeof(good), &record));
    assert_int_equal(record.port, 5269);
    assert_string_equal(record.host, "a.bc");
    for (size_t size = 0; size < sizeof(good); size++)
        assert_false(resolver_order_parse(good, size, &record));
    uint8_t odd[sizeof(good)];
    memcpy(odd, good, sizeof(good));
    odd[7] = '\n';
    assert_false(resolver_order_parse(odd, sizeof(odd), &record));
}

/* RFC 2782: weight 3 comes first three times as often as weight 1. */
static void test_weights(void **state)
{
    (void)state;
    unsigned first_heavy = 0;
    uint32_t seed = 12345;
    for (unsigned round = 0; round < 4000; round++) {
        struct resolver_record records[3] = {
            {.priority = 2, .port = 9}, {.priority = 1, .weight = 10, .port = 1},
            {.priority = 1, .weight = 30, .port = 3}};
        uint32_t random[3];
        for (size_t i = 0; i < 3; i++)
            random[i] = (seed = seed * 1664525u + 1013904223u) >> 8;
        resolver_order_sort(records, 3, random);
        assert_int_equal(records[2].port, 9);
        first_heavy += records[0].port == 3;
    }
    assert_in_range(first_heavy, 2700, 3200);
}

static void test_parse_pointer(void **state)
{
    (void)state;
    static const uint8_t good[] = {0,   1,   0,   2,   1,   's', 7, 'S', 'I', 'P',
                                   '+', 'D', '2', 'T', 0,   1,   'a', 2, 'b', 'c', 0};
    struct resolver_pointer pointer;
    assert_true(resolver_order_pointer(good, sizeof(good), &pointer));
    assert_int_equal(pointer.order, 1);
    assert_int_equal(pointer.preference, 2);
    assert_string_equal(pointer.service, "SIP+D2T");
    assert_string_equal(pointer.host, "a.bc");
    for (size_t size = 0; size < sizeof(good); size++) {
        uint8_t *exact = malloc(size + (size == 0)); /* a sanitizer watches its end */
        assert_non_null(exact);
        memcpy(exact, good, size);
        assert_false(resolver_order_pointer(exact, size, &pointer));
        free(exact);
    }
    uint8_t other[sizeof(good)];
    memcpy(other, good, sizeof(good));
    other[5] = 'u';
    assert_false(resolver_order_pointer(other, sizeof(other), &pointer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_parse_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
