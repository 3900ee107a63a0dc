/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file in memory, or one certificate out of it; inside of net. */
#ifndef PASSERELLE_NET_TLS_TEXT_H
#define PASSERELLE_NET_TLS_TEXT_H

#include "net/address.h"

struct tls_text {
    uint8_t *data;
    size_t size;
};

/* Reads a file of at most 4 MiB: -errno. */
int tls_text_read(struct tls_text *text, const char *path) NET_MUST_USE;
/* The same of at most so many bytes. */
int tls_text_read_most(struct tls_text *text, const char *path, size_t max) NET_MUST_USE;
/* Nothing of it stays in memory. */
void tls_text_free(struct tls_text *text);

#endif
