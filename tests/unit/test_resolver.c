/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The resolver against a small DNS server inside this program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/clock.h"
#include "net/resolver.h"
#include "tests/unit/dns_server.h"

static const struct dns_record zone[] = {
    {"_xmpp-server._tcp.two.example", 33, "20 0 5269 b.two.example"},
    {"_xmpp-server._tcp.two.example", 33, "10 0 5270 a.two.example"},
    {"_xmpps-server._tcp.two.example", 33, "5 0 443 a.two.example"},
    {"a.two.example", 1, "198.51.100.1"},
    {"b.two.example", 1, "198.51.100.2"},
    {"b.two.example", 1, "198.51.100.3"},
    {"plain.example", 1, "198.51.100.9"},
    {"_xmpp-server._tcp.none.example", 33, "0 0 0 ."},
    {"none.example", 1, "198.51.100.8"},
    {"inside.example", 1, "10.1.2.3"},
    {"mixed.example", 1, "127.0.0.1"},
    {"mixed.example", 1, "198.51.100.7"},
    {"slow.example", 1, NULL},
    {"dual.example", 28, "2001:db8::1"},
    {"dual.example", 28, "2001:db8::2"},
    {"dual.example", 1, "198.51.100.13"},
    {"dual.example", 1, "198.51.100.14"},
    {"dual.example", 1, "198.51.100.15"},
    {"no-v6.example", 1, "198.51.100.12"},
    {"no-v6.example", 28, NULL},
    {"no-v4.example", 28, "2001:db8::3"},
    {"no-v4.example", 1, NULL},
    {"_xmpp-server._tcp.parts.example", 33, "10 0 5269 no-v6.example"},
    {"_xmpp-server._tcp.parts.example", 33, "20 0 5269 a.two.example"},
    {"_xmpp-server._tcp.fail.example", 33, "!"},
    {"fail.example", 1, "198.51.100.6"},
    {"_xmpp-server._tcp.half.example", 33, "10 0 5269 nowhere.half.example"},
    {"_xmpp-server._tcp.half.example", 33, "20 7 5269 a.two.example"},
    {"naptr.example", 35, "20 1 s SIP+D2U _sip._udp.other.example"},
    {"naptr.example", 35, "10 2 S sip+d2t _sip._tcp.other.example"},
    {"naptr.example", 35, "10 1 s SIPS+D2T _sips._tcp.gone.example"},
    {"naptr.example", 35, "1 1 u SIP+D2U _sip._udp.wrong.example"},
    {"_sip._tcp.naptr.example", 33, "0 0 5060 a.two.example"},
    {"_sip._udp.other.example", 33, "0 0 5061 a.two.example"},
    {"_sip._tcp.other.example", 33, "9 0 5062 a.two.example"},
    {"_sips._tcp.srv.example", 33, "9 0 5063 a.two.example"},
    {"_sip._udp.srv.example", 33, "0 0 5064 a.two.example"},
};

struct fixture {
    struct dns_server server;
    struct ring *ring;
    struct resolver *resolver;
    struct resolver_port *port;
};

static void open_resolver(struct fixture *fixture, bool allow_special)
{
    struct resolver_options options = {
        .server = fixture->server.address, .timeout_ms = 1000, .allow_special = allow_special};
    assert_int_equal(resolver_open(&fixture->resolver, &options), 0);
    assert_int_equal(resolver_port_open(&fixture->port, fixture->resolver, fixture->ring), 0);
}

static void close_resolver(struct fixture *fixture)
{
    resolver_port_close(&fixture->port);
    resolver_close(&fixture->resolver);
    assert_null(fixture->resolver);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    dns_server_open(&fixture->server, zone, sizeof(zone) / sizeof(zone[0]));
    const char *text = NULL;
    struct ring_options options = {.socket_max = 4, .error_text = &text};
    assert_int_equal(ring_open(&fixture->ring, &options), 0);
    open_resolver(fixture, false);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    close_resolver(fixture);
    ring_close(&fixture->ring);
    dns_server_close(&fixture->server);
    free(fixture);
    return 0;
}

static struct resolver_question make_question(const char *domain, bool with_services)
{
    struct resolver_question question = {.fallback_port = 5269};
    (void)snprintf(question.domain, sizeof(question.domain), "%s", domain);
    if (with_services) {
        question.services[0] = (struct resolver_service){"_xmpps-server._tcp", true, NULL};
        question.services[1] = (struct resolver_service){"_xmpp-server._tcp", true, NULL};
        question.service_count = 2;
    }
    question.owner = (void *)(uintptr_t)0x1234;
    return question;
}

/* Waits on the ring, as the threads of the relay do. */
static struct resolver_answer *wait_answer(struct fixture *fixture, unsigned limit_ms)
{
    struct resolver_answer *answer = NULL;
    uint64_t end = clock_now_ns() + (uint64_t)limit_ms * 1000000u;
    while (!resolver_next(fixture->port, &answer) && clock_now_ns() < end) {
        struct ring_event event;
        assert_true(ring_wait(fixture->ring, 50000000u) >= 0);
        while (ring_next(fixture->ring, &event))
            assert_int_equal(event.kind, RING_WOKEN);
    }
    return answer;
}

