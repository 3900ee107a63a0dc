/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/error_map.h"

#include <assert.h>

#include "proto/sip_message.h"
#include "proto/utf8.h"

struct status_row {
    int status;
    enum stanza_error error;
};

/* RFC 7247 §7.2, table 3. 428, 433, 470, 607 and 608 are not in it; their own RFCs say plainly
   enough that policy refused the message, so they do not fall to the default of their class. */
static const struct status_row status_rows[] = {
    {300, STANZA_ERROR_REDIRECT},
    {301, STANZA_ERROR_GONE},
    {302, STANZA_ERROR_REDIRECT},
    {305, STANZA_ERROR_REDIRECT},
    {380, STANZA_ERROR_NOT_ACCEPTABLE},
    {400, STANZA_ERROR_BAD_REQUEST},
    {401, STANZA_ERROR_NOT_AUTHORIZED},
    {402, STANZA_ERROR_BAD_REQUEST},
    {403, STANZA_ERROR_FORBIDDEN},
    {404, STANZA_ERROR_ITEM_NOT_FOUND},
    {405, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED},
    {406, STANZA_ERROR_NOT_ACCEPTABLE},
    {407, STANZA_ERROR_REGISTRATION_REQUIRED},
    {408, STANZA_ERROR_REMOTE_SERVER_TIMEOUT},
    {410, STANZA_ERROR_GONE},
    {413, STANZA_ERROR_POLICY_VIOLATION},
    {414, STANZA_ERROR_POLICY_VIOLATION},
    {415, STANZA_ERROR_NOT_ACCEPTABLE},
    {416, STANZA_ERROR_NOT_ACCEPTABLE},
    {420, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED},
    {421, STANZA_ERROR_NOT_ACCEPTABLE},
    {423, STANZA_ERROR_RESOURCE_CONSTRAINT},
    {428, STANZA_ERROR_FORBIDDEN},
    {430, STANZA_ERROR_RECIPIENT_UNAVAILABLE},
    {433, STANZA_ERROR_FORBIDDEN},
    {439, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED},
    {440, STANZA_ERROR_POLICY_VIOLATION},
    {470, STANZA_ERROR_FORBIDDEN},
    {480, STANZA_ERROR_RECIPIENT_UNAVAILABLE},
    {481, STANZA_ERROR_ITEM_NOT_FOUND},
    {482, STANZA_ERROR_NOT_ACCEPTABLE},
    {483, STANZA_ERROR_NOT_ACCEPTABLE},
    {484, STANZA_ERROR_ITEM_NOT_FOUND},
    {485, STANZA_ERROR_ITEM_NOT_FOUND},
    {486, STANZA_ERROR_RECIPIENT_UNAVAILABLE},
    {487, STANZA_ERROR_RECIPIENT_UNAVAILABLE},
    {488, STANZA_ERROR_NOT_ACCEPTABLE},
    {489, STANZA_ERROR_POLICY_VIOLATION},
    {491, STANZA_ERROR_UNEXPECTED_REQUEST},
    {493, STANZA_ERROR_BAD_REQUEST},
    {500, STANZA_ERROR_INTERNAL_SERVER_ERROR},
    {501, STANZA_ERROR_FEATURE_NOT_IMPLEMENTED},
    {502, STANZA_ERROR_REMOTE_SERVER_NOT_FOUND},
    {503, STANZA_ERROR_INTERNAL_SERVER_ERROR},
    {504, STANZA_ERROR_REMOTE_SERVER_TIMEOUT},
    {505, STANZA_ERROR_NOT_ACCEPTABLE},
    {513, STANZA_ERROR_POLICY_VIOLATION},
    {600, STANZA_ERROR_RECIPIENT_UNAVAILABLE},
    {603, STANZA_ERROR_RECIPIENT_UNAVAILABLE},
    {604, STANZA_ERROR_ITEM_NOT_FOUND},
    {606, STANZA_ERROR_NOT_ACCEPTABLE},
    {607, STANZA_ERROR_POLICY_VIOLATION},
    {608, STANZA_ERROR_POLICY_VIOLATION},
};

