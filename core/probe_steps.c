/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a probe says of each step, in words. Of the server's proof under TLS probe_proof.c speaks,
   of how to mend what is wrong probe_remedy.c. */
#include <inttypes.h>
#include <stdarg.h>

#include "core/probe_priv.h"
#include "core/session_priv.h"

/* ---- DNS ---- */

static unsigned count_of(const struct resolver_answer *answer, unsigned service)
{
    unsigned count = 0;
    for (unsigned i = 0; i < answer->target_count; i++)
        count += answer->targets[i].service == service;
    return count;
}

static void tell_service(struct probe *probe, const struct resolver_answer *answer,
                         unsigned service, const char *prefix)
{
    unsigned count = count_of(answer, service);
    enum resolver_status status = answer->services[service];
    if (status == RESOLVER_FOUND && count == 0)
        status = RESOLVER_TIMEOUT;
    const char *remote = probe->link->remote_ascii;
    switch (status) {
    case RESOLVER_FOUND:
        probe_tell(probe, PROBE_DNS, PROBE_NOTE, "%s.%s SRV: %u target%s", prefix, remote,
                   count, count == 1 ? "" : "s");
        return;
    case RESOLVER_NOT_FOUND:
    case RESOLVER_NO_NAME:
    case RESOLVER_NO_SERVICE:
        probe_tell(probe, PROBE_DNS, PROBE_NOTE, "%s.%s SRV: %s", prefix, remote,
                   resolver_status_text(status));
        return;
    case RESOLVER_REFUSED:
    case RESOLVER_TIMEOUT:
    case RESOLVER_FAILED:
    case RESOLVER_BOGUS: break;
    }
    probe_tell_fault(probe, PROBE_DNS, probe_dns_remedy(status), "%s.%s SRV: %s", prefix, remote,
                     resolver_status_text(status));
}

static void tell_located(struct probe *probe, const struct resolver_target *target,
                         bool is_service)
{
    char address[NET_ADDRESS_TEXT_SIZE], order[64] = "";
    if (is_service)
        (void)snprintf(order, sizeof(order), " (priority %u, weight %u)", target->priority,
                       target->weight);
    if (target->status != RESOLVER_FOUND) {
        probe_tell_fault(probe, PROBE_DNS, probe_dns_remedy(target->status),
                         "%s port %u%s has no usable address: %s", target->host, target->port,
                         order, resolver_status_text(target->status));
        return;
    }
    net_address_format(&target->address, address);
    probe_tell(probe, PROBE_DNS, PROBE_OK, "%s port %u%s is %s%s", target->host, target->port,
               order, address, target->secure ? ", signed (DNSSEC)" : "");
}

void probe_located(struct probe *probe, const struct resolver_answer *answer)
{
    const struct link *link = probe->link;
    bool is_service = link->service_count > 0 && !link->elsewhere;
    if (link->elsewhere)
        probe_tell(probe, PROBE_DNS, PROBE_NOTE, "the server sends us to another host");
    else if (!is_service)
        probe_tell(
            probe, PROBE_DNS, PROBE_NOTE,
            "the configuration names the host (partners), SRV records are not asked for");
    for (unsigned i = 0; is_service && i < link->service_count; i++)
        tell_service(probe, answer, i,
                     i == 0 && link->has_direct ? LINK_SERVICE_DIRECT : LINK_SERVICE_STARTTLS);
    bool falls_back = is_service && answer->target_count > 0 &&
                      answer->targets[0].service == link->service_count;
    if (falls_back)
        probe_tell(probe, PROBE_DNS, PROBE_NOTE,
                   "without SRV records the domain itself is the host (RFC 6120 §3.2.2)");
    for (unsigned i = 0; i < answer->target_count; i++) {
        const struct resolver_target *target = &answer->targets[i];
        if (target->host[0] != '\0')
            tell_located(probe, target, is_service && !falls_back);
    }
    if (answer->target_count == 0 && probe->faults == 0)
        probe_tell_fault(probe, PROBE_DNS, probe_dns_remedy(answer->status), "%s: %s",
                         link->remote_ascii, resolver_status_text(answer->status));
}

