/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A session behind a proxy (xmpp.proxy_listen). Before its first byte stands the proxy's
 * header, which says who the client is: from then on the session is the client's, in the limits
 * per address, in the log and in `show sess`. Until then it counts in the total only.
 */
#include <assert.h>

#include "core/log.h"
#include "core/session_priv.h"
#include "net/proxy_header.h"

/* It takes its place among the sessions of the client's address. */
static bool take_place(struct session *session)
{
    struct census *census = session->worker->thread->census;
    if (census == NULL)
        return true;
    census_leave_own(census); /* in the total it counts once */
    session->in_total_only = !census_enter(census, &session->site);
    if (session->in_total_only)
        census_enter_own(census);
    return !session->in_total_only;
}

static bool become_client(struct session *session, const union net_address *source)
{
    session->peer = *source;
    net_address_site(&session->site, source);
    if (take_place(session))
        return true;
    session_log_refusal(source, SPAN("too many connections"));
    stats_count(session->worker->thread->stats, STAT_SESSIONS_REFUSED);
    session_fail(session, SPAN("too many connections"));
    return false;
}

bool session_proxy_read(struct session *session)
{
    struct proxy_header header;
    struct span input = session_input(session);
    assert(session->state == SESSION_PROXIED);
    if (input.size == 0)
        return false;
    switch (proxy_header_read(&header, (const uint8_t *)input.data, input.size)) {
    case PROXY_HEADER_MORE: return false;
    case PROXY_HEADER_BROKEN:
        stats_count(session->worker->thread->stats, STAT_PROXY_REFUSED);
        session_fail(session, SPAN("the proxy sends no header of PROXY protocol version 2"));
        return false;
    case PROXY_HEADER_DONE: break;
    }
    session_input_use(session, header.size);
    session->is_check = header.is_local;
    if (!header.is_local && !become_client(session, &header.source))
        return false;
    session->state = SESSION_OPEN;
    if (session->direct)
        session_begin_tls(session);
    return true;
}
