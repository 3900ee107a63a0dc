/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a probe says of how the server has proved itself under TLS: by its certificate, by TLSA
   records, and whether it did better before. */
#include "core/probe_priv.h"

#include <stdio.h>
#include <time.h>

#include "core/session_priv.h"
#include "net/certificate.h"
#include "net/clock.h"

#define DATE_SIZE 24

static const char *date_of(int64_t seconds, char text[DATE_SIZE])
{
    time_t time = (time_t)seconds;
    struct tm utc;
    if (seconds == 0 || gmtime_r(&time, &utc) == NULL ||
        strftime(text, DATE_SIZE, "%Y-%m-%d %H:%MZ", &utc) == 0)
        (void)snprintf(text, DATE_SIZE, "?");
    return text;
}

/* With `strict` what is wrong with the certificate ends the try; else dialback may still be the
   proof, and it is only worth knowing. */
static void tell_flaw(struct probe *probe, bool strict, enum probe_step step,
                      const char *remedy, const char *text)
{
    if (strict) {
        probe_tell_fault(probe, step, remedy, "%s", text);
        probe->is_done = true;
    } else {
        probe_tell(probe, step, PROBE_NOTE,
                   "%s; it is only noted, as dialback or DANE may be the proof", text);
    }
}

static void tell_certificate(struct probe *probe, const struct certificate *certificate)
{
    char subject[256], issuer[256], names[512], from[DATE_SIZE], to[DATE_SIZE];
    certificate_text_subject(&certificate->subject, subject, sizeof(subject));
    certificate_text_subject(&certificate->issuer, issuer, sizeof(issuer));
    certificate_text_names(certificate, names, sizeof(names));
    probe_tell(probe, PROBE_CERTIFICATE, PROBE_NOTE,
               "subject %s; issuer %s; valid from %s to %s; names: %s", subject, issuer,
               date_of(certificate->not_before, from), date_of(certificate->not_after, to),
               names);
    if (certificate->eku_present && !certificate->eku_any && !certificate->eku_server)
        probe_tell(probe, PROBE_CERTIFICATE, PROBE_NOTE,
                   "its extended key usage lacks server authentication: this relay bears it, "
                   "other servers may not");
}

static bool is_self_signed(const struct certificate *certificate)
{
    return certificate->issuer.size == certificate->subject.size &&
           memcmp(certificate->issuer.der, certificate->subject.der,
                  certificate->issuer.size) == 0;
}

static void tell_chain(struct probe *probe, const struct session *session,
                       const struct certificate *certificate, bool strict)
{
    const char *why, *remedy;
    char text[256], dated[160], date[DATE_SIZE];
    int64_t now = (int64_t)clock_wall_ms() / 1000;
    if (tls_peer_verified(session->tls, &why)) {
        probe_tell(probe, PROBE_CHAIN, PROBE_OK, "an authority known here signed it");
        return;
    }
    remedy = "The partner must have an authority that this relay knows (xmpp.ca_file) sign its "
             "certificate, and send the intermediate certificates with it.";
    bool is_over = certificate->not_after != 0 && now > certificate->not_after;
    if (is_over || now < certificate->not_before) {
        (void)snprintf(dated, sizeof(dated),
                       is_over ? "The partner must renew its certificate, or the clock of this "
                                 "machine (%s) is wrong."
                               : "The clock of this machine (%s) or that of the partner is wrong.",
                       date_of(now, date));
        remedy = dated;
    } else if (is_self_signed(certificate)) {
        why = "it is self-signed";
        remedy = "The partner must have an authority sign its certificate; or add that very "
                 "certificate to xmpp.ca_file, or let dialback be its proof.";
    }
    (void)snprintf(text, sizeof(text), "the certificate is not trusted: %s", why);
    tell_flaw(probe, strict, PROBE_CHAIN, remedy, text);
}

