/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/trouble.h"

/* `refused`: messages that the line stands for; 0: not told. */
static void write_line(enum log_level level, const struct stats_trouble *trouble,
                       unsigned refused)
{
    struct log_field fields[5];
    size_t count = 0;
    if (trouble->tenant.size > 0)
        fields[count++] = log_text("tenant", trouble->tenant);
    if (trouble->partner.size > 0)
        fields[count++] = log_text("partner", trouble->partner);
    if (trouble->status != 0)
        fields[count++] = log_number("status", trouble->status);
    if (refused != 0)
        fields[count++] = log_number("refused", refused);
    fields[count++] = log_text("reason", trouble->reason);
    if (log_wants(level))
        log_write(level, trouble->event, trouble->trace, fields, count);
}

void trouble_tell(struct thread *thread, enum log_level level,
                  const struct stats_trouble *trouble)
{
    write_line(level, trouble, 0);
    stats_error(thread->stats, trouble);
}

void trouble_tell_over_quota(struct thread *thread, const struct stats_trouble *trouble,
                             unsigned untold)
{
    if (untold > 0)
        write_line(LOG_LEVEL_INFO, trouble, untold);
    stats_error(thread->stats, trouble);
}

void trouble_tell_revoked(struct thread *thread, const struct tls_session *tls,
                          const union net_address *peer)
{
    char address[NET_ADDRESS_TEXT_SIZE];
    const char *reason;
    if (!tls_peer_revoked(tls) || tls_peer_verified(tls, &reason))
        return;
    net_address_format_host(peer, address);
    stats_count(thread->stats, STAT_TLS_REVOKED);
    trouble_tell(thread, LOG_LEVEL_WARN,
                 &(struct stats_trouble){.event = "tls.revoked",
                                         .partner = span_of(address),
                                         .reason = span_of(reason)});
}
