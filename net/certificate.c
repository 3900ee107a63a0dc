/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/certificate.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "net/der.h"

static const uint8_t oid_key_usage[] = {0x55, 0x1d, 0x0f};
static const uint8_t oid_constraints[] = {0x55, 0x1d, 0x13}; /* basicConstraints */
static const uint8_t oid_name_constraints[] = {0x55, 0x1d, 0x1e};
static const uint8_t oid_san[] = {0x55, 0x1d, 0x11};
static const uint8_t oid_eku[] = {0x55, 0x1d, 0x25};
static const uint8_t oid_eku_any[] = {0x55, 0x1d, 0x25, 0x00};
static const uint8_t oid_eku_server[] = {0x2b, 6, 1, 5, 5, 7, 3, 1};
static const uint8_t oid_eku_client[] = {0x2b, 6, 1, 5, 5, 7, 3, 2};
static const uint8_t oid_eku_sip[] = {0x2b, 6, 1, 5, 5, 7, 3, 20};  /* RFC 5924 §3 */
static const uint8_t oid_eku_ocsp[] = {0x2b, 6, 1, 5, 5, 7, 3, 9};  /* RFC 6960 §4.2.2.2 */
static const uint8_t oid_feature[] = {0x2b, 6, 1, 5, 5, 7, 1, 24};  /* RFC 7633 §6 */
static const uint8_t oid_srv[] = {0x2b, 6, 1, 5, 5, 7, 8, 7};       /* RFC 4985 §2 */
static const uint8_t oid_xmpp_addr[] = {0x2b, 6, 1, 5, 5, 7, 8, 5}; /* RFC 6120 §13.7.1.4 */

/* Names with a NUL, blank or control byte are no names. */
static bool text_is_clean(struct der text)
{
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] == 0x7f)
            return false;
    }
    return true;
}

static void add_name(struct certificate *certificate, enum certificate_name_kind kind,
                     struct der text)
{
    if (certificate->name_count == CERTIFICATE_NAME_MAX || !text_is_clean(text))
        return;
    certificate->names[certificate->name_count++] =
        (struct certificate_name){kind, (const char *)text.data, text.size};
}

/* OtherName ::= SEQUENCE { type-id OID, value [0] EXPLICIT ANY }, RFC 5280 §4.2.1.6. */
static bool read_other_name(struct certificate *certificate, struct der other)
{
    struct der oid, wrapped, text;
    uint8_t tag;
    if (!der_expect(&other, DER_OID, &oid) || !der_expect(&other, DER_CONTEXT_0, &wrapped) ||
        !der_take(&wrapped, &tag, &text))
        return false;
    if (IS_OID(oid, oid_srv) && tag == DER_IA5)
        add_name(certificate, CERTIFICATE_SRV, text);
    else if (IS_OID(oid, oid_xmpp_addr) && tag == DER_UTF8)
        add_name(certificate, CERTIFICATE_XMPP_ADDR, text);
    return true;
}

static bool read_san(struct certificate *certificate, struct der extension)
{
    struct der names, name;
    uint8_t tag;
    if (!der_expect(&extension, DER_SEQUENCE, &names))
        return false;
    certificate->has_san = true;
    while (names.size > 0) {
        if (!der_take(&names, &tag, &name))
            return false;
        if (tag == DER_DNS_NAME)
            add_name(certificate, CERTIFICATE_DNS, name);
        else if (tag == DER_URI)
            add_name(certificate, CERTIFICATE_URI, name);
        else if (tag == DER_CONTEXT_0 && !read_other_name(certificate, name))
            return false;
    }
    return true;
}

static bool read_eku(struct certificate *certificate, struct der extension)
{
    struct der purposes, oid;
    if (!der_expect(&extension, DER_SEQUENCE, &purposes))
        return false;
    certificate->eku_present = true;
    while (purposes.size > 0) {
        if (!der_expect(&purposes, DER_OID, &oid))
            return false;
        certificate->eku_any |= IS_OID(oid, oid_eku_any);
        certificate->eku_server |= IS_OID(oid, oid_eku_server);
        certificate->eku_client |= IS_OID(oid, oid_eku_client);
        certificate->eku_sip |= IS_OID(oid, oid_eku_sip);
        certificate->eku_ocsp |= IS_OID(oid, oid_eku_ocsp);
    }
    return true;
}

/* SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }, RFC 5280 §4.2.1.9.
   What is longer than any path is none. */
static bool read_constraints(struct certificate *certificate, struct der extension)
{
    struct der fields, value;
    uint8_t tag;
    if (!der_expect(&extension, DER_SEQUENCE, &fields))
        return false;
    certificate->constraints_present = true;
    while (fields.size > 0) {
        if (!der_take(&fields, &tag, &value) || value.size == 0)
            return false;
        if (tag == DER_BOOLEAN)
            certificate->is_authority = value.data[0] != 0;
        else if (tag != DER_INTEGER || (value.data[0] & 0x80) != 0)
            return false;
        else if (value.size == 1)
            certificate->path_length = value.data[0];
    }
    return true;
}

