/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The pings of a link (XEP-0199): the answer to one tells what became of the stanzas before it,
 * and how fast the other side reads (core/link_pace.h).
 */
#include <assert.h>

#include "core/link_priv.h"
#include "proto/service_iq.h"

/* Of the time after which the answer to a ping is too late: so much of it is before a ping
   where the other server reads slowly. What was written last is then answered in half of that
   time. */
#define PACE_PART 5

static const struct span ping_prefix = SPAN("ping-");

uint64_t link_ping_read(struct span id)
{
    uint64_t ping = 0;
    bool is_one = span_starts(id, ping_prefix) && id.size > ping_prefix.size &&
                  id.size <= ping_prefix.size + 19;
    for (size_t i = ping_prefix.size; i < id.size && is_one; i++) {
        is_one = id.data[i] >= '0' && id.data[i] <= '9';
        ping = 10 * ping + (uint64_t)(id.data[i] - '0');
    }
    return is_one ? ping : 0;
}

bool link_ping_is_known(const struct link *link, uint64_t ping)
{
    const struct link_pace *pace = &link->pace;
    bool is_known = link->pinging && ping == link->ping;
    for (unsigned i = 0; i < pace->mark_count && !is_known; i++)
        is_known = pace->marks[i].ping == ping;
    return is_known;
}

uint64_t link_write_ping(struct link *link)
{
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    uint64_t ping = ++link->worker->ping_last;
    writer_put_literal(&writer, "<iq type='get'");
    writer_put_attribute(&writer, SPAN("from"), s2s_domain_span(&link->local));
    writer_put_attribute(&writer, SPAN("to"), s2s_domain_span(&link->remote));
    writer_put_literal(&writer, " id='");
    writer_put(&writer, ping_prefix);
    writer_put_uint(&writer, ping);
    writer_put_literal(&writer, "'><ping xmlns='" NS_PING "'/></iq>");
    assert(!writer.overflow);
    return session_write(link->session, writer_span(&writer)) ? ping : 0;
}

void link_ping(struct link *link)
{
    struct thread *thread = link->worker->thread;
    if (link->pinging ||
        (link->unconfirmed.count == 0 &&
         !link_pace_wants_ping(&link->pace, link->session->written_total, thread->now_ms,
                               link->confirm_timeout_ms)))
        return;
    uint64_t written = link_write_ping(link);
    if (written == 0)
        return;
    (void)link_sm_sent(link);
    link->ping = written;
    link->pinging = true;
    link->covered = link->unconfirmed.count;
    link->ping_deadline_ms = thread->now_ms + link->confirm_timeout_ms;
    link_pace_pinged(&link->pace, written, link->session->written_total, thread->now_ms);
}

static bool hears(const struct session_list *list, const struct link *link)
{
    const struct session *session;
    TAILQ_FOREACH(session, list, holding)
    if (session_hears(session, s2s_domain_span(&link->local), s2s_domain_span(&link->remote)))
        return true;
    return false;
}

/* Is what the partner sends not read, for a quota or for want of room? Its answers to pings
   stand behind that: how it reads they do not tell then. At a stop none is awaited. */
static bool is_deaf(const struct link *link)
{
    const struct worker *worker = link->worker;
    return worker->draining || hears(&worker->paced, link) || hears(&worker->rationed, link) ||
           hears(&worker->full, link) || hears(&worker->held, link);
}

bool link_has_room(struct link *link, struct link_hearing *hearing)
{
    const struct session *session = link->session;
    if (!session_has_room(session))
        return false;
    if (!link_pace_has_room(&link->pace, session->written_total))
        link_ping(link);
    if (link_pace_has_room(&link->pace, session->written_total))
        return true;
    if (!hearing->is_known)
        *hearing = (struct link_hearing){.is_known = true, .is_deaf = is_deaf(link)};
    if (hearing->is_deaf)
        return true;
    link_pace_press(&link->pace);
    return false;
}

static void count_slowed(const struct link *link, bool was_slow)
{
    if (link->pace.slow && !was_slow)
        stats_count(link->worker->thread->stats, STAT_XMPP_SLOWED);
}

void link_ping_answered(struct link *link, uint64_t ping, uint64_t read_ms)
{
    const struct thread *thread = link->worker->thread;
    bool was_slow = link->pace.slow;
    link_pace_answered(&link->pace, ping, read_ms, thread->now_ms,
                       link->confirm_timeout_ms / PACE_PART);
    count_slowed(link, was_slow);
}

void link_ping_late(struct link *link)
{
    bool was_slow = link->pace.slow;
    if (is_deaf(link))
        return;
    link_pace_late(&link->pace);
    count_slowed(link, was_slow);
}

/* Has no ping been answered for as long as a message may take? */
static bool is_silent(const struct link *link)
{
    const struct thread *thread = link->worker->thread;
    return link->session != NULL && link->ready &&
           link_pace_silent_ms(&link->pace, thread->now_ms) >=
               link->deliver_timeout_ms &&
           !is_deaf(link);
}

bool link_is_stalled(const struct link *link)
{
    return is_silent(link) &&
           !link_pace_has_room(&link->pace, link->session->written_total);
}

/* What it acknowledges it has, though its own streams may not reach us. */
bool link_is_lost(const struct link *link)
{
    return is_silent(link) && link_pace_is_heard(&link->pace) &&
           !(session_counts(link->session) && link_unacked(link) == 0);
}
