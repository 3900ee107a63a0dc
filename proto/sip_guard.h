/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The scan that stands before the parser: framing, and what no message may have whatever it
 * means. It also keeps the known faults of sofia-sip, which reads session descriptions, out
 * of reach (DESIGN decision 2). Linear in the input, no allocation. Pure, any thread.
 * RFC 3261 §7, §18.3, §20.
 */
#ifndef PASSERELLE_PROTO_SIP_GUARD_H
#define PASSERELLE_PROTO_SIP_GUARD_H

#include "proto/limits.h"
#include "proto/sip_line.h"

enum sip_guard_result {
    SIP_GUARD_OK,
    SIP_GUARD_MORE,   /* stream only: the message is not complete yet */
    SIP_GUARD_PING,   /* stream only: CRLF CRLF keep-alive (RFC 5626 §4.4.1); answer CRLF */
    SIP_GUARD_REJECT, /* answer `status` when it is a request that can be answered, then on a
                         stream close the connection if `fatal` */
    SIP_GUARD_DROP    /* not answerable (a bad response, noise): drop; on a stream close if
                         `fatal` */
};

struct sip_guard {
    size_t size;        /* OK: bytes of this message (start line to end of body);
                           PING: bytes of the keep-alive; REJECT, not fatal: bytes to skip;
                           MORE: bytes of the whole message, 0 while that is not known */
    size_t skipped;     /* leading CRLFs before the start line, to be consumed too; a buffer
                           of nothing else gives MORE (the answer to a keep-alive of ours) */
    size_t header_size; /* up to and including the empty line */
    bool is_request;
    bool fatal;         /* the stream cannot be resynchronised */
    int status;         /* REJECT: 400, 413, 505, 513 … */
    struct span reason; /* REJECT and DROP: static English text for reason phrase and log */
};

/* A whole datagram. Octets behind Content-Length are ignored; a short body is REJECT 400. */
enum sip_guard_result sip_guard_datagram(struct span datagram, struct sip_guard *out);
/* The front of a stream buffer. `from` is a hint: out->size of the earlier call for the same
   message that returned MORE (0 at first), so that a body that comes a byte at a time is not
   waited for with a scan each. A smaller value is never wrong. */
enum sip_guard_result sip_guard_stream(struct span buffer, size_t from, struct sip_guard *out);
/* True when a text body has only characters that sdp_parse can stand (printable, CR LF TAB). */
bool sip_guard_sdp(struct span body);
/* The value of the first such header in a guarded message; SPAN_NONE when absent. Linear. */
struct span sip_guard_header(struct span message, enum sip_header header);

#endif
