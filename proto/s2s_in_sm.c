/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stream management (XEP-0198) on the receiving side. */
#include "proto/s2s_in_priv.h"

#include <assert.h>

/* XEP-0198 §3 and §5: one try, and only behind the authentication. */
static void on_start(struct s2s_in *in, struct writer *writer, struct s2s_action *action)
{
    bool is_resume = action->sm.kind == SM_RESUME;
    if (!s2s_in_authorised_any(in))
        sm_write_failed(writer, STANZA_ERROR_UNEXPECTED_REQUEST);
    else if (!in->policy->stream_management)
        sm_write_failed(writer, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED);
    else if (in->sm_on || ++in->sm_tries > SM_TRIES_MAX)
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION,
                  SPAN("stream management is on, or was tried too often"));
    else if (is_resume && action->sm.h != 0)
        s2s_close_too_high(action, &in->detail, action->sm.h, 0);
    else
        action->kind = is_resume ? S2S_SM_RESUME : S2S_SM_ENABLE;
}

void s2s_in_sm(struct s2s_in *in, const struct xml_node *node, struct writer *writer,
               struct s2s_action *action)
{
    action->sm = sm_read(node);
    switch (action->sm.kind) {
    case SM_ENABLE:
    case SM_RESUME: on_start(in, writer, action); break;
    case SM_REQUEST:
        if (in->sm_on)
            action->kind = S2S_SM_REQUEST;
        break;
    case SM_ANSWER:
        /* This side sends no stanza on this stream. */
        if (in->sm_on && action->sm.h != 0)
            s2s_close_too_high(action, &in->detail, action->sm.h, 0);
        break;
    case SM_BROKEN:
        s2s_close(action, STREAM_ERROR_INVALID_XML,
                  SPAN("'h' or 'previd' is missing or wrong"));
        break;
    case SM_ENABLED:
    case SM_RESUMED:
    case SM_FAILED:
    case SM_UNKNOWN:
        s2s_close(action, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE, SPAN("unknown element"));
        break;
    }
}

void s2s_in_sm_enabled(struct s2s_in *in, struct writer *writer, struct span id, uint32_t max_s)
{
    assert(!in->sm_on);
    in->sm_on = true;
    sm_write_enabled(writer, id, max_s);
}

void s2s_in_sm_resumed(struct s2s_in *in, struct writer *writer, struct span id, uint32_t h)
{
    assert(!in->sm_on);
    in->sm_on = true;
    sm_write_resumed(writer, id, h);
}
