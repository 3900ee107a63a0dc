/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the peer of a session proved itself, from the best proof down: by TLSA records that
 * DNSSEC vouches for (RFC 7673), by a certificate of a known authority, or by
 * nothing but that DNS leads to it, which is all that dialback proves. TLSA records that can be
 * used are the last word: a certificate that they do not name is refused, whatever the rules
 * allow (RFC 7673 §4.2).
 */
#include "core/session_priv.h"

#include <stdio.h>

#include "core/link_priv.h"
#include "core/trouble.h"
#include "net/certificate.h"
#include "net/clock.h"
#include "proto/jid.h"

static bool speaks_for(const struct certificate *certificate, struct span domain)
{
    char memory[JID_SIZE_MAX], name[DOMAIN_SIZE_MAX + 1], ascii_name[DOMAIN_SIZE_MAX + 1];
    struct writer writer = writer_make(memory, sizeof(memory));
    struct span ascii;
    if (jid_domain_to_ascii(domain, &writer, &ascii) != JID_OK ||
        ascii.size > DOMAIN_SIZE_MAX || domain.size > DOMAIN_SIZE_MAX)
        return false;
    memcpy(name, domain.data, domain.size);
    name[domain.size] = '\0';
    memcpy(ascii_name, ascii.data, ascii.size);
    ascii_name[ascii.size] = '\0';
    return certificate_matches_xmpp(certificate, ascii_name, name);
}

bool session_read_leaf(const struct session *session, struct certificate *certificate)
{
    size_t size = 0;
    const uint8_t *der =
        session->tls != NULL ? tls_peer_certificate(session->tls, &size) : NULL;
    return der != NULL && certificate_read(certificate, der, size) == 0;
}

/* What was verified in the handshake may have ended since (XEP-0344 §3). */
static bool has_expired(const struct certificate *certificate)
{
    return certificate->not_after > 0 &&
           certificate->not_after * 1000 <= (int64_t)clock_wall_ms();
}

bool session_certified(const struct session *session, struct span remote)
{
    struct certificate certificate;
    return session_read_leaf(session, &certificate) && tls_peer_verified(session->tls, NULL) &&
           !has_expired(&certificate) && speaks_for(&certificate, remote);
}

/* Where DNSSEC vouches for the way to the server's host, that is a name of it, too (RFC 7673
   §4.1). */
static bool has_name(const struct session *session, const struct certificate *leaf,
                     const struct resolver_target *target)
{
    return speaks_for(leaf, s2s_domain_span(&session->out.remote)) ||
           (target->secure && certificate_matches_xmpp(leaf, target->host, target->host));
}

/* RFC 7671 §5.2: an authority that the record names, and perhaps holds, has signed what the server
   shows. */
static bool leads_to(const struct session *session, const struct dane_record *record)
{
    struct certificate authority;
    size_t size;
    const uint8_t *der;
    for (unsigned i = 1; (der = tls_peer_chain(session->tls, i, &size)) != NULL; i++)
        if (certificate_read(&authority, der, size) == 0 && dane_matches(record, &authority) &&
            tls_chain_leads_to(session->tls, i))
            return true;
    return record->whole_size > 0 &&
           tls_chain_leads_to_authority(session->tls, link_tlsa_whole(session->link, record),
                                        record->whole_size);
}

static bool is_named(const void *record, const struct certificate *anchor)
{
    return dane_matches(record, anchor);
}

/* RFC 7671 §5. */
static bool vouches(const struct session *session, const struct certificate *leaf,
                    const struct resolver_target *target, const struct dane_record *record)
{
    switch ((enum dane_usage)record->usage) {
    case DANE_EE: return dane_matches(record, leaf); /* names and dates: DNS's (§5.1) */
    case DANE_TA: return has_name(session, leaf, target) && leads_to(session, record);
    case DANE_PKIX_EE:
        return tls_peer_verified(session->tls, NULL) && has_name(session, leaf, target) &&
               dane_matches(record, leaf);
    case DANE_PKIX_TA: /* a root is not sent: it is looked for among those that are known here */
        return tls_peer_verified(session->tls, NULL) && has_name(session, leaf, target) &&
               (leads_to(session, record) ||
                tls_chain_leads_to_anchor(session->tls, session->worker->tls.common, is_named,
                                          record));
    }
    return false;
}

static bool is_vouched(const struct session *session, const struct certificate *leaf)
{
    const struct resolver_target *target = link_target(session->link);
    const struct dane_record *records = link_tlsa(session->link);
    for (unsigned i = 0; i < target->tlsa_count; i++)
        if (!dane_is_outdone(records, target->tlsa_count, i) &&
            vouches(session, leaf, target, &records[i]))
            return true;
    return false;
}

