/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams that others open and that go both ways (XEP-0288). The initiator may want that once,
 * where it was offered and before it begins to prove itself: a stream whose pair is proved is what
 * it is. There is no answer. Nothing of dialback is ever asked by us on such a stream, so an
 * answer stays what it is on any other: unsolicited.
 */
#include "proto/s2s_in_priv.h"

void s2s_in_bidi(struct s2s_in *in, const struct xml_node *node, struct s2s_action *action)
{
    bool is_begun = in->pair_count > 0 || in->external_done || in->sasl_tries > 0;
    if (!in->bidi_offered) {
        s2s_close(action, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE,
                  SPAN("this stream is not offered to go both ways"));
    } else if (in->bidi || is_begun || in->state != S2S_IN_SECURE) {
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION,
                  SPAN("bidi is enabled once, before the authentication"));
    } else {
        in->bidi = true;
        s2s_limits_read(node, &in->max_bytes, &in->idle_seconds);
        if (in->max_bytes > 0 && in->max_bytes < STANZA_SIZE_MIN)
            in->max_bytes = STANZA_SIZE_MIN;
    }
}

bool s2s_in_is_both_ways(const struct s2s_in *in)
{
    return in->bidi && in->state == S2S_IN_SECURE &&
           s2s_in_authorised(in, s2s_domain_span(&in->local), s2s_domain_span(&in->remote));
}

bool s2s_in_sm_may_come(const struct s2s_in *in)
{
    return in->external_done && in->policy->stream_management && !in->sm_on;
}
