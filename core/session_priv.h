/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What session.c (its life and its socket) and session_pump.c (its stream) share. */
#ifndef PASSERELLE_CORE_SESSION_PRIV_H
#define PASSERELLE_CORE_SESSION_PRIV_H

#include "core/session.h"

#define SESSION_CLOSE_MS 2000 /* for our last bytes */

/* Ends the session at once and keeps the reason for the log and for who waits. */
void session_fail(struct session *session, struct span text);
void session_arm(struct session *session, uint64_t after_ms);
void session_log_end(const struct session *session, enum stream_error error);
/* Did the peer show a verified certificate that speaks for `remote`? */
bool session_certified(const struct session *session, struct span remote);
/* It waits for the relay no more. */
void session_unhold(struct session *session);
void session_begin_tls(struct session *session);

#endif
