/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/path.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <assert.h>
#include <string.h>

#include "net/tls.h"

static const char no_memory[] = "there is no memory to check it";

/* The way up: from the leaf, step[0], to its last certificate, whose issuer is looked for. */
struct search {
    const struct tls_text *certificates;
    unsigned count;
    const struct path_trust *trust;
    struct path_findings findings;
    struct certificate leaf, tip;
    unsigned step[TLS_CHAIN_MAX], next[TLS_CHAIN_MAX]; /* next: what was not tried there yet */
    unsigned top;
    unsigned below; /* authorities on the way that have not issued themselves */
    unsigned checks;
    const char *refusal; /* the first one */
};

static bool is_same(const struct certificate_subject *a, const struct certificate_subject *b)
{
    return a->size == b->size && memcmp(a->der, b->der, a->size) == 0;
}

static bool refuse(struct search *search, const char *why)
{
    if (search->refusal == NULL)
        search->refusal = why;
    return false;
}

/* For people; what is rarer is said in the library's words. */
static const char *refusal_text(int error, bool is_leaf)
{
    switch (error) {
    case ASN_AFTER_DATE_E:
        return is_leaf ? "it has expired" : "an authority in its chain has expired";
    case ASN_BEFORE_DATE_E:
        return is_leaf ? "it is not valid yet" : "an authority in its chain is not valid yet";
    case ASN_SIG_CONFIRM_E: return "a signature in its chain is wrong";
    case ASN_CRIT_EXT_E:
        return is_leaf ? "it has a critical extension that is not known here"
                       : "an authority in its chain has a critical extension that is not known "
                         "here";
    default: return wolfSSL_ERR_reason_error_string((unsigned long)error);
    }
}

/* RFC 5280 §6.1.3 (a) for the tip: signature, dates, and what is critical and not known. */
static bool is_signed_by(struct search *search, const struct certificate *authority)
{
    if (certificate_signature_is_weak(&search->tip))
        return refuse(search, search->top == 0
                                  ? "it has a weak signature"
                                  : "an authority in its chain has a weak signature");
    if (search->checks == PATH_MAX_CHECKS)
        return refuse(search, "its chain has too many ways");
    search->checks++;
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CertManagerNew();
    if (manager == NULL)
        return refuse(search, no_memory);
    int loaded = wolfSSL_CertManagerLoadCABuffer(
        manager, authority->der, (long)authority->der_size, WOLFSSL_FILETYPE_ASN1);
    int verified =
        loaded == WOLFSSL_SUCCESS
            ? wolfSSL_CertManagerVerifyBuffer(manager, search->tip.der,
                                              (long)search->tip.der_size, WOLFSSL_FILETYPE_ASN1)
            : loaded;
    wolfSSL_CertManagerFree(manager);
    if (loaded != WOLFSSL_SUCCESS)
        return refuse(search, refusal_text(loaded, false));
    if (verified == ASN_NO_SIGNER_E)
        return false; /* another key of that name */
    return verified == WOLFSSL_SUCCESS ||
           refuse(search, refusal_text(verified, search->top == 0));
}

/* RFC 5280 §6.1.4. An anchor may be older than version 3, and a leaf that signed itself may be
   one without being an authority. */
static bool is_issued_by(struct search *search, const struct certificate *authority,
                         bool is_anchor)
{
    if (!is_same(&authority->subject, &search->tip.issuer))
        return false;
    bool is_itself = is_anchor && search->top == 0 &&
                     authority->der_size == search->leaf.der_size &&
                     memcmp(authority->der, search->leaf.der, search->leaf.der_size) == 0;
    bool is_authority = authority->is_authority || (is_anchor && authority->version < 3);
    if (!is_itself && (!is_authority || !authority->may_certify))
        return refuse(search, "a certificate in its chain may not sign others");
    if (certificate_key_is_short(authority))
        return refuse(search, "an authority in its chain has too short a key");
    if (!is_anchor && !certificate_serves_tls(authority))
        return refuse(search, "an authority in its chain is not meant for TLS");
    /* An older wolfSSL looks at the dates of what is checked, not of what it is checked by. */
    if (is_anchor && !is_itself && authority->not_after < search->trust->now)
        return refuse(search, "an authority in its chain has expired");
    if (authority->path_length >= 0 && search->below > (unsigned)authority->path_length)
        return refuse(search, "an authority in its chain may not have so many below it");
    if (!certificate_permits(authority, &search->leaf))
        return refuse(search, "an authority in its chain may not vouch for its names");
    return is_signed_by(search, authority);
}

/* Why the CRLs of its authority do not let a certificate pass; NULL: they do. */
static const char *revocation(struct search *search,
                              const struct certificate *certificate,
                              const struct certificate *authority, bool is_leaf)
{
    switch (crls_judge(search->trust->crls, certificate, authority)) {
    case CRL_NONE:
    case CRL_CLEAR: return NULL;
    case CRL_REVOKED:
        search->findings.is_revoked = true;
        return is_leaf ? "it has been revoked, says a CRL of its authority"
                       : "an authority in its chain has been revoked, says a CRL";
    case CRL_NO_MEMORY: return no_memory;
    }
    return NULL;
}

