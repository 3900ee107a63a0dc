/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP transactions under any order of events and any step of time: one final answer at
 * most, an end in bounded time, deadlines that move, and nothing sent after the end.
 */
#include "fuzz.h"
#include "proto/sip_transaction.h"

#define TURNS_MAX 4096

static void check_client(struct span input, bool reliable)
{
    struct sip_client client;
    uint64_t now_ms = 1000;
    unsigned finals = 0, timeouts = 0, turns = 0;
    bool over = false;
    CHECK(sip_client_start(&client, &sip_timers_default, reliable, now_ms) == SIP_CLIENT_SEND);
    while (!over) {
        unsigned event = fuzz_choice(&input), actions = 0;
        CHECK(++turns < TURNS_MAX);
        if (input.size > 0 && event % 4 == 0) {
            actions = sip_client_response(&client, 100 + (int)event * 2);
        } else if (input.size > 0 && event % 4 == 1) {
            now_ms += event;
        } else {
            CHECK(sip_client_deadline(&client) != UINT64_MAX);
            now_ms =
                sip_client_deadline(&client) > now_ms ? sip_client_deadline(&client) : now_ms;
            actions = sip_client_tick(&client, now_ms);
        }
        finals += (actions & SIP_CLIENT_FINAL) != 0;
        timeouts += (actions & SIP_CLIENT_TIMEOUT) != 0;
        over = (actions & SIP_CLIENT_FREE) != 0;
        if (finals > 0 || reliable)
            CHECK((actions & SIP_CLIENT_SEND) == 0);
    }
    CHECK(finals + timeouts == 1);
    CHECK(client.state == SIP_CLIENT_TERMINATED);
    CHECK(now_ms <= 1000 + 64 * 500 + 5000 + 255 * TURNS_MAX);
}

static void check_server(struct span input, bool reliable)
{
    struct sip_server server;
    uint64_t now_ms = 1000;
    unsigned turns = 0;
    bool over = false, answered = false, expired = false;
    sip_server_start(&server, &sip_timers_default, reliable, now_ms);
    while (!over) {
        unsigned event = fuzz_choice(&input), actions = 0;
        CHECK(++turns < TURNS_MAX);
        if (input.size > 0 && event % 4 == 0 && !answered && !expired) {
            int status = event % 8 == 0 ? 200 : 100;
            if (status == 100 && server.state != SIP_SERVER_TRYING)
                continue;
            actions = sip_server_respond(&server, status);
            answered = status == 200;
        } else if (input.size > 0 && event % 4 == 1) {
            actions = sip_server_retransmit(&server);
            CHECK((actions & SIP_SERVER_SEND_100) == 0 ||
                  server.state == SIP_SERVER_PROCEEDING);
        } else if (input.size > 0 && event % 4 == 2) {
            now_ms += event;
        } else {
            uint64_t deadline_ms = sip_server_deadline(&server);
            CHECK(deadline_ms != UINT64_MAX);
            now_ms = deadline_ms > now_ms ? deadline_ms : now_ms;
            actions = sip_server_tick(&server, now_ms);
            CHECK((actions & SIP_SERVER_EXPIRED) == 0 || !answered);
            expired |= (actions & SIP_SERVER_EXPIRED) != 0;
        }
        over = (actions & SIP_SERVER_FREE) != 0;
    }
    CHECK(answered != expired);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_to(span_make(data, size), TURNS_MAX / 4);
    unsigned choice = fuzz_choice(&input);
    if ((choice & 1) != 0)
        check_client(input, (choice & 2) != 0);
    else
        check_server(input, (choice & 2) != 0);
    return 0;
}
