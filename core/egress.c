/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/egress.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/consent.h"
#include "core/inquiry.h"
#include "core/log.h"
#include "core/reload.h"
#include "core/sip_uac.h"
#include "core/sip_uas.h"
#include "net/clock.h"

#define TIMERS_PER_TURN 4096

struct egress {
    struct thread *thread;
    struct sip_wire *wire;
    struct trunk_table *trunks;
    struct sip_uac *uac;
    struct sip_uas *uas;
};

static uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000;
}

int egress_open(struct egress **egress, struct thread *thread, char *error, size_t error_size)
{
    assert(egress != NULL);
    assert(thread->ring != NULL);
    struct egress *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->thread = thread;
    thread->now_ms = now_ms();
    snprintf(error, error_size, "no memory for the SIP side");
    int result = sip_transport_open(&made->wire, thread, error, error_size);
    if (result == 0)
        result = trunk_open(&made->trunks, thread);
    if (result == 0)
        result = sip_uac_open(&made->uac, thread, made->wire, made->trunks);
    if (result == 0)
        result = sip_uas_open(&made->uas, thread, made->wire);
    if (result == 0)
        *egress = made;
    else
        egress_close(&made);
    return result;
}

/* A response that landed here but belongs to another thread. */
static void forward(struct egress *egress, const struct sip_input *input, unsigned owner)
{
    struct thread *thread = egress->thread;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL)
        return; /* as lost on the way: UDP sends again, Timer F ends it */
    parcel->kind = PARCEL_SIP_BYTES;
    parcel->peer = input->flow.peer;
    parcel->transport = (uint8_t)input->flow.transport;
    parcel->connection = input->flow.connection;
    parcel->bytes = parcel_copy(parcel, input->bytes);
    if (parcel->bytes.data == NULL)
        mesh_give(thread->mesh, thread->self, &parcel);
    else
        mesh_post(thread->mesh, thread->self, owner, &parcel);
}

static void take_message(struct egress *egress, const struct sip_input *input)
{
    if (input->is_request) {
        sip_uas_request(egress->uas, input);
        return;
    }
    unsigned owner = sip_uac_response(egress->uac, input);
    if (owner != egress->thread->self)
        forward(egress, input, owner);
}

static void pump_input(struct egress *egress)
{
    struct sip_input input;
    while (sip_transport_next(egress->wire, &input)) {
        switch (input.kind) {
        case SIP_INPUT_MESSAGE: take_message(egress, &input); break;
        case SIP_INPUT_REJECT: sip_uas_reject(egress->uas, &input); break;
        case SIP_INPUT_LOST: sip_uac_lost(egress->uac, input.flow.connection); break;
        }
    }
}

static void take_bytes(struct egress *egress, struct parcel *parcel)
{
    struct sip_input input = {.kind = SIP_INPUT_MESSAGE,
                              .flow = {.transport = (enum sip_transport)parcel->transport,
                                       .peer = parcel->peer,
                                       .holder = parcel->home,
                                       .connection = parcel->connection,
                                       .trunk = thread_get_trunk(egress->thread, parcel)},
                              .bytes = parcel->bytes,
                              .carrier = parcel,
                              .is_request = !span_starts(parcel->bytes, SPAN("SIP/"))};
    sip_transport_carry(egress->wire, parcel);
    take_message(egress, &input);
    sip_transport_carry(egress->wire, NULL);
}

static void respond(struct egress *egress, const struct parcel *parcel)
{
    struct sip_flow flow = {.transport = (enum sip_transport)parcel->transport,
                            .peer = parcel->peer,
                            .holder = egress->thread->self,
                            .connection = parcel->connection,
                            .trunk = thread_get_trunk(egress->thread, parcel)};
    sip_transport_respond(egress->wire, &flow, parcel->bytes);
}

/* Takes the configuration that is offered, unless it has it. Between two parcels only. */
static void take_offer(struct egress *egress)
{
    struct thread *thread = egress->thread;
    struct reload_offer *offer = thread->offer;
    const struct config *former = thread->config;
    if (offer == NULL || offer->config == NULL || offer->config == former)
        return;
    thread->config = offer->config;
    sip_transport_reload(egress->wire, former, &offer->context);
    trunk_reload(egress->trunks);
    sip_uac_reload(egress->uac);
    sip_uas_reload(egress->uas, former);
    log_event(LOG_LEVEL_DEBUG, "reload.taken", 0,
              log_number("snapshot", thread->config->snapshot));
}

