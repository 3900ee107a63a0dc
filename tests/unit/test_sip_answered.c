/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The table of answers, and the keyed hash that names its entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "core/sip_answered.h"

static struct sip_names names_of(uint64_t number)
{
    return (struct sip_names){{{number * 7, number}}, number * 3 + 1};
}

static int status_of(const struct sip_answered *table, uint64_t number)
{
    struct sip_answer answer;
    struct sip_names names = names_of(number);
    return sip_answered_find(table, names.transaction, &answer) ? answer.status : 0;
}

static size_t add(struct sip_answered *table, uint64_t number, int status, uint64_t due_ms)
{
    struct sip_names names = names_of(number);
    return sip_answered_add(table, &names, &(struct sip_answer){.status = status}, due_ms);
}

static void test_remembers_until_due(void **state)
{
    (void)state;
    struct sip_answered *table;
    struct sip_answer answer;
    assert_int_equal(sip_answered_open(&table, 4), 0);
    struct sip_names names = names_of(1);
    assert_int_equal(sip_answered_add(table, &names,
                                      &(struct sip_answer){302, SPAN("Elsewhere"),
                                                           SPAN("Contact: <sip:a@b>\r\n")},
                                      1000),
                     0);
    assert_int_equal(add(table, 2, 200, 2000), 0);
    sip_answered_expire(table, 999);
    assert_true(sip_answered_find(table, names.transaction, &answer));
    assert_int_equal(answer.status, 302);
    assert_true(span_equal(answer.reason, SPAN("Elsewhere")));
    assert_true(span_equal(answer.extra, SPAN("Contact: <sip:a@b>\r\n")));
    assert_true(sip_answered_is_merged(table, names.merged));
    sip_answered_expire(table, 1000);
    assert_false(sip_answered_find(table, names.transaction, &answer));
    assert_false(sip_answered_is_merged(table, names.merged));
    assert_int_equal(status_of(table, 2), 200);
    sip_answered_expire(table, 2000);
    assert_int_equal(sip_answered_count(table), 0);
    assert_int_equal(status_of(table, 2), 0);
    sip_answered_close(&table);
    assert_null(table);
}

static void test_forgets_the_oldest(void **state)
{
    (void)state;
    enum { CAPACITY = 1500, ADDED = 10000 };
    struct sip_answered *table;
    size_t forgotten = 0;
    assert_int_equal(sip_answered_open(&table, CAPACITY), 0);
    for (unsigned i = 0; i < ADDED; i++)
        forgotten += add(table, i, 200 + (int)(i % 400), 5000);
    assert_int_equal(sip_answered_count(table), CAPACITY);
    assert_int_equal(forgotten, ADDED - CAPACITY);
    for (unsigned i = 0; i < ADDED; i++)
        assert_int_equal(status_of(table, i), i < ADDED - CAPACITY ? 0 : 200 + (int)(i % 400));
    sip_answered_close(&table);
}

/* The same names again and again in one chain, answers with and without details, times that
   pass the 32 bits the entry keeps: always what a plain array would say. */
static void test_against_a_plain_array(void **state)
{
    (void)state;
    enum { CAPACITY = 3000, STEPS = 40000 };
    struct sip_answered *table;
    static uint64_t due[STEPS];
    unsigned seed = 20261, first = 0, end = 0;
    uint64_t now_ms = UINT32_MAX - 5000ull;
    assert_int_equal(sip_answered_open(&table, CAPACITY), 0);
    while (end < STEPS) {
        unsigned burst = (unsigned)rand_r(&seed) % 700;
        for (unsigned i = 0; i < burst && end < STEPS; i++, end++) {
            struct sip_names names = names_of(end);
            names.transaction.word[0] &= 0xfc0000000000003full; /* few chains, all tags */
            struct sip_answer answer = {.status = 200 + (int)(end % 400)};
            if (end % 3 == 0)
                answer.reason = SPAN("Because");
            due[end] = now_ms + 1000;
            size_t forgotten = sip_answered_add(table, &names, &answer, due[end]);
            assert_int_equal(forgotten, end - first == CAPACITY ? 1 : 0);
            first += (unsigned)forgotten;
        }
        now_ms += (unsigned)rand_r(&seed) % 500;
        sip_answered_expire(table, now_ms);
        while (first < end && due[first] <= now_ms)
            first++;
        assert_int_equal(sip_answered_count(table), end - first);
        for (unsigned i = 0; i < 20 && end > 0; i++) {
            unsigned number = (unsigned)rand_r(&seed) % end;
            struct sip_names names = names_of(number);
            struct sip_answer answer;
            names.transaction.word[0] &= 0xfc0000000000003full; /* few chains, all tags */
            bool found = sip_answered_find(table, names.transaction, &answer);
            assert_int_equal(found, number >= first);
            assert_int_equal(sip_answered_is_merged(table, names.merged), number >= first);
            if (found) {
                assert_int_equal(answer.status, 200 + (int)(number % 400));
                assert_int_equal(answer.reason.size, number % 3 == 0 ? 7 : 0);
            }
        }
    }
    sip_answered_close(&table);
}

/* Reasons chosen by a stranger do not grow without bound. */
static void test_details_are_bounded(void **state)
{
    (void)state;
    struct sip_answered *table;
    static char text[60000];
    size_t forgotten = 0;
    assert_int_equal(sip_answered_open(&table, 100000), 0);
    for (unsigned i = 0; i < 1000; i++) {
        struct sip_names names = names_of(i);
        forgotten += sip_answered_add(
            table, &names,
            &(struct sip_answer){.status = 400, .reason = span_make(text, sizeof(text))}, 9000);
    }
    assert_true(sip_answered_count(table) <= 4194304 / sizeof(text) + 1);
    assert_int_equal(sip_answered_count(table) + forgotten, 1000);
    sip_answered_close(&table);
}

/* The reference vectors of SipHash-2-4-128: key 00…0f, input 00, 01, 02 … */
static void test_keyed_hash(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        uint8_t want[16];
    } rows[] = {{0,
                 {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7,
                  0x55, 0x02, 0x93}},
                {1,
                 {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b,
                  0x22, 0xfc, 0x45}},
                {63,
                 {0x51, 0x50, 0xd1, 0x77, 0x2f, 0x50, 0x83, 0x4a, 0x50, 0x3e, 0x06, 0x9a, 0x97,
                  0x3f, 0xbd, 0x7c}}};
    uint8_t key[16], input[64];
    for (uint8_t i = 0; i < sizeof(input); i++)
        input[i] = key[i % sizeof(key)] = i;
    for (uint8_t i = 0; i < sizeof(key); i++)
        key[i] = i;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t split = 0; split <= rows[i].size; split++) {
            struct keyed_hash hash;
            keyed_hash_start(&hash, key);
            keyed_hash_add(&hash, input, split);
            keyed_hash_add(&hash, input + split, rows[i].size - split);
            struct keyed_hash_name name = keyed_hash_end(&hash);
            uint8_t bytes[16];
            for (unsigned j = 0; j < 16; j++)
                bytes[j] = (uint8_t)(name.word[j / 8] >> (8 * (j % 8)));
            assert_memory_equal(bytes, rows[i].want, 16);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remembers_until_due),
        cmocka_unit_test(test_forgets_the_oldest),
        cmocka_unit_test(test_against_a_plain_array),
        cmocka_unit_test(test_details_are_bounded),
        cmocka_unit_test(test_keyed_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
