/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/s2s_out.h"

#include <assert.h>

#include "proto/base64.h"

void s2s_out_init(struct s2s_out *out, const struct s2s_domain *local,
                  const struct s2s_domain *remote, unsigned proofs, bool has_certificate)
{
    assert(local->size > 0);
    assert(remote->size > 0);
    memset(out, 0, sizeof(*out));
    out->local = *local;
    out->remote = *remote;
    out->proofs = proofs;
    out->has_certificate = has_certificate;
}

static void write_header(struct s2s_out *out, struct writer *writer)
{
    s2s_write_header(writer, s2s_domain_span(&out->local), s2s_domain_span(&out->remote),
                     SPAN_NONE);
    out->state = S2S_OUT_HEADER;
}

void s2s_out_start(struct s2s_out *out, bool secure, struct writer *writer)
{
    assert(out->state == S2S_OUT_HEADER);
    out->secure = secure;
    write_header(out, writer);
}

void s2s_out_tls_done(struct s2s_out *out, struct writer *writer)
{
    assert(out->state == S2S_OUT_TLS);
    out->secure = true;
    write_header(out, writer);
}

void s2s_out_write_close(struct s2s_out *out, struct writer *writer, enum stream_error error,
                         struct span text)
{
    out->state = S2S_OUT_CLOSED;
    s2s_write_end(writer, error, text, &out->detail);
}

static void refuse(struct s2s_action *action, enum stanza_error fault, struct span text)
{
    s2s_close(action, STREAM_ERROR_NONE, text);
    action->fault = fault;
}

static void try_dialback(struct s2s_out *out, struct s2s_action *action)
{
    unsigned wanted = out->secure ? S2S_PROOF_DIALBACK : S2S_PROOF_CLEAR;
    if ((out->proofs & wanted) == 0 || !out->dialback_offered) {
        refuse(action, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
               SPAN("the remote server offers no authentication that is allowed here"));
        return;
    }
    out->state = S2S_OUT_KEY;
    action->kind = S2S_NEED_KEY;
    action->local = s2s_domain_span(&out->local);
    action->remote = s2s_domain_span(&out->remote);
    action->id = span_of(out->id);
}

void s2s_out_send_key(struct s2s_out *out, struct span key, struct writer *writer)
{
    assert(out->state == S2S_OUT_KEY);
    assert(out->secure || (out->proofs & S2S_PROOF_CLEAR) != 0);
    out->state = S2S_OUT_RESULT;
    writer_put_literal(writer, "<db:result");
    writer_put_attribute(writer, SPAN("from"), s2s_domain_span(&out->local));
    writer_put_attribute(writer, SPAN("to"), s2s_domain_span(&out->remote));
    writer_put_char(writer, '>');
    writer_put_xml_text(writer, key);
    writer_put_literal(writer, "</db:result>");
}

static void enable(struct s2s_out *out, struct writer *writer)
{
    sm_write_enable(writer, true);
    out->sm = S2S_OUT_SM_ASKED;
}

/* Authenticated, and the negotiation is over but for stream management. Stanzas do not wait for
   the answer to <enable/> (XEP-0198 §4), but for that to <resume/>: it says which are missing.
 */
static void on_last_features(struct s2s_out *out, const struct s2s_features *features,
                             struct writer *writer, struct s2s_action *action)
{
    bool is_offered = out->sm_wanted && features->sm;
    out->proved = true;
    if (is_offered && out->sm_previous.size > 0 && out->sm_previous_bidi == out->bidi) {
        sm_write_resume(writer, out->sm_previous, out->sm_handled);
        out->state = S2S_OUT_RESUME;
        return;
    }
    if (is_offered)
        enable(out, writer);
    out->state = S2S_OUT_READY;
    action->kind = S2S_READY;
}

