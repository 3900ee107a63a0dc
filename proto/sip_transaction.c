/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/sip_transaction.h"

#include <assert.h>
#include <stddef.h>

const struct sip_timers sip_timers_default = {.t1_ms = 500, .t2_ms = 4000};

/* 64*T1: Timers F and J, and the life of a client's patience. */
static uint64_t patience_ms(const struct sip_timers *timers)
{
    return 64u * (uint64_t)timers->t1_ms;
}

uint64_t sip_server_memory_ms(const struct sip_timers *timers)
{
    return patience_ms(timers);
}

/* When Timer E of the client reaches T2: the sum of the doubling intervals below it, 3.5 s
   with the default timers (RFC 4320 §4.1). */
static uint64_t silence_ms(const struct sip_timers *timers)
{
    uint64_t sum = 0;
    for (uint64_t interval = timers->t1_ms; interval < timers->t2_ms; interval *= 2)
        sum += interval;
    return sum;
}

static void client_set_state(struct sip_client *client, enum sip_client_state state)
{
    assert(state > client->state);
    client->state = state;
    if (state == SIP_CLIENT_TERMINATED) {
        client->timer_e_ms = 0;
        client->timer_f_ms = 0;
    }
}

unsigned sip_client_start(struct sip_client *client, const struct sip_timers *timers,
                          bool reliable, uint64_t now_ms)
{
    assert(timers->t1_ms > 0);
    assert(timers->t2_ms >= timers->t1_ms);
    *client = (struct sip_client){
        .state = SIP_CLIENT_TRYING,
        .reliable = reliable,
        .interval_ms = timers->t1_ms,
        .timer_e_ms = reliable ? 0 : now_ms + timers->t1_ms,
        .timer_f_ms = now_ms + patience_ms(timers),
        .timers = timers,
    };
    return SIP_CLIENT_SEND;
}

unsigned sip_client_response(struct sip_client *client, int status)
{
    if (client->state == SIP_CLIENT_TERMINATED || status < 100 || status > 699)
        return SIP_CLIENT_DO_NOTHING;
    if (status < 200) {
        /* In Proceeding Timer E runs on with T2 (RFC 3261 §17.1.2.2); one that is running
           is left to fire. */
        client->interval_ms = client->timers->t2_ms;
        if (client->state == SIP_CLIENT_TRYING)
            client_set_state(client, SIP_CLIENT_PROCEEDING);
        return SIP_CLIENT_DO_NOTHING;
    }
    client_set_state(client, SIP_CLIENT_TERMINATED);
    return SIP_CLIENT_FINAL | SIP_CLIENT_FREE;
}

unsigned sip_client_transport_error(struct sip_client *client)
{
    if (client->state != SIP_CLIENT_TERMINATED)
        client_set_state(client, SIP_CLIENT_TERMINATED);
    return SIP_CLIENT_FREE;
}

unsigned sip_client_tick(struct sip_client *client, uint64_t now_ms)
{
    if (client->timer_f_ms != 0 && now_ms >= client->timer_f_ms) {
        client_set_state(client, SIP_CLIENT_TERMINATED);
        return SIP_CLIENT_TIMEOUT | SIP_CLIENT_FREE;
    }
    if (client->timer_e_ms == 0 || now_ms < client->timer_e_ms)
        return SIP_CLIENT_DO_NOTHING;

    uint32_t doubled = 2 * client->interval_ms;
    client->interval_ms = client->state == SIP_CLIENT_PROCEEDING ||
                                  doubled > client->timers->t2_ms
                              ? client->timers->t2_ms
                              : doubled;
    /* From now, not from the deadline: a late owner must not send a burst. */
    client->timer_e_ms = now_ms + client->interval_ms;
    return SIP_CLIENT_SEND;
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
    a_ms = a_ms != 0 ? a_ms : UINT64_MAX;
    b_ms = b_ms != 0 ? b_ms : UINT64_MAX;
    return a_ms < b_ms ? a_ms : b_ms;
}

uint64_t sip_client_deadline(const struct sip_client *client)
{
    return earlier(client->timer_e_ms, client->timer_f_ms);
}

static void server_set_state(struct sip_server *server, enum sip_server_state state)
{
    assert(state > server->state);
    server->state = state;
    server->timer_100_ms = 0;
    if (state == SIP_SERVER_TERMINATED)
        server->timer_expire_ms = 0;
}

void sip_server_start(struct sip_server *server, const struct sip_timers *timers, bool reliable,
                      uint64_t now_ms)
{
    assert(timers->t1_ms > 0);
    assert(timers->t2_ms >= timers->t1_ms);
    *server = (struct sip_server){
        .state = SIP_SERVER_TRYING,
        .reliable = reliable,
        .timer_100_ms = reliable ? 0 : now_ms + silence_ms(timers),
        .timer_expire_ms = now_ms + patience_ms(timers),
        .timers = timers,
    };
}

unsigned sip_server_retransmit(const struct sip_server *server)
{
    /* In Trying there is nothing to send yet (RFC 3261 §17.2.2). */
    return server->state == SIP_SERVER_PROCEEDING ? SIP_SERVER_SEND_100 : SIP_SERVER_DO_NOTHING;
}

unsigned sip_server_respond(struct sip_server *server, int status)
{
    assert(server->state < SIP_SERVER_TERMINATED);
    assert(status == 100 || status >= 200); /* RFC 4320 §4.1: no other provisional */
    assert(status != 408);                  /* RFC 4320 §4.2 */
    if (status == 100) {
        if (server->state == SIP_SERVER_TRYING)
            server_set_state(server, SIP_SERVER_PROCEEDING);
        return SIP_SERVER_DO_NOTHING;
    }
    server_set_state(server, SIP_SERVER_TERMINATED);
    return server->reliable ? SIP_SERVER_FREE : SIP_SERVER_REMEMBER | SIP_SERVER_FREE;
}

unsigned sip_server_tick(struct sip_server *server, uint64_t now_ms)
{
    if (server->timer_expire_ms != 0 && now_ms >= server->timer_expire_ms) {
        server_set_state(server, SIP_SERVER_TERMINATED);
        return SIP_SERVER_EXPIRED | SIP_SERVER_FREE;
    }
    if (server->timer_100_ms != 0 && now_ms >= server->timer_100_ms) {
        /* The owner answers with sip_server_respond(100), which enters Proceeding. */
        server->timer_100_ms = 0;
        return SIP_SERVER_SEND_100;
    }
    return SIP_SERVER_DO_NOTHING;
}

uint64_t sip_server_deadline(const struct sip_server *server)
{
    return earlier(server->timer_100_ms, server->timer_expire_ms);
}
