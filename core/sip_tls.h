/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The TLS contexts of the SIP side of one egress thread: the relay's own, and those of tenants
 * with a certificate of their own, opened when first needed.
 */
#ifndef PASSERELLE_CORE_SIP_TLS_H
#define PASSERELLE_CORE_SIP_TLS_H

#include "core/config.h"
#include "net/tls.h"

struct sip_tls {
    const struct config *config;
    struct tls_context *context;   /* of the relay; NULL when SIP does without TLS */
    struct tls_context **contexts; /* of the tenants */
};

/* `error` names the file that cannot be used. Nothing is opened when no listener and no trunk
   wants TLS. After a failure sip_tls_close is still to be called. */
int sip_tls_open(struct sip_tls *tls, const struct config *config, char *error,
                 size_t error_size) MUST_USE;
void sip_tls_close(struct sip_tls *tls);
struct tls_context *sip_tls_context(struct sip_tls *tls, const struct config_tenant *tenant);
/* A tls_choose_fn over a struct sip_tls. */
struct tls_context *sip_tls_choose(void *choose, const char *server_name);

#endif
