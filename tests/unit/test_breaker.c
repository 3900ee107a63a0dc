/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "core/breaker.h"

#define PAIRS 3u

static const struct span partner = SPAN("x.example"), other = SPAN("y.example");
static const struct breaker_verdict why = {.fault = STANZA_ERROR_REMOTE_SERVER_NOT_FOUND,
                                           .reason = SPAN("x.example: host-unknown")};

static bool failed(struct breaker_set *set, uint64_t pair, uint64_t now_ms)
{
    return breaker_failed(set, partner, pair, PAIRS, now_ms, &why);
}

static bool allows(struct breaker_set *set, uint64_t pair, uint64_t now_ms)
{
    struct breaker_verdict verdict;
    if (breaker_allows(set, partner, pair, now_ms, &verdict))
        return true;
    assert_int_equal(verdict.fault, why.fault);
    assert_true(span_equal(verdict.reason, why.reason));
    assert_true(verdict.until_ms > now_ms);
    return false;
}

/* Opens it at this time. */
static struct breaker_set *make_open(uint64_t now_ms)
{
    struct breaker_set *set = breaker_open();
    assert_non_null(set);
    for (unsigned pair = 1; pair < PAIRS; pair++)
        assert_false(failed(set, pair, now_ms));
    assert_true(failed(set, PAIRS, now_ms));
    return set;
}

static void test_opens_and_closes(void **state)
{
    (void)state;
    struct breaker_verdict verdict;
    struct breaker_set *set = make_open(1000);
    assert_true(breaker_is_open(set, partner, &verdict));
    assert_int_equal(verdict.until_ms, 1000 + BREAKER_MS);
    assert_false(allows(set, 9, 1000 + BREAKER_MS - 1));
    assert_true(breaker_allows(set, other, 9, 1000, &verdict));
    /* Half open: one tries, the others wait for what becomes of it. */
    assert_true(allows(set, 9, 1000 + BREAKER_MS));
    assert_false(allows(set, 8, 1000 + BREAKER_MS));
    assert_true(breaker_worked(set, partner));
    assert_true(allows(set, 8, 1000 + BREAKER_MS));
    assert_false(breaker_is_open(set, partner, &verdict));
    assert_false(breaker_worked(set, partner));
    breaker_close(&set);
    assert_null(set);
}

/* Each try that fails doubles the time to the next, up to a minute; who was on the way when it
   opened does not. */
static void test_stays_open(void **state)
{
    (void)state;
    struct breaker_verdict verdict;
    struct breaker_set *set = make_open(0);
    uint64_t now_ms = BREAKER_MS, wait_ms = BREAKER_MS;
    for (unsigned n = 0; n < 10; n++) {
        assert_true(allows(set, 100 + n, now_ms));
        assert_false(failed(set, 7, now_ms));
        assert_false(allows(set, 7, now_ms));
        assert_false(failed(set, 100 + n, now_ms));
        wait_ms = 2 * wait_ms < BREAKER_MAX_MS ? 2 * wait_ms : BREAKER_MAX_MS;
        assert_true(breaker_is_open(set, partner, &verdict));
        assert_int_equal(verdict.until_ms, now_ms + wait_ms);
        now_ms += wait_ms;
    }
    breaker_close(&set);
}

/* One pair that fails again and again says nothing of the others, nor do failures far apart,
   nor a partner that works in between. */
static void test_stays_closed(void **state)
{
    (void)state;
    struct breaker_set *set = breaker_open();
    assert_non_null(set);
    for (unsigned n = 0; n < 10; n++)
        assert_false(failed(set, 1, n));
    for (unsigned n = 0; n < 10; n++)
        assert_false(failed(set, 2 + n, (n + 1) * (BREAKER_MEMORY_MS + 11ull)));
    for (unsigned n = 0; n < 10; n++) {
        assert_false(failed(set, 2 * n, 0));
        assert_false(failed(set, 2 * n + 1, 0));
        assert_false(breaker_worked(set, partner));
    }
    for (unsigned n = 0; n < BREAKER_PAIRS_MAX + 9; n++)
        assert_false(breaker_failed(set, partner, n, 0, 0, &why));
    assert_true(allows(set, 1, 0));
    breaker_close(&set);
}

/* Whose own fault it was leaves the try to the next; one that is not heard of again, too. */
static void test_try_without_a_verdict(void **state)
{
    (void)state;
    struct breaker_set *set = make_open(0);
    assert_true(allows(set, 8, BREAKER_MS));
    breaker_undecided(set, partner, 9, BREAKER_MS);
    assert_false(allows(set, 9, BREAKER_MS));
    breaker_undecided(set, partner, 8, BREAKER_MS);
    assert_true(allows(set, 9, BREAKER_MS));
    assert_false(allows(set, 8, BREAKER_MS + BREAKER_PROBE_MS - 1));
    assert_true(allows(set, 8, BREAKER_MS + BREAKER_PROBE_MS));
    breaker_reset(set);
    assert_true(allows(set, 7, BREAKER_MS));
    breaker_close(&set);
}

/* So many partners are kept; the one that failed least recently makes room. */
static void test_bound(void **state)
{
    (void)state;
    struct breaker_set *set = make_open(0);
    struct breaker_verdict verdict;
    char name[32];
    for (unsigned n = 0; n < BREAKER_PARTNERS_MAX; n++) {
        if (n == BREAKER_PARTNERS_MAX / 2)
            assert_false(failed(set, 1, 0));
        assert_true(snprintf(name, sizeof(name), "n%u.example", n) > 0);
        assert_true(breaker_failed(set, span_of(name), 1, 1, 0, &why));
    }
    assert_false(breaker_is_open(set, SPAN("n0.example"), &verdict));
    assert_true(breaker_is_open(set, SPAN("n1.example"), &verdict));
    assert_true(breaker_is_open(set, partner, &verdict));
    breaker_close(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_and_closes),
        cmocka_unit_test(test_stays_open),
        cmocka_unit_test(test_stays_closed),
        cmocka_unit_test(test_try_without_a_verdict),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