static void answer(struct egress *egress, const struct inquiry *inquiry)
{
    switch (inquiry->kind) {
    case INQUIRY_SESSIONS:
    case INQUIRY_LINKS: return; /* a worker's */
    case INQUIRY_TRUNKS:
        sip_uac_count_queued(egress->uac);
        trunk_report(egress->trunks, inquiry->out);
        return;
    case INQUIRY_CONSENTS:
        consent_answer(egress->thread, inquiry->consents, inquiry->out);
        return;
    }
}

static void take_parcel(struct egress *egress, struct parcel *parcel)
{
    struct thread *thread = egress->thread;
    if (parcel->is_return) {
        if (parcel->kind == PARCEL_SIP_ANSWERED)
            respond(egress, parcel);
        if (parcel->kind == PARCEL_STANZA_TO_XMPP)
            sip_uas_outcome(egress->uas, &parcel);
        else
            mesh_give(thread->mesh, thread->self, &parcel);
        return;
    }
    if (thread_is_behind(thread, parcel))
        take_offer(egress);
    switch (parcel->kind) {
    case PARCEL_RELOAD: take_offer(egress); break;
    case PARCEL_MESSAGE_TO_SIP: sip_uac_message(egress->uac, &parcel); return;
    case PARCEL_SIP_BYTES: take_bytes(egress, parcel); break;
    case PARCEL_SIP_REPLY: respond(egress, parcel); break;
    case PARCEL_INQUIRY: answer(egress, parcel->inquiry); break;
    case PARCEL_FREE:
    case PARCEL_SIP_ANSWERED:
    case PARCEL_STANZA_TO_XMPP:
    case PARCEL_CONFIRM:
    case PARCEL_PROBE:
    case PARCEL_SESSION:
    case PARCEL_VERIFY: assert(false); /* not for an egress thread */
    }
    mesh_return(thread->mesh, thread->self, &parcel);
}

static void pump_timers(struct egress *egress)
{
    struct timer *timer;
    struct trunk *trunk;
    for (int i = 0; i < TIMERS_PER_TURN; i++) {
        timer = timer_take_due(&egress->thread->timers, egress->thread->now_ms);
        if (timer == NULL)
            return;
        switch ((enum egress_timer)timer->kind) {
        case EGRESS_TIMER_CLIENT: sip_uac_tick(egress->uac, timer); break;
        case EGRESS_TIMER_SERVER: sip_uas_tick(egress->uas, timer); break;
        case EGRESS_TIMER_ANSWERED: sip_uas_expire(egress->uas); break;
        case EGRESS_TIMER_CONNECTION: sip_transport_tick(egress->wire, timer); break;
        case EGRESS_TIMER_TRUNK:
            if (trunk_tick(egress->trunks, timer, &trunk))
                sip_uac_options(egress->uac, trunk);
            break;
        }
    }
}

void egress_turn(struct egress *egress, uint64_t wait_ms)
{
    struct thread *thread = egress->thread;
    uint64_t next_ms = timer_next_deadline(&thread->timers);
    uint64_t now = now_ms();
    uint64_t left_ms = next_ms > now && !sip_uac_is_ready(egress->uac) ? next_ms - now : 0;
    struct ring_event event;
    struct parcel *parcel;
    int result = ring_wait(thread->ring, (left_ms < wait_ms ? left_ms : wait_ms) * 1000000);
    if (result < 0 && result != -ETIME && result != -EINTR)
        log_event(LOG_LEVEL_ERROR, "ring.wait", 0, log_number("errno", -result));
    thread->now_ms = now_ms();
    /* What must be handed to another thread needs a parcel. These come home as soon as that thread
       has turned, whatever is slow elsewhere, so what else came may wait in its order. */
    while (mesh_has(thread->mesh, thread->self, MESH_CONTROL) &&
           ring_next(thread->ring, &event)) {
        sip_transport_feed(egress->wire, &event);
        pump_input(egress);
    }
    trunk_pump(egress->trunks);
    while ((parcel = mesh_next(thread->mesh, thread->self)) != NULL)
        take_parcel(egress, parcel);
    pump_timers(egress);
    pump_input(egress);
    sip_uac_pump(egress->uac);
    mesh_flush(thread->mesh, thread->self);
    thread_count_ring(thread);
}

bool egress_drain(struct egress *egress, bool force)
{
    sip_uas_drain(egress->uas);
    return force || (sip_uas_pending(egress->uas) == 0 && sip_uac_pending(egress->uac) == 0 &&
                     sip_transport_sent(egress->wire));
}

void egress_close(struct egress **egress)
{
    struct egress *closed = *egress;
    if (closed == NULL)
        return;
    sip_uas_close(&closed->uas);
    sip_uac_close(&closed->uac);
    trunk_close(&closed->trunks);
    mesh_flush(closed->thread->mesh, closed->thread->self);
    sip_transport_close(&closed->wire);
    free(closed);
    *egress = NULL;
}
