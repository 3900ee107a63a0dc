/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What tenants, and partners with them, may have of a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/quota.h"
#include "tests/unit/config_folder.h"

#define MORE(name)                                                                             \
    "  - domains: [" name "]\n"                                                                \
    "    trunks: [{uri: 'sip:192.0.2.1'}]\n"
#define PLENTY 1000u

static struct config *config;
static struct quota *quota;

static void begin(const char *text)
{
    write_file("quota.yaml", text, 0644);
    config = opened("quota.yaml");
    quota = quota_open();
    assert_non_null(quota);
}

static void end(void)
{
    quota_close(&quota);
    config_close(&config);
}

static struct quota_account *account_of(unsigned tenant, const char *partner)
{
    return quota_account(quota, config, &config->tenants[tenant], span_of(partner));
}

static enum quota_verdict judge(struct quota_account *account, unsigned free, uint64_t now_ms)
{
    struct quota_account *over;
    enum quota_verdict verdict = quota_judge(account, free, now_ms, &over);
    assert_int_equal(over == NULL, verdict == QUOTA_WITHIN);
    return verdict;
}

/* How many come in before one is refused, `max` at most; each at once leaves again. */
static unsigned pass(unsigned tenant, const char *partner, uint64_t now_ms, unsigned max)
{
    unsigned count = 0;
    struct quota_account *account = account_of(tenant, partner);
    while (count < max && judge(account, PLENTY, now_ms) == QUOTA_WITHIN) {
        quota_enter(quota, account, true);
        quota_leave(quota, account);
        count++;
    }
    return count;
}

/* The log has one line a second for an account, which says how many it stands for. */
static void test_a_line_stands_for_many(void **state)
{
    (void)state;
    begin(XMPP TENANT "    xmpp: {messages_per_second_max: 2}\n" MORE("b.example"));
    struct quota_account *account = account_of(0, "x.example");
    struct quota_account *other = account_of(1, "x.example");
    assert_int_equal(quota_untold(account, 5000), 1);
    for (uint64_t now_ms = 5000; now_ms < 5000 + QUOTA_TELL_MS; now_ms += 100)
        assert_int_equal(quota_untold(account, now_ms), 0);
    assert_int_equal(quota_untold(other, 5500), 1);
    assert_int_equal(quota_untold(account, 5000 + QUOTA_TELL_MS), 11);
    assert_int_equal(quota_untold(account, 5001 + QUOTA_TELL_MS), 0);
    assert_int_equal(quota_untold(account, 90000), 2);
    end();
}

/* Some messages at a time: seldom where little may pass, and never so seldom that many come. */
static void test_how_long_to_wait_for_a_rate(void **state)
{
    static const struct {
        const char *rate;
        unsigned ms;
    } rows[] = {{"1", 100}, {"20", 100}, {"50", 40}, {"100", 20}, {"1000", 10}, {"100000", 10}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text), "%s    xmpp: {messages_per_second_max: %s}\n",
                 XMPP TENANT, rows[i].rate);
        begin(text);
        assert_int_equal(quota_pace_ms(account_of(0, "x.example")), rows[i].ms);
        end();
    }
}

/* A few in one go, then none for a while. */
static void test_runs_of_refusals(void **state)
{
    (void)state;
    struct quota_run run = {0};
    assert_int_equal(quota_run_refuse(&run, 1000), 0);
    for (unsigned i = 1; i < QUOTA_RUN_MAX; i++)
        assert_int_equal(quota_run_refuse(&run, 1001), 0);
    assert_int_equal(quota_run_refuse(&run, 1001), 1000 + QUOTA_RUN_MS);
    assert_int_equal(quota_run_refuse(&run, 999 + QUOTA_RUN_MS), 1000 + QUOTA_RUN_MS);
    for (unsigned i = 0; i < QUOTA_RUN_MAX; i++)
        assert_int_equal(quota_run_refuse(&run, 1000 + QUOTA_RUN_MS), 0);
    assert_int_equal(quota_run_refuse(&run, 1000 + QUOTA_RUN_MS), 1000 + 2 * QUOTA_RUN_MS);
    assert_int_equal(quota_run_refuse(&run, 90000), 0);
}

static void test_one_tenant_has_everything(void **state)
{
    (void)state;
    begin(XMPP TENANT);
    assert_null(account_of(0, "x.example"));
    assert_int_equal(judge(NULL, 0, 1), QUOTA_WITHIN);
    quota_enter(quota, NULL, true);
    quota_leave(quota, NULL);
    quota_wait(quota, NULL);
    quota_go_on(quota, NULL);
    assert_int_equal(quota_count(quota), 0);
    end();
}

