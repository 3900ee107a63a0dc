/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/crl.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/coding.h>

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "net/digest.h"
#include "net/signature.h"

#define SERIAL_SIZE_MAX 21 /* RFC 5280 §4.1.2.2: 20, and a zero in front */

static const uint8_t oid_key_id[] = {0x55, 0x1d, 0x23}; /* authorityKeyIdentifier */
static const uint8_t oid_point[] = {0x55, 0x1d, 0x1c};  /* issuingDistributionPoint */

struct crl {
    char *file;
    uint8_t *serials; /* sorted, each `width` bytes */
    size_t count, width;
    int64_t this_update, next_update;
    struct certificate_subject issuer; /* inside of `head` */
    struct signature signature;        /* likewise */
    bool is_proved;
    uint8_t proved_by[DIGEST_SIZE]; /* the key that made the signature */
    uint8_t head[];
};

/* What is read of one, inside of its DER. */
struct reading {
    struct der_signed whole;
    struct der issuer, entries;
    int64_t this_update, next_update;
    size_t count, width;
    const char *problem;
};

static bool fail(struct reading *reading, const char *problem)
{
    if (reading->problem == NULL)
        reading->problem = problem;
    return false;
}

/* IssuingDistributionPoint (RFC 5280 §5.2.5): what a list is about. What it names is revoked,
   whatever it leaves out; but in an indirect one the numbers are other authorities', and
   attribute certificates have numbers of their own. */
static bool read_point(struct reading *reading, struct der value)
{
    struct der fields, field;
    uint8_t tag;
    if (!der_expect(&value, DER_SEQUENCE, &fields))
        return false;
    while (fields.size > 0) {
        if (!der_take(&fields, &tag, &field))
            return false;
        bool is_set = field.size > 0 && field.data[0] != 0;
        if (tag == 0x84 && is_set)
            return fail(reading, "it is an indirect CRL");
        if (tag == 0x85 && is_set)
            return fail(reading, "it is about attribute certificates");
    }
    return true;
}

static bool read_extensions(struct reading *reading, struct der wrapped)
{
    struct der list;
    struct der_extension extension;
    if (!der_expect(&wrapped, DER_SEQUENCE, &list))
        return false;
    while (list.size > 0) {
        if (!der_take_extension(&list, &extension))
            return false;
        if (IS_OID(extension.oid, oid_point)) {
            if (!read_point(reading, extension.value))
                return false;
        } else if (extension.is_critical && !IS_OID(extension.oid, oid_key_id)) {
            return fail(reading, "it has a critical extension that is not known here");
        }
    }
    return true;
}

/* SEQUENCE { userCertificate INTEGER, revocationDate Time, crlEntryExtensions OPTIONAL }. Nothing
   critical is known of an entry (RFC 5280 §5.3). */
static bool take_entry(struct reading *reading, struct der *entries, struct der *serial)
{
    struct der entry, date, list;
    struct der_extension extension;
    uint8_t tag;
    if (!der_expect(entries, DER_SEQUENCE, &entry) ||
        !der_expect(&entry, DER_INTEGER, serial) || !der_take(&entry, &tag, &date) ||
        !der_option(&entry, DER_SEQUENCE, &list))
        return false;
    *serial = der_digits(*serial);
    if (serial->size == 0 || serial->size > SERIAL_SIZE_MAX)
        return fail(reading, "a serial number in it is too long");
    while (list.size > 0)
        if (!der_take_extension(&list, &extension))
            return false;
        else if (extension.is_critical)
            return fail(reading, "an entry of it has a critical extension");
    return true;
}

static bool read_entries(struct reading *reading)
{
    struct der entries = reading->entries, serial;
    while (entries.size > 0) {
        if (!take_entry(reading, &entries, &serial))
            return false;
        reading->count++;
        if (serial.size > reading->width)
            reading->width = serial.size;
    }
    return true;
}

static bool read_times(struct reading *reading, struct der *body)
{
    struct der time;
    uint8_t tag;
    if (!der_take(body, &tag, &time))
        return false;
    reading->this_update = der_time(tag, time);
    if (body->size == 0 ||
        (body->data[0] != DER_UTC_TIME && body->data[0] != DER_GENERALIZED_TIME))
        return fail(reading, "it has no nextUpdate");
    if (!der_take(body, &tag, &time))
        return false;
    reading->next_update = der_time(tag, time);
    return reading->this_update > 0 && reading->next_update > 0;
}

