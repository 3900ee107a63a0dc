/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ocsp.h"

#include "net/signature.h"

#define SKEW_S        300
#define RESPONDER_MAX 8 /* certificates in a response that are looked at */

static const uint8_t oid_basic[] = {0x2b, 6, 1, 5, 5, 7, 48, 1, 1};
static const uint8_t oid_sha1[] = {0x2b, 0x0e, 3, 2, 0x1a};

/* Tags of the choices, RFC 6960 §4.2.1. */
enum { STATUS_GOOD = 0x80, STATUS_REVOKED = 0xa1 };

/* BasicOCSPResponse, inside of its DER. */
struct basic {
    struct der_signed whole;
    uint8_t responder_tag; /* DER_CONTEXT_1: its name, _2: the SHA-1 of its key */
    struct der responder;
    struct der responses;
};

static struct der subject_der(const struct certificate_subject *subject)
{
    return (struct der){subject->der, subject->size};
}

/* OCSPResponse: SEQUENCE { responseStatus ENUMERATED, [0] SEQUENCE { OID, OCTET STRING } }. */
static bool open_response(struct der whole, struct der *basic, const char **reason)
{
    struct der outer, status, wrapped, typed, oid;
    if (!der_expect(&whole, DER_SEQUENCE, &outer) || whole.size != 0 ||
        !der_expect(&outer, DER_ENUMERATED, &status) || status.size != 1)
        return false;
    if (status.data[0] != 0) {
        *reason = "its responder refused to answer";
        return false;
    }
    return der_expect(&outer, DER_CONTEXT_0, &wrapped) &&
           der_expect(&wrapped, DER_SEQUENCE, &typed) && der_expect(&typed, DER_OID, &oid) &&
           IS_OID(oid, oid_basic) && der_expect(&typed, DER_OCTETS, basic);
}

static bool has_critical(struct der wrapped)
{
    struct der list;
    struct der_extension extension;
    if (wrapped.size == 0)
        return false;
    if (!der_expect(&wrapped, DER_SEQUENCE, &list))
        return true;
    while (list.size > 0)
        if (!der_take_extension(&list, &extension) || extension.is_critical)
            return true;
    return false;
}

/* ResponseData: SEQUENCE { [0] version DEFAULT v1, responderID, producedAt, responses, [1]
   extensions OPTIONAL }. */
static bool read_basic(struct basic *basic, struct der der)
{
    struct der data, version, produced, extensions;
    if (!der_read_signed(der, &basic->whole))
        return false;
    data = basic->whole.content;
    if (!der_option(&data, DER_CONTEXT_0, &version) ||
        !der_take(&data, &basic->responder_tag, &basic->responder) ||
        !der_expect(&data, DER_GENERALIZED_TIME, &produced) ||
        !der_expect(&data, DER_SEQUENCE, &basic->responses) ||
        !der_option(&data, DER_CONTEXT_1, &extensions) || data.size != 0)
        return false;
    return !has_critical(extensions);
}

/* The digest of a name's DER, whose head `certificate` leaves out. */
static size_t hash_name(struct der algorithm, struct der name,
                        uint8_t out[SIGNATURE_DIGEST_MAX])
{
    uint8_t head[4] = {DER_SEQUENCE};
    size_t size = 2;
    if (name.size < 0x80) {
        head[1] = (uint8_t)name.size;
    } else if (name.size < 0x100) {
        head[1] = 0x81;
        head[size++] = (uint8_t)name.size;
    } else if (name.size < 0x10000) {
        head[1] = 0x82;
        head[size++] = (uint8_t)(name.size >> 8);
        head[size++] = (uint8_t)name.size;
    } else {
        return 0;
    }
    const struct der parts[] = {{head, size}, name};
    return signature_digest(algorithm, parts, 2, out);
}

/* Of the BIT STRING's value alone (RFC 6960 §4.1.1). */
static size_t hash_key(struct der algorithm, const struct certificate *certificate,
                       uint8_t out[SIGNATURE_DIGEST_MAX])
{
    struct der key = {certificate->key, certificate->key_size}, info, kind, bits;
    if (!der_expect(&key, DER_SEQUENCE, &info) || !der_expect(&info, DER_SEQUENCE, &kind) ||
        !der_expect(&info, DER_BITS, &bits) || bits.size == 0)
        return 0;
    bits = (struct der){bits.data + 1, bits.size - 1};
    return signature_digest(algorithm, &bits, 1, out);
}

/* CertID: SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }. */
static bool is_about(struct der id, const struct ocsp_question *question)
{
    struct der algorithm, oid, name, key, serial;
    uint8_t digest[SIGNATURE_DIGEST_MAX];
    const struct certificate *certificate = question->certificate;
    if (!der_expect(&id, DER_SEQUENCE, &algorithm) || !der_expect(&algorithm, DER_OID, &oid) ||
        !der_expect(&id, DER_OCTETS, &name) || !der_expect(&id, DER_OCTETS, &key) ||
        !der_expect(&id, DER_INTEGER, &serial))
        return false;
    if (!der_equal(der_digits(serial),
                   (struct der){certificate->serial, certificate->serial_size}))
        return false;
    size_t size = hash_name(oid, subject_der(&certificate->issuer), digest);
    if (size == 0 || !der_equal(name, (struct der){digest, size}))
        return false;
    size = hash_key(oid, question->authority, digest);
    return size > 0 && der_equal(key, (struct der){digest, size});
}

