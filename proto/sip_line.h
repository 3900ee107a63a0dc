/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lexical layer of SIP (RFC 3261 §7.3.1, §25.1): header lines with their folds, quoted
 * strings, parameters, addresses and Via values, as views of the message. Shared by the guard,
 * the response fast path and the writer, so that all three read one message alike. Everything
 * is linear in its input. Pure, any thread.
 */
#ifndef PASSERELLE_PROTO_SIP_LINE_H
#define PASSERELLE_PROTO_SIP_LINE_H

#include "proto/sip_message.h"

enum sip_header {
    SIP_HEADER_OTHER,
#define HEADER(name, text, compact, once) SIP_HEADER_##name,
#include "proto/sip_header.def"
#undef HEADER
    SIP_HEADER_COUNT
};

struct sip_line {
    enum sip_header header; /* by its name, long or compact */
    struct span text;  /* name to final CRLF, folds included */
    struct span name;  /* without trailing blanks; empty when there is no colon */
    struct span value; /* trimmed; folds are still inside */
};

/* Takes one line with its folds off *rest. False at the empty line or the end of the text;
   lines must end in CRLF. */
bool sip_line_next(struct span *rest, struct sip_line *line);
/* The header of this name, in any case; OTHER for one that is not read. */
enum sip_header sip_header_find(struct span name);
/* True when the header may appear once only. */
bool sip_header_is_single(enum sip_header header);
bool sip_line_is_token(struct span text);
/* Offset of the first byte of `stops` (commas and semicolons) outside quoted strings and angle
   brackets, or text.size.
   An unbalanced quote or bracket gives SIZE_MAX. */
size_t sip_line_until(struct span text, struct span stops);
/* 1*DIGIT up to `max`; leading zeros are fine. */
bool sip_line_uint(struct span text, uint64_t max, uint64_t *value) MUST_USE;
/* Takes `;name[=value]` off *parameters; blanks around are dropped. False at the end, and with
   *parameters not empty when what follows is malformed. Quotes stay in the value. */
bool sip_line_parameter(struct span *parameters, struct span *name, struct span *value);
/* The value of parameter `name` in `;a=b;c`; true when present. */
bool sip_line_find(struct span parameters, struct span name, struct span *value);
/* True when the value of each parameter is a token, a host or a quoted string, as requests must
   have them; in responses we put up with others. */
bool sip_line_is_generic(struct span parameters);
/* Splits one name-addr or addr-spec with its parameters (§20.10). False when malformed. */
bool sip_line_address(struct span value, struct span *uri, struct span *parameters) MUST_USE;
/* Parses the first of the Via values in `value`; *rest is what follows its comma (SPAN_NONE
   when it is the only one). False when malformed (§20.42). */
bool sip_line_via(struct span value, struct sip_via *via, struct span *rest) MUST_USE;
/* `Retry-After` (§20.33): the seconds; -1 when malformed. */
long sip_line_retry_after(struct span value);
/* `CSeq` (§20.16): number below 2^31 and method. */
bool sip_line_cseq(struct span value, uint32_t *number, struct span *method) MUST_USE;

#endif
