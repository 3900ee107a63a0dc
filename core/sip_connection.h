/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TCP and TLS connections of one egress thread; only sip_transport.c calls this. A connection
 * holds what must be sent until it is ready: for TLS to a trunk that is after the peer has
 * proved the trunk's identity (RFC 5922 §7). Buffers are bounded,
 * and so are the times that a peer may take (sip.setup_timeout_ms, message_, idle_).
 */
#ifndef PASSERELLE_CORE_SIP_CONNECTION_H
#define PASSERELLE_CORE_SIP_CONNECTION_H

#include "core/sip_transport.h"

enum sip_socket_kind { SIP_SOCKET_LISTENER, SIP_SOCKET_CONNECTION };

/* First member of whatever owns a socket. */
struct sip_socket {
    enum sip_socket_kind kind;
};

struct sip_streams;

int sip_connection_open(struct sip_streams **streams, struct thread *thread, char *error,
                        size_t error_size) MUST_USE;
void sip_connection_close(struct sip_streams **streams);
/* `is_proxied`: the listener is one of sip.proxy_listen. */
void sip_connection_accept(struct sip_streams *streams, enum sip_transport transport,
                           bool is_proxied, const struct ring_event *event);
void sip_connection_feed(struct sip_streams *streams, const struct ring_event *event);
bool sip_connection_next(struct sip_streams *streams, struct sip_input *input);
void sip_connection_tick(struct sip_streams *streams, struct timer *timer);
int sip_connection_request(struct sip_streams *streams, const struct config_trunk *trunk,
                           const struct sip_target *target, struct span bytes,
                           uint64_t *connection) MUST_USE;
void sip_connection_respond(struct sip_streams *streams, const struct sip_flow *flow,
                            struct span bytes);
/* True when no connection still has bytes on their way to the kernel. */
bool sip_connection_sent(const struct sip_streams *streams);
/* See sip_transport_reload. */
void sip_connection_reload(struct sip_streams *streams, const struct config *former,
                           struct tls_context **context);
bool sip_connection_proved(struct sip_streams *streams, uint64_t ticket, const char *identity);
void sip_connection_alias(struct sip_streams *streams, uint64_t ticket,
                          const struct config_trunk *trunk, uint16_t port);

#endif
