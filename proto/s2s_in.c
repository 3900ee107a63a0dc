/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/s2s_in_priv.h"

#include <assert.h>

#include "proto/base64.h"

#define SASL_TRIES_MAX 2 /* RFC 6120 §6.4.5 */

void s2s_in_init(struct s2s_in *in, const struct memory *memory,
                 const struct s2s_policy *policy, bool secure)
{
    assert(memory != NULL);
    assert(policy != NULL);
    memset(in, 0, sizeof(*in));
    in->memory = memory;
    in->policy = policy;
    in->secure = secure;
}

void s2s_in_fini(struct s2s_in *in)
{
    if (in->pairs != NULL)
        in->memory->release(in->memory->context, in->pairs);
    in->pairs = NULL;
    in->pair_count = in->pair_size = 0;
}

void s2s_in_set_id(struct s2s_in *in, struct span id)
{
    assert(id.size > 0);
    assert(id.size < S2S_ID_SIZE);
    memcpy(in->id, id.data, id.size);
    in->id[id.size] = '\0';
}

bool s2s_in_names_pair(const struct s2s_in *in, const struct xml_event *event,
                       struct s2s_domain *local, struct s2s_domain *remote)
{
    assert(event->kind == XML_EVENT_OPEN);
    return in->remote.size == 0 &&
           s2s_domain_read(local, xml_node_attribute(event->node, SPAN("to"))) &&
           s2s_domain_read(remote, xml_node_attribute(event->node, SPAN("from")));
}

void s2s_in_tls_done(struct s2s_in *in)
{
    assert(in->state == S2S_IN_TLS);
    in->secure = true;
    in->header_sent = false;
    in->state = S2S_IN_HEADER;
}

static struct s2s_pair *find_pair(const struct s2s_in *in, struct span local,
                                  struct span remote)
{
    for (unsigned i = 0; i < in->pair_count; i++) {
        struct s2s_pair *pair = &in->pairs[i];
        if (span_equal(s2s_domain_span(&pair->local), local) &&
            span_equal(s2s_domain_span(&pair->remote), remote))
            return pair;
    }
    return NULL;
}

/* NULL when the stream has its full number of pairs or memory is refused. */
static struct s2s_pair *add_pair(struct s2s_in *in, const struct s2s_domain *local,
                                 const struct s2s_domain *remote)
{
    struct s2s_pair *pair = find_pair(in, s2s_domain_span(local), s2s_domain_span(remote));
    if (pair != NULL)
        return pair;
    if (in->pair_count == in->pair_size) {
        unsigned size = in->pair_size == 0 ? 1 : 2 * in->pair_size;
        void *pairs = size > PAIRS_PER_STREAM
                          ? NULL
                          : in->memory->resize(in->memory->context, in->pairs,
                                               size * sizeof(struct s2s_pair));
        if (pairs == NULL)
            return NULL;
        in->pairs = pairs;
        in->pair_size = size;
    }
    pair = &in->pairs[in->pair_count++];
    *pair = (struct s2s_pair){.local = *local, .remote = *remote};
    return pair;
}

static void authorise(struct s2s_pair *pair, enum s2s_proof proof)
{
    pair->authorised = true;
    pair->proof = (uint8_t)proof;
}

bool s2s_in_authorised(const struct s2s_in *in, struct span local, struct span remote)
{
    const struct s2s_pair *pair = find_pair(in, local, remote);
    return pair != NULL && pair->authorised;
}

bool s2s_in_authorised_remote(const struct s2s_in *in, struct span remote)
{
    for (unsigned i = 0; i < in->pair_count; i++) {
        if (in->pairs[i].authorised &&
            span_equal(s2s_domain_span(&in->pairs[i].remote), remote))
            return true;
    }
    return false;
}

bool s2s_in_authorised_any(const struct s2s_in *in)
{
    for (unsigned i = 0; i < in->pair_count; i++) {
        if (in->pairs[i].authorised)
            return true;
    }
    return false;
}

void s2s_in_write_close(struct s2s_in *in, struct writer *writer, enum stream_error error,
                        struct span text)
{
    if (!in->header_sent)
        s2s_write_header(writer, s2s_domain_span(&in->local), s2s_domain_span(&in->remote),
                         span_of(in->id));
    in->header_sent = true;
    in->state = S2S_IN_CLOSED;
    s2s_write_end(writer, error, text, &in->detail);
}

