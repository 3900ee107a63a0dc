/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where a stream that comes in lives: on the worker that owns its pair of domains, beside their
 * link. The kernel gives a connection to any worker; the first header that names a pair tells,
 * mostly before TLS. There the session is held, its socket leaves the ring, a parcel takes both
 * to the owner, and it goes on with the same header as any session that was held. Nothing is
 * proved yet, and nothing of it but its place in the census is counted: the header chooses a
 * worker, and nothing else. A stream moves once; what is later said on it for other pairs stays
 * with it.
 */
#include <assert.h>

#include "core/log.h"
#include "core/session_priv.h"

void session_enlist(struct session *session)
{
    struct worker *worker = session->worker;
    session->ticket = ++worker->ticket_next;
    TAILQ_INSERT_HEAD(&worker->sessions, session, all);
    table_add(&worker->sessions_by_ticket, &session->by_ticket, session->ticket, session);
    worker->session_count++;
}

void session_delist(struct session *session)
{
    struct worker *worker = session->worker;
    timer_disarm(&worker->thread->timers, &session->timer);
    TAILQ_REMOVE(&worker->sessions, session, all);
    table_remove(&worker->sessions_by_ticket, &session->by_ticket);
    worker->session_count--;
    if (session->unsent)
        TAILQ_REMOVE(&worker->unsent, session, sending_next);
    session->unsent = false;
}

bool session_moves(struct session *session)
{
    struct worker *worker = session->worker;
    struct thread *thread = worker->thread;
    struct s2s_domain to, from;
    if (thread->config->worker_count == 1 || worker->draining ||
        !s2s_in_names_pair(&session->in, &session->event, &to, &from))
        return false;
    struct span local = s2s_domain_span(&to), remote = s2s_domain_span(&from);
    /* Who is refused is refused here. */
    if (thread_owns_pair(thread, local, remote) ||
        worker_pair_tenant(worker, local, remote) == NULL)
        return false;
    struct parcel *parcel = mesh_take(thread->mesh, thread->self, MESH_CONTROL);
    if (parcel == NULL)
        return true;
    parcel->kind = PARCEL_SESSION;
    parcel->from.domain = parcel_copy(parcel, remote);
    parcel->to.domain = parcel_copy(parcel, local);
    session->mover = parcel;
    return true;
}

void session_depart(struct session *session, int descriptor)
{
    struct thread *thread = session->worker->thread;
    struct parcel *parcel = session->mover;
    assert(session->held);
    assert(session->intake == NULL);
    session->mover = NULL;
    session_delist(session);
    parcel->snapshot = thread->config->snapshot;
    parcel->session = session;
    parcel->descriptor = descriptor;
    stats_count(thread->stats, STAT_SESSIONS_MOVED);
    mesh_post(thread->mesh, thread->self,
              route_link(thread->config, parcel->to.domain, parcel->from.domain), &parcel);
}

void session_arrive(struct worker *worker, const struct parcel *parcel)
{
    struct session *session = parcel->session;
    assert(session->magic == SESSION_MAGIC);
    session->worker = worker;
    session_enlist(session);
    xml_stream_join(session->xml, worker->xml_pool);
    if (ring_adopt(worker->thread->ring, parcel->descriptor, session, &session->handle) != 0) {
        session_say_why(session, SPAN("the worker of its pair has no room for it"));
        session_log_end(session, STREAM_ERROR_NONE);
        session_free(session);
        return;
    }
    session_expect(session);
    session_resume(session);
}
