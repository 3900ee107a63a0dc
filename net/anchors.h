/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Trust anchors: certificates out of PEM files, found by their names. One thread; read-only
 * once they are read.
 */
#ifndef PASSERELLE_NET_ANCHORS_H
#define PASSERELLE_NET_ANCHORS_H

#include "net/certificate.h"
#include "net/tls_text.h"

/* DER of a certificate, and the place of its names in it. */
struct anchor {
    uint8_t *der;
    size_t size;
    struct certificate_subject subject;
};

struct anchors {
    struct anchor *list;
    size_t count, room;
};

/* Adds the certificates of a PEM text or file. Those that are broken or have expired are left
   out when `is_tolerant`, else -EBADMSG, as when there is none. -errno. */
int anchors_add_pem(struct anchors *anchors, const struct tls_text *text,
                    bool is_tolerant) NET_MUST_USE;
int anchors_add_file(struct anchors *anchors, const char *path, bool is_tolerant) NET_MUST_USE;
/* Each file of a directory, with tolerance: -errno of the directory. */
int anchors_add_directory(struct anchors *anchors, const char *path) NET_MUST_USE;
void anchors_free(struct anchors *anchors);
/* The next anchor of this name: *next starts at 0; NULL ends. */
const struct anchor *anchors_find(const struct anchors *anchors,
                                  const struct certificate_subject *subject, size_t *next);

#endif