static enum stanza_error error_of_status(int status)
{
    for (size_t i = 0; i < sizeof(status_rows) / sizeof(status_rows[0]); i++) {
        if (status_rows[i].status == status)
            return status_rows[i].error;
    }
    if (status < 400)
        return STANZA_ERROR_REDIRECT;
    if (status < 500)
        return STANZA_ERROR_BAD_REQUEST;
    if (status < 600)
        return STANZA_ERROR_INTERNAL_SERVER_ERROR;
    return STANZA_ERROR_RECIPIENT_UNAVAILABLE;
}

/* "The SIP side answered 404 Not Found." or empty when the memory is too small. */
static struct span status_text(int status, struct span reason, struct writer *memory)
{
    if (reason.size == 0 || !utf8_xml_legal(reason))
        reason = sip_reason_phrase(status);
    struct writer trial = *memory;
    writer_put_literal(&trial, "The SIP side answered ");
    writer_put_uint(&trial, (uint64_t)status);
    writer_put_char(&trial, ' ');
    sip_header_text(&trial, reason, SIP_REASON_SIZE_MAX);
    writer_put_char(&trial, '.');
    if (trial.overflow)
        return SPAN_NONE;
    struct span text = writer_since(&trial, memory->used);
    *memory = trial;
    return text;
}

struct stanza_fault error_map_to_xmpp(int status, struct span reason,
                                      struct span contact_jid_uri, struct writer *memory)
{
    assert(status >= 300 && status <= 699);
    struct stanza_fault fault = {.error = error_of_status(status)};
    /* RFC 7247 §7.2: 301 carries the new address when there is one, 410 must not. */
    if (status == 301 || status == 302)
        fault.address = contact_jid_uri;
    /* Too large: the sender can shorten the text (RFC 6120 §8.3.3.12). */
    if (status == 413 || status == 513)
        fault.type = SPAN("modify");
    fault.text = status_text(status, reason, memory);
    return fault;
}

/* ---- stanza error → SIP ---- */

struct error_row {
    int full, bare;
};

/*
 * RFC 7247 §7.1, table 2, as far as SIP lets it be sent in answer to a MESSAGE:
 * - 408 is forbidden (RFC 4320 §4.2): 504;
 * - 401 and 407 need a challenge (RFC 3261 §20.44, §20.27) and we have none: 403;
 * - 503 would make the peer avoid the whole relay (RFC 3261 §21.5.4), 405 would make it stop
 *   sending any MESSAGE there, for one user's service-unavailable: 403;
 * - 491 is about INVITE (RFC 3261 §21.4.27): 400.
 * A 6xx is final because the XMPP domain is the only home of the user.
 */
static struct error_row row_of_error(enum stanza_error error)
{
    switch (error) {
    case STANZA_ERROR_NONE:
    case STANZA_ERROR_BAD_REQUEST:
    case STANZA_ERROR_CONFLICT:
    case STANZA_ERROR_JID_MALFORMED:
    case STANZA_ERROR_SUBSCRIPTION_REQUIRED:
    case STANZA_ERROR_UNDEFINED_CONDITION:
    case STANZA_ERROR_UNEXPECTED_REQUEST:
    case STANZA_ERROR_COUNT:
        return (struct error_row){400, 400};
    case STANZA_ERROR_FEATURE_NOT_IMPLEMENTED:
        return (struct error_row){405, 501};
    case STANZA_ERROR_FORBIDDEN:
        return (struct error_row){403, 603};
    case STANZA_ERROR_GONE:
        return (struct error_row){410, 410};
    case STANZA_ERROR_INTERNAL_SERVER_ERROR:
    case STANZA_ERROR_RESOURCE_CONSTRAINT:
        return (struct error_row){500, 500};
    case STANZA_ERROR_ITEM_NOT_FOUND:
        return (struct error_row){404, 604};
    case STANZA_ERROR_NOT_ACCEPTABLE:
        return (struct error_row){406, 606};
    case STANZA_ERROR_NOT_ALLOWED:
    case STANZA_ERROR_NOT_AUTHORIZED:
    case STANZA_ERROR_POLICY_VIOLATION:
    case STANZA_ERROR_REGISTRATION_REQUIRED:
    case STANZA_ERROR_SERVICE_UNAVAILABLE:
        return (struct error_row){403, 403};
    case STANZA_ERROR_RECIPIENT_UNAVAILABLE:
        return (struct error_row){480, 600};
    case STANZA_ERROR_REDIRECT:
        return (struct error_row){480, 480};
    case STANZA_ERROR_REMOTE_SERVER_NOT_FOUND:
        return (struct error_row){404, 404};
    case STANZA_ERROR_REMOTE_CONNECTION_FAILED:
    case STANZA_ERROR_REMOTE_SERVER_TIMEOUT:
        return (struct error_row){504, 504};
    }
    return (struct error_row){400, 400};
}