/* TLS wherever both sides can; a handshake that fails is not made up for in clear. */
static void on_clear_features(struct s2s_out *out, const struct s2s_features *features,
                              struct writer *writer, struct s2s_action *action)
{
    if (features->starttls && out->proofs != S2S_PROOF_CLEAR) {
        writer_put_literal(writer, "<starttls xmlns='" NS_TLS "'/>");
        out->state = S2S_OUT_PROCEED;
    } else if ((out->proofs & S2S_PROOF_CLEAR) == 0) {
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION, SPAN("TLS is required"));
    } else if (features->starttls_required) {
        refuse(action, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
               SPAN("the remote server requires TLS, which is not used with it"));
    } else {
        try_dialback(out, action);
    }
}

static void on_features(struct s2s_out *out, const struct xml_node *node, struct writer *writer,
                        struct s2s_action *action)
{
    struct s2s_features features;
    if (out->state != S2S_OUT_FEATURES)
        return;
    s2s_features_read(&features, node);
    if (features.dialback)
        out->dialback_offered = true;
    if (!out->secure) {
        on_clear_features(out, &features, writer, action);
        return;
    }
    if (features.max_bytes > 0)
        out->max_bytes =
            features.max_bytes > STANZA_SIZE_MIN ? features.max_bytes : STANZA_SIZE_MIN;
    if (features.idle_seconds > 0)
        out->idle_seconds = features.idle_seconds;
    if (out->external_done) {
        on_last_features(out, &features, writer, action);
        return;
    }
    bool by_external =
        features.external && out->has_certificate && (out->proofs & S2S_PROOF_EXTERNAL) != 0;
    /* XEP-0288 §2.2: it goes before the proof, and there is no answer to it. */
    out->bidi = features.bidi && (by_external ? out->bidi_wanted : out->bidi_unmanaged);
    if (out->bidi)
        writer_put_literal(writer, "<bidi xmlns='" NS_BIDI "'/>");
    if (by_external) {
        writer_put_literal(writer, "<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>");
        base64_write(writer, s2s_domain_span(&out->local));
        writer_put_literal(writer, "</auth>");
        out->state = S2S_OUT_SASL;
        return;
    }
    try_dialback(out, action);
}

static void on_open(struct s2s_out *out, const struct xml_event *event,
                    struct s2s_action *action)
{
    struct span id = xml_node_attribute(event->node, SPAN("id"));
    if (out->state != S2S_OUT_HEADER || !event->content_is_server) {
        s2s_close(action, STREAM_ERROR_INVALID_NAMESPACE, SPAN("unexpected stream header"));
        return;
    }
    if (id.size >= sizeof(out->id) || memchr(id.size > 0 ? id.data : "", '\0', id.size)) {
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION, SPAN("the stream id is too long"));
        return;
    }
    if (id.size > 0)
        memcpy(out->id, id.data, id.size);
    out->id[id.size] = '\0';
    out->dialback_offered = event->dialback_declared;
    s2s_read_lang(out->lang, event->node);
    out->state = S2S_OUT_FEATURES;
    if (xml_node_attribute(event->node, SPAN("version")).data != NULL)
        return;
    /* RFC 6120 §4.7.5: without a version no features follow; only dialback is left. */
    if (out->secure || (out->proofs & S2S_PROOF_CLEAR) != 0)
        try_dialback(out, action);
    else
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION, SPAN("TLS is required"));
}

static void on_result(struct s2s_out *out, struct s2s_action *action)
{
    if (out->state != S2S_OUT_RESULT ||
        !span_equal(action->local, s2s_domain_span(&out->local)) ||
        !span_equal(action->remote, s2s_domain_span(&out->remote))) {
        action->kind = S2S_UNSOLICITED;
        return;
    }
    /* XEP-0220 §2.1.2 tells what the senders get in each case. */
    switch (action->verdict) {
    case S2S_VALID:
        out->proved = true;
        out->state = S2S_OUT_READY;
        action->kind = S2S_READY;
        break;
    case S2S_INVALID:
        refuse(action, STANZA_ERROR_INTERNAL_SERVER_ERROR,
               SPAN("the remote server calls our dialback key invalid"));
        break;
    case S2S_ERROR:
        refuse(action, STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
               SPAN("the remote server could not verify our domain by dialback"));
        break;
    }
}