/* What the policy allows to the pair in the header. */
static unsigned header_proofs(const struct s2s_in *in)
{
    return in->policy->proofs(in->policy->context, s2s_domain_span(&in->local),
                              s2s_domain_span(&in->remote));
}

/* Who is refused is told so under TLS, where the policy knows TLS at all. */
static void offer_clear(struct s2s_features *offer, unsigned proofs)
{
    offer->starttls = proofs != S2S_PROOF_CLEAR;
    offer->starttls_required = (proofs & S2S_PROOF_CLEAR) == 0;
    offer->dialback = !offer->starttls_required;
}

static void offer_secure(struct s2s_in *in, struct s2s_features *offer, unsigned proofs)
{
    struct span remote = s2s_domain_span(&in->remote);
    /* Offered only where it will succeed, or peers never reach dialback (XEP-0178 §3). */
    in->external_offered = remote.size > 0 && (proofs & S2S_PROOF_EXTERNAL) != 0 &&
                           in->policy->certified(in->policy->context, remote);
    offer->external = in->external_offered;
    offer->dialback = (proofs & S2S_PROOF_DIALBACK) != 0;
}

static void write_features(struct s2s_in *in, struct writer *writer)
{
    struct s2s_features offer = {.starttls = false};
    if (!in->secure) {
        offer_clear(&offer, header_proofs(in));
    } else if (!in->external_done) {
        offer_secure(in, &offer, header_proofs(in));
    } else {
        offer.dialback = true;
        offer.sm = in->policy->stream_management;
    }
    /* A stream that dialback proves has no later features to tell them in. */
    if (in->secure && in->policy->max_bytes > 0) {
        offer.max_bytes = in->policy->max_bytes;
        offer.idle_seconds = in->policy->idle_seconds(in->policy->context);
    }
    s2s_features_write(&offer, writer);
}

/* Closes a stream that has no way to be authorised for the pair in its header: whoever looks
   for the cause at the other end finds it, instead of features that offer nothing. */
static bool close_hopeless(const struct s2s_in *in, struct s2s_action *action)
{
    struct span remote = s2s_domain_span(&in->remote);
    if (!in->secure || in->external_done || remote.size == 0)
        return false;
    unsigned proofs = header_proofs(in);
    if (proofs == S2S_PROOF_NONE)
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION,
                  SPAN("this domain does not talk with yours"));
    else if (proofs == S2S_PROOF_CLEAR)
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION,
                  SPAN("this domain does not use TLS with yours"));
    else if ((proofs & S2S_PROOF_DIALBACK) == 0 &&
             !in->policy->certified(in->policy->context, remote))
        s2s_close(action, STREAM_ERROR_NOT_AUTHORIZED,
                  SPAN("your certificate is expired, names other domains, or is signed by an "
                       "authority that is not known here"));
    return action->kind == S2S_CLOSE;
}

/* A domain once named may not become another one over a restart. */
static bool take_domain(struct s2s_domain *domain, const struct s2s_domain *fresh)
{
    if (domain->size > 0 && !span_equal(s2s_domain_span(domain), s2s_domain_span(fresh)))
        return false;
    *domain = *fresh;
    return true;
}

