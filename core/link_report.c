/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `show links` tells: the pairs of domains without a stream that is good for stanzas. */
#include <inttypes.h>

#include "core/breaker.h"
#include "core/link_priv.h"

/* Reasons name what servers have said. */
static void put_text(struct span text, FILE *out)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}

static const char *state_of(const struct link *link)
{
    if (link->session != NULL)
        return "negotiating";
    if (link->state == LINK_RESOLVING)
        return "resolving";
    if (link->state == LINK_CONNECTING)
        return "connecting";
    return "none";
}

void link_row(const struct link *link, FILE *out)
{
    const struct worker *worker = link->worker;
    uint64_t now_ms = worker->thread->now_ms, until_ms = link->backoff_until_ms;
    struct breaker_verdict verdict;
    struct span reason =
        span_of(link->failures > 0 || link_awaits(link) ? link->reason : "-");
    const char *state = state_of(link);
    bool is_idle = link->session == NULL && link->state == LINK_IDLE;
    if (link->asker != NULL)
        link_row(link->asker, out);
    if (link->ready)
        return;
    if (is_idle && link_holds(link)) {
        state = "awaited";
        until_ms = link_awaits(link) ? link->sm.until_ms : now_ms;
    } else if (is_idle && breaker_is_open(worker->breakers, s2s_domain_span(&link->remote),
                                          &verdict)) {
        state = "breaker";
        until_ms = verdict.until_ms;
        reason = verdict.reason;
    } else if (is_idle && now_ms < until_ms) {
        state = "backoff";
    }
    fprintf(out, "%u\t%s\t%s\t%s\t%u\t%u\t", worker->thread->self - 1, link->local.text,
            link->remote.text, state, link_waiting(link), link->failures);
    if (is_idle && now_ms < until_ms)
        fprintf(out, "%" PRIu64 "\t", (until_ms - now_ms + 999) / 1000);
    else
        fputs("-\t", out);
    put_text(reason, out);
    fputc('\n', out);
}
