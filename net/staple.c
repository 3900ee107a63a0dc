/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/staple.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/signature.h"

bool staple_path(char path[STAPLE_PATH_MAX], const char *certificate_file)
{
    int size = snprintf(path, STAPLE_PATH_MAX, "%s.ocsp", certificate_file);
    return size > 0 && size < STAPLE_PATH_MAX;
}

int staple_leaf(const struct tls_text *pem, struct tls_text *der)
{
    *der = (struct tls_text){.data = malloc(pem->size > 0 ? pem->size : 1)};
    if (der->data == NULL)
        return -ENOMEM;
    int size =
        wc_CertPemToDer(pem->data, (int)pem->size, der->data, (int)pem->size, CERT_TYPE);
    der->size = size > 0 ? (size_t)size : 0;
    return size > 0 ? 0 : -EBADMSG;
}

static int64_t now_s(void)
{
    return (int64_t)(clock_wall_ms() / 1000);
}

/* One of the authorities that has issued the leaf, and what the response says by it. */
static bool judge_by(const struct staple *staple, const struct certificate *leaf,
                     const struct anchors *authorities, const struct crls *crls,
                     struct ocsp_answer *answer)
{
    struct certificate authority;
    struct der_signed read;
    struct signature signature;
    const struct anchor *anchor;
    size_t next = 0;
    if (!der_read_signed((struct der){leaf->der, leaf->der_size}, &read) ||
        !signature_read(&signature, &read))
        return false;
    while ((anchor = anchors_find(authorities, &leaf->issuer, &next)) != NULL) {
        if (certificate_read(&authority, anchor->der, anchor->size) < 0 ||
            signature_check(&signature, &authority) != 1)
            continue;
        *answer = ocsp_judge(&(struct ocsp_question){.der = staple->der.data,
                                                     .size = staple->der.size,
                                                     .certificate = leaf,
                                                     .authority = &authority,
                                                     .crls = crls,
                                                     .now = now_s()});
        return true;
    }
    return false;
}

static const char *problem_of(struct staple *staple, const struct tls_text *pem,
                              const struct anchors *anchors, const struct crls *crls)
{
    struct certificate leaf;
    struct anchors chain = {0};
    struct ocsp_answer answer = {0};
    struct tls_text der = {0};
    bool is_read = staple_leaf(pem, &der) == 0 && anchors_add_pem(&chain, pem, true) == 0 &&
                   certificate_read(&leaf, der.data, der.size) == 0;
    bool is_judged =
        is_read && (judge_by(staple, &leaf, &chain, crls, &answer) ||
                    (anchors != NULL && judge_by(staple, &leaf, anchors, crls, &answer)));
    anchors_free(&chain);
    tls_text_free(&der);
    if (!is_read)
        return "the certificate cannot be read";
    if (!is_judged)
        return "who has issued the certificate stands neither behind it nor in ca_file";
    if (answer.verdict == OCSP_REVOKED)
        return "it says that the certificate has been revoked";
    if (answer.verdict == OCSP_UNUSABLE)
        return answer.reason;
    staple->next_update = answer.next_update;
    return answer.next_update <= now_s() ? "it has expired" : NULL;
}

void staple_read(struct staple *staple, const char *certificate_file,
                 const struct tls_text *pem, const struct anchors *anchors,
                 const struct crls *crls)
{
    char path[STAPLE_PATH_MAX];
    *staple = (struct staple){0};
    if (!staple_path(path, certificate_file))
        return;
    int rc = tls_text_read_most(&staple->der, path, OCSP_SIZE_MAX);
    if (rc == -ENOENT)
        return;
    staple->problem = rc == 0 ? problem_of(staple, pem, anchors, crls) : strerror(-rc);
    if (staple->problem != NULL)
        tls_text_free(&staple->der);
}

void staple_fini(struct staple *staple)
{
    tls_text_free(&staple->der);
}
