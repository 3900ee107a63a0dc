/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The attempts of one request: its client transactions over targets and trunks, one by one. */
#include "core/sip_uac_priv.h"

#include <assert.h>
#include <errno.h>

#include "core/log.h"

#define WAIT_MS 100u

enum start { STARTED, START_FAILED, START_BUSY, START_TOO_LONG };

static int transmit(struct sip_uac *uac, struct request *request, struct span bytes)
{
    request->trunk->sent++;
    return sip_transport_request(uac->wire, request->trunk->config, &request->target, bytes,
                                 &request->connection);
}

void sip_attempt_arm(struct sip_uac *uac, struct request *request)
{
    uint64_t deadline_ms = sip_client_deadline(&request->client);
    if (deadline_ms == UINT64_MAX)
        timer_disarm(&uac->thread->timers, &request->timer);
    else
        timer_arm(&uac->thread->timers, &request->timer, deadline_ms);
}

void sip_attempt_note(const struct request *request, int status, long retry_after_s)
{
    const struct trunk_result result = {.target = &request->target,
                                        .status = status,
                                        .retry_after_s = retry_after_s,
                                        .is_keep_alive = request->parcel == NULL};
    trunk_note(request->trunk, &result);
}

/* Starts a client transaction on request->trunk. */
static enum start start_on_trunk(struct sip_uac *uac, struct request *request)
{
    request->target = *trunk_target(request->trunk, uac->thread->now_ms);
    bool reliable = request->target.transport != SIP_TRANSPORT_UDP;
    if (request->has_branch)
        sip_compose_branch(uac, request);
    request->has_branch = true;
    struct span bytes = sip_compose_request(uac, request); /* empty: nothing leads there */
    /* RFC 3261 §18.1.1 and RFC 3428 §8. */
    if (!reliable && bytes.size > SIP_UDP_REQUEST_SIZE_MAX)
        return START_TOO_LONG;
    request->size = 0;
    if (!reliable && bytes.size > 0) {
        memcpy(request->bytes, bytes.data, bytes.size);
        request->size = bytes.size;
    }
    int error = bytes.size == 0 ? -ENETUNREACH : transmit(uac, request, bytes);
    if (error == -EAGAIN)
        return START_BUSY;
    if (error < 0) {
        sip_attempt_note(request, 0, -1);
        return START_FAILED;
    }
    request->in_flight = true;
    request->trunk->in_flight++;
    (void)sip_client_start(&request->client, &uac->timers, reliable, uac->thread->now_ms);
    sip_attempt_arm(uac, request);
    if (request->parcel != NULL)
        log_event(LOG_LEVEL_DEBUG, "sip.request", request->parcel->trace,
                  log_text("call_id", span_of(request->call_id)),
                  log_text("trunk", span_of(request->trunk->config->name)));
    return STARTED;
}

/* Waits a little and begins again with the first trunk. False: it has waited long enough. */
static bool wait_a_little(struct sip_uac *uac, struct request *request)
{
    if (uac->thread->now_ms >= request->wait_until_ms)
        return false;
    request->waits = true;
    request->trunk = NULL;
    request->targets_left = 0;
    request->trunk_next = 0;
    timer_arm(&uac->thread->timers, &request->timer, uac->thread->now_ms + WAIT_MS);
    return true;
}

static bool is_resolving(struct sip_uac *uac, const struct request *request)
{
    bool resolving = false;
    assert(request->tenant != NULL);
    for (size_t i = 0; i < request->tenant->trunk_count; i++)
        resolving |= trunk_find(uac->trunks, request->tenant->trunks[i].index)->resolving;
    return resolving;
}

/* The next trunk to try, or the same again for its next target (RFC 3263 §4.3); false when all
   were tried. */
static bool choose_trunk(struct sip_uac *uac, struct request *request)
{
    uint64_t now_ms = uac->thread->now_ms;
    if (request->targets_left > 0 && trunk_usable(request->trunk, now_ms)) {
        request->targets_left--;
        return true;
    }
    while (request->trunk_next < request->tenant->trunk_count) {
        size_t next = request->trunk_next++;
        uint32_t index = next == 0 ? request->tenant->first_trunk
                                   : request->tenant->trunks[next].index;
        struct trunk *trunk = trunk_find(uac->trunks, index);
        if (!trunk_usable(trunk, now_ms))
            continue;
        request->trunk = trunk;
        request->targets_left = trunk->target_count - 1;
        return true;
    }
    return false;
}

enum sip_attempt sip_attempt_next(struct sip_uac *uac, struct request *request, int *status,
                                  struct span *reason)
{
    bool is_too_long = false, is_busy = false;
    bool tried = request->trunk != NULL;
    /* Over a busy trunk nothing goes elsewhere: it works. */
    while (!is_busy && choose_trunk(uac, request)) {
        if (tried)
            stats_count(uac->thread->stats, STAT_SIP_TRUNK_FAILOVERS);
        switch (start_on_trunk(uac, request)) {
        case STARTED: return SIP_ATTEMPT_RUNS;
        case START_FAILED:
            tried = true;
            *status = 503;
            *reason = SPAN("The SIP trunk cannot be reached");
            request->answered = false;
            break;
        case START_BUSY: is_busy = true; break;
        case START_TOO_LONG:
            is_too_long = true;
            request->targets_left = 0;
            break;
        }
    }
    if ((is_busy || (!tried && !is_too_long && is_resolving(uac, request))) &&
        wait_a_little(uac, request))
        return SIP_ATTEMPT_RUNS;
    return is_too_long && !tried ? SIP_ATTEMPT_TOO_LONG : SIP_ATTEMPT_NONE_LEFT;
}

bool sip_attempt_once(struct sip_uac *uac, struct request *request, struct trunk *trunk)
{
    request->trunk = trunk;
    request->trunk_next = SIZE_MAX; /* no other trunk in its place */
    return start_on_trunk(uac, request) == STARTED;
}

void sip_attempt_repeat(struct sip_uac *uac, struct request *request)
{
    stats_count(uac->thread->stats, STAT_SIP_RETRANSMISSIONS_OUT);
    /* A socket error here is left to Timer F. */
    (void)!transmit(uac, request, span_make(request->bytes, request->size));
}

void sip_attempt_end(struct request *request)
{
    if (request->in_flight)
        request->trunk->in_flight--;
    request->in_flight = false;
}