static void on_open(struct s2s_in *in, const struct xml_event *event, struct writer *writer,
                    struct s2s_action *action)
{
    struct span to = xml_node_attribute(event->node, SPAN("to"));
    struct span from = xml_node_attribute(event->node, SPAN("from"));
    struct span version = xml_node_attribute(event->node, SPAN("version"));
    if (in->state != S2S_IN_HEADER) {
        s2s_close(action, STREAM_ERROR_BAD_FORMAT, SPAN("there is a stream already"));
        return;
    }
    if (!event->content_is_server) {
        s2s_close(action, STREAM_ERROR_INVALID_NAMESPACE, SPAN("jabber:server is wanted here"));
        return;
    }
    if (version.data != NULL && !span_starts(version, SPAN("1."))) {
        s2s_close(action, STREAM_ERROR_UNSUPPORTED_VERSION, SPAN("version 1.0 is spoken here"));
        return;
    }
    if (!s2s_domain_read(&in->scratch_local, to)) {
        s2s_close(action, STREAM_ERROR_IMPROPER_ADDRESSING, SPAN("'to' is no domain"));
        return;
    }
    if (from.size > 0 && !s2s_domain_read(&in->scratch_remote, from)) {
        s2s_close(action, STREAM_ERROR_IMPROPER_ADDRESSING, SPAN("'from' is no domain"));
        return;
    }
    if (!in->policy->hosts(in->policy->context, s2s_domain_span(&in->scratch_local))) {
        s2s_close(action, STREAM_ERROR_HOST_UNKNOWN, SPAN("this domain is not served here"));
        return;
    }
    if (!take_domain(&in->local, &in->scratch_local) ||
        (from.size > 0 && !take_domain(&in->remote, &in->scratch_remote)) ||
        (from.size == 0 && in->external_done)) {
        s2s_close(action, STREAM_ERROR_NOT_AUTHORIZED,
                  SPAN("'to' and 'from' may not change over a restart"));
        return;
    }
    s2s_read_lang(in->lang, event->node);
    s2s_write_header(writer, s2s_domain_span(&in->local), s2s_domain_span(&in->remote),
                     span_of(in->id));
    in->header_sent = true;
    in->state = in->secure ? S2S_IN_SECURE : S2S_IN_PLAIN;
    if (close_hopeless(in, action))
        return;
    if (version.data != NULL)
        write_features(in, writer);
    else if (!in->secure && (header_proofs(in) & S2S_PROOF_CLEAR) == 0)
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION, SPAN("TLS is required"));
}

static void sasl_fail(struct s2s_in *in, struct writer *writer, struct s2s_action *action,
                      struct span condition)
{
    writer_put_literal(writer, "<failure xmlns='" NS_SASL "'><");
    writer_put(writer, condition);
    writer_put_literal(writer, "/></failure>");
    if (++in->sasl_tries >= SASL_TRIES_MAX)
        s2s_close(action, STREAM_ERROR_NOT_AUTHORIZED, SPAN("too many tries"));
}

static void on_auth(struct s2s_in *in, const struct xml_node *node, struct writer *writer,
                    struct s2s_action *action)
{
    char name[DOMAIN_SIZE_MAX];
    size_t name_size = 0;
    struct span text = span_trim(xml_node_text(node));
    if (!in->secure) {
        sasl_fail(in, writer, action, SPAN("encryption-required"));
        return;
    }
    if (!span_equal(xml_node_attribute(node, SPAN("mechanism")), SPAN("EXTERNAL"))) {
        sasl_fail(in, writer, action, SPAN("invalid-mechanism"));
        return;
    }
    if (!in->external_offered || in->external_done ||
        !in->policy->certified(in->policy->context, s2s_domain_span(&in->remote))) {
        sasl_fail(in, writer, action, SPAN("not-authorized"));
        return;
    }
    if (!span_equal(text, SPAN("=")) && !base64_read(text, name, sizeof(name), &name_size)) {
        sasl_fail(in, writer, action, SPAN("incorrect-encoding"));
        return;
    }
    if (name_size > 0 &&
        (!s2s_domain_read(&in->scratch_remote, span_make(name, name_size)) ||
         !span_equal(s2s_domain_span(&in->scratch_remote), s2s_domain_span(&in->remote)))) {
        sasl_fail(in, writer, action, SPAN("invalid-authzid"));
        return;
    }
    struct s2s_pair *pair = add_pair(in, &in->local, &in->remote);
    if (pair == NULL) {
        s2s_close(action, STREAM_ERROR_RESOURCE_CONSTRAINT, SPAN("no room for a pair"));
        return;
    }
    authorise(pair, S2S_PROOF_EXTERNAL);
    in->external_done = true;
    in->header_sent = false;
    in->state = S2S_IN_HEADER;
    writer_put_literal(writer, "<success xmlns='" NS_SASL "'/>");
    action->kind = S2S_RESTART;
    action->local = s2s_domain_span(&in->local);
    action->remote = s2s_domain_span(&in->remote);
}

