/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How a session ends. Our closing tag is written behind what waits; when all of it is sent, the
 * link is free to look for another stream, and
 *   with a stream error: nothing is heard any more (RFC 6120 §4.9.1.1);
 *   without one: what the peer has on its way still counts until its own closing tag (§4.4).
 * Then TLS is closed, and the peer has a moment to read it all and to end the connection: one
 * that is closed here with bytes unread is reset, and the peer may lose what it has not read
 * yet.
 */
#include <assert.h>

#include "core/intake.h"
#include "core/log.h"
#include "core/relay_in.h"
#include "core/session_priv.h"

#define LISTEN_MS 2000 /* for the peer's last stanzas and its closing tag */
#define LINGER_MS 500  /* for our last bytes, and for the peer to go */

void session_end(struct session *session)
{
    assert(session->state == SESSION_CLOSING);
    session->listening = false;
    session_unhold(session);
    if (session->tls != NULL && session_seal(session))
        tls_shutdown(session->tls, &session->output);
    session_arm(session, LINGER_MS);
    session_flush(session);
}

/* Behind <starttls/> and <auth/> the initiator is silent: the peer may have answered already,
   and what follows would be read as TLS or as part of a new stream (RFC 6120 §5.4.3.3, §6.3.2).
   A stream that moves has its socket no more. */
static bool may_speak(const struct session *session)
{
    return session->outbound ? session->out.state != S2S_OUT_PROCEED &&
                                   session->out.state != S2S_OUT_SASL
                             : session->mover == NULL;
}

static bool write_close(struct session *session, enum stream_error error, struct span text)
{
    char memory[2048];
    struct writer writer = writer_make(memory, sizeof(memory));
    if (session->outbound) {
        s2s_out_write_close(&session->out, &writer, error, text);
    } else {
        if (session->in.id[0] == '\0')
            s2s_in_set_id(&session->in, SPAN("0"));
        s2s_in_write_close(&session->in, &writer, error, text);
    }
    return !writer.overflow && session_write(session, writer_span(&writer));
}

void session_close(struct session *session, enum stream_error error, struct span text)
{
    if (session->state == SESSION_CLOSING || session->state == SESSION_DROPPED)
        return;
    session_say_why(session, text);
    if (session->state != SESSION_OPEN || !may_speak(session)) {
        session_drop(session);
        return;
    }
    if (error != STREAM_ERROR_NONE)
        stats_count(session->worker->thread->stats, STAT_STREAM_ERRORS_SENT);
    if (session->intake != NULL)
        intake_tell(session->intake, true);
    bool written = write_close(session, error, text);
    session_log_end(session, error);
    session->state = SESSION_CLOSING;
    session_withdraw(session);
    session->listening = written && error == STREAM_ERROR_NONE && !session->ended;
    if (!session->listening) {
        session_end(session);
        return;
    }
    session_arm(session, LISTEN_MS);
    session_flush(session);
}

bool session_late_event(struct session *session)
{
    assert(session->listening);
    switch (session->event.kind) {
    case XML_EVENT_STANZA:
        /* What could not be acknowledged any more stays the peer's. */
        return (session->outbound && !session->out.bidi) || session->intake != NULL ||
               !s2s_is_stanza(session->event.node) ||
               relay_in_stanza(session, session->event.node);
    case XML_EVENT_CLOSE:
    case XML_EVENT_ERROR:
        session->ended = true;
        session_end(session);
        break;
    case XML_EVENT_NONE:
    case XML_EVENT_OPEN: break;
    }
    return true;
}

void session_ended(struct session *session, int result)
{
    if (session->state == SESSION_DROPPED)
        return;
    session->ended = true;
    /* What it sent before still waits for the relay; session_resume goes on from there. */
    if (session->held && result == 0)
        return;
    if (session->state != SESSION_CLOSING || result < 0)
        session_fail(session, SPAN("the connection ended"));
    else
        session_end(session);
}
