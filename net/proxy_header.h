/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The header that a proxy in front of a listener puts before everything else: the binary form,
 * version 2, of the PROXY protocol (HAProxy, doc/proxy-protocol.txt §2.2), for streams over
 * IPv4 and IPv6. Pure.
 */
#ifndef PASSERELLE_NET_PROXY_HEADER_H
#define PASSERELLE_NET_PROXY_HEADER_H

#include "net/address.h"

#define PROXY_HEADER_SIZE_MAX 4096 /* with its TLVs, which are not read */

enum proxy_header_result {
    PROXY_HEADER_DONE,
    PROXY_HEADER_MORE,  /* what is there may be the beginning of one */
    PROXY_HEADER_BROKEN /* no header, another version, another family, too long */
};

struct proxy_header {
    size_t size;   /* of it, in bytes: behind it comes what the client sent */
    bool is_local; /* the connection is the proxy's own, to see whether we are there */
    union net_address source; /* of the client, with port; IPv4-mapped IPv6 is IPv4; else */
};

/* Reads the header at the front of `data`; *header is set with DONE only. */
enum proxy_header_result proxy_header_read(struct proxy_header *header, const uint8_t *data,
                                           size_t size);

#endif
