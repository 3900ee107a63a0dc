/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the tests of revocation share: files of tests/unit/revocation.py, and contexts by them. */
#ifndef PASSERELLE_TESTS_REVOCATION_SCENE_H
#define PASSERELLE_TESTS_REVOCATION_SCENE_H

#include <time.h>

#include "tls_pair.h"

static inline struct tls_context *open_with(const char *name, const char *crl,
                                            enum tls_version version)
{
    char certificate[256], key[256], anchors[256], list[256], file[64], error[512] = "";
    struct tls_context_options options = {.ca_file = anchors, .version = version};
    struct tls_context *context = NULL;
    certificates_path(&certificates, "root.pem", anchors);
    if (name != NULL) {
        (void)snprintf(file, sizeof(file), "%s.pem", name);
        certificates_path(&certificates, file, certificate);
        (void)snprintf(file, sizeof(file), "%s.key", name);
        certificates_path(&certificates, file, key);
        options.certificate_file = certificate;
        options.key_file = key;
    }
    if (crl != NULL) {
        certificates_path(&certificates, crl, list);
        options.crl = list;
    }
    if (tls_context_open(&context, &options, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    return context;
}

static inline int make_files(void **state)
{
    (void)state;
    return tls_start() | certificates_open(&certificates) |
           certificates_run(&certificates,
                            "/usr/bin/python3 " TEST_SOURCE_DIR "/tests/unit/revocation.py");
}

#endif