/* A URI that can stand between < and > on one header line. */
static bool is_clean_uri(struct span uri)
{
    for (size_t i = 0; i < uri.size; i++) {
        unsigned char c = (unsigned char)uri.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '<' || c == '>' || c == '"')
            return false;
    }
    return uri.size > 0;
}

/* `line` with `value` between its two halves, in memory; empty when it does not fit. */
static struct span put_line(struct writer *memory, struct span head, struct span value,
                            struct span tail)
{
    struct writer trial = *memory;
    writer_put(&trial, head);
    writer_put(&trial, value);
    writer_put(&trial, tail);
    if (trial.overflow)
        return SPAN_NONE;
    struct span line = writer_since(&trial, memory->used);
    *memory = trial;
    return line;
}

/* 301 and 302 must name where to go (RFC 7247 §7.1, RFC 3261 §21.3.2): without a usable
   address the status of the table stays. */
static void add_contact(struct sip_fault *out, enum stanza_error error, struct span contact_uri,
                        struct writer *memory)
{
    if (!is_clean_uri(contact_uri))
        return;
    struct span line = put_line(memory, SPAN("Contact: <"), contact_uri, SPAN(">\r\n"));
    if (line.size == 0)
        return;
    out->extra = line;
    out->status = error == STANZA_ERROR_GONE ? 301 : 302;
}

struct sip_fault error_map_to_sip(const struct stanza_fault *fault, bool to_full,
                                  struct span contact_uri, struct writer *memory)
{
    struct error_row row = row_of_error(fault->error);
    struct sip_fault out = {.status = to_full ? row.full : row.bare};
    if (fault->error == STANZA_ERROR_GONE || fault->error == STANZA_ERROR_REDIRECT)
        add_contact(&out, fault->error, contact_uri, memory);
    if (out.status == 405) /* RFC 3261 §21.4.6: this address takes no MESSAGE */
        out.extra = SPAN("Allow: OPTIONS\r\n");
    if (fault->error == STANZA_ERROR_RESOURCE_CONSTRAINT)
        out.extra = SPAN("Retry-After: 60\r\n"); /* RFC 3261 §20.33 */
    size_t start = memory->used;
    struct writer trial = *memory;
    if (fault->text.size > 0) {
        sip_header_text(&trial, fault->text, SIP_REASON_SIZE_MAX);
    } else if (fault->error != STANZA_ERROR_NONE) {
        /* A client shows its user this line, and "Forbidden" would mislead. */
        writer_put_literal(&trial, "The XMPP side answered ");
        writer_put(&trial, stanza_error_name(fault->error));
    }
    if (!trial.overflow) {
        *memory = trial;
        out.reason = writer_since(memory, start);
    }
    assert(out.status >= 300 && out.status != 401 && out.status != 407);
    assert(out.status != 408 && out.status != 503);
    return out;
}
