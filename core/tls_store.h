/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The TLS contexts of one thread: the common one, and those of tenants with a certificate of
 * their own. These are opened when first needed, and again when their files have changed since;
 * the least recently used ones are closed when there are more than xmpp.certificates_max.
 * Sessions keep what they use.
 */
#ifndef PASSERELLE_CORE_TLS_STORE_H
#define PASSERELLE_CORE_TLS_STORE_H

#include <sys/queue.h>

#include "core/table.h"
#include "core/thread.h"
#include "net/tls.h"

struct tls_store_entry;
TAILQ_HEAD(tls_store_order, tls_store_entry);

struct tls_store {
    struct thread *thread;
    struct tls_context *common;   /* NULL when SIP does without TLS */
    struct table entries;         /* by index of the tenant */
    struct tls_store_order order; /* the one used last is first */
};

enum tls_store_side { TLS_STORE_XMPP, TLS_STORE_SIP };

/* Does any listener or trunk of SIP want TLS? */
bool tls_store_wants_sip(const struct config *config);
/* Opens the common context of a side; *context is NULL when SIP does without TLS. `error` names
 * the key and the file that cannot be used. */
int tls_store_context(const struct config *config, enum tls_store_side side,
                      struct tls_context **context, char *error, size_t error_size) MUST_USE;
int tls_store_open(struct tls_store *store, struct thread *thread, enum tls_store_side side,
                   char *error, size_t error_size) MUST_USE;
/* Also after tls_store_open has failed, and for a store that is all zero. */
void tls_store_close(struct tls_store *store);
/* Takes another common context, and forgets those of tenants, which stand on the old one. */
void tls_store_renew(struct tls_store *store, struct tls_context **common);
/* The context that shows the certificate for a domain of this tenant (NULL: the common one). */
struct tls_context *tls_store_of(struct tls_store *store, const struct config_tenant *tenant);
/* A tls_choose_fn over a struct tls_store. */
struct tls_context *tls_store_choose(void *store, const char *server_name);

#endif