static struct resolver_answer *answer_to(struct fixture *fixture,
                                         const struct resolver_question *question)
{
    assert_int_equal(resolver_ask(fixture->port, question), 0);
    struct resolver_answer *answer = wait_answer(fixture, 5000);
    assert_non_null(answer);
    assert_ptr_equal(answer->owner, question->owner);
    return answer;
}

static struct resolver_answer *ask(struct fixture *fixture, const char *domain, bool services)
{
    struct resolver_question question = make_question(domain, services);
    return answer_to(fixture, &question);
}

static void check_target(const struct resolver_answer *answer, unsigned at,
                         const char *expected, unsigned service)
{
    char text[NET_ADDRESS_TEXT_SIZE];
    assert_true(at < answer->target_count);
    net_address_format(&answer->targets[at].address, text);
    assert_string_equal(text, expected);
    assert_int_equal(answer->targets[at].service, service);
}

static void check_status(struct fixture *fixture, const char *domain, bool services,
                         enum resolver_status status)
{
    struct resolver_answer *answer = ask(fixture, domain, services);
    assert_string_equal(resolver_status_text(answer->status), resolver_status_text(status));
    free(answer);
}

static void test_services(void **state)
{
    struct resolver_answer *answer = ask(*state, "two.example", true);
    assert_int_equal(answer->status, RESOLVER_FOUND);
    assert_int_equal(answer->target_count, 4);
    check_target(answer, 0, "198.51.100.1:443", 0);
    check_target(answer, 1, "198.51.100.1:5270", 1);
    assert_string_equal(answer->targets[2].host, "b.two.example");
    assert_int_equal(net_address_port(&answer->targets[3].address), 5269);
    assert_false(answer->targets[0].secure);
    assert_true(answer->ttl_s >= 30 && answer->ttl_s <= 60);
    free(answer);
}

/* Where DNSSEC does not vouch for the way TLSA says nothing, and is not asked for. */
static void test_tlsa_of_unsigned(void **state)
{
    struct fixture *fixture = *state;
    struct resolver_question question = make_question("two.example", true);
    question.wants_tlsa = true;
    struct resolver_answer *answer = answer_to(fixture, &question);
    assert_int_equal(answer->status, RESOLVER_FOUND);
    assert_int_equal(answer->target_count, 4);
    for (unsigned i = 0; i < answer->target_count; i++)
        assert_true(!answer->targets[i].secure && answer->targets[i].tlsa_count == 0 &&
                    !answer->targets[i].tlsa_unusable);
    assert_int_equal(fixture->server.tlsa_asked, 0);
    free(answer);
}

static void test_fallback(void **state)
{
    struct resolver_answer *answer = ask(*state, "plain.example", true);
    assert_int_equal(answer->status, RESOLVER_FOUND);
    check_target(answer, 0, "198.51.100.9:5269", 2);
    free(answer);
    answer = ask(*state, "198.51.100.77", false);
    check_target(answer, 0, "198.51.100.77:5269", 0);
    free(answer);
}

static void test_no_answers(void **state)
{
    check_status(*state, "none.example", true, RESOLVER_NO_SERVICE);
    check_status(*state, "unknown.example", true, RESOLVER_NOT_FOUND);
    check_status(*state, "inside.example", false, RESOLVER_REFUSED);
    check_status(*state, "fail.example", true, RESOLVER_FAILED);
    check_status(*state, "slow.example", false, RESOLVER_TIMEOUT);
}

/* Who asks for it hears of each record and service what became of it. */
static void test_dead(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *domain;
        enum resolver_status answer, services[2], target;
    } cases[] = {
        {"half.example", RESOLVER_FOUND, {RESOLVER_NO_NAME, RESOLVER_FOUND}, RESOLVER_NO_NAME},
        {"none.example", RESOLVER_NO_SERVICE, {RESOLVER_NO_NAME, RESOLVER_NO_SERVICE}, 0},
        {"unknown.example",
         RESOLVER_NOT_FOUND,
         {RESOLVER_NO_NAME, RESOLVER_NO_NAME},
         RESOLVER_NO_NAME},
        {"inside.example",
         RESOLVER_REFUSED,
         {RESOLVER_NO_NAME, RESOLVER_NO_NAME},
         RESOLVER_REFUSED},
        {"fail.example", RESOLVER_FAILED, {RESOLVER_NO_NAME, RESOLVER_FAILED}, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct resolver_question question = make_question(cases[i].domain, true);
        question.keeps_dead = true;
        struct resolver_answer *answer = answer_to(fixture, &question);
        assert_int_equal(answer->status, cases[i].answer);
        for (unsigned j = 0; j < 2; j++)
            assert_string_equal(resolver_status_text(answer->services[j]),
                                resolver_status_text(cases[i].services[j]));
        assert_int_equal(answer->target_count > 0, cases[i].target != RESOLVER_FOUND);
        if (answer->target_count > 0) /* the most wanted one */
            assert_string_equal(resolver_status_text(answer->targets[0].status),
                                resolver_status_text(cases[i].target));
        free(answer);
    }
    struct resolver_answer *answer = ask(fixture, "half.example", true);
    assert_int_equal(answer->target_count, 1); /* others do not see it */
    assert_int_equal(answer->targets[0].priority, 20);
    assert_int_equal(answer->targets[0].weight, 7);
    assert_int_equal(answer->targets[0].port, 5269);
    free(answer);
}