/* The peer asks, as it may on a stream that goes both ways: about a key of ours, or to send
   from another domain of its own (XEP-0288 §2.2). There is one pair on such a stream; on
   another one it may try again (XEP-0220 §2.5). */
static void on_question(struct s2s_out *out, bool is_result, struct writer *writer,
                        struct s2s_action *action)
{
    bool is_ours = span_equal(action->local, s2s_domain_span(&out->local));
    bool is_pair = is_ours && span_equal(action->remote, s2s_domain_span(&out->remote));
    action->verdict = is_result && is_pair && out->proved ? S2S_VALID : S2S_ERROR;
    action->fault = is_ours ? STANZA_ERROR_RESOURCE_CONSTRAINT : STANZA_ERROR_ITEM_NOT_FOUND;
    if (is_result)
        s2s_write_result(writer, action);
    else if (is_ours)
        action->kind = S2S_ANSWER_VERIFY;
    else
        s2s_write_verified(writer, action);
}

static void on_dialback(struct s2s_out *out, const struct xml_node *node, struct writer *writer,
                        struct s2s_action *action)
{
    bool is_early = !out->secure && (out->proofs & S2S_PROOF_CLEAR) == 0;
    bool is_result = span_equal(node->name, SPAN("result"));
    bool is_question = out->bidi && xml_node_attribute(node, SPAN("type")).data == NULL;
    if (is_early || (!is_question && !s2s_read_verdict(node, action)) ||
        !s2s_domain_read(&out->scratch_local, xml_node_attribute(node, SPAN("to"))) ||
        !s2s_domain_read(&out->scratch_remote, xml_node_attribute(node, SPAN("from")))) {
        action->kind = S2S_UNSOLICITED;
        return;
    }
    action->local = s2s_domain_span(&out->scratch_local);
    action->remote = s2s_domain_span(&out->scratch_remote);
    action->id = xml_node_attribute(node, SPAN("id"));
    action->key = span_trim(xml_node_text(node));
    if (is_question)
        on_question(out, is_result, writer, action);
    else if (is_result)
        on_result(out, action);
    else
        action->kind = S2S_VERIFIED;
}

static void on_sasl(struct s2s_out *out, const struct xml_node *node, struct writer *writer,
                    struct s2s_action *action)
{
    if (out->state != S2S_OUT_SASL) {
        s2s_close(action, STREAM_ERROR_NOT_AUTHORIZED, SPAN("SASL out of order"));
    } else if (span_equal(node->name, SPAN("success"))) {
        out->external_done = true;
        write_header(out, writer);
        action->kind = S2S_RESTART;
    } else {
        out->external_failed = true;
        try_dialback(out, action);
    }
}

static void on_sm_failed(struct s2s_out *out, struct writer *writer, struct s2s_action *action)
{
    if (out->state == S2S_OUT_RESUME) {
        enable(out, writer);
        out->state = S2S_OUT_READY;
        action->kind = S2S_SM_REFUSED;
    } else if (out->sm == S2S_OUT_SM_ASKED) {
        out->sm = S2S_OUT_SM_OFF;
        action->kind = S2S_SM_FAILED;
    }
}