/* Fills a pool of `size` from the tenants in turn; returns what is left free. */
static unsigned fill(unsigned tenants, unsigned size, unsigned held[])
{
    unsigned free = size, refused = 0;
    while (refused < tenants) {
        refused = 0;
        for (unsigned i = 0; i < tenants; i++) {
            struct quota_account *account = account_of(i, "x.example");
            if (free == 0 || judge(account, free, 1) != QUOTA_WITHIN) {
                refused++;
                continue;
            }
            quota_enter(quota, account, true);
            held[i]++;
            free--;
        }
    }
    return free;
}

static void test_the_pool_is_shared(void **state)
{
    (void)state;
    for (unsigned tenants = 1; tenants <= 3; tenants++) {
        unsigned held[3] = {0};
        begin(XMPP TENANT MORE("b.example") MORE("c.example") MORE("d.example"));
        unsigned free = fill(tenants, 64, held);
        for (unsigned i = 0; i < tenants; i++)
            assert_in_range(held[i], 64 / (tenants + 1), 64 / (tenants + 1) + 1);
        assert_true(free >= 64 / (tenants + 1) - tenants);
        /* Whoever comes next finds room, and whoever has less gets more. */
        assert_int_equal(judge(account_of(3, "x.example"), free, 1), QUOTA_WITHIN);
        struct quota_account *account = account_of(0, "y.example");
        assert_int_equal(judge(account, free, 1), QUOTA_IN_FLIGHT);
        for (unsigned i = 0; i < held[0]; i++)
            quota_leave(quota, account);
        assert_int_equal(judge(account, 0, 1), QUOTA_WITHIN);
        end();
    }
}

static void test_in_flight(void **state)
{
    (void)state;
    begin(XMPP "  messages_in_flight_max: 5\n" TENANT
               "    xmpp: {messages_in_flight_max: 2}\n" MORE("b.example"));
    struct quota_account *account = account_of(0, "x.example");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(judge(account, PLENTY, 1), QUOTA_WITHIN);
        quota_enter(quota, account, true);
    }
    assert_int_equal(judge(account, PLENTY, 1), QUOTA_IN_FLIGHT);
    assert_int_equal(quota_look(account, PLENTY, 1), QUOTA_IN_FLIGHT);
    assert_true(span_equal(quota_reason(account, QUOTA_IN_FLIGHT),
                           SPAN("Too many messages for this SIP domain are in flight")));
    quota_leave(quota, account);
    assert_int_equal(quota_look(account, PLENTY, 1), QUOTA_WITHIN);
    assert_int_equal(judge(account, PLENTY, 1), QUOTA_WITHIN);
    account = account_of(1, "x.example");
    for (unsigned i = 0; i < 5; i++)
        quota_enter(quota, account, true);
    assert_int_equal(judge(account, PLENTY, 1), QUOTA_IN_FLIGHT);
    end();
}

static void test_rate(void **state)
{
    (void)state;
    begin(XMPP TENANT "    xmpp: {messages_per_second_max: 10, messages_burst_max: 3}\n" MORE(
        "b.example") "    xmpp: {messages_per_second_max: 4}\n");
    assert_int_equal(pass(0, "x.example", 1000, 100), 3); /* an empty relay: a burst */
    assert_int_equal(pass(0, "y.example", 1000, 100), 0);
    assert_int_equal(pass(0, "x.example", 1099, 100), 0);
    assert_int_equal(pass(0, "x.example", 1100, 100), 1); /* each 100 ms one */
    assert_int_equal(pass(0, "x.example", 1250, 100), 1); /* … and half of one is kept */
    assert_int_equal(pass(0, "x.example", 1300, 100), 1);
    assert_int_equal(pass(0, "x.example", 900000, 100), 3);
    assert_int_equal(pass(1, "x.example", 900000, 100), 4); /* a burst of one second */
    struct quota_account *account = account_of(1, "x.example");
    assert_int_equal(judge(account, PLENTY, 900000), QUOTA_RATE);
    /* A refused one that is answered holds a parcel and costs nothing. */
    quota_enter(quota, account, false);
    quota_leave(quota, account);
    assert_int_equal(pass(1, "x.example", 900250, 100), 1);
    end();
}

/* How many are refused before the next should wait, `max` at most. */
static unsigned refuse(struct quota_account *account, uint64_t now_ms, unsigned max)
{
    unsigned count = 0;
    while (count < max && judge(account, PLENTY, now_ms) == QUOTA_RATE &&
           !quota_has_refused(account)) {
        quota_refuse(account);
        count++;
    }
    return count;
}