static struct resolver_answer *ask_sip(struct fixture *fixture, const char *domain)
{
    struct resolver_question question = {.services = {{"_sips._tcp", true, "SIPS+D2T"},
                                                      {"_sip._tcp", true, "SIP+D2T"},
                                                      {"_sip._udp", true, "SIP+D2U"}},
                                         .service_count = 3,
                                         .fallback_port = 5060};
    (void)snprintf(question.domain, sizeof(question.domain), "%s", domain);
    struct resolver_answer *answer = answer_to(fixture, &question);
    assert_int_equal(answer->status, RESOLVER_FOUND);
    return answer;
}

/* RFC 3263 §4.1: what NAPTR names, in its order; without NAPTR what is asked for, in that
   order; without SRV the domain itself. */
static void test_pointers(void **state)
{
    struct resolver_answer *answer = ask_sip(*state, "naptr.example");
    assert_int_equal(answer->target_count, 2);
    check_target(answer, 0, "198.51.100.1:5061", 2);
    assert_int_equal(answer->targets[0].rank, 2);
    check_target(answer, 1, "198.51.100.1:5062", 1);
    assert_int_equal(answer->targets[1].rank, 1);
    free(answer);
    answer = ask_sip(*state, "srv.example");
    assert_int_equal(answer->target_count, 2);
    check_target(answer, 0, "198.51.100.1:5064", 2);
    assert_int_equal(answer->targets[0].rank, 2);
    check_target(answer, 1, "198.51.100.1:5063", 0);
    assert_int_equal(answer->targets[1].rank, 0);
    free(answer);
    answer = ask_sip(*state, "plain.example");
    check_target(answer, 0, "198.51.100.9:5060", 3);
    free(answer);
}

static void test_special(void **state)
{
    struct fixture *fixture = *state;
    struct resolver_answer *answer = ask(fixture, "mixed.example", false);
    assert_int_equal(answer->target_count, 1);
    check_target(answer, 0, "198.51.100.7:5269", 0);
    free(answer);
    close_resolver(fixture);
    open_resolver(fixture, true);
    answer = ask(fixture, "inside.example", false);
    check_target(answer, 0, "10.1.2.3:5269", 0);
    free(answer);
}

/* Of one host IPv6 and IPv4 in turn (RFC 8305 §4). */
static void test_families_in_turn(void **state)
{
    static const int families[] = {AF_INET6, AF_INET, AF_INET6, AF_INET, AF_INET};
    struct resolver_answer *answer = ask(*state, "dual.example", false);
    assert_int_equal(answer->status, RESOLVER_FOUND);
    assert_int_equal(answer->target_count, 5);
    for (unsigned i = 0; i < answer->target_count; i++)
        assert_int_equal(answer->targets[i].address.any.sa_family, families[i]);
    assert_false(answer->is_partial);
    free(answer);
}

/* A name server that does not answer for one family does not hold up the other (RFC 8305 §3)
   for who does not wait for both. */
static void test_family_that_does_not_come(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *domain, *target;
        bool has_services;
        unsigned target_count;
    } rows[] = {{"no-v6.example", "198.51.100.12:5269", false, 1},
                {"no-v4.example", "[2001:db8::3]:5269", false, 1},
                {"parts.example", "198.51.100.12:5269", true, 2}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct resolver_question question = make_question(rows[i].domain, rows[i].has_services);
        question.family_delay_ms = 50;
        for (unsigned patiently = 0; patiently < 2; patiently++) {
            struct resolver_answer *answer = answer_to(fixture, &question);
            assert_int_equal(answer->status, RESOLVER_FOUND);
            assert_int_equal(answer->target_count, rows[i].target_count);
            check_target(answer, 0, rows[i].target, rows[i].has_services ? 1 : 0);
            assert_int_equal(answer->is_partial, patiently == 0);
            free(answer);
            question.family_delay_ms = 0;
        }
    }
}

static void test_forget(void **state)
{
    struct fixture *fixture = *state;
    struct resolver_question question = make_question("slow.example", false);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(resolver_ask(fixture->port, &question), 0);
    resolver_forget(fixture->port, question.owner);
    assert_null(wait_answer(fixture, 1300));
    /* And a port that closes with questions open. */
    assert_int_equal(resolver_ask(fixture->port, &question), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pointers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_services, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tlsa_of_unsigned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fallback, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_special, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_families_in_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_family_that_does_not_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forget, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
