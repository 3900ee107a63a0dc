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

struct sip_line {
    struct span text;  /* name to final CRLF, folds included */
    struct span name;  /* without trailing blanks; empty when there is no colon */
    struct span value; /* trimmed; folds are still inside */
};

/* Takes one line with its folds off *rest. False at the empty line or the end of the text;
   lines must end in CRLF. */
bool sip_line_next(struct span *rest, struct sip_line *line);
/* Same header, long or compact ('\0': no compact form). */
bool sip_line_is(const struct sip_line *line, struct span name, char compact);
bool sip_line_is_token(struct span text);
/* Offset of the first byte of `stops` outside quoted strings and angle brackets, or text.size.
   An unbalanced quote or bracket gives SIZE_MAX. */
size_t sip_line_until(struct span text, struct span stops);
/* 1*DIGIT up to `max`; leading zeros are fine. */
bool sip_line_uint(struct span text, uint64_t max, uint64_t *value) MUST_USE;
/* Takes `;name[=value]` off *parameters; blanks around are dropped. False at the end, and with
   *parameters not empty when what follows is malformed. Quotes stay in the value. */
bool sip_line_parameter(struct span *parameters, struct span *name, struct span *value);
/* The value of parameter `name` in `;a=b;c`; true when present. */
bool sip_line_find(struct span parameters, struct span name, struct span *value);
/* Splits one name-addr or addr-spec with its parameters (§20.10). False when malformed. */
bool sip_line_address(struct span value, struct span *uri, struct span *parameters) MUST_USE;
/* Parses the first of the Via values in `value`; *rest is what follows its comma (SPAN_NONE
   when it is the only one). False when malformed (§20.42). */
bool sip_line_via(struct span value, struct sip_via *via, struct span *rest) MUST_USE;
/* `CSeq` (§20.16): number below 2^31 and method. */
bool sip_line_cseq(struct span value, uint32_t *number, struct span *method) MUST_USE;

#endif