/* What may be refused has a rate, too: whoever waits goes on when one may pass or be
   refused. */
static void test_the_rate_of_refusals(void **state)
{
    (void)state;
    begin(XMPP TENANT "    xmpp: {messages_per_second_max: 50, messages_burst_max: 3}\n" MORE(
        "b.example") "    xmpp: {messages_per_second_max: 1}\n");
    struct quota_account *account = account_of(0, "x.example");
    quota_wait(quota, account); /* it stays */
    assert_int_equal(refuse(account, 1000, 100), 0); /* nothing is over */
    assert_int_equal(pass(0, "x.example", 1000, 100), 3);
    assert_int_equal(quota_look(account, PLENTY, 1000), QUOTA_WITHIN);
    assert_int_equal(refuse(account, 1000, 100), 3); /* a burst, again */
    assert_int_equal(quota_look(account, PLENTY, 1000), QUOTA_RATE);
    quota_refuse(account); /* where nobody can wait */
    assert_int_equal(quota_look(account, PLENTY, 1019), QUOTA_RATE);
    assert_int_equal(quota_look(account, PLENTY, 1020), QUOTA_WITHIN);
    assert_int_equal(pass(0, "x.example", 1020, 100), 1);
    assert_int_equal(refuse(account, 1020, 100), 1);
    quota_go_on(quota, account);
    /* With a small quota some more are refused, so that their senders hear of it. */
    account = account_of(1, "x.example");
    assert_int_equal(pass(1, "x.example", 1000, 100), 1);
    assert_int_equal(refuse(account, 1000, 100), 1);
    assert_int_equal(refuse(account, 1000 + 1000 / QUOTA_REFUSALS_MIN, 100), 1);
    assert_int_equal(pass(1, "x.example", 1999, 100), 0);
    /* Who waits for both is told of what is in flight: that changes with an event. */
    assert_int_equal(quota_look(account, PLENTY, 1999), QUOTA_WITHIN);
    assert_int_equal(refuse(account, 1999, 100), 1);
    quota_enter(quota, account, false);
    assert_int_equal(quota_look(account, 0, 1999), QUOTA_IN_FLIGHT);
    quota_leave(quota, account);
    assert_int_equal(quota_look(account, 0, 1999), QUOTA_RATE);
    end();
}

#define LEVELS                                                                                 \
    XMPP TENANT "    xmpp: {messages_per_second_max: 10}\n"                                    \
                "    partner_rules:\n"                                                         \
                "    - {domain: own.example, messages_per_second_max: 1}\n"                    \
                "    - {domain: free.example, messages_per_second_max: 0}\n" MORE(             \
                    "b.example") "partners:\n"                                                 \
                                 "  - {domain: x.example, messages_per_second_max: 3}\n"       \
                                 "  - {domain: free.example, messages_per_second_max: 3}\n"    \
                                 "  - {domain: '*.wild.example', messages_in_flight_max: 1}\n"

static void test_partners(void **state)
{
    (void)state;
    begin(LEVELS);
    assert_int_equal(pass(0, "x.example", 1000, 100), 3);
    assert_int_equal(pass(0, "own.example", 1000, 100), 1);
    /* What is left of the tenant's. */
    assert_int_equal(pass(0, "free.example", 1000, 100), 6);
    assert_int_equal(pass(0, "other.example", 1000, 100), 0);
    /* The other tenant has a partner's whole quota again, and none of its own. */
    assert_int_equal(pass(1, "x.example", 1000, 100), 3);
    assert_int_equal(pass(1, "own.example", 1000, 100), 100);
    /* Each name behind a wildcard is a partner. */
    struct quota_account *account = account_of(1, "a.wild.example");
    quota_enter(quota, account, true);
    assert_int_equal(judge(account, PLENTY, 1000), QUOTA_IN_FLIGHT);
    assert_false(quota_is_of_tenant(account));
    assert_int_equal(judge(account_of(1, "b.wild.example"), PLENTY, 1000), QUOTA_WITHIN);
    end();
}

