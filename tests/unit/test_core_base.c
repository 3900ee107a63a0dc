/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The mesh, the timers and the counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/census.h"
#include "core/mesh.h"
#include "core/stats.h"
#include "core/timer.h"
#include "core/trust.h"

static void test_timers_come_in_order(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct timer timers[COUNT] = {0};
    struct timer_heap heap;
    unsigned seed = 7;
    timer_heap_init(&heap);
    for (int i = 0; i < COUNT; i++)
        timer_arm(&heap, &timers[i], (uint64_t)(rand_r(&seed) % 1000));
    for (int i = 0; i < COUNT; i += 3)
        timer_disarm(&heap, &timers[i]);
    for (int i = 1; i < COUNT; i += 3)
        timer_arm(&heap, &timers[i], (uint64_t)(rand_r(&seed) % 1000));
    uint64_t last_ms = 0;
    int taken = 0;
    for (struct timer *timer; (timer = timer_take_due(&heap, 2000)) != NULL; taken++) {
        assert_true(timer->deadline_ms >= last_ms);
        assert_int_not_equal((timer - timers) % 3, 0);
        last_ms = timer->deadline_ms;
    }
    assert_int_equal(taken, COUNT - (COUNT + 2) / 3);
    assert_true(timer_next_deadline(&heap) == UINT64_MAX);
    timer_heap_fini(&heap);
}

static void test_pool_keeps_a_reserve(void **state)
{
    (void)state;
    struct mesh *mesh;
    assert_int_equal(mesh_open(&mesh, 2, 100), -EINVAL);
    assert_int_equal(mesh_open(&mesh, 2, 128), 0);
    struct parcel *taken[128];
    unsigned n = 0;
    while ((taken[n] = mesh_take(mesh, 0, MESH_TRAFFIC)) != NULL)
        n++;
    assert_int_equal(n, 128 - MESH_CONTROL_RESERVE);
    while (n < 128 && (taken[n] = mesh_take(mesh, 0, MESH_CONTROL)) != NULL)
        n++;
    assert_int_equal(n, 128);
    assert_null(mesh_take(mesh, 0, MESH_CONTROL));
    assert_int_equal(mesh_out(mesh, 0), 128);
    while (n > 0)
        mesh_give(mesh, 0, &taken[--n]);
    assert_int_equal(mesh_out(mesh, 0), 0);
    mesh_close(&mesh);
}

#define CROSSINGS 200000u

static void *echo_thread(void *argument)
{
    struct mesh *mesh = argument;
    for (uint64_t expected = 0; expected < CROSSINGS;) {
        struct parcel *parcel = mesh_next(mesh, 1);
        if (parcel == NULL)
            continue;
        if (parcel->ticket != expected)
            return (void *)1;
        expected++;
        parcel->outcome.kind = OUTCOME_DELIVERED;
        mesh_return(mesh, 1, &parcel);
    }
    return NULL;
}

static void test_parcels_cross_in_order_and_come_home(void **state)
{
    (void)state;
    struct mesh *mesh;
    pthread_t thread;
    assert_int_equal(mesh_open(&mesh, 2, 256), 0);
    assert_int_equal(pthread_create(&thread, NULL, echo_thread, mesh), 0);
    uint64_t sent = 0, back = 0;
    while (back < CROSSINGS) {
        struct parcel *parcel = sent < CROSSINGS ? mesh_take(mesh, 0, MESH_TRAFFIC) : NULL;
        if (parcel != NULL) {
            parcel->kind = PARCEL_MESSAGE_TO_SIP;
            parcel->ticket = sent++;
            mesh_post(mesh, 0, 1, &parcel);
        }
        while ((parcel = mesh_next(mesh, 0)) != NULL) {
            assert_true(parcel->is_return);
            assert_int_equal(parcel->ticket, back);
            assert_int_equal(parcel->outcome.kind, OUTCOME_DELIVERED);
            back++;
            mesh_give(mesh, 0, &parcel);
        }
    }
    void *result;
    pthread_join(thread, &result);
    assert_null(result);
    assert_int_equal(mesh_out(mesh, 0), 0);
    mesh_close(&mesh);
}

