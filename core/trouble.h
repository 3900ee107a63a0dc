/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What goes wrong is told twice: as a log line for who follows, as a row of `show errors` for
   who comes later. On the calling thread. */
#ifndef PASSERELLE_CORE_TROUBLE_H
#define PASSERELLE_CORE_TROUBLE_H

#include "core/log.h"
#include "core/thread.h"
#include "net/tls.h"

/* The line has the fields tenant, partner, status and reason, as far as they are given. */
void trouble_tell(struct thread *thread, enum log_level level,
                  const struct stats_trouble *trouble);
/* Counts and tells that the certificate of a peer is revoked, when it is; after the handshake. */
void trouble_tell_revoked(struct thread *thread, const struct tls_session *tls,
                          const union net_address *peer);
/* A message that is refused for a quota. The line stands for `untold` of them; 0: there is
   none. */
void trouble_tell_over_quota(struct thread *thread, const struct stats_trouble *trouble,
                             unsigned untold);

#endif