static void tell_identity(struct probe *probe, const struct certificate *certificate,
                          bool strict)
{
    const struct link *link = probe->link;
    const struct resolver_target *target = link_target(link);
    char name[300], text[1000], names[512];
    const char *whom = link->remote.text;
    const struct certificate_name *match =
        certificate_match_xmpp(certificate, link->remote_ascii, whom);
    if (match == NULL && target->secure) { /* as in session_trust.c */
        whom = target->host;
        match = certificate_match_xmpp(certificate, whom, whom);
    }
    if (match != NULL) {
        certificate_text_name(match, name, sizeof(name));
        probe_tell(probe, PROBE_IDENTITY, PROBE_OK, "%s speaks for %s", name, whom);
        return;
    }
    certificate_text_names(certificate, names, sizeof(names));
    (void)snprintf(text, sizeof(text), "no name of it speaks for %s: it has %s",
                   link->remote.text, names);
    tell_flaw(probe, strict, PROBE_IDENTITY,
              "The certificate must have the domain itself, not only its host, as a dNSName, "
              "SRVName or xmppAddr; the server may also have chosen the wrong one of several.",
              text);
}

static void tell_dane(struct probe *probe, const struct session *session)
{
    const struct resolver_target *target = link_target(probe->link);
    const char *found =
        target->tlsa_unusable ? "there are TLSA records, none that can be used"
        : target->secure      ? "there are no TLSA records"
                         : "TLSA records are not asked for: DNSSEC does not vouch for the way";
    if (session->trust == TRUST_DANE) {
        probe_tell(probe, PROBE_DANE, PROBE_OK, "a TLSA record of %s names its certificate",
                   target->host);
    } else if (session->contradicted) {
        probe_tell_fault(probe, PROBE_DANE,
                         "The partner must publish TLSA records of the certificate that it "
                         "shows, or none (RFC 7671 §8).",
                         "no TLSA record of %s names its certificate", target->host);
        probe->is_done = true;
    } else if (session_trust_wanted(session) == TRUST_DANE) {
        probe_tell_fault(
            probe, PROBE_DANE,
            "The partner must sign its zone and publish TLSA records; or lower the "
            "rule trust for it.",
            "%s, and the rule trust: dane is set", found);
        probe->is_done = true;
    } else {
        probe_tell(probe, PROBE_DANE, PROBE_NOTE, "%s", found);
    }
}

/* Has the partner proved itself better before? */
static void tell_downgrade(struct probe *probe, const struct session *session)
{
    struct trust_memory *memory = probe->worker->thread->trust;
    enum trust before = memory != NULL
                            ? trust_best(memory, s2s_domain_span(&session->out.remote))
                            : TRUST_DIALBACK;
    char text[128];
    if (session->trust >= before || probe->is_done)
        return;
    (void)snprintf(text, sizeof(text), "it proved itself by %s before, now only by %s",
                   trust_name(before), trust_name(session->trust));
    if (session_rule(session, RULE_TRUST_DOWNGRADE) != REACTION_REFUSE) {
        probe_tell(probe, PROBE_IDENTITY, PROBE_NOTE, "%s", text);
        return;
    }
    probe_tell_fault(probe, PROBE_IDENTITY,
                     "Ask the partner whether it has given up the better proof; if so, set "
                     "trust_downgrade: allow for it.",
                     "%s, and trust_downgrade: refuse is set", text);
    probe->is_done = true;
}

void probe_secured(struct probe *probe, const struct session *session)
{
    struct certificate certificate;
    size_t size = 0;
    const uint8_t *der = tls_peer_certificate(session->tls, &size);
    bool strict = session->trust < TRUST_PKIX && !session->contradicted &&
                  session_trust_wanted(session) == TRUST_PKIX;
    probe_tell(probe, PROBE_TLS, PROBE_OK, "%s, %s, %s", tls_protocol_name(session->tls),
               tls_cipher_name(session->tls), probe->direct ? "direct TLS" : "by STARTTLS");
    probe->step = PROBE_FEATURES;
    if (der == NULL || certificate_read(&certificate, der, size) != 0) {
        tell_flaw(probe, strict, PROBE_CERTIFICATE, "The partner must repair its certificate.",
                  der == NULL ? "it shows none" : "it cannot be read");
    } else {
        tell_certificate(probe, &certificate);
        tell_chain(probe, session, &certificate, strict);
        tell_identity(probe, &certificate, strict);
    }
    tell_dane(probe, session);
    tell_downgrade(probe, session);
}