static void test_errors_are_escaped(void **state)
{
    (void)state;
    struct stats *stats = stats_open(1);
    assert_non_null(stats);
    struct stats_trouble trouble = {.event = "a.test", .reason = SPAN("a\x1b[31m\nb")};
    stats_error(stats, &trouble);
    assert_string_equal(stats->errors[0].reason, "a\\x1b[31m\\x0ab");
    stats_add(stats, STAT_XMPP_STANZAS_IN, 3);
    stats_count(stats, STAT_XMPP_STANZAS_IN);
    struct stats *all[] = {stats, stats};
    assert_int_equal(stats_sum(all, 2, STAT_XMPP_STANZAS_IN), 8);
    stats_close(&stats);
    assert_null(stats);
}

static union net_address host(const char *text, uint16_t port)
{
    union net_address address, site;
    assert_int_equal(net_address_parse_host(&address, text, port), 0);
    net_address_site(&site, &address);
    return site;
}

static void test_census_limits(void **state)
{
    (void)state;
    struct census *census;
    assert_int_equal(census_open(&census, 6, 2), 0);
    union net_address one = host("192.0.2.1", 1000), again = host("192.0.2.1", 1001);
    assert_true(census_enter(census, &one));
    assert_true(census_enter(census, &again));
    assert_false(census_enter(census, &one));
    /* One /64 is one address; the next is another. */
    union net_address first = host("2001:db8:1:2::1", 1), second = host("2001:db8:1:2:9::2", 1);
    union net_address other = host("2001:db8:1:3::1", 1);
    assert_true(census_enter(census, &first));
    assert_true(census_enter(census, &second));
    assert_false(census_enter(census, &first));
    assert_true(census_enter(census, &other));
    census_leave(census, &again);
    assert_true(census_enter(census, &one));
    /* Six in all: our own count and are never refused, others are. */
    census_enter_own(census);
    census_enter_own(census);
    assert_false(census_enter(census, &other));
    census_leave_own(census);
    census_leave_own(census);
    assert_true(census_enter(census, &other));
    census_close(&census);
    assert_null(census);
}

static void test_census_of_partners(void **state)
{
    (void)state;
    struct census *census;
    assert_int_equal(census_open(&census, 0, 0), 0);
    struct census_partner *a = census_enter_partner(census, SPAN("a.example"), 2);
    assert_non_null(a);
    assert_ptr_equal(census_enter_partner(census, SPAN("a.example"), 2), a);
    assert_null(census_enter_partner(census, SPAN("a.example"), 2));
    struct census_partner *b = census_enter_partner(census, SPAN("b.example"), 1);
    assert_non_null(b);
    assert_null(census_enter_partner(census, SPAN("b.example"), 1));
    census_leave_partner(census, a);
    assert_ptr_equal(census_enter_partner(census, SPAN("a.example"), 2), a);
    census_leave_partner(census, b);
    assert_non_null(census_enter_partner(census, SPAN("b.example"), 1));
    census_close(&census); /* with some still counted */
}

/* Our own streams to a partner have a limit of their own, and stay below the total; those
   without which a pair of domains had none are counted only. */
static void test_census_links(void **state)
{
    (void)state;
    struct census *census;
    union net_address peer = {.v4 = {.sin_family = AF_INET}};
    assert_int_equal(census_open(&census, 3, 0), 0);
    struct census_partner *a = census_enter_link(census, SPAN("a.example"), 0);
    assert_non_null(a);
    assert_ptr_equal(census_enter_link(census, SPAN("a.example"), 2), a);
    assert_null(census_enter_link(census, SPAN("a.example"), 2));
    assert_ptr_equal(census_enter_link(census, SPAN("a.example"), 0), a);
    assert_ptr_equal(census_enter_partner(census, SPAN("a.example"), 1), a);
    assert_null(census_enter_partner(census, SPAN("a.example"), 1));
    for (unsigned i = 0; i < 3; i++)
        census_leave_link(census, a);
    assert_null(census_enter_partner(census, SPAN("a.example"), 1)); /* it is still known */
    census_leave_partner(census, a);
    for (unsigned i = 0; i < 3; i++)
        assert_true(census_enter(census, &peer));
    assert_null(census_enter_link(census, SPAN("b.example"), 100));
    struct census_partner *b = census_enter_link(census, SPAN("b.example"), 0);
    assert_non_null(b);
    census_leave_link(census, b);
    census_close(&census);
}

