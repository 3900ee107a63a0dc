/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/tls_store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/trouble.h"

struct tls_store_entry {
    struct table_node node;
    TAILQ_ENTRY(tls_store_entry) place;
    uint32_t tenant; /* its index */
    uint64_t stamp;  /* of the files */
    struct tls_context *context;
};

bool tls_store_wants_sip(const struct config *config)
{
    bool wants = config->tls_listen_count > 0;
    for (size_t i = 0; i < config->tenant_count; i++)
        for (size_t j = 0; j < config->tenants[i].trunk_count; j++)
            wants |= config->tenants[i].trunks[j].transport == SIP_TRANSPORT_TLS;
    /* A trunk that leaves the transport to DNS gets TLS only where we listen for it. */
    return wants;
}

int tls_store_context(const struct config *config, enum tls_store_side side,
                      struct tls_context **context, char *error, size_t error_size)
{
    struct tls_context_options options = {.certificate_file = config->certificate,
                                          .key_file = config->key,
                                          .ca_file = config->ca_file,
                                          .crl = config->crl};
    char problem[300];
    *context = NULL;
    if (side == TLS_STORE_SIP && !tls_store_wants_sip(config))
        return 0;
    if (side == TLS_STORE_SIP && config->sip_certificate != NULL) {
        options.certificate_file = config->sip_certificate;
        options.key_file = config->sip_key;
    }
    if (side == TLS_STORE_SIP && config->sip_ca_file != NULL)
        options.ca_file = config->sip_ca_file;
    if (side == TLS_STORE_SIP && config->sip_crl != NULL)
        options.crl = config->sip_crl;
    int result = tls_context_open(context, &options, problem, sizeof(problem));
    if (result != 0)
        (void)snprintf(error, error_size, "the TLS files of %s: %s",
                       side == TLS_STORE_SIP ? "sip" : "xmpp", problem);
    return result;
}

int tls_store_open(struct tls_store *store, struct thread *thread, enum tls_store_side side,
                   char *error, size_t error_size)
{
    *store = (struct tls_store){.thread = thread};
    table_init(&store->entries);
    TAILQ_INIT(&store->order);
    return tls_store_context(thread->config, side, &store->common, error, error_size);
}

static void forget(struct tls_store *store, struct tls_store_entry *entry)
{
    table_remove(&store->entries, &entry->node);
    TAILQ_REMOVE(&store->order, entry, place);
    tls_context_close(&entry->context);
    free(entry);
}

static void forget_all(struct tls_store *store)
{
    struct tls_store_entry *entry;
    while (store->entries.count > 0) {
        entry = TAILQ_LAST(&store->order, tls_store_order);
        forget(store, entry);
    }
}

void tls_store_close(struct tls_store *store)
{
    forget_all(store);
    table_fini(&store->entries);
    tls_context_close(&store->common);
}

void tls_store_renew(struct tls_store *store, struct tls_context **common)
{
    assert(*common != NULL);
    forget_all(store);
    tls_context_close(&store->common);
    store->common = *common;
    *common = NULL;
}

static struct tls_store_entry *find(struct tls_store *store, uint32_t tenant)
{
    struct table_node *node = table_find(&store->entries, tenant);
    for (; node != NULL; node = table_next(node)) {
        struct tls_store_entry *entry = node->owner;
        if (entry->tenant == tenant)
            return entry;
    }
    return NULL;
}

static struct tls_context *open_context(struct tls_store *store,
                                        const struct config_tenant *tenant)
{
    char error[300];
    struct tls_context *context = NULL;
    struct tls_context_options options = {.certificate_file = tenant->certificate,
                                          .key_file = tenant->key,
                                          .base = store->common};
    struct stats_trouble trouble = {.event = "tls.certificate",
                                    .tenant = span_of(tenant->name)};
    enum log_level level = LOG_LEVEL_ERROR;
    if (tls_context_open(&context, &options, error, sizeof(error)) == 0) {
        const char *unstapled = tls_context_unstapled(context);
        if (unstapled == NULL)
            return context;
        (void)snprintf(error, sizeof(error), "%.150s.ocsp is not stapled: %s",
                       tenant->certificate, unstapled);
        trouble.event = "tls.unstapled";
        level = LOG_LEVEL_WARN;
    }
    trouble.reason = span_of(error);
    trouble_tell(store->thread, level, &trouble);
    return context;
}

struct tls_context *tls_store_of(struct tls_store *store, const struct config_tenant *tenant)
{
    if (tenant == NULL || tenant->certificate == NULL || store->common == NULL)
        return store->common;
    struct tls_store_entry *entry = find(store, tenant->index);
    if (entry != NULL && entry->stamp != tenant->stamp) {
        forget(store, entry);
        entry = NULL;
    }
    if (entry != NULL) {
        TAILQ_REMOVE(&store->order, entry, place);
        TAILQ_INSERT_HEAD(&store->order, entry, place);
        return entry->context;
    }
    struct tls_context *context = open_context(store, tenant);
    entry = context != NULL ? calloc(1, sizeof(*entry)) : NULL;
    if (entry == NULL) {
        tls_context_close(&context);
        return store->common;
    }
    while (store->entries.count >= store->thread->config->certificates_max)
        forget(store, TAILQ_LAST(&store->order, tls_store_order));
    entry->tenant = tenant->index;
    entry->stamp = tenant->stamp;
    entry->context = context;
    table_add(&store->entries, &entry->node, tenant->index, entry);
    TAILQ_INSERT_HEAD(&store->order, entry, place);
    return context;
}

struct tls_context *tls_store_choose(void *choose, const char *server_name)
{
    struct tls_store *store = choose;
    return tls_store_of(store,
                        config_find_tenant_ascii(store->thread->config, span_of(server_name)));
}