/* TBSCertList, RFC 5280 §5.1.2. */
static bool read_list(struct reading *reading, struct der der)
{
    struct der body, version, algorithm, extensions;
    if (!der_read_signed(der, &reading->whole) || reading->whole.rest.size != 0)
        return false;
    body = reading->whole.content;
    if (!der_option(&body, DER_INTEGER, &version) ||
        !der_expect(&body, DER_SEQUENCE, &algorithm) ||
        !der_equal(algorithm, reading->whole.algorithm) ||
        !der_expect(&body, DER_SEQUENCE, &reading->issuer) || !read_times(reading, &body) ||
        !der_option(&body, DER_SEQUENCE, &reading->entries) ||
        !der_option(&body, DER_CONTEXT_0, &extensions) || body.size != 0)
        return false;
    return (extensions.size == 0 || read_extensions(reading, extensions)) &&
           read_entries(reading);
}

static int by_bytes(const void *a, const void *b, void *width)
{
    return memcmp(a, b, *(const size_t *)width);
}

static void fill(struct crl *crl, struct reading *reading)
{
    struct der entries = reading->entries, serial;
    uint8_t *at = crl->serials;
    while (entries.size > 0) {
        bool is_taken = take_entry(reading, &entries, &serial);
        assert(is_taken); /* it was before */
        memset(at, 0, crl->width - serial.size);
        memcpy(at + crl->width - serial.size, serial.data, serial.size);
        at += crl->width;
    }
    qsort_r(crl->serials, crl->count, crl->width, by_bytes, &crl->width);
}

static struct der keep(uint8_t **at, struct der der)
{
    uint8_t *kept = memcpy(*at, der.data, der.size);
    *at += der.size;
    return (struct der){kept, der.size};
}

static void crl_free(struct crl *crl)
{
    free(crl->file);
    free(crl->serials);
    free(crl);
}

static struct crl *crl_make(struct reading *reading, const struct signature *signature)
{
    struct der bits = signature->bits, algorithm = signature->algorithm;
    struct crl *crl =
        calloc(1, sizeof(*crl) + reading->issuer.size + bits.size + algorithm.size);
    if (crl == NULL)
        return NULL;
    crl->count = reading->count;
    crl->width = reading->width;
    if (crl->count > 0) {
        crl->serials = malloc(crl->count * crl->width);
        if (crl->serials == NULL) {
            free(crl);
            return NULL;
        }
        fill(crl, reading);
    }
    crl->this_update = reading->this_update;
    crl->next_update = reading->next_update;
    uint8_t *at = crl->head;
    struct der issuer = keep(&at, reading->issuer);
    crl->issuer = (struct certificate_subject){issuer.data, issuer.size};
    crl->signature = *signature;
    crl->signature.bits = keep(&at, bits);
    crl->signature.algorithm = keep(&at, algorithm);
    return crl;
}

static int add_der(struct crls *crls, struct der der, const char **problem)
{
    struct reading reading = {0};
    struct signature signature;
    if (!read_list(&reading, der)) {
        *problem = reading.problem != NULL ? reading.problem : "it is no CRL";
        return -EBADMSG;
    }
    if (!signature_read(&signature, &reading.whole)) {
        *problem = "its signature is weak, or of a kind that is not known here";
        return -EBADMSG;
    }
    if (crls->count == CRL_COUNT_MAX) {
        *problem = "there are too many CRLs";
        return -EBADMSG;
    }
    if (crls->count == crls->room) {
        size_t room = crls->room > 0 ? 2 * crls->room : 8;
        struct crl **list = realloc(crls->list, room * sizeof(struct crl *));
        if (list == NULL)
            return -ENOMEM;
        crls->list = list;
        crls->room = room;
    }
    struct crl *crl = crl_make(&reading, &signature);
    if (crl == NULL)
        return -ENOMEM;
    crls->list[crls->count++] = crl;
    return 0;
}

/* What stands between the lines is base64 (RFC 7468). */
static int add_pem(struct crls *crls, const uint8_t *text, size_t size, const char **problem)
{
    word32 der_size = (word32)size;
    uint8_t *der = malloc(size > 0 ? size : 1);
    if (der == NULL)
        return -ENOMEM;
    int rc = -EBADMSG;
    *problem = "it is no CRL";
    if (Base64_Decode(text, (word32)size, der, &der_size) == 0)
        rc = add_der(crls, (struct der){der, der_size}, problem);
    free(der);
    return rc;
}