static void on_sm(struct s2s_out *out, const struct xml_node *node, struct writer *writer,
                  struct s2s_action *action)
{
    action->sm = sm_read(node);
    bool is_awaited = true;
    switch (action->sm.kind) {
    case SM_ENABLED:
        is_awaited = out->sm == S2S_OUT_SM_ASKED;
        out->sm = is_awaited ? S2S_OUT_SM_ON : out->sm;
        action->kind = S2S_SM_ENABLED;
        break;
    case SM_RESUMED:
        is_awaited =
            out->state == S2S_OUT_RESUME && span_equal(action->sm.id, out->sm_previous);
        if (is_awaited) {
            out->sm = S2S_OUT_SM_ON;
            out->state = S2S_OUT_READY;
        }
        action->kind = S2S_SM_RESUMED;
        break;
    case SM_FAILED: on_sm_failed(out, writer, action); break;
    case SM_REQUEST:
        if (out->bidi && out->sm == S2S_OUT_SM_ON)
            action->kind = S2S_SM_REQUEST;
        else if (out->sm != S2S_OUT_SM_OFF)
            sm_write_answer(writer, 0); /* no stanza of the peer is counted */
        break;
    case SM_ANSWER:
        if (out->sm == S2S_OUT_SM_ON)
            action->kind = S2S_SM_ACKED;
        break;
    case SM_ENABLE:
    case SM_RESUME:
    case SM_UNKNOWN:
    case SM_BROKEN: is_awaited = false; break;
    }
    if (!is_awaited)
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION,
                  SPAN("stream management out of order"));
}

static void on_element(struct s2s_out *out, const struct xml_node *node, struct writer *writer,
                       struct s2s_action *action)
{
    if (xml_node_is(node, SPAN(NS_STREAMS), SPAN("features"))) {
        on_features(out, node, writer, action);
    } else if (span_equal(node->space, SPAN(NS_TLS))) {
        if (out->state == S2S_OUT_PROCEED && span_equal(node->name, SPAN("proceed"))) {
            out->state = S2S_OUT_TLS;
            action->kind = S2S_START_TLS;
        } else {
            s2s_close(action, STREAM_ERROR_NONE, SPAN("the remote server refuses STARTTLS"));
        }
    } else if (span_equal(node->space, SPAN(NS_SASL))) {
        on_sasl(out, node, writer, action);
    } else if (span_equal(node->space, SPAN(NS_SM))) {
        on_sm(out, node, writer, action);
    } else if (span_equal(node->space, SPAN(NS_DIALBACK))) {
        on_dialback(out, node, writer, action);
    } else if (xml_node_is(node, SPAN(NS_STREAMS), SPAN("error"))) {
        s2s_close(action, STREAM_ERROR_UNDEFINED_CONDITION,
                  SPAN("the remote server closed with an error"));
        action->received = true;
        if (node->first_child != NULL && node->first_child->name.data != NULL)
            action->error = stream_error_find(node->first_child->name);
        if (action->error == STREAM_ERROR_SEE_OTHER_HOST)
            action->host = span_trim(xml_node_text(node->first_child));
    } else if (s2s_is_stanza(node)) {
        if (!out->bidi)
            s2s_close(action, STREAM_ERROR_NOT_AUTHORIZED, SPAN("this stream is one way"));
        else if (!out->proved)
            s2s_close(action, STREAM_ERROR_NOT_AUTHORIZED,
                      SPAN("this stream is not authenticated yet"));
        else
            action->kind = S2S_STANZA;
    } else {
        s2s_close(action, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE, SPAN("unknown element"));
    }
}

void s2s_out_event(struct s2s_out *out, const struct xml_event *event, struct writer *writer,
                   struct s2s_action *action)
{
    *action = (struct s2s_action){.kind = S2S_NOTHING};
    switch (event->kind) {
    case XML_EVENT_NONE: break;
    case XML_EVENT_OPEN: on_open(out, event, action); break;
    case XML_EVENT_STANZA: on_element(out, event->node, writer, action); break;
    case XML_EVENT_CLOSE:
        s2s_close(action, STREAM_ERROR_NONE, SPAN("closed by the peer"));
        break;
    case XML_EVENT_ERROR: s2s_close_broken(action, &out->detail, event); break;
    }
}