static void refuse(struct session *session, enum stats_counter counter)
{
    session->is_pairs_fault = !session->contradicted; /* else the rules of the pair want more */
    stats_count(session->worker->thread->stats, counter);
    session_drop(session);
}

static void tell_downgrade(const struct session *session, uint32_t reaction, const char *reason)
{
    struct thread *thread = session->worker->thread;
    const struct config_tenant *tenant =
        config_find_tenant(thread->config, s2s_domain_span(&session->out.local));
    trouble_tell(thread, reaction == REACTION_ALLOW ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
                 &(struct stats_trouble){.event = "trust.downgrade",
                                         .tenant = config_tenant_name(tenant),
                                         .partner = s2s_domain_span(&session->out.remote),
                                         .reason = span_of(reason)});
}

/* A proof that somebody on the way takes out looks like a partner that has given it up. A probe
   meets what traffic would meet, and leaves the memory and the word of it to traffic. */
static bool bear_downgrade(struct session *session)
{
    struct thread *thread = session->worker->thread;
    struct span remote = s2s_domain_span(&session->out.remote);
    uint32_t reaction = session_rule(session, RULE_TRUST_DOWNGRADE);
    bool is_probe = session->link->probe != NULL;
    if (thread->trust == NULL)
        return true;
    enum trust before = is_probe ? trust_best(thread->trust, remote)
                                 : trust_note(thread->trust, remote, session->trust,
                                              reaction == REACTION_ALLOW);
    if (session->trust >= before)
        return true;
    stats_count(thread->stats, STAT_TRUST_DOWNGRADES);
    char reason[160];
    snprintf(reason, sizeof(reason),
             "its server proved itself by %s before, now only by %s (trust_downgrade: %s)",
             trust_name(before), trust_name(session->trust),
             rules_row(RULE_TRUST_DOWNGRADE)->names[reaction]);
    if (!is_probe)
        tell_downgrade(session, reaction, reason);
    if (reaction != REACTION_REFUSE)
        return true;
    session_say_why(session, span_of(reason));
    refuse(session, STAT_TRUST_REFUSED);
    return false;
}

static const char *why_not_pkix(const struct session *session)
{
    const char *why = "there is no TLS";
    if (session->tls != NULL && tls_peer_verified(session->tls, &why))
        why = "it speaks for other names";
    return why;
}

void session_weigh(struct session *session)
{
    struct certificate leaf;
    const struct resolver_target *target = link_target(session->link);
    bool is_read = session_read_leaf(session, &leaf);
    session->trust = TRUST_DIALBACK;
    if (session->tls == NULL)
        return;
    if (target->tlsa_count > 0 && is_read && is_vouched(session, &leaf))
        session->trust = TRUST_DANE;
    else if (target->tlsa_count > 0)
        session->contradicted = true;
    else if (is_read && tls_peer_verified(session->tls, NULL) &&
             has_name(session, &leaf, target))
        session->trust = TRUST_PKIX;
}

enum trust session_trust_wanted(const struct session *session)
{
    enum trust wanted = session_rule(session, RULE_TRUST);
    bool may_dialback = (session->out.proofs & (S2S_PROOF_CLEAR | S2S_PROOF_DIALBACK)) != 0;
    return may_dialback || wanted > TRUST_PKIX ? wanted : TRUST_PKIX;
}

bool session_judge(struct session *session)
{
    const struct resolver_target *target = link_target(session->link);
    enum trust wanted = session_trust_wanted(session);
    if (session->contradicted) {
        snprintf(session->reason, sizeof(session->reason),
                 "its certificate is refused: no TLSA record of %.80s names it", target->host);
        refuse(session, STAT_DANE_FAILED);
        return false;
    }
    if (session->trust == TRUST_DANE)
        stats_count(session->worker->thread->stats, STAT_DANE_PROVED);
    if (session->trust >= wanted)
        return bear_downgrade(session);
    if (wanted == TRUST_DANE)
        snprintf(session->reason, sizeof(session->reason),
                 "trust: dane is wanted, and DNS has no TLSA record for %.80s that %s",
                 target->host, target->tlsa_unusable ? "can be used" : "DNSSEC vouches for");
    else
        snprintf(session->reason, sizeof(session->reason), "its certificate is refused: %s",
                 why_not_pkix(session));
    refuse(session, STAT_TRUST_REFUSED);
    return false;
}
