/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/sip_tls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/log.h"

struct tls_context *sip_tls_context(struct sip_tls *tls, const struct config_tenant *tenant)
{
    char error[256];
    if (tenant->certificate == NULL)
        return tls->context;
    struct tls_context **context = &tls->contexts[tenant->index];
    struct tls_context_options options = {.certificate_file = tenant->certificate,
                                          .key_file = tenant->key,
                                          .base = tls->context};
    if (*context == NULL && tls_context_open(context, &options, error, sizeof(error)) < 0) {
        log_event(LOG_LEVEL_ERROR, "sip.tls_context", 0, log_text("reason", span_of(error)));
        return tls->context;
    }
    return *context;
}

struct tls_context *sip_tls_choose(void *choose, const char *server_name)
{
    struct sip_tls *tls = choose;
    const struct config_tenant *tenant =
        config_find_tenant_ascii(tls->config, span_of(server_name));
    return tenant != NULL ? sip_tls_context(tls, tenant) : tls->context;
}

static bool wants_tls(const struct config *config)
{
    bool wants = config->tls_listen_count > 0;
    for (size_t i = 0; i < config->tenant_count; i++)
        for (size_t j = 0; j < config->tenants[i].trunk_count; j++)
            wants |= config->tenants[i].trunks[j].transport == SIP_TRANSPORT_TLS;
    /* A trunk that leaves the transport to DNS gets TLS only where we listen for it. */
    return wants;
}

int sip_tls_open(struct sip_tls *tls, const struct config *config, char *error,
                 size_t error_size)
{
    assert(config != NULL);
    *tls = (struct sip_tls){.config = config};
    tls->contexts = calloc(config->tenant_count + 1, sizeof(struct tls_context *));
    if (tls->contexts == NULL)
        return -ENOMEM;
    bool own = config->sip_certificate != NULL;
    const char *certificate = own ? config->sip_certificate : config->certificate;
    const char *key = own ? config->sip_key : config->key;
    if (!wants_tls(config))
        return 0;
    struct tls_context_options options = {
        .certificate_file = certificate,
        .key_file = key,
        .ca_file = config->sip_ca_file != NULL ? config->sip_ca_file : config->ca_file};
    return tls_context_open(&tls->context, &options, error, error_size);
}

void sip_tls_close(struct sip_tls *tls)
{
    for (size_t i = 0; tls->contexts != NULL && i < tls->config->tenant_count; i++)
        if (tls->contexts[i] != NULL)
            tls_context_close(&tls->contexts[i]);
    if (tls->context != NULL)
        tls_context_close(&tls->context);
    free(tls->contexts);
    tls->contexts = NULL;
}