/* The pair's error answer; the stream lives on (XEP-0220 §2.4). */
static void refuse_pair(struct s2s_action *action, struct writer *writer,
                        enum stanza_error fault, bool is_result)
{
    action->kind = S2S_PAIR_REFUSED;
    action->verdict = S2S_ERROR;
    action->fault = fault;
    if (is_result)
        s2s_write_result(writer, action);
    else
        s2s_write_verified(writer, action);
}

static void on_result(struct s2s_in *in, struct writer *writer, struct s2s_action *action)
{
    unsigned proofs = in->policy->proofs(in->policy->context, action->local, action->remote);
    bool certified = in->secure && (proofs & S2S_PROOF_EXTERNAL) != 0 &&
                     in->policy->certified(in->policy->context, action->remote);
    if ((proofs & (in->secure ? S2S_PROOF_TLS : S2S_PROOF_CLEAR)) == 0) {
        refuse_pair(action, writer, STANZA_ERROR_POLICY_VIOLATION, true);
        return;
    }
    if (in->secure && (proofs & S2S_PROOF_DIALBACK) == 0 && !certified) {
        refuse_pair(action, writer, STANZA_ERROR_NOT_AUTHORIZED, true);
        return;
    }
    struct s2s_pair *pair = add_pair(in, &in->scratch_local, &in->scratch_remote);
    if (pair == NULL) {
        refuse_pair(action, writer, STANZA_ERROR_RESOURCE_CONSTRAINT, true);
        return;
    }
    if (pair->authorised || certified) {
        /* XEP-0344: the certificate already proves what calling back would. */
        if (certified)
            authorise(pair, S2S_PROOF_EXTERNAL);
        action->kind = S2S_PAIR_AUTHORISED;
        action->verdict = S2S_VALID;
        s2s_write_result(writer, action);
        return;
    }
    action->kind = S2S_VERIFY;
    action->id = span_of(in->id);
}

/* A key of ours is confirmed under TLS to whoever asks, in clear only where that is allowed. */
static bool may_ask(const struct s2s_in *in, const struct s2s_action *action)
{
    return in->secure ||
           (in->policy->proofs(in->policy->context, action->local, action->remote) &
            S2S_PROOF_CLEAR) != 0;
}

static void on_dialback(struct s2s_in *in, const struct xml_node *node, struct writer *writer,
                        struct s2s_action *action)
{
    bool is_result = span_equal(node->name, SPAN("result"));
    if (!in->secure && (header_proofs(in) & S2S_PROOF_CLEAR) == 0) {
        s2s_close(action, STREAM_ERROR_POLICY_VIOLATION, SPAN("TLS is required"));
        return;
    }
    /* A typed element is an answer, and nothing was ever asked on this stream (§3.1). */
    if (xml_node_attribute(node, SPAN("type")).data != NULL) {
        action->kind = S2S_UNSOLICITED;
        return;
    }
    if (!s2s_domain_read(&in->scratch_local, xml_node_attribute(node, SPAN("to"))) ||
        !s2s_domain_read(&in->scratch_remote, xml_node_attribute(node, SPAN("from")))) {
        s2s_close(action, STREAM_ERROR_IMPROPER_ADDRESSING, SPAN("dialback without domains"));
        return;
    }
    action->local = s2s_domain_span(&in->scratch_local);
    action->remote = s2s_domain_span(&in->scratch_remote);
    action->key = span_trim(xml_node_text(node));
    if (!is_result)
        action->id = xml_node_attribute(node, SPAN("id"));
    if (!in->policy->hosts(in->policy->context, action->local)) {
        refuse_pair(action, writer, STANZA_ERROR_ITEM_NOT_FOUND, is_result);
        return;
    }
    if (is_result)
        on_result(in, writer, action);
    else if (!may_ask(in, action))
        refuse_pair(action, writer, STANZA_ERROR_POLICY_VIOLATION, false);
    else
        action->kind = S2S_ANSWER_VERIFY;
}