/* A BIT STRING, its first byte the count of bits that are not used; keyCertSign is bit 5,
   cRLSign 6 (RFC 5280 §4.2.1.3). */
static bool read_usage(struct certificate *certificate, struct der extension)
{
    struct der bits;
    if (!der_expect(&extension, DER_BITS, &bits) || bits.size == 0)
        return false;
    certificate->usage_present = true;
    certificate->may_certify = bits.size > 1 && (bits.data[1] & 0x04) != 0;
    certificate->may_revoke = bits.size > 1 && (bits.data[1] & 0x02) != 0;
    return true;
}

/* SEQUENCE OF INTEGER: TLS extensions that the server is to have (RFC 7633 §4.1), of which
   status_request is 5 (RFC 6066 §8). */
static bool read_features(struct certificate *certificate, struct der extension)
{
    struct der features, feature;
    if (!der_expect(&extension, DER_SEQUENCE, &features))
        return false;
    while (features.size > 0) {
        if (!der_expect(&features, DER_INTEGER, &feature))
            return false;
        certificate->must_staple |= feature.size == 1 && feature.data[0] == 5;
    }
    return true;
}

static bool read_extension(struct certificate *certificate,
                           const struct der_extension *extension)
{
    struct der oid = extension->oid, value = extension->value;
    if (IS_OID(oid, oid_san))
        return !certificate->has_san && read_san(certificate, value);
    if (IS_OID(oid, oid_eku))
        return !certificate->eku_present && read_eku(certificate, value);
    if (IS_OID(oid, oid_constraints))
        return !certificate->constraints_present && read_constraints(certificate, value);
    if (IS_OID(oid, oid_key_usage))
        return !certificate->usage_present && read_usage(certificate, value);
    if (IS_OID(oid, oid_feature))
        return read_features(certificate, value);
    if (IS_OID(oid, oid_name_constraints)) {
        if (certificate->limits != NULL)
            return false;
        certificate->limits = value.data;
        certificate->limits_size = value.size;
    }
    return true;
}

static bool read_validity(struct certificate *certificate, struct der validity)
{
    struct der value;
    uint8_t tag;
    if (!der_take(&validity, &tag, &value))
        return false;
    certificate->not_before = der_time(tag, value);
    if (!der_take(&validity, &tag, &value))
        return false;
    certificate->not_after = der_time(tag, value);
    return true;
}

/* Version ::= INTEGER { v1(0), v2(1), v3(2) } */
static bool read_version(struct certificate *certificate, struct der version)
{
    struct der value;
    if (!der_expect(&version, DER_INTEGER, &value) || value.size != 1 || value.data[0] > 2)
        return false;
    certificate->version = value.data[0] + 1u;
    return true;
}

/* TBSCertificate, RFC 5280 §4.1. */
static bool read_body(struct certificate *certificate, struct der body)
{
    struct der value, list, algorithm, issuer, subject;
    uint8_t tag;
    if (!der_take(&body, &tag, &value))
        return false;
    if (tag == DER_CONTEXT_0 &&
        (!read_version(certificate, value) || !der_take(&body, &tag, &value)))
        return false;
    struct der serial = der_digits(value);
    if (tag != DER_INTEGER || !der_expect(&body, DER_SEQUENCE, &algorithm) ||
        !der_expect(&body, DER_SEQUENCE, &issuer) || !der_expect(&body, DER_SEQUENCE, &value) ||
        !read_validity(certificate, value) || !der_expect(&body, DER_SEQUENCE, &subject))
        return false;
    certificate->key = body.data;
    if (!der_expect(&body, DER_SEQUENCE, &value))
        return false;
    certificate->key_size = (size_t)(body.data - certificate->key);
    certificate->serial = serial.data;
    certificate->serial_size = serial.size;
    certificate->algorithm = algorithm.data;
    certificate->algorithm_size = algorithm.size;
    certificate->issuer = (struct certificate_subject){issuer.data, issuer.size};
    certificate->subject = (struct certificate_subject){subject.data, subject.size};
    while (body.size > 0) {
        if (!der_take(&body, &tag, &value))
            return false;
        if (tag != DER_CONTEXT_3)
            continue;
        if (!der_expect(&value, DER_SEQUENCE, &list))
            return false;
        while (list.size > 0) {
            struct der_extension extension;
            if (!der_take_extension(&list, &extension) ||
                !read_extension(certificate, &extension))
                return false;
        }
    }
    return true;
}

