/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What another configuration means for the connections of the SIP side. */
#include <assert.h>
#include <stdlib.h>

#include "core/sip_connection_priv.h"

/* Longer than any transaction over the connection (64*T1 of RFC 3261, twice over). */
static uint64_t retire_ms(const struct sip_streams *streams)
{
    return 2 * 64 * (uint64_t)streams->thread->config->sip_t1_ms;
}

/* The same trunk in the configuration that is in force; NULL: it is no more. */
static const struct config_trunk *find_again(const struct config *config,
                                             const struct config_trunk *trunk)
{
    const struct config_trunk *found = config_trunk_at(config, trunk->index);
    return found != NULL && found->serial == trunk->serial ? found : NULL;
}

/* What was sent over it may still be answered there. */
static void retire(struct sip_streams *streams, struct connection *connection)
{
    struct thread *thread = streams->thread;
    if (connection->state != CONNECTION_READY) {
        sip_connection_fail(streams, connection, "its trunk is no more");
        return;
    }
    connection->trunk = NULL;
    connection->ends_ms = thread->now_ms + retire_ms(streams);
    timer_arm(&thread->timers, &connection->timer, connection->ends_ms);
}

static void reload_one(struct sip_streams *streams, struct connection *connection)
{
    const struct config *config = streams->thread->config;
    connection->proved = NULL; /* the text was the former configuration's */
    if (connection->state == CONNECTION_LOST)
        connection->trunk = connection->alias_of = NULL;
    if (connection->trunk != NULL) {
        const struct config_trunk *trunk = find_again(config, connection->trunk);
        if (trunk == NULL) {
            retire(streams, connection);
            return;
        }
        connection->trunk = trunk;
    }
    if (connection->alias_of != NULL) {
        connection->alias_of = find_again(config, connection->alias_of);
        if (connection->alias_of == NULL)
            connection->alias_port = 0;
    }
}

void sip_connection_reload(struct sip_streams *streams, const struct config *former,
                           struct tls_context **context)
{
    const struct config *config = streams->thread->config;
    struct connection **old = streams->by_trunk;
    struct connection *connection;
    if (*context != NULL)
        tls_store_renew(&streams->tls, context);
    streams->by_trunk = calloc(config->trunk_slots + 1, sizeof(*streams->by_trunk));
    if (streams->by_trunk == NULL)
        abort(); /* half a configuration is none */
    /* Before any connection is touched: it looks for itself there when it ends. */
    for (size_t i = 0; i < former->trunk_slots; i++) {
        if (old[i] != NULL && find_again(config, config_trunk_at(former, (uint32_t)i)) != NULL)
            streams->by_trunk[i] = old[i];
    }
    free(old);
    TAILQ_FOREACH(connection, &streams->all, all)
    reload_one(streams, connection);
}