/* Ten thousand connections cost each as much as ten: no walk over all of them. */
static void test_census_grows(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct census *census;
    assert_int_equal(census_open(&census, 0, 1), 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            union net_address peer = {.v4 = {.sin_family = AF_INET}};
            peer.v4.sin_addr.s_addr = htonl(0x0a000000u + i);
            assert_true(census_enter(census, &peer));
            assert_false(census_enter(census, &peer));
        }
        for (unsigned i = 0; i < COUNT; i++) {
            union net_address peer = {.v4 = {.sin_family = AF_INET}};
            peer.v4.sin_addr.s_addr = htonl(0x0a000000u + i);
            census_leave(census, &peer);
        }
    }
    census_close(&census);
}

static void test_trust_is_remembered(void **state)
{
    (void)state;
    struct trust_memory *memory;
    assert_int_equal(trust_open(&memory, NULL), 0);
    struct span a = SPAN("a.example"), b = SPAN("b.example");
    assert_int_equal(trust_note(memory, a, TRUST_PKIX, false), TRUST_DIALBACK);
    assert_int_equal(trust_note(memory, a, TRUST_DANE, false), TRUST_PKIX);
    assert_int_equal(trust_best(memory, a), TRUST_DANE);
    assert_int_equal(trust_best(memory, b), TRUST_DIALBACK);
    assert_int_equal(trust_note(memory, b, TRUST_DIALBACK, false), TRUST_DIALBACK);
    /* A lesser proof is told each time, until it is allowed. */
    assert_int_equal(trust_note(memory, a, TRUST_DIALBACK, false), TRUST_DANE);
    assert_int_equal(trust_note(memory, a, TRUST_PKIX, true), TRUST_DANE);
    assert_int_equal(trust_note(memory, a, TRUST_DIALBACK, true), TRUST_PKIX);
    assert_int_equal(trust_note(memory, a, TRUST_DIALBACK, false), TRUST_DIALBACK);
    trust_close(&memory);
    assert_null(memory);
}

/* Whom we met longest ago is forgotten first; who proves nothing takes no place. */
static void test_trust_is_bounded(void **state)
{
    (void)state;
    struct trust_memory *memory;
    assert_int_equal(trust_open(&memory, NULL), 0);
    (void)trust_note(memory, SPAN("old.example"), TRUST_PKIX, false);
    (void)trust_note(memory, SPAN("kept.example"), TRUST_DANE, false);
    for (unsigned i = 0; i < 2 * TRUST_PARTNER_MAX; i++) {
        char name[32];
        int size = snprintf(name, sizeof(name), "n%u.example", i);
        enum trust trust = i < TRUST_PARTNER_MAX - 1 ? TRUST_PKIX : TRUST_DIALBACK;
        (void)trust_note(memory, span_make(name, (size_t)size), trust, false);
    }
    assert_int_equal(trust_note(memory, SPAN("kept.example"), TRUST_DIALBACK, false),
                     TRUST_DANE);
    assert_int_equal(trust_note(memory, SPAN("old.example"), TRUST_DIALBACK, false),
                     TRUST_DIALBACK);
    trust_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_come_in_order),
        cmocka_unit_test(test_pool_keeps_a_reserve),
        cmocka_unit_test(test_parcels_cross_in_order_and_come_home),
        cmocka_unit_test(test_errors_are_escaped),
        cmocka_unit_test(test_census_limits),
        cmocka_unit_test(test_census_of_partners),
        cmocka_unit_test(test_census_links),
        cmocka_unit_test(test_census_grows),
        cmocka_unit_test(test_trust_is_remembered),
        cmocka_unit_test(test_trust_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
