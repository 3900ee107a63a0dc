/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stanza errors (RFC 6120 §8.3) and how to write them. Pure. */
#ifndef PASSERELLE_PROTO_STANZA_ERROR_H
#define PASSERELLE_PROTO_STANZA_ERROR_H

#include "proto/writer.h"
#include "proto/xml_node.h"

enum stanza_error {
    STANZA_ERROR_NONE,
    STANZA_ERROR_BAD_REQUEST,
    STANZA_ERROR_CONFLICT,
    STANZA_ERROR_FEATURE_NOT_IMPLEMENTED,
    STANZA_ERROR_FORBIDDEN,
    STANZA_ERROR_GONE,
    STANZA_ERROR_INTERNAL_SERVER_ERROR,
    STANZA_ERROR_ITEM_NOT_FOUND,
    STANZA_ERROR_JID_MALFORMED,
    STANZA_ERROR_NOT_ACCEPTABLE,
    STANZA_ERROR_NOT_ALLOWED,
    STANZA_ERROR_NOT_AUTHORIZED,
    STANZA_ERROR_POLICY_VIOLATION,
    STANZA_ERROR_RECIPIENT_UNAVAILABLE,
    STANZA_ERROR_REDIRECT,
    STANZA_ERROR_REGISTRATION_REQUIRED,
    STANZA_ERROR_REMOTE_CONNECTION_FAILED, /* dialback only, XEP-0220 §2.5 */
    STANZA_ERROR_REMOTE_SERVER_NOT_FOUND,
    STANZA_ERROR_REMOTE_SERVER_TIMEOUT,
    STANZA_ERROR_RESOURCE_CONSTRAINT,
    STANZA_ERROR_SERVICE_UNAVAILABLE,
    STANZA_ERROR_SUBSCRIPTION_REQUIRED,
    STANZA_ERROR_UNDEFINED_CONDITION,
    STANZA_ERROR_UNEXPECTED_REQUEST,
    STANZA_ERROR_COUNT
};

struct span stanza_error_name(enum stanza_error error);
/* The usual error type of RFC 6120 §8.3.3: "cancel", "modify", "wait" or "auth". */
struct span stanza_error_type(enum stanza_error error);
/* UNDEFINED_CONDITION for a name that is not known. */
enum stanza_error stanza_error_find(struct span name);

/* What an error stanza says. */
struct stanza_fault {
    enum stanza_error error;
    struct span type;    /* empty: the usual one */
    struct span text;    /* human, English; empty for none */
    struct span address; /* for gone and redirect: a URI; empty for none */
    struct span by;      /* JID of who raised it; empty when relayed from the far user */
};

/* Writes <error …>…</error> without a stanza around it. */
void stanza_error_write(struct writer *writer, const struct stanza_fault *fault);
/* Writes a whole <message|iq|presence type='error'> from `from` to `to` with `id` (none when
   empty). `kind` is "message", "iq" or "presence". */
void stanza_error_write_stanza(struct writer *writer, struct span kind, struct span from,
                               struct span to, struct span id,
                               const struct stanza_fault *fault);
/* Reads the <error/> child of an error stanza; error NONE when there is none. The spans point
   into the tree. */
struct stanza_fault stanza_error_read(const struct xml_node *stanza);

#endif
