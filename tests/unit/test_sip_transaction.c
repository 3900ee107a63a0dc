/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/sip_transaction.h"

#define START_MS 1000000u

/* Runs the client in virtual time to its end; the moments of retransmission go to `sent`. */
static unsigned run_client(struct sip_client *client, uint64_t sent[], size_t *count,
                           uint64_t *end)
{
    *count = 0;
    for (size_t step = 0; step < 100; step++) {
        uint64_t now = sip_client_deadline(client);
        assert_true(now != UINT64_MAX);
        assert_int_equal(sip_client_tick(client, now - 1), SIP_CLIENT_DO_NOTHING);
        unsigned actions = sip_client_tick(client, now);
        if (actions & SIP_CLIENT_SEND)
            sent[(*count)++] = now - START_MS;
        if (actions & SIP_CLIENT_FREE) {
            *end = now - START_MS;
            return actions;
        }
    }
    fail_msg("the transaction does not end");
    return 0;
}

/* RFC 3261 §17.1.2.2: 500 ms, 1 s, 2 s, 4 s, 4 s … and Timer F at 32 s. */
static void client_without_answer(void **state)
{
    (void)state;
    struct sip_client client;
    const uint64_t want[] = {500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500};
    uint64_t sent[100], end;
    size_t count;
    assert_int_equal(sip_client_start(&client, &sip_timers_default, false, START_MS),
                     SIP_CLIENT_SEND);
    assert_int_equal(run_client(&client, sent, &count, &end),
                     SIP_CLIENT_TIMEOUT | SIP_CLIENT_FREE);
    assert_int_equal(end, 32000);
    assert_int_equal(count, 10);
    assert_memory_equal(sent, want, sizeof(want));
    assert_true(sip_client_deadline(&client) == UINT64_MAX);
    assert_int_equal(sip_client_response(&client, 200), SIP_CLIENT_DO_NOTHING);

    (void)sip_client_start(&client, &sip_timers_default, true, START_MS);
    assert_int_equal(run_client(&client, sent, &count, &end),
                     SIP_CLIENT_TIMEOUT | SIP_CLIENT_FREE);
    assert_int_equal(count, 0);
    assert_int_equal(end, 32000);
}

static void client_proceeding(void **state)
{
    (void)state;
    struct sip_client client;
    const uint64_t want[] = {500, 4500, 8500, 12500, 16500, 20500, 24500, 28500};
    uint64_t sent[100], end;
    size_t count;
    (void)sip_client_start(&client, &sip_timers_default, false, START_MS);
    assert_int_equal(sip_client_response(&client, 100), SIP_CLIENT_DO_NOTHING);
    assert_int_equal(client.state, SIP_CLIENT_PROCEEDING);
    assert_int_equal(sip_client_response(&client, 183), SIP_CLIENT_DO_NOTHING);
    assert_int_equal(run_client(&client, sent, &count, &end),
                     SIP_CLIENT_TIMEOUT | SIP_CLIENT_FREE);
    assert_int_equal(count, 8);
    assert_memory_equal(sent, want, sizeof(want));
}

static void client_final_is_passed_once(void **state)
{
    (void)state;
    struct sip_client client;
    (void)sip_client_start(&client, &sip_timers_default, false, START_MS);
    assert_int_equal(sip_client_response(&client, 99), SIP_CLIENT_DO_NOTHING);
    assert_int_equal(sip_client_response(&client, 700), SIP_CLIENT_DO_NOTHING);
    assert_int_equal(sip_client_response(&client, 202), SIP_CLIENT_FINAL | SIP_CLIENT_FREE);
    assert_int_equal(sip_client_response(&client, 202), SIP_CLIENT_DO_NOTHING);
    assert_int_equal(sip_client_response(&client, 500), SIP_CLIENT_DO_NOTHING);
    assert_true(sip_client_deadline(&client) == UINT64_MAX);

    (void)sip_client_start(&client, &sip_timers_default, true, START_MS);
    assert_int_equal(sip_client_response(&client, 404), SIP_CLIENT_FINAL | SIP_CLIENT_FREE);
    (void)sip_client_start(&client, &sip_timers_default, true, START_MS);
    assert_int_equal(sip_client_transport_error(&client), SIP_CLIENT_FREE);
    assert_int_equal(sip_client_response(&client, 200), SIP_CLIENT_DO_NOTHING);
    assert_int_equal(sip_client_transport_error(&client), SIP_CLIENT_FREE);
}

