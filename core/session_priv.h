/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What session.c (its life and its socket), session_proxy.c (its client behind a proxy),
   session_pump.c (its stream), session_move.c (its worker), session_watch.c (its clock),
   session_trust.c (how its peer proved itself), session_bidi.c (what its peer may send),
   session_report.c (its rows and log lines) and session_close.c (its end) share. */
#ifndef PASSERELLE_CORE_SESSION_PRIV_H
#define PASSERELLE_CORE_SESSION_PRIV_H

#include "core/session.h"

struct certificate;

/* The domains in its header. */
static inline const struct s2s_domain *session_local(const struct session *session)
{
    return session->outbound ? &session->out.local : &session->in.local;
}
static inline const struct s2s_domain *session_remote(const struct session *session)
{
    return session->outbound ? &session->out.remote : &session->in.remote;
}
/* Was SASL EXTERNAL the proof? */
static inline bool session_is_external(const struct session *session)
{
    return session->outbound ? session->out.external_done : session->in.external_done;
}
/* Are its stanzas acknowledged (XEP-0198)? */
static inline bool session_is_managed(const struct session *session)
{
    return session->outbound ? session->out.sm != S2S_OUT_SM_OFF : session->in.sm_on;
}
/* session_move.c: the session becomes one of its worker's, or leaves it. */
void session_enlist(struct session *session);
void session_delist(struct session *session);
/* The header that has just come may belong to another worker: true, and the session is to be
   held, when it goes there or waits for a parcel to go with. */
bool session_moves(struct session *session);
/* Its socket has left the ring: it goes. */
void session_depart(struct session *session, int descriptor);
/* Ends the session at once and keeps the reason for the log and for who waits. */
void session_fail(struct session *session, struct span text);
void session_arm(struct session *session, uint64_t after_ms);
/* Keeps the first reason. */
void session_say_why(struct session *session, struct span text);
/* Turns what waits into TLS records of up to 16 KiB: the fixed cost of a record, of its system
   call and of the peer's, is paid once for all stanzas of a turn. False when TLS fails. */
bool session_seal(struct session *session);
/* session_watch.c: the rule in force between two domains: a stream may have other pairs than that
   in its header. */
uint32_t session_pair_rule(const struct session *session, struct span local,
                           struct span remote, enum rule rule);
/* … between those in the header. */
uint32_t session_rule(const struct session *session, enum rule rule);
/* The peer has as long to prove itself as the rules say. */
void session_expect(struct session *session);
/* Starts the clock of an authorised stream: idle time, the peer's certificate, blanks. */
void session_watch(struct session *session);
/* Nothing more is said or heard: what is queued goes out, then the connection ends. */
void session_end(struct session *session);
/* An event on a stream that we have closed; false when the relay is full. */
bool session_late_event(struct session *session);
/* The peer closed its direction (0), or the connection broke (-errno). */
void session_ended(struct session *session, int result);
void session_log_end(const struct session *session, enum stream_error error);
/* Is a pair of domains authorised on it? */
bool session_ready(const struct session *session);
/* session_trust.c: the certificate that the peer showed; false: none that can be read. */
bool session_read_leaf(const struct session *session, struct certificate *leaf) MUST_USE;
/* Did the peer show a verified certificate that speaks for `remote`, and holds yet? */
bool session_certified(const struct session *session, struct span remote);
/* Outbound: the TLS handshake is over, or the stream stays in clear: how the server has proved
   itself (`trust`, `contradicted`). */
void session_weigh(struct session *session);
/* Is that as it has to? False: the session is over. */
bool session_judge(struct session *session);
/* The least that it has to. */
enum trust session_trust_wanted(const struct session *session);
/* session_bidi.c: outbound, under TLS: whether it is to go both ways. */
void session_want_bidi(struct session *session);
/* … and whether the rules allow yet what it says, if it does. */
bool session_may_hear(const struct session *session);
/* Bytes from the socket that were not used yet, and the use of the first `size` of them. */
struct span session_input(const struct session *session);
void session_input_use(struct session *session, size_t size);
/* The relay cannot take its stanza now: it waits. */
void session_hold(struct session *session);
/* It waits for the relay no more. */
void session_unhold(struct session *session);
void session_begin_tls(struct session *session);
/* A dialback request that was answered with an error, or an answer that was ignored: counted,
   logged, in `show errors`. Uses kind, verdict, fault and the domains, as far as they are known. */
void session_tell_refused_claim(const struct session *session, const struct s2s_action *action);
/* A connection that is not taken. */
void session_log_refusal(const union net_address *peer, struct span reason);
/* Reads the proxy's header, and begins for the client; false when it is not there, or the
   session was dropped. */
bool session_proxy_read(struct session *session);

#endif