int crls_add_text(struct crls *crls, const struct tls_text *text, const char **problem)
{
    static const char begin[] = "-----BEGIN X509 CRL-----";
    static const char end[] = "-----END X509 CRL-----";
    const uint8_t *at = text->data, *stop = text->data + text->size;
    int rc = 0;
    if (text->size > 0 && text->data[0] == DER_SEQUENCE)
        return add_der(crls, (struct der){text->data, text->size}, problem);
    *problem = "there is no CRL in it, neither as PEM nor as DER";
    at = memmem(at, text->size, begin, sizeof(begin) - 1);
    if (at == NULL)
        return -EBADMSG;
    while (rc == 0 && at != NULL) {
        at += sizeof(begin) - 1;
        const uint8_t *last = memmem(at, (size_t)(stop - at), end, sizeof(end) - 1);
        if (last == NULL)
            return -EBADMSG;
        rc = add_pem(crls, at, (size_t)(last - at), problem);
        at = memmem(last, (size_t)(stop - last), begin, sizeof(begin) - 1);
    }
    return rc;
}

/* Each list that came out of the file is to know it. */
static int name_file(struct crls *crls, size_t from, const char *path)
{
    for (size_t i = from; i < crls->count; i++) {
        crls->list[i]->file = strdup(path);
        if (crls->list[i]->file == NULL)
            return -ENOMEM;
    }
    return 0;
}

static int add_file(struct crls *crls, const char *path, char *error, size_t error_size)
{
    struct tls_text text = {0};
    const char *problem = NULL;
    size_t before = crls->count;
    int rc = tls_text_read_most(&text, path, CRL_FILE_SIZE_MAX);
    if (rc == 0)
        rc = crls_add_text(crls, &text, &problem);
    if (rc == 0)
        rc = name_file(crls, before, path);
    if (rc < 0)
        (void)snprintf(error, error_size, "%s: %s", path,
                       rc == -EBADMSG && problem != NULL ? problem : strerror(-rc));
    tls_text_free(&text);
    return rc;
}

static int add_directory(struct crls *crls, const char *path, char *error, size_t error_size)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int rc = 0;
    if (directory == NULL) {
        rc = -errno;
        (void)snprintf(error, error_size, "%s: %s", path, strerror(-rc));
        return rc;
    }
    while (rc == 0 && (entry = readdir(directory)) != NULL) {
        char file[PATH_MAX];
        int size = snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && size > 0 && (size_t)size < sizeof(file))
            rc = add_file(crls, file, error, error_size);
    }
    (void)closedir(directory);
    return rc;
}

int crls_add(struct crls *crls, const char *path, char *error, size_t error_size)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return add_directory(crls, path, error, error_size);
    return add_file(crls, path, error, error_size);
}

void crls_free(struct crls *crls)
{
    for (size_t i = 0; i < crls->count; i++)
        crl_free(crls->list[i]);
    free(crls->list);
    *crls = (struct crls){0};
}

/* Is the list the authority's? 1, 0, or -ENOMEM. */
static int is_of(struct crl *crl, const struct certificate *authority)
{
    uint8_t key[DIGEST_SIZE];
    if (crl->issuer.size != authority->subject.size ||
        memcmp(crl->issuer.der, authority->subject.der, crl->issuer.size) != 0 ||
        !authority->may_revoke)
        return 0;
    digest_sha256(authority->key, authority->key_size, key);
    if (crl->is_proved && memcmp(key, crl->proved_by, sizeof(key)) == 0)
        return 1;
    int rc = signature_check(&crl->signature, authority);
    if (rc == 1) {
        crl->is_proved = true;
        memcpy(crl->proved_by, key, sizeof(key));
    }
    return rc;
}

static bool names(const struct crl *crl, const struct certificate *certificate)
{
    uint8_t serial[SERIAL_SIZE_MAX] = {0};
    size_t size = certificate->serial_size, low = 0, high = crl->count;
    if (size == 0 || size > crl->width)
        return false;
    memcpy(serial + crl->width - size, certificate->serial, size);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(crl->serials + middle * crl->width, serial, crl->width);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

enum crl_verdict crls_judge(const struct crls *crls, const struct certificate *certificate,
                            const struct certificate *authority)
{
    enum crl_verdict verdict = CRL_NONE;
    for (size_t i = 0; i < crls->count; i++) {
        int rc = is_of(crls->list[i], authority);
        if (rc < 0)
            return CRL_NO_MEMORY;
        if (rc == 1 && names(crls->list[i], certificate))
            return CRL_REVOKED;
        if (rc == 1)
            verdict = CRL_CLEAR;
    }
    return verdict;
}

struct crl_facts crls_facts(const struct crls *crls, size_t index)
{
    assert(index < crls->count);
    const struct crl *crl = crls->list[index];
    return (struct crl_facts){crl->file, crl->issuer, crl->count, crl->count * crl->width,
                              crl->this_update, crl->next_update};
}