int certificate_read(struct certificate *certificate, const uint8_t *der, size_t size)
{
    struct der whole = {der, size}, outer, body;
    assert(certificate != NULL);
    memset(certificate, 0, offsetof(struct certificate, names));
    certificate->der = der;
    certificate->der_size = size;
    certificate->version = 1;
    certificate->path_length = -1;
    certificate->may_certify = certificate->may_revoke = true;
    if (der_expect(&whole, DER_SEQUENCE, &outer) && whole.size == 0 &&
        der_expect(&outer, DER_SEQUENCE, &body) && read_body(certificate, body))
        return 0;
    /* Half a certificate speaks for nobody. */
    certificate->name_count = 0;
    return -EBADMSG;
}

static bool equal_nocase(const char *text, size_t size, const char *domain, size_t domain_size)
{
    return size == domain_size && size > 0 && strncasecmp(text, domain, size) == 0;
}

/* RFC 9525 §6.3: the wildcard is the whole left-most label and stands for exactly one label. */
static bool dns_matches(const char *pattern, size_t size, const char *domain, bool wildcard)
{
    size_t domain_size = strlen(domain);
    if (memchr(pattern, '*', size) == NULL)
        return equal_nocase(pattern, size, domain, domain_size);
    if (!wildcard || size < 3 || pattern[0] != '*' || pattern[1] != '.' ||
        memchr(pattern + 1, '*', size - 1) != NULL)
        return false;
    const char *dot = strchr(domain, '.');
    if (dot == NULL || dot == domain)
        return false;
    return equal_nocase(pattern + 1, size - 1, dot, domain_size - (size_t)(dot - domain));
}

static bool srv_matches(const struct certificate_name *name, const char *domain)
{
    static const char service[] = "_xmpp-server.";
    const size_t size = sizeof(service) - 1;
    if (name->size <= size || strncasecmp(name->text, service, size) != 0)
        return false;
    return dns_matches(name->text + size, name->size - size, domain, true);
}

const struct certificate_name *certificate_match_xmpp(const struct certificate *certificate,
                                                      const char *ascii_domain,
                                                      const char *unicode_domain)
{
    assert(ascii_domain != NULL);
    assert(unicode_domain != NULL);
    for (size_t i = 0; i < certificate->name_count; i++) {
        const struct certificate_name *name = &certificate->names[i];
        bool match = false;
        switch (name->kind) {
        case CERTIFICATE_DNS:
            match = dns_matches(name->text, name->size, ascii_domain, true);
            break;
        case CERTIFICATE_SRV: match = srv_matches(name, ascii_domain); break;
        case CERTIFICATE_XMPP_ADDR:
            match =
                equal_nocase(name->text, name->size, unicode_domain, strlen(unicode_domain));
            break;
        case CERTIFICATE_URI: break; /* not used for XMPP */
        }
        if (match)
            return name;
    }
    return NULL;
}

bool certificate_matches_xmpp(const struct certificate *certificate, const char *ascii_domain,
                              const char *unicode_domain)
{
    return certificate_match_xmpp(certificate, ascii_domain, unicode_domain) != NULL;
}

/* The domain of "sip:domain" without user, port and parameters (RFC 5922 §7.1); size 0: none.
 */
static size_t sip_uri_domain(const struct certificate_name *name, const char **domain)
{
    if (name->size <= 4 || strncasecmp(name->text, "sip:", 4) != 0 ||
        memchr(name->text, '@', name->size) != NULL)
        return 0;
    *domain = name->text + 4;
    size_t size = 0;
    while (size < name->size - 4 && strchr(":;?/", (*domain)[size]) == NULL)
        size++;
    return size;
}

bool certificate_serves_tls(const struct certificate *certificate)
{
    return !certificate->eku_present || certificate->eku_any || certificate->eku_server ||
           certificate->eku_client || certificate->eku_sip;
}

static bool eku_serves_sip(const struct certificate *certificate)
{
    return !certificate->eku_present || certificate->eku_any || certificate->eku_sip ||
           certificate->eku_server;
}

bool certificate_matches_sip(const struct certificate *certificate, const char *ascii_domain)
{
    bool has_uri = false;
    size_t domain_size = strlen(ascii_domain);
    if (!eku_serves_sip(certificate))
        return false;
    for (size_t i = 0; i < certificate->name_count; i++) {
        const char *domain = NULL;
        size_t size = certificate->names[i].kind == CERTIFICATE_URI
                          ? sip_uri_domain(&certificate->names[i], &domain)
                          : 0;
        if (size == 0)
            continue;
        has_uri = true;
        if (equal_nocase(domain, size, ascii_domain, domain_size))
            return true;
    }
    for (size_t i = 0; i < certificate->name_count && !has_uri; i++) {
        const struct certificate_name *name = &certificate->names[i];
        if (name->kind == CERTIFICATE_DNS &&
            dns_matches(name->text, name->size, ascii_domain, false))
            return true;
    }
    return false;
}