/* Another configuration while messages are in flight: what is in flight goes on counting. */
static void test_reload(void **state)
{
    (void)state;
    begin(XMPP TENANT MORE("b.example"));
    struct config *former = config;
    struct quota_account *account = account_of(1, "x.example");
    quota_enter(quota, account, true);
    write_file(
        "next.yaml",
        XMPP TENANT MORE(
            "b.example") "    xmpp: {messages_in_flight_max: 1}\n"
                         "partners:\n  - {domain: x.example, messages_in_flight_max: 1}\n",
        0644);
    config = opened("next.yaml");
    config->snapshot = former->snapshot + 1;
    config_close(&former);
    struct quota_account *next = account_of(1, "x.example");
    assert_ptr_not_equal(next, account); /* the partner's */
    assert_int_equal(judge(next, PLENTY, 1), QUOTA_IN_FLIGHT);
    quota_leave(quota, account);
    assert_int_equal(judge(next, PLENTY, 1), QUOTA_WITHIN);
    quota_enter(quota, next, true);
    assert_int_equal(judge(account_of(1, "y.example"), PLENTY, 1), QUOTA_IN_FLIGHT);
    quota_leave(quota, next);
    end();
}

/* A reload gives a tenant's place to another, whose quota is its own; what of the former is in
   flight, or waits, keeps its account. */
static void test_place_of_another(void **state)
{
    (void)state;
    begin(XMPP "  messages_in_flight_max: 1\n" TENANT MORE(
        "b.example") "partners:\n  - {domain: x.example, messages_in_flight_max: 1}\n");
    struct quota_account *former = account_of(0, "y.example");
    struct quota_account *with_partner = account_of(0, "x.example");
    quota_enter(quota, former, true);
    quota_wait(quota, with_partner);
    assert_int_equal(judge(account_of(0, "z.example"), PLENTY, 1), QUOTA_IN_FLIGHT);

    config->snapshot++;
    config->tenants[0].index = 1;
    config->tenants[1].index = 0;
    struct quota_account *next = account_of(1, "y.example");
    assert_ptr_not_equal(next, former);
    assert_int_equal(judge(next, PLENTY, 1), QUOTA_WITHIN);
    assert_int_equal(judge(account_of(0, "y.example"), PLENTY, 1), QUOTA_WITHIN);
    assert_int_equal(judge(former, PLENTY, 1), QUOTA_IN_FLIGHT);
    quota_leave(quota, former); /* which ends it */

    /* The partner's account goes on, and counts where its tenant is now. */
    assert_ptr_equal(account_of(0, "x.example"), with_partner);
    quota_enter(quota, with_partner, true);
    assert_int_equal(judge(account_of(0, "y.example"), PLENTY, 1), QUOTA_IN_FLIGHT);
    quota_leave(quota, with_partner);
    quota_go_on(quota, with_partner);
    assert_int_equal(quota_count(quota), 3);
    end();
}

static void test_accounts_are_bounded(void **state)
{
    char partner[32];
    (void)state;
    begin(XMPP TENANT "    xmpp: {messages_per_second_max: 1000000}\n"
                      "partners:\n  - {domain: '*.w.example', messages_per_second_max: 1}\n");
    struct quota_account *held = account_of(0, "held.w.example");
    quota_enter(quota, held, true);
    struct quota_account *awaited = account_of(0, "awaited.w.example");
    quota_wait(quota, awaited);
    for (unsigned i = 0; i < 3 * QUOTA_IDLE_MAX; i++) {
        (void)snprintf(partner, sizeof(partner), "p%u.w.example", i);
        assert_int_equal(pass(0, partner, 1000, 2), 1);
        assert_true(quota_count(quota) <= QUOTA_IDLE_MAX + 1 + 3);
    }
    assert_ptr_equal(account_of(0, "held.w.example"), held);
    assert_ptr_equal(account_of(0, "awaited.w.example"), awaited);
    quota_leave(quota, held);
    quota_go_on(quota, awaited);
    end();
}

static const struct refusal refusals[] = {
    {XMPP "  messages_per_second_max: 1000001\n" TENANT, "4: xmpp.messages_per_second_max",
     "0 to 1000000"},
    {XMPP TENANT "    xmpp: {messages_in_flight_max: 65537}\n",
     "7: tenants[0].xmpp.messages_in_flight_max", "0 to 65536"},
    {XMPP TENANT "partners:\n  - domain: x.example\n    messages_burst_max: many\n",
     "9: partners[0].messages_burst_max", "not a whole number"},
};

static void test_refusals(void **state)
{
    (void)state;
    CHECK_REFUSALS(refusals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_tenant_has_everything),
        cmocka_unit_test(test_a_line_stands_for_many),
        cmocka_unit_test(test_how_long_to_wait_for_a_rate),
        cmocka_unit_test(test_runs_of_refusals),
        cmocka_unit_test(test_the_pool_is_shared),
        cmocka_unit_test(test_in_flight),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_the_rate_of_refusals),
        cmocka_unit_test(test_partners),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_place_of_another),
        cmocka_unit_test(test_accounts_are_bounded),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
