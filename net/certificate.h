/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who a certificate speaks for: our own reader of the subjectAltName (DER) and the two
 * matchers, XMPP's and SIP's, which differ (RFC 9525 and XEP-0178 against RFC 5922 §7). The
 * path was validated before by TLS. No wolfSSL types here. Pure, any thread.
 */
#ifndef PASSERELLE_NET_CERTIFICATE_H
#define PASSERELLE_NET_CERTIFICATE_H

#include "net/address.h"

enum certificate_name_kind {
    CERTIFICATE_DNS,       /* dNSName */
    CERTIFICATE_SRV,       /* otherName id-on-dnsSRV, RFC 4985 */
    CERTIFICATE_XMPP_ADDR, /* otherName id-on-xmppAddr */
    CERTIFICATE_URI        /* uniformResourceIdentifier */
};

#define CERTIFICATE_NAME_MAX 256 /* names of one certificate that are looked at */

struct certificate_name {
    enum certificate_name_kind kind;
    const char *text; /* into the DER; not NUL-terminated */
    size_t size;
};

/* A distinguished name (RFC 5280 §4.1.2.4): the DER of its parts. */
struct certificate_subject {
    const uint8_t *der;
    size_t size;
};

struct certificate {
    const uint8_t *der; /* of the caller; must outlive this */
    size_t der_size;
    const uint8_t *key; /* the DER of the SubjectPublicKeyInfo, inside of `der` */
    size_t key_size;
    const uint8_t *serial; /* its digits, without zeros in front */
    size_t serial_size;
    const uint8_t *algorithm; /* of its signature: the value of the AlgorithmIdentifier */
    size_t algorithm_size;
    size_t name_count;
    bool has_san;
    bool eku_present, eku_server, eku_client, eku_sip, eku_any;
    bool eku_ocsp;                          /* id-kp-OCSPSigning, RFC 6960 §4.2.2.2 */
    bool must_staple;                       /* promises an OCSP response, RFC 7633 */
    unsigned version;                       /* 1 to 3 */
    bool constraints_present, is_authority; /* basicConstraints, cA */
    int path_length;                        /* pathLenConstraint; -1: none */
    bool usage_present, may_certify;        /* keyUsage, keyCertSign: true without any */
    bool may_revoke;                        /* cRLSign: likewise */
    const uint8_t *limits;                  /* the value of nameConstraints; NULL: none */
    size_t limits_size;
    int64_t not_before, not_after; /* seconds since the epoch; 0 when unreadable */
    struct certificate_subject issuer, subject;
    struct certificate_name names[CERTIFICATE_NAME_MAX];
};

/* Reads a DER certificate. -EBADMSG when it is malformed. Names with NUL or a wrong string type
   are left out. */
int certificate_read(struct certificate *certificate, const uint8_t *der, size_t size);
/* True when it speaks for the XMPP domain given as A-labels and as U-labels (NUL-terminated,
   lower case): dNSName (a wildcard only as the whole left-most label, one label deep), SRVName
   of _xmpp-server (same rules), xmppAddr (whole). Never the CN. */
bool certificate_matches_xmpp(const struct certificate *certificate, const char *ascii_domain,
                              const char *unicode_domain);
/* The first name by which it does; NULL: none. */
const struct certificate_name *certificate_match_xmpp(const struct certificate *certificate,
                                                      const char *ascii_domain,
                                                      const char *unicode_domain);
/* RFC 5922 §7.2: sip: URIs without user; dNSName only when no such URI is there; no wildcards;
   EKU absent, any, sipDomain or serverAuth (public CAs issue only that). */
bool certificate_matches_sip(const struct certificate *certificate, const char *ascii_domain);

/* Is it meant for TLS? EKU absent, any, serverAuth, clientAuth or sipDomain: public authorities
   issue serverAuth only, and each side of a stream shows the same. */
bool certificate_serves_tls(const struct certificate *certificate);
/* An RSA key of less than 2,048 bits; a signature by MD5, SHA-1 or older. (RFC 9325 §4.5.) */
bool certificate_key_is_short(const struct certificate *certificate);
bool certificate_signature_is_weak(const struct certificate *certificate);
/* Do the name constraints of an authority (RFC 5280 §4.2.1.10) leave the leaf every domain that
   it speaks for? Subtrees of dNSName hold for names of each kind, which the relay takes for one
   another; those of URIs for URIs. False also when they cannot be read, and for an SRVName or
   an xmppAddr where there are any of otherNames. */
bool certificate_permits(const struct certificate *authority, const struct certificate *leaf);

/* For people (net/certificate_text.c): NUL-terminated and cut to `size`. What the certificate
   says is escaped by nobody yet. */
/* "O=Example, CN=example.org", in the order of the certificate; "-" when nothing of it is known
   here. */
void certificate_text_subject(const struct certificate_subject *subject, char *text,
                              size_t size);
/* "dNSName example.org" */
void certificate_text_name(const struct certificate_name *name, char *text, size_t size);
/* Each name of the subjectAltName that is looked at, with commas; "none". */
void certificate_text_names(const struct certificate *certificate, char *text, size_t size);

#endif