/* A late owner sends one retransmission, not the burst it has missed. */
static void client_ticked_late(void **state)
{
    (void)state;
    struct sip_client client;
    (void)sip_client_start(&client, &sip_timers_default, false, START_MS);
    assert_int_equal(sip_client_tick(&client, START_MS + 10000), SIP_CLIENT_SEND);
    assert_int_equal(sip_client_tick(&client, START_MS + 10000), SIP_CLIENT_DO_NOTHING);
    assert_int_equal(sip_client_tick(&client, START_MS + 40000),
                     SIP_CLIENT_TIMEOUT | SIP_CLIENT_FREE);
}

/* RFC 4320 §4.1 and §4.2: 100 at 3.5 s, nothing after 32 s. */
static void server_undecided(void **state)
{
    (void)state;
    struct sip_server server;
    sip_server_start(&server, &sip_timers_default, false, START_MS);
    assert_int_equal(sip_server_retransmit(&server), SIP_SERVER_DO_NOTHING);
    assert_int_equal(sip_server_deadline(&server), START_MS + 3500);
    assert_int_equal(sip_server_tick(&server, START_MS + 3499), SIP_SERVER_DO_NOTHING);
    assert_int_equal(sip_server_tick(&server, START_MS + 3500), SIP_SERVER_SEND_100);
    assert_int_equal(sip_server_respond(&server, 100), SIP_SERVER_DO_NOTHING);
    assert_int_equal(server.state, SIP_SERVER_PROCEEDING);
    assert_int_equal(sip_server_retransmit(&server), SIP_SERVER_SEND_100);
    assert_int_equal(sip_server_deadline(&server), START_MS + 32000);
    assert_int_equal(sip_server_tick(&server, START_MS + 32000),
                     SIP_SERVER_EXPIRED | SIP_SERVER_FREE);
    assert_true(sip_server_deadline(&server) == UINT64_MAX);
    assert_int_equal(sip_server_retransmit(&server), SIP_SERVER_DO_NOTHING);

    sip_server_start(&server, &sip_timers_default, true, START_MS);
    assert_int_equal(sip_server_deadline(&server), START_MS + 32000);
}

static void server_answers(void **state)
{
    (void)state;
    struct sip_server server;
    sip_server_start(&server, &sip_timers_default, false, START_MS);
    assert_int_equal(sip_server_respond(&server, 200), SIP_SERVER_REMEMBER | SIP_SERVER_FREE);
    assert_int_equal(server.state, SIP_SERVER_TERMINATED);
    assert_true(sip_server_deadline(&server) == UINT64_MAX);
    assert_int_equal(sip_server_memory_ms(&sip_timers_default), 32000);

    sip_server_start(&server, &sip_timers_default, true, START_MS);
    assert_int_equal(sip_server_respond(&server, 403), SIP_SERVER_FREE);
    assert_int_equal(server.state, SIP_SERVER_TERMINATED);
}

/* Both machines over a line that loses the first `lost` packets each way: one answer arrives. */
static void lossy_line(void **state)
{
    (void)state;
    for (size_t lost = 0; lost < 5; lost++) {
        struct sip_client client;
        struct sip_server server;
        size_t requests = 0, responses = 0, finals = 0, decisions = 0;
        uint64_t now = START_MS;
        unsigned actions = sip_client_start(&client, &sip_timers_default, false, now);
        while ((actions & SIP_CLIENT_FREE) == 0) {
            bool answered = false;
            if ((actions & SIP_CLIENT_SEND) && requests++ >= lost) {
                if (decisions == 0) {
                    sip_server_start(&server, &sip_timers_default, false, now);
                    assert_true(sip_server_respond(&server, 200) & SIP_SERVER_REMEMBER);
                    decisions++;
                }
                answered = true; /* the first time, and then from what is remembered */
            }
            if (answered && responses++ >= lost)
                finals += (sip_client_response(&client, 200) & SIP_CLIENT_FINAL) != 0;
            if (finals > 0)
                break;
            now = sip_client_deadline(&client);
            actions = sip_client_tick(&client, now);
        }
        assert_int_equal(finals, 1);
        assert_int_equal(decisions, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_without_answer),
        cmocka_unit_test(client_proceeding),
        cmocka_unit_test(client_final_is_passed_once),
        cmocka_unit_test(client_ticked_late),
        cmocka_unit_test(server_undecided),
        cmocka_unit_test(server_answers),
        cmocka_unit_test(lossy_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