static void on_starttls(struct s2s_in *in, struct writer *writer, struct s2s_action *action)
{
    /* What was begun in clear is not carried over into TLS. */
    bool is_late = in->secure || in->pair_count > 0;
    if (is_late || header_proofs(in) == S2S_PROOF_CLEAR) {
        writer_put_literal(writer, "<failure xmlns='" NS_TLS "'/>");
        s2s_close(action, STREAM_ERROR_NONE,
                  is_late ? SPAN("STARTTLS comes too late") : SPAN("STARTTLS is not offered"));
        return;
    }
    writer_put_literal(writer, "<proceed xmlns='" NS_TLS "'/>");
    in->state = S2S_IN_TLS;
    action->kind = S2S_START_TLS;
}

static void on_element(struct s2s_in *in, const struct xml_node *node, struct writer *writer,
                       struct s2s_action *action)
{
    if (s2s_is_stanza(node)) {
        if (s2s_in_authorised_any(in))
            action->kind = S2S_STANZA;
        else
            s2s_close(action, STREAM_ERROR_NOT_AUTHORIZED, SPAN("no domain is proved yet"));
    } else if (xml_node_is(node, SPAN(NS_TLS), SPAN("starttls"))) {
        on_starttls(in, writer, action);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("auth"))) {
        on_auth(in, node, writer, action);
    } else if (xml_node_is(node, SPAN(NS_SASL), SPAN("abort"))) {
        sasl_fail(in, writer, action, SPAN("aborted")); /* RFC 6120 §6.4.4 */
    } else if (xml_node_is(node, SPAN(NS_DIALBACK), SPAN("result")) ||
               xml_node_is(node, SPAN(NS_DIALBACK), SPAN("verify"))) {
        on_dialback(in, node, writer, action);
    } else if (span_equal(node->space, SPAN(NS_SM))) {
        s2s_in_sm(in, node, writer, action);
    } else if (xml_node_is(node, SPAN(NS_COMPRESS), SPAN("compress"))) {
        writer_put_literal(writer,
                           "<failure xmlns='" NS_COMPRESS "'><unsupported-method/></failure>");
    } else if (xml_node_is(node, SPAN(NS_STREAMS), SPAN("error"))) {
        s2s_close(action, STREAM_ERROR_UNDEFINED_CONDITION, SPAN("the peer sent an error"));
        action->received = true;
        if (node->first_child != NULL && node->first_child->name.data != NULL)
            action->error = stream_error_find(node->first_child->name);
    } else {
        s2s_close(action, STREAM_ERROR_UNSUPPORTED_STANZA_TYPE, SPAN("unknown element"));
    }
}

void s2s_in_event(struct s2s_in *in, const struct xml_event *event, struct writer *writer,
                  struct s2s_action *action)
{
    *action = (struct s2s_action){.kind = S2S_NOTHING};
    switch (event->kind) {
    case XML_EVENT_NONE: break;
    case XML_EVENT_OPEN: on_open(in, event, writer, action); break;
    case XML_EVENT_STANZA: on_element(in, event->node, writer, action); break;
    case XML_EVENT_CLOSE:
        s2s_close(action, STREAM_ERROR_NONE, SPAN("closed by the peer"));
        break;
    case XML_EVENT_ERROR: s2s_close_broken(action, &in->detail, event); break;
    }
}

void s2s_in_verified(struct s2s_in *in, const struct s2s_action *answer, struct writer *writer,
                     struct s2s_action *action)
{
    *action = (struct s2s_action){.kind = S2S_NOTHING};
    struct s2s_pair *pair = find_pair(in, answer->local, answer->remote);
    /* Keys are bound to one stream id: an answer for an older one proves nothing now. */
    if (pair == NULL || pair->authorised || !span_equal(answer->id, span_of(in->id)))
        return;
    s2s_write_result(writer, answer);
    if (answer->verdict == S2S_VALID) {
        authorise(pair, in->secure ? S2S_PROOF_DIALBACK : S2S_PROOF_CLEAR);
        action->kind = S2S_PAIR_AUTHORISED;
        action->local = s2s_domain_span(&pair->local);
        action->remote = s2s_domain_span(&pair->remote);
        return;
    }
    *pair = in->pairs[--in->pair_count];
    /* XEP-0220 §2.2.2: after `invalid` a stream without another valid pair must be closed. */
    if (answer->verdict == S2S_INVALID && !s2s_in_authorised_any(in))
        s2s_close(action, STREAM_ERROR_NONE, SPAN("the dialback key is not valid"));
}