/* RFC 6960 for the leaf, which `authority` has issued. A response that is of no use is none. */
static const char *staple_revocation(struct search *search, const struct certificate *authority)
{
    const struct path_trust *trust = search->trust;
    struct ocsp_answer *staple = &search->findings.staple;
    *staple = (struct ocsp_answer){.reason = "there is none"};
    if (trust->staple != NULL)
        *staple = ocsp_judge(&(struct ocsp_question){.der = trust->staple,
                                                            .size = trust->staple_size,
                                                            .certificate = &search->leaf,
                                                            .authority = authority,
                                                            .crls = trust->crls,
                                                            .now = trust->now});
    search->findings.is_revoked |= staple->verdict == OCSP_REVOKED;
    if (staple->verdict == OCSP_REVOKED)
        return "it has been revoked, says the OCSP response that came with it";
    if (staple->verdict == OCSP_UNUSABLE && search->leaf.must_staple &&
        trust->wants_staple)
        return "it promises an OCSP response, and none that can be used came with it";
    return NULL;
}

static bool is_step(const struct search *search, unsigned at, struct certificate *certificate)
{
    const struct tls_text *text = &search->certificates[search->step[at]];
    return certificate_read(certificate, text->data, text->size) == 0;
}

/* The way is whole: from the leaf up, by whom each was issued. Who is revoked matters more than
   what was wrong with other ways. */
static bool is_unrevoked(struct search *search, const struct certificate *anchor)
{
    struct certificate certificate = search->leaf, authority;
    bool has_crls = search->trust->crls != NULL && search->trust->crls->count > 0;
    const char *why = NULL;
    for (unsigned i = 0; why == NULL && i <= search->top; i++) {
        if (i > 0 && !has_crls)
            break;
        if (i == search->top)
            authority = *anchor;
        else if (!is_step(search, i + 1, &authority))
            return false;
        if (has_crls)
            why = revocation(search, &certificate, &authority, i == 0);
        if (why == NULL && i == 0)
            why = staple_revocation(search, &authority);
        certificate = authority;
    }
    if (why != NULL)
        search->refusal = why;
    else
        search->findings.is_revoked = false; /* on another way only */
    return why == NULL;
}

static bool is_anchored(struct search *search)
{
    struct certificate authority;
    const struct anchor *anchor;
    size_t next = 0;
    while ((anchor = anchors_find(search->trust->anchors, &search->tip.issuer, &next)) != NULL)
        if (certificate_read(&authority, anchor->der, anchor->size) == 0 &&
            is_issued_by(search, &authority, true) && is_unrevoked(search, &authority))
            return true;
    return false;
}

static bool is_used(const struct search *search, unsigned index)
{
    for (unsigned i = 0; i <= search->top; i++)
        if (search->step[i] == index)
            return true;
    return false;
}

/* Makes step `top` the tip again. */
static void stand(struct search *search)
{
    search->below = 0;
    for (unsigned i = 0; i <= search->top; i++) {
        const struct tls_text *at = &search->certificates[search->step[i]];
        int rc = certificate_read(&search->tip, at->data, at->size);
        assert(rc == 0); /* it was read when it was taken */
        search->below += i > 0 && !is_same(&search->tip.subject, &search->tip.issuer);
    }
}

static bool climb(struct search *search)
{
    struct certificate authority;
    while (search->next[search->top] < search->count) {
        unsigned index = search->next[search->top]++;
        const struct tls_text *at = &search->certificates[index];
        if (is_used(search, index) || certificate_read(&authority, at->data, at->size) < 0 ||
            !is_issued_by(search, &authority, false))
            continue;
        search->step[++search->top] = index;
        search->next[search->top] = 1;
        stand(search);
        return true;
    }
    return false;
}

const char *path_verify(const struct tls_text *certificates, unsigned count,
                        const struct path_trust *trust, struct path_findings *findings)
{
    struct search search = {.certificates = certificates, .count = count, .trust = trust};
    if (findings != NULL)
        *findings = (struct path_findings){0};
    assert(count > 0);
    assert(count <= TLS_CHAIN_MAX);
    if (certificate_read(&search.leaf, certificates[0].data, certificates[0].size) < 0)
        return "it cannot be read";
    if (certificate_key_is_short(&search.leaf))
        return "its key is too short";
    if (!certificate_serves_tls(&search.leaf))
        return "it is not meant for TLS";
    search.next[0] = 1;
    stand(&search);
    /* Each pass takes a step up that was not tried there, or one down; the signatures that may
       be checked bound the steps up. */
    for (;;) {
        bool is_good = is_anchored(&search);
        if (findings != NULL)
            *findings = search.findings;
        if (is_good)
            return NULL;
        while (!climb(&search)) {
            if (search.top == 0)
                return search.refusal != NULL ? search.refusal
                                              : "no authority known here signed it";
            search.top--;
            stand(&search);
        }
    }
}
