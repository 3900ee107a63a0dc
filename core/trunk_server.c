/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The servers behind the trunks: one OPTIONS for all who share one. */
#include "core/trunk_priv.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t hash_of(const struct sip_target *at, uint32_t only)
{
    uint64_t scope = ((uint64_t)only << 2) | (unsigned)at->transport;
    return net_address_hash(&at->address) ^ (scope * 0x9e3779b97f4a7c15u);
}

static struct trunk_server *find(const struct trunk_table *table, const struct sip_target *at,
                                 uint32_t only)
{
    struct table_node *node = table_find(&table->servers, hash_of(at, only));
    for (; node != NULL; node = table_next(node)) {
        struct trunk_server *found = node->owner;
        if (found->only == only && sip_target_equal(&found->at, at))
            return found;
    }
    return NULL;
}

int trunk_server_join(const struct trunk *trunk, struct trunk_target *target)
{
    struct trunk_table *table = trunk->table;
    uint32_t only = target->at.transport == SIP_TRANSPORT_TLS ? trunk->serial : 0;
    struct trunk_server *server = find(table, &target->at, only);
    if (server == NULL) {
        server = calloc(1, sizeof(*server));
        if (server == NULL)
            return -ENOMEM;
        server->at = target->at;
        server->only = only;
        table_add(&table->servers, &server->node, hash_of(&target->at, only), server);
    }
    server->users++;
    target->server = server;
    return 0;
}

void trunk_server_leave(struct trunk_table *table, struct trunk_target *target)
{
    struct trunk_server *server = target->server;
    target->server = NULL;
    if (server == NULL || --server->users > 0)
        return;
    table_remove(&table->servers, &server->node);
    free(server);
}

void trunk_server_note(struct trunk_server *server, const struct trunk_result *result,
                       uint64_t now_ms)
{
    if (!trunk_is_failure(result)) {
        server->answered_ms = now_ms;
        server->status = result->status;
        server->misses = 0;
    } else if (result->is_keep_alive) {
        server->misses++; /* an unanswered message may be its recipient's fault */
    }
}

static bool is_within(uint64_t then_ms, uint64_t now_ms, uint64_t most_ms)
{
    return then_ms != 0 && now_ms - then_ms < most_ms;
}

bool trunk_server_ask(struct trunk_server *server, const struct trunk *trunk, uint64_t now_ms)
{
    uint64_t interval_ms = 1000ull * trunk->config->options_interval_s;
    bool is_asker = server->asker == trunk->serial;
    if (is_within(server->answered_ms, now_ms, interval_ms / 2) ||
        (!is_asker && is_within(server->asked_ms, now_ms, interval_ms * 3 / 2)))
        return false;
    server->asker = trunk->serial;
    server->asked_ms = now_ms;
    return true;
}
