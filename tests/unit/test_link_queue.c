/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What waits for a link: in which order it goes, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/link_priv.h"

#define SELF   0u
#define MAX    4096u /* of one link */
#define PASSES 16u   /* messages before an IQ that waits */

static struct mesh *mesh;

static int start(void **state)
{
    (void)state;
    return mesh_open(&mesh, 1, 8192);
}

static int stop(void **state)
{
    (void)state;
    mesh_close(&mesh);
    return 0;
}

enum kind { MESSAGE, ERROR, ANSWER, QUESTION, VERIFY };

static struct parcel *make(enum kind kind, uint64_t number)
{
    struct parcel *parcel = mesh_take(mesh, SELF, MESH_TRAFFIC);
    assert_non_null(parcel);
    parcel->kind = kind == VERIFY ? PARCEL_VERIFY : PARCEL_STANZA_TO_XMPP;
    parcel->wants_outcome = kind == MESSAGE || kind == QUESTION || kind == VERIFY;
    parcel->wants_answer = kind == QUESTION;
    parcel->is_iq = kind == ANSWER || kind == QUESTION;
    parcel->ticket = number;
    return parcel;
}

static void put(struct link *link, enum kind kind, uint64_t number)
{
    link_queue_take(link, make(kind, number));
}

/* The number of the stanza that would be written next. */
static uint64_t take(struct link *link)
{
    assert_false(link_queue_is_empty(link));
    link_queue_choose(link);
    struct parcel *parcel = link_pop(&link->queue);
    uint64_t number = parcel->ticket;
    mesh_give(mesh, SELF, &parcel);
    return number;
}

/* Messages and errors in the order in which they came; an IQ when 16 have passed it, or none is
   left; IQs among themselves in theirs, too. */
static void test_order(void **state)
{
    (void)state;
    struct link link = {.magic = LINK_MAGIC};
    put(&link, ANSWER, 1000);
    put(&link, QUESTION, 1001);
    put(&link, ANSWER, 1002);
    for (uint64_t n = 0; n < 40; n++)
        put(&link, n % 3 == 0 ? ERROR : MESSAGE, n);
    assert_int_equal(link_waiting(&link), 43);
    for (uint64_t n = 0; n < PASSES; n++)
        assert_int_equal(take(&link), n);
    assert_int_equal(take(&link), 1000);
    for (uint64_t n = PASSES; n < 2 * PASSES; n++)
        assert_int_equal(take(&link), n);
    assert_int_equal(take(&link), 1001);
    for (uint64_t n = 2 * PASSES; n < 40; n++)
        assert_int_equal(take(&link), n);
    assert_int_equal(take(&link), 1002);
    assert_true(link_queue_is_empty(&link));
}

/* Lists are put together from both ends, also when one of them is empty. */
static void test_lists(void **state)
{
    (void)state;
    struct link link = {.magic = LINK_MAGIC};
    struct parcel_list none = {NULL, NULL, 0}, two = none;
    link_prepend(&link.queue, &none);
    assert_null(link.queue.tail);
    link_push(&two, make(MESSAGE, 0));
    link_push(&two, make(MESSAGE, 1));
    link_prepend(&link.queue, &two);
    link_push(&link.queue, make(MESSAGE, 2));
    two = none;
    link_push(&two, make(MESSAGE, 10));
    link_prepend(&link.queue, &two);
    link_push(&link.queue, make(MESSAGE, 3));
    assert_int_equal(link.queue.count, 5);
    assert_int_equal(take(&link), 10);
    for (uint64_t n = 0; n < 4; n++)
        assert_int_equal(take(&link), n);
    assert_null(link.queue.tail);
}

static void check_full(const struct link *link, enum kind kind, uint32_t left, bool expected)
{
    struct parcel *parcel = make(kind, 0);
    parcel->left = left;
    assert_int_equal(link_queue_is_full(link, parcel), expected);
    mesh_give(mesh, SELF, &parcel);
}

/* By the rule queue_max, or when the partner is slow by a quarter of what is left of the pool:
   messages only, for an error stanza, an answer or a db:verify would be lost. */
static void test_full(void **state)
{
    (void)state;
    struct link link = {.magic = LINK_MAGIC};
    for (uint64_t n = 0; n < 100; n++)
        put(&link, n % 10 == 0 ? ANSWER : MESSAGE, n);
    check_full(&link, MESSAGE, 0, false);
    link.queue_max = 101;
    check_full(&link, MESSAGE, 0, false);
    link.queue_max = 100;
    check_full(&link, MESSAGE, 8000, true);
    for (enum kind kind = ERROR; kind <= VERIFY; kind++)
        check_full(&link, kind, 0, false);
    link.queue_max = 0;
    link.pace.slow = true;
    check_full(&link, MESSAGE, 400, false);
    check_full(&link, MESSAGE, 399, true);
    for (enum kind kind = ERROR; kind <= VERIFY; kind++)
        check_full(&link, kind, 0, false);
    for (uint64_t n = 100; n < MAX; n++)
        put(&link, VERIFY, n);
    for (enum kind kind = MESSAGE; kind <= VERIFY; kind++)
        check_full(&link, kind, 8000, true);
}

/* A parcel knows how many were left for traffic when it was taken. */
static void test_left(void **state)
{
    (void)state;
    unsigned before = mesh_free(mesh, SELF);
    struct parcel *one = make(MESSAGE, 0), *two = make(MESSAGE, 1);
    assert_int_equal(one->left, before - 1);
    assert_int_equal(two->left, before - 2);
    mesh_give(mesh, SELF, &one);
    mesh_give(mesh, SELF, &two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_left),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
