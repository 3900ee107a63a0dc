/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Stream management (XEP-0198): its elements, and the two counters of one direction. Stanzas
 * are numbered from 0 since <enable/>, modulo 2^32; h is how many of them are handled, so it is
 * the number of the first one that is not. Pure; the owner keeps the structs.
 */
#ifndef PASSERELLE_PROTO_SM_H
#define PASSERELLE_PROTO_SM_H

#include "proto/limits.h"
#include "proto/stanza_error.h"

#define NS_SM      "urn:xmpp:sm:3"
#define SM_FEATURE "<sm xmlns='" NS_SM "'/>"

enum sm_kind {
    SM_ENABLE,
    SM_ENABLED,
    SM_REQUEST, /* <r/> */
    SM_ANSWER,  /* <a/> */
    SM_RESUME,
    SM_RESUMED,
    SM_FAILED,
    SM_UNKNOWN, /* another element of the namespace */
    SM_BROKEN   /* <a/>, <resume/> or <resumed/> without what it must have */
};

struct sm_element {
    enum sm_kind kind;
    bool resume; /* ENABLE, ENABLED: the stream may be resumed */
    bool has_h;
    uint32_t h;
    struct span id; /* ENABLED: id; RESUME, RESUMED: previd. In the tree */
    uint32_t max_s; /* ENABLED: how long it can be resumed; 0: not said */
};

/* Reads an element of the namespace. */
struct sm_element sm_read(const struct xml_node *node);
void sm_write_enable(struct writer *writer, bool resume);
/* `id` empty: the stream cannot be resumed. */
void sm_write_enabled(struct writer *writer, struct span id, uint32_t max_s);
void sm_write_request(struct writer *writer);
void sm_write_answer(struct writer *writer, uint32_t h);
void sm_write_resume(struct writer *writer, struct span previous, uint32_t h);
void sm_write_resumed(struct writer *writer, struct span previous, uint32_t h);
void sm_write_failed(struct writer *writer, enum stanza_error error);
/* What stands in the stream error of somebody who acknowledges what was never sent (§6). */
void sm_write_too_high(struct writer *writer, uint32_t h, uint32_t sent);

/* Numbers wrap: of two that are not far apart, does `number` come before `other`? */
static inline bool sm_is_before(uint32_t number, uint32_t other)
{
    return number != other && other - number < UINT32_MAX / 2;
}

/* What we send. */
struct sm_sender {
    uint32_t sent;  /* the number of the next stanza */
    uint32_t acked; /* the peer's h */
};

/* Takes the peer's h; false when it names what was never sent, or takes back what it said. */
bool sm_acknowledge(struct sm_sender *sender, uint32_t h) MUST_USE;
static inline uint32_t sm_unacked(const struct sm_sender *sender)
{
    return sender->sent - sender->acked;
}
static inline bool sm_is_acked(const struct sm_sender *sender, uint32_t number)
{
    return number - sender->acked >= sm_unacked(sender);
}

/* What we receive: outcomes become known in any order, h advances over the known ones only. */
struct sm_receiver {
    uint32_t received;                /* the number of the next stanza */
    uint32_t handled;                 /* h */
    uint64_t settled[SM_WINDOW / 64]; /* by number, of those from h on */
};

static inline uint32_t sm_open(const struct sm_receiver *receiver)
{
    return receiver->received - receiver->handled;
}
/* False when so many outcomes are open that no further stanza may be received. */
static inline bool sm_has_room(const struct sm_receiver *receiver)
{
    return sm_open(receiver) < SM_WINDOW;
}
/* The number of the stanza that has just come; there must be room. */
uint32_t sm_receive(struct sm_receiver *receiver);
/* The outcome of this stanza is known. Once for each. */
void sm_settle(struct sm_receiver *receiver, uint32_t number);

#endif
