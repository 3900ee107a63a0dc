/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/stream_error.h"

#include <assert.h>

#include "proto/xml_stream.h"

/* RFC 6120 §4.9.3. */
static const struct span names[STREAM_ERROR_COUNT] = {
    [STREAM_ERROR_NONE] = SPAN(""),
    [STREAM_ERROR_BAD_FORMAT] = SPAN("bad-format"),
    [STREAM_ERROR_BAD_NAMESPACE_PREFIX] = SPAN("bad-namespace-prefix"),
    [STREAM_ERROR_CONFLICT] = SPAN("conflict"),
    [STREAM_ERROR_CONNECTION_TIMEOUT] = SPAN("connection-timeout"),
    [STREAM_ERROR_HOST_GONE] = SPAN("host-gone"),
    [STREAM_ERROR_HOST_UNKNOWN] = SPAN("host-unknown"),
    [STREAM_ERROR_IMPROPER_ADDRESSING] = SPAN("improper-addressing"),
    [STREAM_ERROR_INTERNAL_SERVER_ERROR] = SPAN("internal-server-error"),
    [STREAM_ERROR_INVALID_FROM] = SPAN("invalid-from"),
    [STREAM_ERROR_INVALID_NAMESPACE] = SPAN("invalid-namespace"),
    [STREAM_ERROR_INVALID_XML] = SPAN("invalid-xml"),
    [STREAM_ERROR_NOT_AUTHORIZED] = SPAN("not-authorized"),
    [STREAM_ERROR_NOT_WELL_FORMED] = SPAN("not-well-formed"),
    [STREAM_ERROR_POLICY_VIOLATION] = SPAN("policy-violation"),
    [STREAM_ERROR_REMOTE_CONNECTION_FAILED] = SPAN("remote-connection-failed"),
    [STREAM_ERROR_RESET] = SPAN("reset"),
    [STREAM_ERROR_RESOURCE_CONSTRAINT] = SPAN("resource-constraint"),
    [STREAM_ERROR_RESTRICTED_XML] = SPAN("restricted-xml"),
    [STREAM_ERROR_SEE_OTHER_HOST] = SPAN("see-other-host"),
    [STREAM_ERROR_SYSTEM_SHUTDOWN] = SPAN("system-shutdown"),
    [STREAM_ERROR_UNDEFINED_CONDITION] = SPAN("undefined-condition"),
    [STREAM_ERROR_UNSUPPORTED_ENCODING] = SPAN("unsupported-encoding"),
    [STREAM_ERROR_UNSUPPORTED_FEATURE] = SPAN("unsupported-feature"),
    [STREAM_ERROR_UNSUPPORTED_STANZA_TYPE] = SPAN("unsupported-stanza-type"),
    [STREAM_ERROR_UNSUPPORTED_VERSION] = SPAN("unsupported-version"),
};

struct span stream_error_name(enum stream_error error)
{
    assert((unsigned)error < STREAM_ERROR_COUNT);
    return names[error];
}

enum stream_error stream_error_find(struct span name)
{
    /* RFC 3920 §4.7.3 called it so; old servers still send it. */
    if (span_equal(name, SPAN("xml-not-well-formed")))
        return STREAM_ERROR_NOT_WELL_FORMED;
    for (unsigned i = STREAM_ERROR_NONE + 1; i < STREAM_ERROR_COUNT; i++)
        if (span_equal(names[i], name))
            return (enum stream_error)i;
    return STREAM_ERROR_UNDEFINED_CONDITION;
}

bool stream_error_is_about_from(enum stream_error error)
{
    return error == STREAM_ERROR_IMPROPER_ADDRESSING || error == STREAM_ERROR_INVALID_FROM ||
           error == STREAM_ERROR_NOT_AUTHORIZED || error == STREAM_ERROR_POLICY_VIOLATION ||
           error == STREAM_ERROR_REMOTE_CONNECTION_FAILED ||
           error == STREAM_ERROR_UNDEFINED_CONDITION;
}

void stream_error_write(struct writer *writer, enum stream_error error, struct span text,
                        struct span application)
{
    assert(error != STREAM_ERROR_NONE);
    writer_put_literal(writer, "<stream:error><");
    writer_put(writer, stream_error_name(error));
    writer_put_literal(writer, " xmlns='" NS_STREAM_ERRORS "'/>");
    if (text.size > 0) {
        writer_put_literal(writer, "<text xmlns='" NS_STREAM_ERRORS "' xml:lang='en'>");
        writer_put_xml_text(writer, text);
        writer_put_literal(writer, "</text>");
    }
    writer_put(writer, application);
    writer_put_literal(writer, "</stream:error></stream:stream>");
}
