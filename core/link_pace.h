/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How many bytes a stream may be ahead of what the other server is known to have read. A server
 * that shapes what comes in (Prosody's mod_limits, ejabberd's s2s_shaper) stops reading for a
 * while. What it has not read waits in the buffers of both kernels, where nobody can count,
 * order, refuse or expire it; so it is to wait in the relay instead. The kernel cannot tell:
 * the other kernel acknowledges what nobody has read. The answer to a ping can: it says how far
 * the other server has come, and takes the longer the more was before it. As long as answers
 * are prompt, the allowance grows whenever it was used up; when they take too long it shrinks
 * to what the other server reads in the time that they are to take. A server that never answers
 * a ping is not paced.
 *
 * A ping is due at each half of the allowance, so that the other server has the second half to
 * read while the answer is on its way. Pure: places are bytes of the stream in clear, times are
 * monotonic milliseconds. Owner thread of the link.
 */
#ifndef PASSERELLE_CORE_LINK_PACE_H
#define PASSERELLE_CORE_LINK_PACE_H

#include "proto/span.h"

/* At first as much as TCP sends before it hears of the other side (RFC 6928), so that a ping is
   answered in time by who reads 4 kB a second; and at last as much as no shaper is known to
   allow. */
#define LINK_PACE_START 16384u
#define LINK_PACE_MIN   8192u
#define LINK_PACE_MAX   4194304u
#define LINK_PACE_MARKS 4u /* pings whose answer counts however late it is */

struct link_mark {
    uint64_t ping, place, at_ms;
};

struct link_pace {
    uint64_t limit; /* stanzas may be written below this place */
    uint64_t read;  /* before this the other server has read */
    uint32_t window;
    uint32_t quickest_ms; /* answer so far; UINT32_MAX: none */
    uint32_t rate; /* bytes a second that it was last seen to read while more waited; 0 */
    bool pressed;  /* since the last answer something had to wait */
    /* An answer was not prompt while something waited, or took longer than aimed at, or did not
       come in time; until one is prompt while something waits. */
    bool slow;
    unsigned mark_count;
    struct link_mark marks[LINK_PACE_MARKS]; /* pings without an answer, the oldest first */
    uint64_t answered_ms;                    /* the last answer */
    uint64_t silent_ms; /* since when: the first ping behind it; without a ping: of no meaning */
};

/* A new stream, of which `place` bytes were written. Who was slow on the last one (false at
   first) is so until it shows otherwise. */
void link_pace_begin(struct link_pace *pace, uint64_t place);
/* May a stanza be written at this place? */
static inline bool link_pace_has_room(const struct link_pace *pace, uint64_t place)
{
    return place < pace->limit;
}
/* Does it take a ping at this place to go on, or to hear of one that was lost? A further one is
   good for that when nothing was heard of the last for `patience_ms`. */
bool link_pace_wants_ping(const struct link_pace *pace, uint64_t place, uint64_t now_ms,
                          uint32_t patience_ms) MUST_USE;
/* A ping was written, which ends at this place. */
void link_pace_pinged(struct link_pace *pace, uint64_t ping, uint64_t place, uint64_t now_ms);
/* Something waits for room. */
void link_pace_press(struct link_pace *pace);
/* A ping was answered; one that is not known says nothing. Where much waits, an answer is to
   take `aim_ms` longer than the quickest. One to a ping from before `read_ms` may have stood
   unread here: that it comes late says nothing of the other server. */
void link_pace_answered(struct link_pace *pace, uint64_t ping, uint64_t read_ms,
                        uint64_t now_ms, uint32_t aim_ms);
/* The last ping was not answered in time. */
void link_pace_late(struct link_pace *pace);
/* For how long the first ping behind the last answer has waited for its own, be it known yet or
   not; 0: none waits. */
uint64_t link_pace_silent_ms(const struct link_pace *pace, uint64_t now_ms);
/* Has the other server answered a ping on this stream? */
static inline bool link_pace_is_heard(const struct link_pace *pace)
{
    return pace->quickest_ms != UINT32_MAX;
}

#endif