static bool is_responder(const struct basic *basic, const struct certificate *signer)
{
    uint8_t digest[SIGNATURE_DIGEST_MAX];
    struct der inner, responder = basic->responder;
    if (basic->responder_tag == DER_CONTEXT_1)
        return der_expect(&responder, DER_SEQUENCE, &inner) &&
               der_equal(inner, subject_der(&signer->subject));
    if (basic->responder_tag != DER_CONTEXT_2 || !der_expect(&responder, DER_OCTETS, &inner))
        return false;
    size_t size = hash_key((struct der){oid_sha1, sizeof(oid_sha1)}, signer, digest);
    return size > 0 && der_equal(inner, (struct der){digest, size});
}

/* RFC 6960 §4.2.2.2: the authority itself has issued the responder's certificate, for this. */
static bool is_delegate(const struct ocsp_question *question,
                        const struct certificate *responder)
{
    struct der_signed read;
    struct signature signature;
    const struct certificate *authority = question->authority;
    return responder->eku_ocsp && responder->not_before <= question->now &&
           question->now <= responder->not_after &&
           der_equal(subject_der(&responder->issuer), subject_der(&authority->subject)) &&
           der_read_signed((struct der){responder->der, responder->der_size}, &read) &&
           signature_read(&signature, &read) && signature_check(&signature, authority) == 1 &&
           (question->crls == NULL ||
            crls_judge(question->crls, responder, authority) <= CRL_CLEAR);
}

static bool is_signed(const struct basic *basic, const struct ocsp_question *question)
{
    struct signature signature;
    struct certificate responder;
    struct der rest = basic->whole.rest, wrapped, list, one;
    if (!signature_read(&signature, &basic->whole))
        return false;
    if (is_responder(basic, question->authority))
        return signature_check(&signature, question->authority) == 1;
    if (!der_expect(&rest, DER_CONTEXT_0, &wrapped) ||
        !der_expect(&wrapped, DER_SEQUENCE, &list))
        return false;
    for (unsigned i = 0; i < RESPONDER_MAX && list.size > 0; i++) {
        const uint8_t *start = list.data;
        if (!der_expect(&list, DER_SEQUENCE, &one))
            return false;
        if (certificate_read(&responder, start, (size_t)(list.data - start)) == 0 &&
            is_responder(basic, &responder) && is_delegate(question, &responder))
            return signature_check(&signature, &responder) == 1;
    }
    return false;
}

/* SingleResponse behind its CertID: certStatus, thisUpdate, [0] nextUpdate OPTIONAL, [1]
   extensions OPTIONAL. */
static struct ocsp_answer read_single(struct der single, int64_t now)
{
    struct ocsp_answer answer = {.reason = "it cannot be read"};
    struct der status, this_update, wrapped, next_update, extensions;
    uint8_t tag;
    if (!der_take(&single, &tag, &status) ||
        !der_expect(&single, DER_GENERALIZED_TIME, &this_update) ||
        !der_option(&single, DER_CONTEXT_0, &wrapped) ||
        !der_option(&single, DER_CONTEXT_1, &extensions) || has_critical(extensions))
        return answer;
    if (!der_expect(&wrapped, DER_GENERALIZED_TIME, &next_update)) {
        answer.reason = "it does not say how long it holds";
        return answer;
    }
    int64_t from = der_time(DER_GENERALIZED_TIME, this_update);
    answer.next_update = der_time(DER_GENERALIZED_TIME, next_update);
    if (from == 0 || from > now + SKEW_S)
        answer.reason = "it is not valid yet";
    else if (answer.next_update + SKEW_S < now)
        answer.reason = "it has expired";
    else if (tag == STATUS_GOOD)
        answer = (struct ocsp_answer){OCSP_GOOD, "good", answer.next_update};
    else if (tag == STATUS_REVOKED)
        answer = (struct ocsp_answer){OCSP_REVOKED, "revoked", answer.next_update};
    else
        answer.reason = "its responder does not know the certificate";
    return answer;
}

/* The first that is about the certificate. */
static struct ocsp_answer find_single(const struct basic *basic,
                                      const struct ocsp_question *question)
{
    struct ocsp_answer answer = {.reason = "it is about another certificate"};
    struct der responses = basic->responses, single, id;
    while (responses.size > 0) {
        if (!der_expect(&responses, DER_SEQUENCE, &single) ||
            !der_expect(&single, DER_SEQUENCE, &id)) {
            answer.reason = "it cannot be read";
            return answer;
        }
        if (is_about(id, question))
            return read_single(single, question->now);
    }
    return answer;
}

struct ocsp_answer ocsp_judge(const struct ocsp_question *question)
{
    struct ocsp_answer unusable = {.reason = "it cannot be read"};
    struct der der;
    struct basic basic = {0};
    if (question->size > OCSP_SIZE_MAX) {
        unusable.reason = "it is too long";
        return unusable;
    }
    if (!open_response((struct der){question->der, question->size}, &der, &unusable.reason) ||
        !read_basic(&basic, der))
        return unusable;
    struct ocsp_answer answer = find_single(&basic, question);
    if (answer.verdict == OCSP_UNUSABLE || is_signed(&basic, question))
        return answer;
    unusable.reason = "neither the authority nor a responder of it has signed it";
    return unusable;
}
