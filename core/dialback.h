/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Dialback keys (XEP-0185): stateless, so any worker verifies what another one made. Pure. */
#ifndef PASSERELLE_CORE_DIALBACK_H
#define PASSERELLE_CORE_DIALBACK_H

#include "proto/span.h"

#define DIALBACK_KEY_SIZE 65 /* 64 hex digits and a NUL */

/* hex(HMAC-SHA-256(hex(SHA-256(secret)), target ' ' sender ' ' stream id)): `target` is the
   `to` of db:result, `sender` its `from`, the id is that of the receiving server's header. */
void dialback_key(const char *secret, struct span target, struct span sender, struct span id,
                  char key[DIALBACK_KEY_SIZE]);
/* Constant time. */
bool dialback_check(const char *secret, struct span target, struct span sender, struct span id,
                    struct span key);

#endif
