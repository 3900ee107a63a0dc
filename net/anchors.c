/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/anchors.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_known(const struct anchors *anchors, const struct anchor *anchor)
{
    const struct anchor *known;
    size_t next = 0;
    while ((known = anchors_find(anchors, &anchor->subject, &next)) != NULL)
        if (known->size == anchor->size && memcmp(known->der, anchor->der, anchor->size) == 0)
            return true;
    return false;
}

/* Takes the DER over, or frees it. */
static int add(struct anchors *anchors, uint8_t *der, size_t size)
{
    struct certificate certificate;
    if (certificate_read(&certificate, der, size) < 0) {
        free(der);
        return -EBADMSG;
    }
    struct anchor anchor = {der, size, certificate.subject};
    if (is_known(anchors, &anchor)) {
        free(der);
        return 0;
    }
    if (anchors->count == anchors->room) {
        size_t room = anchors->room > 0 ? 2 * anchors->room : 8;
        struct anchor *list = realloc(anchors->list, room * sizeof(*list));
        if (list == NULL) {
            free(der);
            return -ENOMEM;
        }
        anchors->list = list;
        anchors->room = room;
    }
    anchors->list[anchors->count++] = anchor;
    return 0;
}

/* wolfSSL looks at the dates, the key and what it does not know. */
static bool is_usable(const uint8_t *der, size_t size)
{
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CertManagerNew();
    bool is_good = manager != NULL &&
                   wolfSSL_CertManagerLoadCABuffer(manager, der, (long)size,
                                                   WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
    if (manager != NULL)
        wolfSSL_CertManagerFree(manager);
    return is_good;
}

static int add_one(struct anchors *anchors, const uint8_t *pem, size_t size)
{
    uint8_t *der = malloc(size);
    if (der == NULL)
        return -ENOMEM;
    int der_size = wc_CertPemToDer(pem, (int)size, der, (int)size, CERT_TYPE);
    if (der_size <= 0 || !is_usable(der, (size_t)der_size)) {
        free(der);
        return -EBADMSG;
    }
    uint8_t *shrunk = realloc(der, (size_t)der_size);
    return add(anchors, shrunk != NULL ? shrunk : der, (size_t)der_size);
}

int anchors_add_pem(struct anchors *anchors, const struct tls_text *text, bool is_tolerant)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    static const char end[] = "-----END CERTIFICATE-----";
    const uint8_t *at = text->data, *stop = text->data + text->size;
    bool is_empty = true;
    int rc = 0;
    while (rc == 0 &&
           (at = memmem(at, (size_t)(stop - at), begin, sizeof(begin) - 1)) != NULL) {
        const uint8_t *last = memmem(at, (size_t)(stop - at), end, sizeof(end) - 1);
        const uint8_t *behind = last != NULL ? last + sizeof(end) - 1 : stop;
        rc = add_one(anchors, at, (size_t)(behind - at));
        if (rc == -EBADMSG && is_tolerant)
            rc = 0;
        is_empty = false;
        at = behind;
    }
    return rc == 0 && is_empty && !is_tolerant ? -EBADMSG : rc;
}

int anchors_add_file(struct anchors *anchors, const char *path, bool is_tolerant)
{
    struct tls_text text = {0};
    int rc = tls_text_read(&text, path);
    if (rc == 0)
        rc = anchors_add_pem(anchors, &text, is_tolerant);
    tls_text_free(&text);
    return rc;
}

int anchors_add_directory(struct anchors *anchors, const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int rc = 0;
    if (directory == NULL)
        return -errno;
    while (rc != -ENOMEM && (entry = readdir(directory)) != NULL) {
        char file[4096];
        int size = snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && size > 0 && (size_t)size < sizeof(file))
            rc = anchors_add_file(anchors, file, true);
    }
    closedir(directory);
    return rc == -ENOMEM ? rc : 0;
}

void anchors_free(struct anchors *anchors)
{
    for (size_t i = 0; i < anchors->count; i++)
        free(anchors->list[i].der);
    free(anchors->list);
    *anchors = (struct anchors){0};
}

const struct anchor *anchors_find(const struct anchors *anchors,
                                  const struct certificate_subject *subject, size_t *next)
{
    while (*next < anchors->count) {
        const struct anchor *anchor = &anchors->list[(*next)++];
        if (anchor->subject.size == subject->size &&
            memcmp(anchor->subject.der, subject->der, subject->size) == 0)
            return anchor;
    }
    return NULL;
}
