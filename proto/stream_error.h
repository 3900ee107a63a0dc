/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stream error conditions of RFC 6120 §4.9.3. */
#ifndef PASSERELLE_PROTO_STREAM_ERROR_H
#define PASSERELLE_PROTO_STREAM_ERROR_H

#include "proto/span.h"
#include "proto/writer.h"

enum stream_error {
    STREAM_ERROR_NONE,
    STREAM_ERROR_BAD_FORMAT,
    STREAM_ERROR_BAD_NAMESPACE_PREFIX,
    STREAM_ERROR_CONFLICT,
    STREAM_ERROR_CONNECTION_TIMEOUT,
    STREAM_ERROR_HOST_GONE,
    STREAM_ERROR_HOST_UNKNOWN,
    STREAM_ERROR_IMPROPER_ADDRESSING,
    STREAM_ERROR_INTERNAL_SERVER_ERROR,
    STREAM_ERROR_INVALID_FROM,
    STREAM_ERROR_INVALID_NAMESPACE,
    STREAM_ERROR_INVALID_XML,
    STREAM_ERROR_NOT_AUTHORIZED,
    STREAM_ERROR_NOT_WELL_FORMED,
    STREAM_ERROR_POLICY_VIOLATION,
    STREAM_ERROR_REMOTE_CONNECTION_FAILED,
    STREAM_ERROR_RESET,
    STREAM_ERROR_RESOURCE_CONSTRAINT,
    STREAM_ERROR_RESTRICTED_XML,
    STREAM_ERROR_SEE_OTHER_HOST,
    STREAM_ERROR_SYSTEM_SHUTDOWN,
    STREAM_ERROR_UNDEFINED_CONDITION,
    STREAM_ERROR_UNSUPPORTED_ENCODING,
    STREAM_ERROR_UNSUPPORTED_FEATURE,
    STREAM_ERROR_UNSUPPORTED_STANZA_TYPE,
    STREAM_ERROR_UNSUPPORTED_VERSION,
    STREAM_ERROR_COUNT
};

/* The element name, e.g. "host-unknown"; "" for NONE. */
struct span stream_error_name(enum stream_error error);
/* The condition a peer named (old name xml-not-well-formed accepted); UNDEFINED_CONDITION when
   it is unknown. */
enum stream_error stream_error_find(struct span name);
/* May a server say so because of the domain in `from`? Then another one on the same host may be
   welcome. An unknown condition may mean anything. */
bool stream_error_is_about_from(enum stream_error error);
/* Writes <stream:error>…</stream:error></stream:stream> with an English text (may be empty)
   and, when `application` is not empty, that ready-made application-specific element. */
void stream_error_write(struct writer *writer, enum stream_error error, struct span text,
                        struct span application);

#endif