/* ---- the connection ---- */

void probe_target(struct probe *probe, const struct resolver_target *target, bool direct)
{
    net_address_format(&target->address, probe->target);
    probe->direct = direct;
    probe->is_done = false;
    probe->step = PROBE_TCP;
    probe->step_ms = probe->worker->thread->now_ms;
}

void probe_connected(struct probe *probe)
{
    probe_tell(probe, PROBE_TCP, PROBE_OK, "connected");
    probe->step = probe->direct ? PROBE_TLS : PROBE_FEATURES;
}

void probe_lost(struct probe *probe, struct span reason)
{
    if (!probe->is_done)
        probe_tell_fault(probe, probe->step, probe_lost_remedy(probe), "%.*s", (int)reason.size,
                         reason.data);
    probe->is_done = true;
    probe->target[0] = '\0';
}

void probe_turns(struct probe *probe)
{
    probe_tell(probe, PROBE_AUTH, PROBE_NOTE,
               "it has ended the stream with that, so dialback is tried on another one");
    probe->is_done = true;
    probe->target[0] = '\0';
}

/* ---- the stream ---- */

static void append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void append(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(text);
    va_start(arguments, format);
    if (used > 0 && used + 3 < size) {
        memcpy(text + used, ", ", 3);
        used += 2;
    }
    (void)vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

/* Does one side want TLS that the other does not have? Then that is told. */
static bool tell_no_tls(struct probe *probe, unsigned proofs,
                        const struct s2s_features *features)
{
    if (!features->starttls && (proofs & S2S_PROOF_CLEAR) == 0)
        probe_tell_fault(probe, PROBE_FEATURES,
                         "The partner must switch on TLS for other servers; in clear the relay "
                         "talks only where tls: optional is set.",
                         "it does not offer STARTTLS");
    else if (features->starttls_required && proofs == S2S_PROOF_CLEAR)
        probe_tell_fault(probe, PROBE_FEATURES, "Set tls: required or optional for it.",
                         "it requires TLS, and tls: not_supported is set for it");
    else
        return false;
    probe->is_done = true;
    return true;
}

static void tell_features(struct probe *probe, const struct session *session,
                          const struct xml_node *node)
{
    struct s2s_features features;
    char text[600] = "";
    const size_t size = sizeof(text);
    bool is_secure = session->tls != NULL;
    s2s_features_read(&features, node);
    if (!is_secure && tell_no_tls(probe, session->out.proofs, &features))
        return;
    if (features.starttls)
        append(text, size, "STARTTLS%s", features.starttls_required ? " (required)" : "");
    for (unsigned i = 0; i < features.mechanism_count; i++)
        append(text, size, "SASL %.*s", (int)span_to(features.mechanisms[i], 20).size,
               features.mechanisms[i].data);
    if (features.dialback)
        append(text, size, "dialback");
    if (features.sm)
        append(text, size, "stream management");
    if (features.bidi)
        append(text, size, "bidirectional streams (bidi: %s)",
               session_rule(session, RULE_BIDI) != 0 ? "true" : "false");
    if (features.max_bytes > 0)
        append(text, size, "stanzas up to %" PRIu32 " bytes", features.max_bytes);
    if (features.idle_seconds > 0)
        append(text, size, "closes after %" PRIu32 " s of silence", features.idle_seconds);
    probe_tell(probe, PROBE_FEATURES, PROBE_OK, "%s offers: %s", is_secure ? "TLS" : "in clear",
               text[0] != '\0' ? text : "nothing");
    probe->step = session->out.state == S2S_OUT_PROCEED ? PROBE_TLS : PROBE_AUTH;
}

/* The name of the first element in it, which is the condition, and its text. */
static void read_condition(const struct xml_node *error, char *text, size_t size)
{
    text[0] = '\0';
    for (const struct xml_node *child = error != NULL ? xml_node_first_element(error) : NULL;
         child != NULL; child = xml_node_next_element(child)) {
        struct span said = span_to(xml_node_text(child), 200);
        if (span_equal(child->name, SPAN("text")))
            append(text, size, "\"%.*s\"", (int)said.size, said.data);
        else if (text[0] == '\0')
            append(text, size, "%.*s", (int)child->name.size, child->name.data);
    }
    if (text[0] == '\0')
        (void)snprintf(text, size, "no reason given");
}

static void tell_sasl_failure(struct probe *probe, const struct xml_node *node, bool goes_on)
{
    char said[400];
    read_condition(node, said, sizeof(said));
    if (goes_on) {
        probe_tell(probe, PROBE_AUTH, PROBE_NOTE,
                   "SASL EXTERNAL is refused (%s), dialback is tried", said);
        return;
    }
    probe_tell_fault(probe, PROBE_AUTH,
                     "Our certificate must name our domain, and an authority that the partner "
                     "knows must have signed it (the tenant's certificate, else "
                     "xmpp.certificate).",
                     "the server refuses our certificate (SASL EXTERNAL: %s)", said);
    probe->is_done = true;
}

static void tell_dialback_failure(struct probe *probe, const struct xml_node *node)
{
    char said[400] = "invalid";
    const struct xml_node *error = xml_node_child(node, SPAN(NS_SERVER), SPAN("error"));
    if (error != NULL)
        read_condition(error, said, sizeof(said));
    probe_tell_fault(
        probe, PROBE_AUTH,
        "The partner asks our domain back: its SRV record must lead to this relay, "
        "and the partner must be able to connect to it and be allowed by the "
        "policy.",
        "the server does not believe our dialback key: %s", said);
    probe->is_done = true;
}

static void tell_stream_error(struct probe *probe, const struct xml_node *node)
{
    char said[400];
    read_condition(node, said, sizeof(said));
    probe->is_done = true;
    if (xml_node_child(node, SPAN(NS_STREAM_ERRORS), SPAN("see-other-host")) != NULL) {
        probe_tell(probe, PROBE_FEATURES, PROBE_NOTE, "the server ends the stream: %s", said);
        return; /* it is followed, as with traffic */
    }
    probe_tell_fault(
        probe, probe->step,
        "host-unknown: that server does not serve the domain. policy-violation or "
        "not-authorized: its policy does not allow us. Ask the partner what its log "
        "says.",
        "the server ends the stream: %s", said);
}

static void tell_ready(struct probe *probe, const struct session *session,
                       const struct xml_node *node)
{
    if (!session->out.external_done)
        probe_tell(probe, PROBE_AUTH, PROBE_OK,
                   "dialback: it has asked our domain back and "
                   "believes us");
    else
        tell_features(probe, session, node);
    probe->ready++;
    probe->is_done = true;
}

void probe_saw(struct probe *probe, const struct session *session,
               const struct s2s_action *action)
{
    if (session->event.kind != XML_EVENT_STANZA)
        return;
    const struct xml_node *node = session->event.node;
    bool is_closing = action->kind == S2S_CLOSE;
    if (action->kind == S2S_READY)
        tell_ready(probe, session, node);
    else if (xml_node_is(node, SPAN(NS_STREAMS), SPAN("features")))
        tell_features(probe, session, node);
    else if (xml_node_is(node, SPAN(NS_SASL), SPAN("success")) && !is_closing)
        probe_tell(probe, PROBE_AUTH, PROBE_OK,
                   "SASL EXTERNAL: it accepts our certificate for %s", session->out.local.text);
    else if (xml_node_is(node, SPAN(NS_SASL), SPAN("failure")))
        tell_sasl_failure(probe, node, !is_closing);
    else if (xml_node_is(node, SPAN(NS_DIALBACK), SPAN("result")) && is_closing)
        tell_dialback_failure(probe, node);
    else if (xml_node_is(node, SPAN(NS_STREAMS), SPAN("error")))
        tell_stream_error(probe, node);
}
